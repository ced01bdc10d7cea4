"""Child processes that end with their parent, whatever ends it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

PR_SET_PDEATHSIG = 1
HOST = "127.0.0.1"


@dataclass(eq=False)
class Process:
    """One child in a session of its own, so that a Ctrl-C at the terminal reaches only its parent."""

    name: str
    command: list[str]
    log: Path
    environment: Mapping[str, str]
    folder: Path
    #: Whether it does its work by now.
    is_ready: Callable[[Process], bool]
    _child: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _read: int = field(default=0, init=False)

    def start(self) -> None:
        with self.log.open("wb") as log:
            self._child = subprocess.Popen(  # noqa: S603 - commands are made here and of nothing else
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment,
                cwd=self.folder,
                start_new_session=True,
                preexec_fn=_death_wish(),
            )

    @property
    def is_running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def exit_code(self) -> int | None:
        return None if self._child is None else self._child.poll()

    def send(self, number: signal.Signals) -> None:
        """Signal the child and all that it has started."""
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._child.pid, number)

    def tail(self, lines: int) -> str:
        """Return the end of its output."""
        with self.log.open(errors="replace") as log:
            return "".join(deque(log, lines)).rstrip()

    def new_lines(self) -> list[str]:
        """Return the whole lines written since the last call."""
        with self.log.open("rb") as log:
            log.seek(self._read)
            text, newline, _unfinished = log.read().rpartition(b"\n")
        self._read += len(text + newline)
        return text.decode(errors="replace").splitlines()


def stop(processes: Iterable[Process], *, grace_seconds: float) -> None:
    """End the processes: politely, then, after the grace time, without asking."""
    running = [process for process in processes if process.is_running]
    for process in running:
        process.send(signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    while any(process.is_running for process in running) and time.monotonic() < deadline:
        time.sleep(0.05)
    # Also those that are gone: what they started may be left.
    for process in running:
        process.send(signal.SIGKILL)


def _death_wish() -> Callable[[], None] | None:
    """Return what a child calls before it becomes its program, to be ended when this process is; None where unknown."""
    if sys.platform != "linux":
        return None
    parent, libc = os.getpid(), ctypes.CDLL(None)

    def follow_parent() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        # The parent may have died before it was asked for.
        if os.getppid() != parent:
            os._exit(1)

    return follow_parent


def is_free(port: int) -> bool:
    """Tell whether a server could listen on the port."""
    with socket.socket() as probe:
        if port and probe.connect_ex((HOST, port)) == 0:
            return False
    with socket.socket() as probe:
        # As servers do: connections that ended a moment ago are no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def any_free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def next_free_port(port: int) -> int:
    """Return the port or, if it is taken, the first free one of the hundred that follow, else any."""
    return next(filter(is_free, range(port, port + 100)), None) or any_free_port()
