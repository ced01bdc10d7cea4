"""How many requests a hundred saves of one order cost while its first push is in flight."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks import orders, processes
from benchmarks.deliveries import backlog
from benchmarks.measure import Effort, Figure
from benchmarks.stub import Stub

SAVES = 100
#: Long enough for all saves.
LATENCY = 1.5
MOST_REQUESTS = 2


def run(effort: Effort) -> Iterator[Figure]:
    """Save while a worker waits for its first answer, on PostgreSQL."""
    from bronto_orders.models import Order

    requests, saves = [], []
    with backlog("postgresql", 1) as stock:
        for _ in range(effort.runs):
            Order.objects.using(stock.alias).exclude(pk__in=[stock.pks[0], stock.warm[0]]).delete()
            orders.make_due(stock.alias)
            options = {"alias": stock.alias, "warm": stock.warm[0]}
            with (
                Stub(LATENCY) as stub,
                processes.children("deliver", [options], bronto=stub.url, concurrency=4) as (worker,),
            ):
                before = stub.counts()["orders"]
                order = Order.objects.using(stock.alias).get(pk=stock.pks[0])
                worker.go()
                while not stub.counts()["waiting"]:
                    time.sleep(0.01)
                for number in range(SAVES):
                    order.shipping_details = f"parcel {number}"
                    order.save(using=stock.alias)
                saves.append(SAVES if stub.counts()["waiting"] else 0)
                worker.result()
                requests.append(stub.counts()["orders"] - before)
            if orders.synced(stock.alias) != 2:
                raise RuntimeError("the order was not acknowledged")
    if not all(saves):
        raise RuntimeError("the saves took longer than the first push")
    yield Figure(
        benchmark="coalescing",
        what=f"requests for an order saved {SAVES} times while its first push is in flight",
        values=requests,
        unit="",
        at_most=MOST_REQUESTS,
        exact=True,
    )
