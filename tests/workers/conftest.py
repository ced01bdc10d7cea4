from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import celery
import psutil
import pytest
from django.db import connection
from django.test import override_settings

from bronto_orders.delivery import hints
from bronto_orders.per_process import PerProcess
from bronto_orders.testing import Sandbox
from tests.services import free_port, need_package

#: Short enough for a test to wait for a lease, and as long as the system checks ask for.
DELIVERY = {"ADD_LEASE_SECONDS": 7, "UPDATE_LEASE_SECONDS": 9, "SETTLE_SECONDS": 2, "BACKOFF_CAP": 2}
TIMEOUTS = {"CONNECT_TIMEOUT": 1, "READ_TIMEOUT": 1.4, "TOTAL_TIMEOUT": 1.5}


def eventually(check: Callable[[], Any], seconds: float = 30, every: float = 0.1) -> Any:
    """Return what ``check`` returns as soon as that is true; fail when it never is."""
    ends_at = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > ends_at:
            pytest.fail(f"not within {seconds} s; last seen: {found!r}")
        time.sleep(every)


class Process:
    """A program with all its children, which ends with the test."""

    def __init__(self, *command: str, log: Path, **environment: str) -> None:
        with log.open("ab") as output:
            self.popen = subprocess.Popen(
                command, stdout=output, stderr=output, env={**os.environ, **environment}, start_new_session=True
            )

    def kill(self) -> None:
        """End it and its children as a power cut would."""
        try:
            family = psutil.Process(self.popen.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            family = []
        self.popen.kill()
        for child in family:
            child.kill()
        self.popen.wait()

    def stop(self, seconds: float = 15) -> None:
        """Ask it to end."""
        self.popen.send_signal(signal.SIGTERM)
        try:
            self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()


class Stack:
    """A sandbox at a fixed address, a broker, and workers, each of which can be stopped and started."""

    def __init__(self, folder: Path, broker: str, *, pool: str = "prefork", queue: str = "celery") -> None:
        self.folder = folder
        self.broker = broker
        self.pool = pool
        self.queue = queue
        self.port = free_port()
        self.sandbox = Sandbox(f"http://127.0.0.1:{self.port}")
        self.sandbox_process: Process | None = None
        self.workers: list[Process] = []
        self.settings = {
            "ACCOUNTS": {"default": {**self.sandbox.account, **TIMEOUTS}},
            "DELIVERY": DELIVERY,
        }

    def start_sandbox(self) -> None:
        command = [
            "-m",
            "bronto_orders.sandbox",
            "--port",
            str(self.port),
            "--database",
            str(self.folder / "bronto.db"),
        ]
        self.sandbox_process = Process(sys.executable, *command, log=self.folder / "sandbox.log")
        eventually(self._sandbox_listens)

    def _sandbox_listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop_sandbox(self) -> None:
        assert self.sandbox_process is not None
        self.sandbox_process.kill()

    def start_worker(self, **environment: str) -> Process:
        number = len(self.workers)
        log = self.folder / f"worker{number}.log"
        # Celery has no beat within a gevent pool.
        beat = [] if self.pool == "gevent" else ["-B", "-s", str(self.folder / f"beat{number}")]
        worker = Process(
            *(sys.executable, "-m", "celery", "-A", "tests.workers.celery_app", "worker", "--pool", self.pool),
            *("-c", "2", *beat, "-l", "INFO", "-n", f"worker{number}@%h"),
            log=log,
            BRONTO_TEST_DATABASE_NAME=connection.settings_dict["NAME"],
            BRONTO_TEST_BROKER=self.broker,
            BRONTO_TEST_QUEUE=self.queue,
            BRONTO_TEST_BROKER_FOLDER=str(self.folder) if self.broker.startswith("filesystem") else "",
            BRONTO_TEST_SETTINGS=json.dumps(self.settings),
            **environment,
        )
        self.workers.append(worker)
        eventually(lambda: " ready." in log.read_text())
        return worker

    def stop(self) -> None:
        for process in [*self.workers, *filter(None, [self.sandbox_process])]:
            if process.popen.poll() is None:
                process.stop()

    def logs(self) -> str:
        return "\n".join(f"--- {log.name}\n{log.read_text()[-4000:]}" for log in sorted(self.folder.glob("*.log")))


def running_stack(
    folder: Path, broker: str, monkeypatch: pytest.MonkeyPatch, *, pool: str = "prefork", queue: str = "celery"
) -> Iterator[Stack]:
    for name in ("messages", "control"):
        (folder / name).mkdir()
    stack = Stack(folder, broker, pool=pool, queue=queue)
    app = celery.Celery("shop", broker=broker, set_as_current=False)
    app.conf.task_default_queue = queue
    app.conf.broker_transport_options = (
        {
            "data_folder_in": str(folder / "messages"),
            "data_folder_out": str(folder / "messages"),
            "control_folder": str(folder / "control"),
        }
        if broker.startswith("filesystem")
        else {}
    )
    monkeypatch.setattr(hints, "current_app", app)
    monkeypatch.setattr(hints, "_publishers", PerProcess(hints._Publisher))
    with override_settings(BRONTO_ORDERS=stack.settings):
        try:
            stack.start_sandbox()
            yield stack
        finally:
            stack.stop()
            print(stack.logs())  # noqa: T201 - pytest shows it when a test fails


@pytest.fixture
def pool() -> str:
    """The kind of Celery's pool; tests that try others take it as a parameter."""
    return "prefork"


@pytest.fixture
def stack(
    tmp_path: Path, transactional_db: None, broker: object, monkeypatch: pytest.MonkeyPatch, pool: str
) -> Iterator[Stack]:
    """The shop, the sandbox and workers with a broker that needs no server."""
    if pool == "gevent":
        need_package("gevent")
    yield from running_stack(tmp_path, "filesystem://", monkeypatch, pool=pool)
