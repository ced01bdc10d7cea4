"""Runs of workers over a backlog of due orders, shared by the benchmarks that need some."""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from django.utils import timezone

from benchmarks import databases, orders, processes
from benchmarks.celery_worker import CeleryWorker
from benchmarks.plain import TASK
from benchmarks.stub import Stub
from bronto_orders.models import Order

#: Numbers of the orders with which workers warm up.
WARM = 10_000_000
MAX_PROCESSES = 4


@dataclass
class Run:
    """What some processes did together."""

    orders: int
    seconds: float
    #: CPU seconds of the processes, without the stub's and the database's.
    cpu: float
    queries: Counter[str] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        return self.orders / self.seconds

    @property
    def cpu_per_order(self) -> float:
        return self.cpu / self.orders


@dataclass
class Backlog:
    """Orders in a database, and keys of some more to warm up with."""

    alias: str
    pks: list[int]
    warm: list[int]
    folder: Path

    def deliver(self, *, workers: int, threads: int, latency: float, count: int | None = None) -> Run:
        """Deliver all orders, or the first so many, by real runs of the engine, from none sent to all acknowledged."""
        pks = self.pks[:count]
        orders.make_due(self.alias, keep=None if count is None else [*pks, *self.warm])
        with Stub(latency) as stub:
            options = [{"alias": self.alias, "warm": pk} for pk in self.warm[:workers]]
            # The orders to warm up with that no worker takes are delivered along with the others.
            results = processes.run("deliver", options, bronto=stub.url, concurrency=threads)
        total = len(pks) + len(self.warm)
        if (done := orders.synced(self.alias)) != total:
            raise RuntimeError(f"{done} of {total} orders were acknowledged")
        return _run(results)

    def post_bare(self, *, workers: int, threads: int, latency: float) -> Run:
        """Post one order's body as often as there are orders, by ``requests.Session`` alone."""
        bodies = self.folder / "bodies.json"
        bodies.write_text(json.dumps([body_of(self.alias, pk) for pk in self.pks[:100]]))
        with Stub(latency) as stub:
            share = len(self.pks) // workers
            options = {"bodies": str(bodies), "count": share, "threads": threads, "url": stub.url}
            return _run(processes.run("bare", [options] * workers))

    def integrate_plainly(self, count: int, *, workers: int, threads: int, latency: float) -> Run:
        """Send some of the orders as a straightforward integration would: a task for each, by real Celery workers."""
        pks, warm = self.pks[:count], self.pks[-4 * workers * threads :]
        Order.objects.using(self.alias).all().update(bronto_order_id="")
        with Stub(latency) as stub, contextlib.ExitStack() as stack:
            place: dict[str, Any] = {"bronto": stub.url}
            started = [stack.enter_context(CeleryWorker(threads, pool="threads", **place)) for _ in range(workers)]
            self._push_plainly(warm)
            cpu, began = sum(worker.cpu() for worker in started), time.monotonic()
            self._push_plainly(pks)
            return Run(
                orders=len(pks),
                seconds=time.monotonic() - began,
                cpu=sum(worker.cpu() for worker in started) - cpu,
            )

    def _push_plainly(self, pks: list[int]) -> None:
        """Have the tasks done, and wait until they are."""
        from benchmarks.celery_app import app

        for pk in pks:
            app.send_task(TASK, kwargs={"alias": self.alias, "pk": pk})
        unsent = Order.objects.using(self.alias).filter(pk__in=pks, bronto_order_id="")
        gives_up_at = time.monotonic() + 180
        while unsent.exists():
            if time.monotonic() > gives_up_at:
                raise RuntimeError("the straightforward integration does not send")
            time.sleep(0.05)


def body_of(alias: str, pk: int) -> str:
    """Return what is sent for an order."""
    from bronto_orders import wire
    from bronto_orders.payloads import add_body, build_document

    order = Order.objects.using(alias).get(pk=pk)
    return wire.dumps(add_body(build_document(order, order.line_items.all(), now=timezone.now())))


@contextlib.contextmanager
def backlog(alias: str, count: int) -> Iterator[Backlog]:
    """Make a database with orders in it, and drop it afterwards."""
    databases.create(alias)
    try:
        with TemporaryDirectory() as folder:
            warm = orders.seed(alias, MAX_PROCESSES, first=WARM)
            yield Backlog(alias, orders.seed(alias, count), warm, Path(folder))
    finally:
        databases.drop(alias)


def _run(results: list[dict[str, Any]]) -> Run:
    run = Run(
        orders=sum(sum(result["counts"].values()) for result in results),
        seconds=max(result["ended"] for result in results) - min(result["began"] for result in results),
        cpu=sum(result["cpu"] for result in results),
    )
    if set().union(*(result["counts"] for result in results)) != {"accepted"}:
        raise RuntimeError(f"not all was accepted: {[result['counts'] for result in results]}")
    for result in results:
        run.queries.update(result.get("queries", {}))
    return run
