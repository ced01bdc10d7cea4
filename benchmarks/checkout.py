"""What a checkout pays: one order with three items, saved in one transaction.

Four sides take turns, a block of saves each:

* plain: plain Django models with the shop's columns only: what the shop would save if there were no mirror at all;
* disconnected: this app's models, its receivers disconnected: the delivery columns and the marks, no wake-up;
* unpublished: the same with receivers, but for the message to the broker;
* on: all of it, the message to a real Redis included.

Saves in a row show what a busy process pays; the app sends one message for many then. Saves by themselves, with a
pause after each, show what a caller waits for when each save sends its own message, and the CPU time of it all, of the
thread that publishes too. The target compares *on* with *disconnected*. The plain models stand beside it: a shop that
saves into these models in the place of its own pays that; one that mirrors its own tables pays the whole save on top.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from unittest import mock

from django.db import connections, transaction
from django.db.models.signals import post_save
from django.dispatch import Signal

from benchmarks import databases, orders
from benchmarks.celery_worker import empty_queue
from benchmarks.measure import Effort, Figure, ratios
from benchmarks.processes import run as run_children
from benchmarks.settings import NAME

SAVES = 200
MOST_QUERIES, MOST_TIME = 1.10, 1.25
#: Longer than the app waits between two messages, so that each save sends its own.
PAUSE_SECONDS = 0.08
WAYS = {
    "in_a_row": "saves in a row, time of one",
    "alone": "a save by itself, time",
    "cpu": "a save by itself, CPU with all it sets off",
}
SIDES = {
    "plain": "plain models, no app",
    "disconnected": "receivers off",
    "unpublished": "app on, hint not sent",
    "on": "app on, hint sent",
}


@contextlib.contextmanager
def disconnected() -> Iterator[None]:
    """Take all receivers of writes away for a while; nobody but the app has any here."""
    from bronto_orders.signals import orders_marked

    signals = (post_save, orders_marked)
    connected = [signal.receivers for signal in signals]
    _connect(signals, [[] for _ in signals])
    try:
        yield
    finally:
        _connect(signals, connected)


def _connect(signals: Iterable[Signal], receivers: Iterable[Any]) -> None:
    for signal, those in zip(signals, receivers, strict=True):
        signal.receivers = those
        signal.sender_receivers_cache.clear()


@contextlib.contextmanager
def _unpublished() -> Iterator[None]:
    from bronto_orders.delivery import hints

    with mock.patch.object(hints, "wake"):
        yield


_MODES: dict[str, Callable[[], contextlib.AbstractContextManager[None]]] = {
    "plain": disconnected,
    "disconnected": disconnected,
    "unpublished": _unpublished,
    "on": contextlib.nullcontext,
}


class Shop:
    """Saves orders, one transaction each."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self._number = 0

    def save(self, *, plain: bool = False) -> None:
        """Save one order with its items, as a checkout does."""
        from benchmarks.models import PlainItem, PlainOrder
        from bronto_orders.models import LineItem, Order

        self._number += 1
        with transaction.atomic(using=self.alias):
            order = orders.new_order(self._number, PlainOrder if plain else Order)
            order.save(using=self.alias)
            for item in orders.new_items(order, PlainItem if plain else LineItem):
                item.save(using=self.alias)

    def queries(self, side: str) -> int:
        """Count the statements of one save, those that begin and end the transaction aside."""
        count = 0

        def wrapper(execute: Any, *args: Any) -> Any:
            nonlocal count
            count += 1
            return execute(*args)

        with _MODES[side](), connections[self.alias].execute_wrapper(wrapper):
            self.save(plain=side == "plain")
        return count

    def warm_up(self) -> None:
        for side in SIDES:
            self._block(side, 20)

    def _block(self, side: str, saves: int) -> float:
        with _MODES[side]():
            started = time.perf_counter()
            for _ in range(saves):
                self.save(plain=side == "plain")
            return (time.perf_counter() - started) / saves

    def measure(self, *, runs: int, saves: int) -> dict[str, Any]:
        """Return seconds for a save on each side, run by run, and for a message alone, and counts of queries."""
        found: dict[str, Any] = {name: {side: [] for side in SIDES} for name in ("in_a_row", "alone", "cpu")}
        # Short blocks in turns: a disk's mood lasts longer than one.
        blocks = 10
        for _ in range(runs):
            sums = dict.fromkeys(SIDES, 0.0)
            for _block in range(blocks):
                for side in SIDES:
                    sums[side] += self._block(side, saves // blocks)
            for side, total in sums.items():
                found["in_a_row"][side].append(total / blocks)
            samples: dict[str, list[tuple[float, float]]] = {side: [] for side in SIDES}
            for _sample in range(saves // 10):
                for side in SIDES:
                    samples[side].append(self._alone(side))
            for side, pairs in samples.items():
                found["alone"][side].append(statistics.median(seconds for seconds, _cpu in pairs))
                found["cpu"][side].append(statistics.median(cpu for _seconds, cpu in pairs))
        found["sent"] = databases.need_redis().llen(NAME)
        found["message"] = [_publish(saves) for _ in range(runs)]
        found["queries"] = {side: self.queries(side) for side in SIDES}
        return found

    def _alone(self, side: str) -> tuple[float, float]:
        """Save one order and then do nothing for a while, as a web process does between two checkouts.

        Returns the seconds that the caller waited, and the CPU seconds of all that the save set off.
        """
        with _MODES[side]():
            cpu, started = time.process_time(), time.perf_counter()
            self.save(plain=side == "plain")
            seconds = time.perf_counter() - started
            time.sleep(PAUSE_SECONDS)
            return seconds, time.process_time() - cpu


def _publish(count: int) -> float:
    """Return the seconds that Celery takes to hand one message to the broker."""
    from benchmarks.celery_app import app

    message = {"account": "default", "using": "default", "trigger": "signal"}
    started = time.perf_counter()
    for _ in range(count):
        app.send_task("bronto_orders.deliver", kwargs=message, expires=30, ignore_result=True)
    return (time.perf_counter() - started) / count


def run(effort: Effort) -> Iterator[Figure]:
    """Measure on SQLite and PostgreSQL."""
    databases.need_redis()
    for alias in ("default", "postgresql"):
        try:
            databases.create(alias)
            yield from _on(alias, effort)
        finally:
            databases.drop(alias)
            empty_queue()


def _on(alias: str, effort: Effort) -> Iterator[Figure]:
    title = databases.TITLES[alias]
    options: dict[str, Any] = {"alias": alias, "runs": effort.runs, "saves": effort.orders(SAVES * 5) // 5}
    (result,) = run_children("check_out", [options])
    queries = result["queries"]
    if result["sent"] < options["runs"] * (options["saves"] // 10):
        print(f"{title}: the machine was too busy for some messages to be sent; the app's side looks better for it.")
    for name, what in WAYS.items():
        for side, label in SIDES.items():
            values = [value * 1e3 for value in result[name][side]]
            yield Figure(benchmark="checkout", what=f"{title}, {what}: {label}", values=values, unit="ms")
    yield Figure(
        benchmark="checkout",
        what=f"{title}, the message to Redis by itself",
        values=[value * 1e3 for value in result["message"]],
        unit="ms",
    )
    for base in ("disconnected", "plain"):
        for name, what in WAYS.items():
            yield Figure(
                benchmark="checkout",
                what=f"{title}, {what}, app on beside {SIDES[base]}",
                values=ratios(result[name]["on"], result[name][base]),
                unit="times",
                at_most=MOST_TIME if base == "disconnected" and name != "cpu" else None,
            )
        yield Figure(
            benchmark="checkout",
            what=f"{title}, queries of a save beside {SIDES[base]} ({queries['on']} to {queries[base]})",
            values=[queries["on"] / queries[base]],
            unit="times",
            at_most=MOST_QUERIES,
            exact=True,
        )
