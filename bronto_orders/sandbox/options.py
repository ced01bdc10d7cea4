"""The command line of the standalone server."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from decimal import Decimal

from bronto_orders.sandbox.faults import Fault, read_faults
from bronto_orders.sandbox.oauth import DEFAULT_CLIENT_ID, DEFAULT_CLIENT_SECRET
from bronto_orders.sandbox.refusals import Malformed
from bronto_orders.sandbox.store import IN_MEMORY

DEFAULT_PORT = 8899


@dataclass(frozen=True)
class Options:
    """How to run the server."""

    host: str
    port: int
    database: str
    client_id: str
    client_secret: str
    faults: list[Fault]
    until_stdin_closes: bool


def read_options(arguments: list[str] | None = None) -> Options:
    """Read the command line; wrong usage ends the program with code 2."""
    parser = argparse.ArgumentParser(
        prog="bronto_sandbox", description="Run a stand-in for Bronto's Orders REST service."
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=_port, default=DEFAULT_PORT, help="the port, 0 for any free one (default: %(default)s)"
    )
    parser.add_argument(
        "--database", default=IN_MEMORY, metavar="FILE", help="an SQLite file to keep (default: in memory)"
    )
    parser.add_argument("--client-id", default=DEFAULT_CLIENT_ID, help="(default: %(default)s)")
    parser.add_argument("--client-secret", default=DEFAULT_CLIENT_SECRET, help="(default: %(default)s)")
    parser.add_argument(
        "--faults", type=_faults, default=[], metavar="JSON", help="faults in force from the start, as a JSON list"
    )
    parser.add_argument(
        "--until-stdin-closes", action="store_true", help="end also when the process that started this one does"
    )
    return Options(**vars(parser.parse_args(arguments)))


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError("must be from 0 to 65535")
    return port


def _faults(text: str) -> list[Fault]:
    try:
        return read_faults(json.loads(text, parse_float=Decimal, parse_int=Decimal))
    except (ValueError, Malformed) as error:
        raise argparse.ArgumentTypeError(str(error)) from None
