"""Whether a million orders at rest slow the due ones down, and whether more workers deliver more."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

from django.db import connections

from benchmarks import databases, orders, processes
from benchmarks.deliveries import backlog
from benchmarks.measure import Effort, Figure

DUE, AT_REST = 10_000, 1_000_000
BATCH = 100
MOST_SLOWER = 1.5
LATENCY, THREADS = 0.2, 16
ORDERS_PER_WORKER = 400
WORKERS = (1, 2, 4)
#: Share of what as many single workers would deliver.
LEAST_OF_PROPORTION = 0.9

#: Columns without a default in the database, and what they hold in an order at rest; ``n`` is a number.
_TEXT = """contact_id shipping_details shipping_tracking_url message_id delivery_id tid tracking_cookie_name
    tracking_cookie_value attribution_source attribution_note sync_reason sync_message"""
_AT_REST = {
    **dict.fromkeys(_TEXT.split(), "''"),
    "account": "'default'",
    "customer_order_id": "'rest-' || n",
    "email_address": "'shopper' || n || '@example.com'",
    "order_date": "now()",
    "currency": "'USD'",
    "grand_total": "21.32",
    "origin_user_agent": "'Mozilla/5.0'",
    "order_source": "'WEBSITE'",
    "processed": "true",
    "shipped": "false",
    "revision": "1",
    "acked_revision": "1",
    "attempts": "0",
    "flips": "0",
    "crashes": "0",
    "bulk": "false",
    "due_at": "NULL",
    "presence": "'present'",
    "last_sent": "jsonb_build_object('customerOrderId', 'rest-' || n, 'grandTotal', 21.32, 'currency', 'USD')",
    "last_sent_hash": "md5(n::text) || md5(n::text)",
    "bronto_order_id": "md5(n::text)",
    "synced_at": "now()",
    "has_tracking": "true",
    "sync_state": "'synced'",
}


def add_at_rest(alias: str, count: int) -> None:
    """Insert orders that Bronto has acknowledged, and an item for each."""
    with connections[alias].cursor() as cursor:
        cursor.execute(
            f"INSERT INTO bronto_orders_order ({', '.join(_AT_REST)}) "
            f"SELECT {', '.join(_AT_REST.values())} FROM generate_series(1, %s) AS n",
            [count],
        )
        cursor.execute(
            """INSERT INTO bronto_orders_lineitem (order_id, position, name, description, sku, other, category,
                    image_url, product_url, quantity)
                SELECT id, 0, 'Coffee Mug', '', '0003105', '', '', '', '', 1 FROM bronto_orders_order
                WHERE sync_state = 'synced'"""
        )


def claim_batch(alias: str) -> float:
    """Claim one batch, its orders and items read. Returns the seconds that it took."""
    from bronto_orders.conf import bronto_settings
    from bronto_orders.delivery import claims

    started = time.perf_counter()
    claimed = claims.claim("default", BATCH, bronto_settings.delivery, using=alias)
    took = time.perf_counter() - started
    if len(claimed) != BATCH:
        raise RuntimeError(f"{len(claimed)} orders were claimed, not {BATCH}")
    return took


def run(effort: Effort) -> Iterator[Figure]:
    """Compare two tables, then one, two and four workers, on PostgreSQL."""
    yield from _claims(effort)
    yield from _workers(effort)


def _claims(effort: Effort) -> Iterator[Figure]:
    small, large = "postgresql", "large"
    at_rest = AT_REST // 10 if effort.short else AT_REST
    times: dict[str, list[float]] = {"small": [], "large": []}
    try:
        for alias in (small, large):
            databases.create(alias)
        add_at_rest(large, at_rest)
        for alias in (small, large):
            orders.seed(alias, DUE)
        for _ in range(effort.runs):
            for alias in (small, large):
                _make_due(alias)
            options = {"small": small, "large": large, "claims": 20 if effort.short else DUE // BATCH - 2}
            (result,) = processes.run("claim_in_turns", [options])
            for side, values in times.items():
                values.append(statistics.median(result[side]))
    finally:
        for alias in (small, large):
            databases.drop(alias)
    for side, what in (("small", f"{DUE:,} due"), ("large", f"{DUE:,} due among {at_rest:,} at rest")):
        values = [value * 1e3 for value in times[side]]
        yield Figure(benchmark="scale", what=f"claim of {BATCH} orders, {what}", values=values, unit="ms")
    yield Figure(
        benchmark="scale",
        what=f"claim among {at_rest:,} at rest beside none",
        values=[large / small for large, small in zip(times["large"], times["small"], strict=True)],
        unit="times",
        at_most=MOST_SLOWER,
    )


def _make_due(alias: str) -> None:
    """Have the orders that were claimed due again. Those at rest are left alone."""
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "UPDATE bronto_orders_order SET due_at = now(), lease_token = NULL, lease_revision = NULL, "
            "crashes = 0, attempts = 0, sync_state = 'pending' WHERE due_at IS NOT NULL"
        )
    orders.tidy(alias)


def _workers(effort: Effort) -> Iterator[Figure]:
    """Let more and more workers drain a backlog that is as much longer."""
    each = effort.orders(ORDERS_PER_WORKER, 200)
    rates: dict[int, list[float]] = {workers: [] for workers in WORKERS}
    with backlog("postgresql", each * max(WORKERS)) as stock:
        for _ in range(effort.runs):
            for workers in WORKERS:
                done = stock.deliver(workers=workers, threads=THREADS, latency=LATENCY, count=each * workers)
                rates[workers].append(done.rate)
    for workers in WORKERS:
        what = f"{workers} x {THREADS} in flight, {LATENCY * 1000:.0f} ms: orders"
        yield Figure(benchmark="scale", what=what, values=rates[workers], unit="/s")
    for workers in WORKERS[1:]:
        yield Figure(
            benchmark="scale",
            what=f"rate of {workers} workers beside {workers} times that of one",
            values=[many / (workers * one) for many, one in zip(rates[workers], rates[1], strict=True)],
            unit="%",
            at_least=LEAST_OF_PROPORTION,
        )
