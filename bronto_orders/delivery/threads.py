from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class Threads(Generic[T]):
    """Up to ``count`` threads that do ``work``, which must not raise, on one job after another.

    A ThreadPoolExecutor also makes a Future for each job, which nobody here needs, at fifteen times the price. Used as
    a context manager that waits for all jobs, but for those that no thread has begun when an error passes.
    """

    def __init__(self, count: int, work: Callable[[T], None]) -> None:
        self._count = count
        self._work = work
        self._jobs: SimpleQueue[T | None] = SimpleQueue()
        self._threads: list[Thread] = []

    def __enter__(self) -> Threads[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        while kind and not self._jobs.empty():
            with suppress(Empty):
                self._jobs.get_nowait()
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def submit(self, job: T) -> None:
        """Have the job done by the next thread that is free."""
        if len(self._threads) < self._count:
            thread = Thread(target=self._run, name=f"bronto-orders-send-{len(self._threads)}", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system's limit is reached: those that run do it
                if not self._threads:
                    raise
            else:
                self._threads.append(thread)
        self._jobs.put(job)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._work(job)
