"""How fast a backlog drains, beside the latency limit: requests in flight divided by latency."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks import databases, orders
from benchmarks.celery_worker import CeleryWorker
from benchmarks.deliveries import Backlog, Run, backlog, body_of
from benchmarks.measure import Effort, Figure
from benchmarks.roles import GUARDED
from benchmarks.stub import Stub, ceiling

#: With fewer, the last round, in which some connections have nothing left to do, weighs more.
ORDERS, SHORT_ORDERS = 5000, 2000
WORKERS = 2
#: Latency in seconds, requests in flight in each process, and the share of the limit that is to be reached.
CASES = ((0.05, 32, 0.90), (0.2, 64, 0.95))
#: Queries for each delivered order beside the guarded updates of rows.
MOST_QUERIES = 0.15


def run(effort: Effort) -> Iterator[Figure]:
    """Drain on each database there is."""
    for alias in ("postgresql", "mariadb", "default"):
        try:
            yield from _on(alias, effort)
        except databases.MissingServiceError as error:
            print(f"skipped: {error}")


def _on(alias: str, effort: Effort) -> Iterator[Figure]:
    title = databases.TITLES[alias]
    on_postgresql = alias == "postgresql"
    with backlog(alias, effort.orders(ORDERS, SHORT_ORDERS)) as stock:
        if on_postgresql:
            top = ceiling(body_of(alias, stock.pks[0]).encode())
            yield Figure(benchmark="drain", what="the stub alone, without latency", values=[top.per_second], unit="/s")
            yield Figure(benchmark="drain", what="the stub's CPU", values=[top.cpu_seconds * 1e6], unit="µs")
        for latency, threads, share in CASES if on_postgresql else CASES[:1]:
            runs, bare = [], []
            for _ in range(effort.runs):
                runs.append(stock.deliver(workers=WORKERS, threads=threads, latency=latency))
                if on_postgresql:
                    bare.append(stock.post_bare(workers=WORKERS, threads=threads, latency=latency))
            limit = WORKERS * threads / latency
            what = f"{title}, {latency * 1000:.0f} ms, {WORKERS} x {threads} in flight"
            yield Figure(
                benchmark="drain",
                what=f"{what}: share of the limit of {limit:,.0f}/s",
                values=[one.rate / limit for one in runs],
                unit="%",
                at_least=share if on_postgresql else None,
            )
            if on_postgresql:
                yield Figure(
                    benchmark="drain",
                    what=f"{what}: share that a bare requests.Session.post reaches",
                    values=[one.rate / limit for one in bare],
                    unit="%",
                )
            yield Figure(benchmark="drain", what=f"{what}: orders", values=[one.rate for one in runs], unit="/s")
            yield from _queries(what, runs, with_target=on_postgresql)
        if on_postgresql:
            yield from _through_celery(stock, effort)


def _queries(what: str, runs: list[Run], *, with_target: bool) -> Iterator[Figure]:
    def others(one: Run) -> float:
        return (one.queries.total() - one.queries[GUARDED]) / one.orders

    yield Figure(
        benchmark="drain",
        what=f"{what}: queries an order beside guarded updates",
        values=[others(one) for one in runs],
        unit="",
        at_most=MOST_QUERIES if with_target else None,
    )
    yield Figure(
        benchmark="drain",
        what=f"{what}: guarded updates an order",
        values=[one.queries[GUARDED] / one.orders for one in runs],
        unit="",
    )


def _through_celery(stock: Backlog, effort: Effort) -> Iterator[Figure]:
    """The same through a Celery worker with two processes; its first round warms it up."""
    latency, threads, _share = CASES[0]
    rates = []
    with Stub(latency) as stub, CeleryWorker(WORKERS, bronto=stub.url, concurrency=threads) as worker:
        for _round in range(effort.runs + 1):
            orders.make_due(stock.alias)
            started = time.monotonic()
            for _ in range(WORKERS):
                worker.hint(stock.alias)
            total = len(stock.pks) + len(stock.warm)
            while orders.synced(stock.alias) < total:
                if time.monotonic() > started + 120:
                    raise RuntimeError("the Celery worker does not deliver")
                time.sleep(0.02)
            rates.append(total / (time.monotonic() - started))
    limit = WORKERS * threads / latency
    yield Figure(
        benchmark="drain",
        what=f"the same through Celery prefork -c {WORKERS}: share of the limit",
        values=[rate / limit for rate in rates[1:]],
        unit="%",
    )
