from __future__ import annotations

import threading

import pytest

from bronto_orders.delivery.threads import Threads


def test_every_job_is_done_before_it_ends() -> None:
    done: list[int] = []
    with Threads(3, done.append) as threads:
        for number in range(100):
            threads.submit(number)
    assert sorted(done) == list(range(100))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("bronto-orders-send")]


def test_no_more_threads_than_jobs_or_than_allowed() -> None:
    seen: set[str] = set()
    together = threading.Barrier(2, timeout=10)

    def work(number: int) -> None:
        seen.add(threading.current_thread().name)
        together.wait()

    with Threads(2, work) as threads:
        threads.submit(1)
        assert len(threads._threads) == 1
        for number in (2, 3, 4):
            threads.submit(number)
    assert len(seen) == 2


def test_fewer_threads_than_wanted_do_the_work_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    start, done = threading.Thread.start, []

    def start_one(thread: threading.Thread) -> None:
        if thread.name == "bronto-orders-send-1":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_one)
    with Threads(3, done.append) as threads:
        for number in range(5):
            threads.submit(number)
    assert sorted(done) == list(range(5))


def test_after_an_error_only_what_was_begun_is_done() -> None:
    begun, go_on, done = threading.Event(), threading.Event(), []

    def work(number: int) -> None:
        begun.set()
        assert go_on.wait(10)
        done.append(number)

    def run() -> None:
        with Threads(1, work) as threads:
            for number in range(5):
                threads.submit(number)
            assert begun.wait(10)
            threading.Timer(0.2, go_on.set).start()
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        run()
    assert done == [0]
