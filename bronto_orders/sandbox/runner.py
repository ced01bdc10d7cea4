"""The standalone server, from the command line to the end of its process."""

from __future__ import annotations

import contextlib
import errno
import signal
import sys
import threading
from queue import Empty, SimpleQueue
from typing import Final

from django.conf import settings

from bronto_orders.sandbox.options import Options, read_options
from bronto_orders.sandbox.server import SandboxServer
from bronto_orders.sandbox.service import Service
from bronto_orders.sandbox.store import DatabaseError
from bronto_orders.sandbox.wsgi import Application

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    options = read_options(arguments)
    # The console's template needs settings, and must not get those of a project that this process was started from.
    settings.configure(USE_I18N=False)
    # Of the ways to wake a thread this queue is the one that a signal handler may safely use.
    ends: SimpleQueue[int] = SimpleQueue()
    for number in _SIGNALS:
        signal.signal(number, lambda received, _: ends.put(received))
    if options.until_stdin_closes:
        threading.Thread(target=_watch_stdin, args=(ends,), daemon=True).start()
    try:
        _serve(options, ends)
    except (DatabaseError, _StartError) as error:
        sys.stderr.write(f"bronto_sandbox: {error}\n")
        return 1
    finally:
        # A second signal, while the interpreter ends, must not make a failure of a clean end.
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
    return 0


class _StartError(Exception):
    """The server cannot start; the message says why."""


def _serve(options: Options, ends: SimpleQueue[int]) -> None:
    service = Service(options.database, client_id=options.client_id, client_secret=options.client_secret)
    service.faults.set(options.faults)
    with contextlib.closing(service):
        try:
            server = SandboxServer(Application(service), options.host, options.port, on_stop=service.faults.wake)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            hint = "; choose another with --port" if getattr(error, "errno", None) == errno.EADDRINUSE else ""
            raise _StartError(f"cannot listen on {options.host} port {options.port}: {reason}{hint}") from None
        try:
            if ends.empty():
                server.start()
                sys.stdout.write(f"{server.base_url}\n")
                sys.stdout.flush()
            _wait(ends)
        finally:
            server.stop()


def _wait(ends: SimpleQueue[int]) -> None:
    while True:
        # In short turns, as on some systems a wait without end cannot be interrupted.
        with contextlib.suppress(Empty):
            ends.get(timeout=1)
            return


def _watch_stdin(ends: SimpleQueue[int]) -> None:
    while sys.stdin.buffer.read(4096):
        pass
    ends.put(0)
