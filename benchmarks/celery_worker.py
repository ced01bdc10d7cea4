"""A real Celery worker on Redis, with a queue of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from benchmarks import databases, processes
from benchmarks.settings import NAME

READY_SECONDS = 60


class CeleryWorker:
    """A worker with some prefork processes, or with threads in one process, as a context manager."""

    def __init__(self, concurrency_of_pool: int, *, pool: str = "prefork", **place: Any) -> None:
        databases.need_redis()
        self._folder = TemporaryDirectory()
        log = Path(self._folder.name) / "worker.log"
        command = [sys.executable, "-m", "celery", "-A", "benchmarks.celery_app", "worker", "--loglevel", "INFO"]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [*command, "--pool", pool, "-c", str(concurrency_of_pool), "--without-mingle", "--without-gossip"],
                stdout=output,
                stderr=output,
                cwd=processes.ROOT,
                env=processes.environment(**place),
            )
        gives_up_at = time.monotonic() + READY_SECONDS
        while " ready." not in (text := log.read_text(errors="replace")):
            if self._process.poll() is not None or time.monotonic() > gives_up_at:
                self.__exit__()
                raise RuntimeError(f"the Celery worker does not start:\n{text[-2000:]}")
            time.sleep(0.05)

    def __enter__(self) -> CeleryWorker:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()
        empty_queue()

    def cpu(self) -> float:
        """Return the CPU seconds that its main process has used, user and system mode; threads are part of it."""
        used = psutil.Process(self._process.pid).cpu_times()
        return used.user + used.system

    def hint(self, alias: str) -> None:
        """Tell one of its processes to deliver."""
        from benchmarks.celery_app import app

        app.send_task("bronto_orders.deliver", kwargs={"account": "default", "using": alias})


def empty_queue() -> None:
    """Remove what is left in the broker."""
    databases.need_redis().delete(NAME)
