"""The standalone server, from the command line to the end of its process."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from queue import Empty, SimpleQueue

from bronto_orders.sandbox.options import Options, read_options


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    options = read_options(arguments)
    # Of the ways to wake a thread this queue is the one that a signal handler may safely use.
    signals: SimpleQueue[int] = SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: signals.put(received))
    try:
        with _database(options.database) as database:
            return _serve(options, database, signals)
    except _StartError as error:
        sys.stderr.write(f"bronto_sandbox: {error}\n")
        return 1


class _StartError(Exception):
    """The server cannot start; the message says why."""


def _serve(options: Options, database: Path, signals: SimpleQueue[int]) -> int:
    os.environ["BRONTO_SANDBOX_DATABASE"] = str(database)
    os.environ["DJANGO_SETTINGS_MODULE"] = "bronto_orders.sandbox.settings"
    from bronto_orders.sandbox.server import SandboxServer

    try:
        server = SandboxServer(options.host, options.port)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise _StartError(f"cannot listen on {options.host} port {options.port}: {reason}") from None
    try:
        _prepare(options, database)
        if signals.empty():
            server.start()
            sys.stdout.write(f"{server.base_url}\n")
            sys.stdout.flush()
        _wait(signals)
    finally:
        server.stop()
    return 0


def _wait(signals: SimpleQueue[int]) -> None:
    while True:
        # In short turns, as on some systems a wait without end cannot be interrupted.
        with contextlib.suppress(Empty):
            signals.get(timeout=1)
            return


@contextlib.contextmanager
def _database(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        yield kept.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="bronto_sandbox_", ignore_cleanup_errors=True) as directory:
        yield Path(directory) / "sandbox.sqlite3"


def _prepare(options: Options, database: Path) -> None:
    import django
    from django.core.management import call_command
    from django.db import DatabaseError, connection

    try:
        with contextlib.closing(sqlite3.connect(database)) as raw:
            raw.execute("PRAGMA journal_mode=WAL")
        django.setup()
        call_command("migrate", verbosity=0)
        from bronto_orders.sandbox.models import Client

        Client.install(options.client_id, options.client_secret)
        import_module("bronto_orders.sandbox.urls")
    except (DatabaseError, sqlite3.Error) as error:
        raise _StartError(f"cannot use the database {database}: {error}") from None
    finally:
        connection.close()
