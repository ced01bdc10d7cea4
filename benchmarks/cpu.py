"""What a delivered order costs in CPU, from claim to record, beside two other ways of sending it.

The three sides take turns. The CPU is that of the worker processes in user and system mode; the stub and the database
are processes of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.deliveries import backlog
from benchmarks.measure import Effort, Figure, ratios

ORDERS = 5000
PLAIN_ORDERS = 2000
SHORT_ORDERS, SHORT_PLAIN_ORDERS = 1000, 500
WORKERS, THREADS, LATENCY = 2, 32, 0.05
#: Times the CPU of a bare ``requests.Session.post``.
MOST_OF_BARE = 1.75
#: Times the orders that the straightforward integration sends in a second of CPU.
LEAST_OF_PLAIN = 5.0


def run(effort: Effort) -> Iterator[Figure]:
    """Deliver, post barely and integrate plainly in turns, on PostgreSQL."""
    load: dict[str, Any] = {"workers": WORKERS, "threads": THREADS, "latency": LATENCY}
    ours, bare, plain = [], [], []
    plain_orders = effort.orders(PLAIN_ORDERS, SHORT_PLAIN_ORDERS)
    with backlog("postgresql", effort.orders(ORDERS, SHORT_ORDERS)) as stock:
        for _ in range(effort.runs):
            ours.append(stock.deliver(**load).cpu_per_order)
            bare.append(stock.post_bare(**load).cpu_per_order)
            plain.append(stock.integrate_plainly(plain_orders, **load).cpu_per_order)
    for what, values in (
        ("delivered order, claim to record", ours),
        ("bare requests.Session.post of the same body", bare),
        ("straightforward integration", plain),
    ):
        yield Figure(benchmark="cpu", what=f"CPU: {what}", values=[value * 1e6 for value in values], unit="µs")
    yield Figure(
        benchmark="cpu",
        what="CPU of a delivered order beside the bare post",
        values=ratios(ours, bare),
        unit="times",
        at_most=MOST_OF_BARE,
    )
    yield Figure(
        benchmark="cpu",
        what="orders a second of CPU beside the straightforward integration",
        values=ratios(plain, ours),
        unit="times",
        at_least=LEAST_OF_PLAIN,
    )
