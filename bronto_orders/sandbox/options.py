"""The command line of the standalone server."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

DEFAULT_PORT = 8899


@dataclass(frozen=True)
class Options:
    """How to run the server."""

    host: str
    port: int
    database: Path | None
    client_id: str
    client_secret: str


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
        "--database", type=Path, help="an SQLite file to keep (default: a temporary one, removed at the end)"
    )
    parser.add_argument("--client-id", default="sandbox", help="(default: %(default)s)")
    parser.add_argument("--client-secret", default="sandbox-secret", help="(default: %(default)s)")
    return Options(**vars(parser.parse_args(arguments)))


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError("must be from 0 to 65535")
    return port
