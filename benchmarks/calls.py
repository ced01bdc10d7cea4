"""Counts that no machine's speed changes: Python calls and queries, for a delivered order and for a save.

A count of calls, of Python functions and of built-in ones, differs by a few percent from one version of Python or
Django to the next and hardly from one machine to another: what CI can hold to a bound. SQLite, a batch at a time in
flight; the remote end takes its time, so that batches are full whatever the machine.
"""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import requests
from django.db import connections
from django.test import override_settings

from benchmarks import databases, orders
from benchmarks.checkout import Shop, disconnected
from benchmarks.deliveries import body_of
from benchmarks.measure import Effort, Figure
from benchmarks.roles import GUARDED, QueryCount
from benchmarks.stub import Stub

ORDERS = 128
THREADS, LATENCY = 32, 0.05
SAVES = 20
BARE_POSTS = 20
#: Bounds, somewhat above what was counted: a change that goes beyond one of them is to be explained.
MOST_CALLS = 4_200
MOST_CALLS_OF_SAVE = 1.15
MOST_QUERIES = 0.25


def count_calls(work: Callable[[], Any]) -> int:
    """Count the calls, of Python functions and of built-in ones, in this thread and in those that start meanwhile."""
    numbers = itertools.count()

    def note(_frame: Any, event: str, _argument: Any) -> None:
        if event in ("call", "c_call"):
            next(numbers)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return next(numbers)


class Counts:
    """What is counted, on one database that is there and empty."""

    def __init__(self, alias: str = "default") -> None:
        self.alias = alias

    def deliver(self, count: int = ORDERS) -> dict[str, float]:
        """Return calls and queries of a delivered order, and the calls of a bare post of the same body."""
        from bronto_orders.delivery import engine

        with Stub(LATENCY) as stub, override_settings(BRONTO_ORDERS={"ACCOUNTS": {"default": _account(stub.url)}}):
            orders.seed(self.alias, 1)
            engine.deliver("default", using=self.alias)
            pks = orders.seed(self.alias, count, first=1)
            body = body_of(self.alias, pks[0]).encode()
            queries = QueryCount()
            with connections[self.alias].execute_wrapper(queries):
                engine.deliver("default", using=self.alias)
            if orders.synced(self.alias) != count + 1:
                raise RuntimeError("not all orders were acknowledged")
            orders.make_due(self.alias)
            calls = count_calls(lambda: engine.deliver("default", using=self.alias))
        with Stub(0) as stub, requests.Session() as session:

            def post() -> None:
                session.post(f"{stub.url}/orders?createContact=true", data=body, timeout=(3, 10))

            def post_some() -> None:
                for _ in range(BARE_POSTS):
                    post()

            post()
            bare = count_calls(post_some)
        return {
            "calls": calls / (count + 1),
            "bare": bare / BARE_POSTS,
            "queries": (queries.kinds.total() - queries.kinds[GUARDED]) / count,
            "guarded": queries.kinds[GUARDED] / count,
        }

    def save(self, count: int = SAVES) -> dict[str, float]:
        """Return calls of a save, with the app's receivers and without."""
        shop = Shop(self.alias)
        shop.save()

        def save_some() -> None:
            for _ in range(count):
                shop.save()

        with disconnected():
            shop.save()
            off = count_calls(save_some) / count
        shop.save()
        return {"on": count_calls(save_some) / count, "off": off}


def _account(url: str) -> dict[str, Any]:
    return {
        "CLIENT_ID": "benchmark",
        "CLIENT_SECRET": "benchmark",
        "API_URL": url,
        "TOKEN_URL": f"{url}/oauth2/token",
        "CREATE_CONTACT": True,
        "CONCURRENCY": THREADS,
    }


def run(effort: Effort) -> Iterator[Figure]:
    """Count on SQLite; each count is taken once."""
    try:
        databases.create("default")
        counts = Counts()
        save = counts.save()
        databases.create("default")
        deliver = counts.deliver()
    finally:
        databases.drop("default")

    def figure(what: str, value: float, unit: str = "", at_most: float | None = None) -> Figure:
        return Figure(benchmark="calls", what=what, values=[value], unit=unit, at_most=at_most, exact=True)

    yield figure("Python calls of a delivered order", deliver["calls"], at_most=MOST_CALLS)
    yield figure("Python calls of a bare requests.Session.post", deliver["bare"])
    what = "queries of a delivered order beside guarded updates"
    yield figure(what, deliver["queries"], at_most=MOST_QUERIES)
    yield figure("Python calls of a save, receivers off", save["off"])
    yield figure("Python calls of a save, app on, no broker", save["on"])
    what = "Python calls of a save, app on beside receivers off"
    yield figure(what, save["on"] / save["off"], "times", MOST_CALLS_OF_SAVE)
