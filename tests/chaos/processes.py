"""Programs that a campaign starts, signals and ends, each with all its children."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

HOST = "127.0.0.1"


class ProcessError(Exception):
    """A program did not do what the campaign needs of it."""


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def wait_for(what: str, check: Callable[[], object], seconds: float) -> None:
    """Return as soon as ``check`` is true; raise ProcessError when that takes too long."""
    ends_at = time.monotonic() + seconds
    while not check():
        if time.monotonic() > ends_at:
            raise ProcessError(f"{what}: not within {seconds:g} s")
        time.sleep(0.05)


class Process:
    """A program in a process group of its own, so that a signal reaches its children and nobody else."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        folder: Path,
        *,
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> None:
        self.name = name
        self.command = list(command)
        self.folder = folder
        self.log = folder / f"{name}.log"
        self.environment = environment or {}
        self.user = user
        self.popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
                start_new_session=True,
                user=self.user,
                extra_groups=[] if self.user else None,
            )

    @property
    def running(self) -> bool:
        return self.popen is not None and self.popen.poll() is None

    @property
    def exit_code(self) -> int | None:
        return None if self.popen is None else self.popen.poll()

    def wait(self, seconds: float) -> None:
        assert self.popen is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(seconds)

    def signal(self, number: signal.Signals) -> None:
        """Signal the program and all its children, those that have outlived it too."""
        if self.popen is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.popen.pid, number)

    def signal_parent(self, number: signal.Signals) -> None:
        """Signal the program alone."""
        if self.popen is not None:
            self.popen.send_signal(number)

    def kill(self) -> None:
        """End it and its children as a power cut would."""
        self.signal(signal.SIGKILL)
        if self.popen is not None:
            self.popen.wait()

    def stop(self, seconds: float = 10) -> None:
        """Ask it to end, wait, and end what is left."""
        self.signal(signal.SIGCONT)
        if self.running:
            assert self.popen is not None
            self.popen.terminate()
            self.wait(seconds)
        self.kill()

    def tail(self, characters: int = 2000) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return text[-characters:]
