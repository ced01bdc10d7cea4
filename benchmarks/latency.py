"""How long one order takes from its commit to its acknowledgement, on an idle system: Redis, a real Celery worker."""

from __future__ import annotations

import time
from collections.abc import Iterator

from django.db import transaction

from benchmarks import databases, orders
from benchmarks.celery_worker import CeleryWorker
from benchmarks.measure import Effort, Figure, percentile
from benchmarks.processes import run as run_children
from benchmarks.stub import Stub

SAMPLES = 200
LATENCY = 0.05
#: Seconds between looks at the row, which is by how much a sample may be too long.
LOOK_SECONDS = 0.001
PATIENCE_SECONDS = 30.0
#: Seconds between an acknowledgement and the next order.
IDLE_SECONDS = 0.05


PARTS = {
    "total": "",
    "before": "hint, broker, claim, build",
    "call": "the call",
    "after": "record, and looking",
}


class Shop:
    """Places single orders and waits for each."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self._number = 0

    def warm_up(self) -> None:
        """Let the worker connect to everything and get its token."""
        for _ in range(5):
            self.place_order()

    def place_order(self) -> dict[str, float]:
        """Return the seconds from the commit to when another connection sees the order acknowledged, and its parts."""
        from bronto_orders.models import LineItem, Order, SyncAttempt, SyncState

        time.sleep(IDLE_SECONDS)
        self._number += 1
        moments = []
        with transaction.atomic(using=self.alias):
            # Registered before the app's own hook, which wakes the worker: that is part of what is measured.
            transaction.on_commit(lambda: moments.append(time.time()), using=self.alias)
            order = orders.new_order(self._number)
            order.save(using=self.alias)
            LineItem.objects.using(self.alias).bulk_create(orders.new_items(order))
        (committed,) = moments
        row = Order.objects.using(self.alias).filter(pk=order.pk, sync_state=SyncState.SYNCED)
        while not row.exists():
            if time.time() > committed + PATIENCE_SECONDS:
                raise RuntimeError("the worker does not deliver")
            time.sleep(LOOK_SECONDS)
        seen = time.time()
        attempt = SyncAttempt.objects.using(self.alias).get(order=order.pk)
        sent = attempt.started_at.timestamp()
        answered = sent + attempt.duration_ms / 1e3
        return {
            "total": seen - committed,
            "before": sent - committed,
            "call": answered - sent,
            "after": seen - answered,
        }


def run(effort: Effort) -> Iterator[Figure]:
    """Place orders one by one on PostgreSQL."""
    alias = "postgresql"
    try:
        databases.create(alias)
        with Stub(LATENCY) as stub, CeleryWorker(1, bronto=stub.url, concurrency=16):
            options = {"alias": alias, "samples": 40 if effort.short else SAMPLES}
            (result,) = run_children("place_orders", [options])
    finally:
        databases.drop(alias)
    samples = {part: [sample[part] * 1e3 for sample in result["samples"]] for part in PARTS}
    what = f"commit to acknowledged, {LATENCY * 1000:.0f} ms of it the remote end's"
    for share, name in ((0.5, f"median of {len(result['samples'])}"), (0.99, "99th percentile")):
        values = [percentile(samples["total"], share)]
        yield Figure(benchmark="latency", what=f"{what}: {name}", values=values, unit="ms")
    for part, label in PARTS.items():
        if label:
            values = [percentile(samples[part], 0.5)]
            yield Figure(benchmark="latency", what=f"of it {label}: median", values=values, unit="ms")
