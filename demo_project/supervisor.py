"""Runs the demo: sandbox, web server, Celery worker and Celery beat, each as a process of its own."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import IO

import requests
from django.conf import settings

from demo_project.processes import HOST, Process, stop

START_SECONDS = 90
GRACE_SECONDS = 10
TAIL_LINES = 25
ADMIN_LOGIN = ADMIN_PASSWORD = "admin"  # noqa: S105

#: Threads, so that it is one process, which leaves no children behind when it is killed. It is the only worker, so
#: there are none to hear from.
WORKER_OPTIONS = [
    *("--pool", "threads", "--concurrency", "2", "--queues", "celery,bronto_orders", "--loglevel", "WARNING"),
    *("--without-gossip", "--without-mingle", "--without-heartbeat"),
]
#: No pid file: one that a killed beat has left would keep the next from starting.
BEAT_OPTIONS = ["--pidfile", "", "--loglevel", "WARNING"]


class DemoError(Exception):
    """The demo cannot go on; the message says why."""


class Demo:
    """The demo's processes and the folder with their state. A context manager: leaving it ends them all."""

    def __init__(self, state: Path, *, port: int, sandbox_port: int) -> None:
        self.state = state
        self.logs = state / "logs"
        self.url = f"http://{HOST}:{port}"
        self.sandbox_url = f"http://{HOST}:{sandbox_port}"
        python, manage = sys.executable, str(settings.BASE_DIR / "manage.py")
        celery = [python, "-m", "celery", "--quiet", "--app", "demo_project"]
        sandbox = [python, "-m", "bronto_orders.sandbox", "--host", HOST, "--port", str(sandbox_port)]
        self.preparation = self._process(
            "preparation", [python, manage, "demo_prepare", "--verbosity", "0"], has_succeeded
        )
        self.sandbox = self._process(
            "sandbox", [*sandbox, "--database", str(state / "bronto.sqlite3")], has_printed_url
        )
        self.web = self._process(
            "web", [python, manage, "runserver", "--noreload", f"{HOST}:{port}"], lambda _: answers(self.url)
        )
        self.worker = self._process("worker", [*celery, "worker", *WORKER_OPTIONS], has_announced_itself)
        self.beat = self._process(
            "beat",
            [*celery, "beat", "--schedule", str(state / "schedule" / "beat"), *BEAT_OPTIONS],
            has_announced_itself,
        )
        self.services = [self.sandbox, self.web, self.worker, self.beat]
        self._lock: IO[str] | None = None

    def __enter__(self) -> Demo:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything and wait until it works. Raises DemoError when something does not come up."""
        self._clear()
        self._bring_up([self.sandbox, self.preparation])
        self._bring_up([self.web, self.worker, self.beat])
        self.worker.new_lines()

    def check(self) -> None:
        """Raise DemoError if a process has ended by itself."""
        for process in self.services:
            if not process.is_running:
                raise DemoError(self._obituary(process))

    def stop(self) -> None:
        """End all processes. A second Ctrl-C meanwhile ends them at once."""
        handlers = {number: signal.signal(number, self._kill) for number in (signal.SIGINT, signal.SIGTERM)}
        # The sandbox last, so that the worker gets its answers.
        stop([self.preparation, self.web, self.beat, self.worker], grace_seconds=GRACE_SECONDS)
        stop([self.sandbox], grace_seconds=GRACE_SECONDS)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if self._lock is not None:
            self._lock.close()

    def logs_in_short(self) -> str:
        """Return the ends of all logs."""
        written = [process for process in [self.preparation, *self.services] if process.log.exists()]
        return "\n".join(f"--- {process.name}\n{process.tail(TAIL_LINES)}" for process in written)

    def _process(self, name: str, command: list[str], is_ready: Callable[[Process], bool]) -> Process:
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "demo_project.settings",
            "PYTHONUNBUFFERED": "1",
            "DJANGO_RUNSERVER_HIDE_WARNING": "true",
            "DEMO_STATE": str(self.state),
            "DEMO_READY_FILE": str(self._ready_file(name)),
            "BRONTO_API_URL": self.sandbox_url,
            "BRONTO_TOKEN_URL": f"{self.sandbox_url}/oauth2/token",
            "BRONTO_CLIENT_ID": "sandbox",
            "BRONTO_CLIENT_SECRET": "sandbox-secret",
        }
        return Process(name, command, self.logs / f"{name}.log", environment, settings.BASE_DIR, is_ready)

    def _ready_file(self, name: str) -> Path:
        return self.logs / f"{name}.ready"

    def _clear(self) -> None:
        """Make the folders, and clear away what an earlier run has left there that nobody needs."""
        self.state.mkdir(parents=True, exist_ok=True)
        self._lock = (self.state / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(f"The demo is running already, with its state in {self.state}.") from None
        # Messages are hints and owe nothing; the orders that are due stand in the database.
        for folder in (self.state / "broker", self.state / "schedule", self.logs):
            shutil.rmtree(folder, ignore_errors=True)
        for folder in (self.state / "schedule", self.logs):
            folder.mkdir()

    def _bring_up(self, processes: Iterable[Process]) -> None:
        waiting = list(processes)
        for process in waiting:
            process.start()
        deadline = time.monotonic() + START_SECONDS
        while waiting := [process for process in waiting if not process.is_ready(process)]:
            for process in waiting:
                if not process.is_running and not process.is_ready(process):
                    raise DemoError(self._obituary(process))
            if time.monotonic() > deadline:
                raise DemoError(f"Not up after {START_SECONDS} s: {waiting[0].name}.\n{waiting[0].tail(TAIL_LINES)}")
            time.sleep(0.05)

    def _obituary(self, process: Process) -> str:
        tail = process.tail(TAIL_LINES) or "(nothing)"
        return f"The {process.name} process ended with exit code {process.exit_code}. The end of its log:\n{tail}"

    def _kill(self, *args: object) -> None:
        for process in [self.preparation, *self.services]:
            process.send(signal.SIGKILL)


def has_succeeded(process: Process) -> bool:
    return process.exit_code == 0


def has_printed_url(process: Process) -> bool:
    return any(line.startswith("http") for line in process.log.read_text().splitlines(keepends=True)[:1])


def has_announced_itself(process: Process) -> bool:
    return Path(process.environment["DEMO_READY_FILE"]).exists()


def answers(url: str) -> bool:
    """Tell whether a web server gives a good answer."""
    with requests.Session() as session:
        # A proxy has no business between processes of one machine.
        session.trust_env = False
        try:
            return session.get(url, timeout=10).ok
        except requests.RequestException:
            return False
