"""What the measured processes do: ``python -m benchmarks.roles ROLE OPTIONS``, started by ``benchmarks.processes``.

A role is a generator: it makes all ready, yields, and then does the work that is measured. Its CPU time is that of its
whole process from there on, all threads included.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import django

#: The kind of an update that writes one order's result, guarded by its lease.
GUARDED = "guarded row update"

Role = Generator[None, None, dict[str, Any]]

ROLES: dict[str, Callable[..., Role]] = {}


def role(function: Callable[..., Role]) -> Callable[..., Role]:
    """Make a function a role, under its own name."""
    ROLES[function.__name__] = function
    return function


class Clock:
    """CPU and wall-clock seconds of this process since it was made."""

    def __init__(self) -> None:
        self._cpu, self._wall = _cpu(), time.monotonic()

    def read(self) -> dict[str, float]:
        """Return both, and the moments of start and end on the machine's clock."""
        now = time.monotonic()
        return {"cpu": _cpu() - self._cpu, "seconds": now - self._wall, "began": self._wall, "ended": now}


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class QueryCount:
    """Counts queries by kind; the guarded updates of rows, one for each order, apart from all others."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:  # noqa: FBT001
        self.kinds[kind_of(sql)] += 1
        return execute(sql, params, many, context)


def kind_of(sql: str) -> str:
    """Name what a statement does, as far as counting needs it."""
    words = sql.replace('"', "").replace("`", "").split()
    verb = words[0].upper() if words else ""
    if verb == "UPDATE":
        guard = sql.rpartition("WHERE")[2]
        guarded = "lease_token" in guard and words[1].endswith("order") and " IN (" not in guard
        return GUARDED if guarded else f"UPDATE {words[1]}"
    if verb in ("SELECT", "DELETE", "INSERT"):
        marker = "INTO" if verb == "INSERT" else "FROM"
        upper = [word.upper() for word in words]
        table = words[upper.index(marker) + 1] if marker in upper else "?"
        lock = " locking" if "FOR UPDATE" in sql.upper() else ""
        return f"{verb} {table}{lock}"
    return verb


@role
def deliver(*, alias: str, warm: int) -> Role:
    """Deliver all that is due, as ``bronto_deliver`` does; ``warm`` is one order to get token and connections with."""
    from django.db import connections

    from bronto_orders.delivery import engine

    engine.deliver("default", pks=[warm], using=alias)
    queries = QueryCount()
    yield
    with connections[alias].execute_wrapper(queries):
        clock = Clock()
        report = engine.deliver("default", using=alias)
        measured = clock.read()
    return {**measured, "counts": report.counts, "queries": queries.kinds}


@role
def bare(*, bodies: str, count: int, threads: int, url: str) -> Role:
    """Post bodies by one ``requests.Session`` from a pool of threads: the least that sending by requests can cost."""
    import requests
    from requests.adapters import HTTPAdapter

    texts = [body.encode() for body in json.loads(Path(bodies).read_text())]
    session = requests.Session()
    session.mount("http://", HTTPAdapter(pool_maxsize=threads))
    session.headers.update({"Content-Type": "application/json", "Authorization": "Bearer " + "a" * 40})
    address = f"{url}/orders?createContact=true&triggerEvents=true&force=false&ignoreInvalidTid=true"

    def post(body: bytes) -> int:
        return session.post(address, data=body, timeout=(3, 10)).status_code

    post(texts[0])
    chosen = [texts[number % len(texts)] for number in range(count)]
    yield
    clock = Clock()
    with ThreadPoolExecutor(threads) as pool:
        statuses = Counter(pool.map(post, chosen))
    return {**clock.read(), "counts": {"accepted": statuses[201]}}


@role
def check_out(*, alias: str, runs: int, saves: int) -> Role:
    """Save orders with their items in one transaction each: with the app, with parts of it, and with plain models."""
    import benchmarks.celery_app  # noqa: F401 - the shop has a broker
    from benchmarks import checkout

    shop = checkout.Shop(alias)
    shop.warm_up()
    yield
    return shop.measure(runs=runs, saves=saves)


@role
def place_orders(*, alias: str, samples: int) -> Role:
    """Save one order after another, each when the last is acknowledged; take the time from commit to then."""
    import benchmarks.celery_app  # noqa: F401 - the shop has a broker
    from benchmarks import latency

    shop = latency.Shop(alias)
    shop.warm_up()
    yield
    return {"samples": [shop.place_order() for _ in range(samples)]}


@role
def deliver_for_long(*, alias: str, pks: list[int], total: int, every: int) -> Role:
    """Deliver the same orders again and again, changed each time; note the memory in use after every so many."""
    from benchmarks import memory

    keeper = memory.Keeper(alias, pks)
    keeper.deliver_once()
    yield
    return {"memory": keeper.deliver(total, every)}


@role
def claim_in_turns(*, small: str, large: str, claims: int) -> Role:
    """Claim batches from two databases in turns; take the time of each claim."""
    from benchmarks import scale

    scale.claim_batch(small)
    scale.claim_batch(large)
    yield
    times = [(scale.claim_batch(small), scale.claim_batch(large)) for _ in range(claims)]
    return {"small": [one for one, _other in times], "large": [other for _one, other in times]}


@role
def open_pages(*, alias: str, runs: int) -> Role:
    """Ask the database what pages of the admin ask; take its time and count the queries."""
    from benchmarks import admin

    yield
    return admin.measure(alias, runs)


def main() -> None:
    """Play a role."""
    name, options = sys.argv[1], json.loads(sys.argv[2])
    django.setup()
    playing = ROLES[name](**options)
    next(playing)
    print('"ready"', flush=True)
    sys.stdin.readline()
    try:
        next(playing)
    except StopIteration as end:
        print(json.dumps(end.value), flush=True)


if __name__ == "__main__":
    main()
