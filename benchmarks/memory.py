"""Whether a worker's memory grows: one process, deliveries by the hundred thousand, a remote end without latency."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from django.db import connections
from django.db.models import F

from benchmarks import processes
from benchmarks.deliveries import backlog
from benchmarks.measure import Effort, Figure
from benchmarks.stub import Stub

ORDERS, TOTAL, EVERY = 2000, 100_000, 10_000
THREADS = 16
#: Growth after the first part, as a share of what was in use then.
MOST_GROWTH = 0.10


class Keeper:
    """Delivers a small table's orders again and again, as a worker process does for weeks."""

    def __init__(self, alias: str, pks: list[int]) -> None:
        self.alias = alias
        self.pks = pks

    def deliver_once(self) -> int:
        """Change all orders and deliver them. Returns how many were."""
        from bronto_orders.delivery import engine
        from bronto_orders.models import Order, SyncAttempt

        Order.objects.using(self.alias).filter(pk__in=self.pks).update(grand_total=F("grand_total") + 1)
        counts = engine.deliver("default", using=self.alias).counts
        if set(counts) - {"accepted"}:
            raise RuntimeError(f"not all was accepted: {counts}")
        with connections[self.alias].cursor() as cursor:
            cursor.execute(f"TRUNCATE TABLE {SyncAttempt._meta.db_table}")
        return sum(counts.values())

    def deliver(self, total: int, every: int) -> list[dict[str, int]]:
        """Deliver that many; note the memory after every so many."""
        noted: list[dict[str, int]] = []
        done = 0
        while done < total:
            before, done = done, done + self.deliver_once()
            if done // every > before // every:
                noted.append({"delivered": done, **in_use()})
        return noted


def in_use() -> dict[str, int]:
    """Return this process's resident bytes, and those that are its own alone."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    own = kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]
    return {"rss": kilobytes["Rss"] * 1024, "uss": own * 1024}


def run(effort: Effort) -> Iterator[Figure]:
    """Deliver for long on PostgreSQL."""
    total, every = (10_000, 2_000) if effort.short else (TOTAL, EVERY)
    with backlog("postgresql", ORDERS) as stock, Stub(0) as stub:
        options = {"alias": stock.alias, "pks": stock.pks, "total": total, "every": every}
        (result,) = processes.run("deliver_for_long", [options], bronto=stub.url, concurrency=THREADS)
    noted = result["memory"]
    middle = noted[len(noted) // 2 - 1]
    for one in (noted[0], middle, noted[-1]):
        for kind, name in (("rss", "resident"), ("uss", "its own")):
            what = f"memory {name} after {one['delivered']:,} deliveries"
            yield Figure(benchmark="memory", what=what, values=[one[kind] / 2**20], unit="MiB")
    for kind, name in (("rss", "resident"), ("uss", "own")):
        yield Figure(
            benchmark="memory",
            what=f"growth of {name} memory after the first {noted[0]['delivered']:,} deliveries",
            values=[noted[-1][kind] / noted[0][kind] - 1],
            unit="%",
            at_most=MOST_GROWTH,
        )
