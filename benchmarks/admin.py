"""Whether the admin stays fast with a million orders on PostgreSQL: its queries, and the time they take.

The dashboard has a million attempts of the last 24 hours to count as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from django.db import connections

from benchmarks import databases, orders, processes
from benchmarks.measure import Effort, Figure
from benchmarks.scale import _AT_REST

ORDERS = 1_000_000
MOST_MS = 300.0
MOST_QUERIES = 2
MOST_QUERIES_OF_DASHBOARD = 13
#: Looks at the dashboard until all hours are counted: one counts no more than ``figures.MOST_ATTEMPTS``.
LOOKS = 8

_SYNCED = "n % 100 < 97"
#: Of a hundred orders, one each is pending, rejected and skipped; a minute lies between one and the next.
_COLUMNS = {
    **_AT_REST,
    "account": "CASE WHEN n % 10 = 0 THEN 'outlet' ELSE 'default' END",
    "customer_order_id": "'W' || lpad(n::text, 8, '0')",
    "email_address": "'Shopper' || n % 400000 || '@example.com'",
    "order_date": "now() - (%(count)s - n) * interval '1 minute'",
    "tid": "CASE WHEN n % 3 = 0 THEN md5(n::text) ELSE '' END",
    "sync_state": """CASE n % 100 WHEN 97 THEN 'pending' WHEN 98 THEN 'rejected' WHEN 99 THEN 'skipped'
        ELSE 'synced' END""",
    "sync_reason": """CASE n % 300 WHEN 97 THEN 'server_error' WHEN 98 THEN 'poison' WHEN 198 THEN 'refused'
        WHEN 298 THEN 'refused' WHEN 99 THEN 'invalid:currency' WHEN 199 THEN 'no_contact' WHEN 299 THEN 'no_contact'
        ELSE '' END""",
    "due_at": "CASE WHEN n % 100 = 97 THEN now() + interval '1 minute' END",
    "acked_revision": f"CASE WHEN {_SYNCED} THEN 1 ELSE 0 END",
    "presence": f"CASE WHEN {_SYNCED} THEN 'present' ELSE 'absent' END",
    "last_sent": f"CASE WHEN {_SYNCED} THEN {_AT_REST['last_sent']} END",
    "last_sent_hash": f"CASE WHEN {_SYNCED} THEN {_AT_REST['last_sent_hash']} ELSE '' END",
    "bronto_order_id": f"CASE WHEN {_SYNCED} THEN '0ad24370-0000-0000-0000-' || lpad(n::text, 12, '0') ELSE '' END",
    "synced_at": f"CASE WHEN {_SYNCED} THEN now() - (%(count)s - n) * interval '1 minute' END",
    # Bronto did not take the tracking of some.
    "has_tracking": f"CASE WHEN {_SYNCED} THEN n % 3 = 0 AND n % 200 <> 0 END",
}

#: The list's pages by what they are; of several, the slowest counts. ``%d`` is an order in the middle.
LISTS = {
    "list, newest first": ["?"],
    "list, last page that is offered": ["?p=200", "?p=20"],
    "list, by last sent": ["?o=-5", "?o=5"],
    "filter by state": [f"?sync_state__exact={s}" for s in ("pending", "sending", "synced", "rejected", "skipped")],
    "filter by reason": ["?reason=refused", "?reason=no_contact", "?reason=invalid:", "?reason=auth"],
    "filter by account": ["?account=default", "?account=outlet", "?account=nobody"],
    "filter by last sent": [f"?last_sent={s}" for s in ("hour", "day", "week", "month", "year", "older", "never")],
    "filter by order date": [f"?ordered={s}" for s in ("hour", "day", "week", "month", "year", "older", "never")],
    "filter by tracking": [f"?tracking={s}" for s in ("yes", "unsent", "refused", "no")],
    "filter by Bronto ID": ["?bronto_id=yes", "?bronto_id=no"],
    "several filters at once": ["?sync_state__exact=rejected&ordered=older&account=outlet"],
    "search by order number": ["?q=W%08d", "?q=w00005", "?q=W", "?q=nothing"],
    "search by Bronto ID": ["?q=0ad24370-0000-0000-0000-%012d"],
    "search by e-mail address": ["?q=SHOPPER%d@example.com", "?q=nobody@example.com"],
}

#: An attempt for each order, as many in each hour. Of a hundred, five failed and one was redirected.
_ATTEMPTS = {
    "order_id": "id",
    "account": "account",
    "revision": "1",
    "operation": "'add'",
    "trigger": "'signal'",
    "started_at": "now() - (%(count)s - id) * (interval '24 hours' / %(count)s)",
    "duration_ms": "100 + id % 50",
    "http_status": "CASE WHEN id % 100 < 5 THEN 503 ELSE 201 END",
    "outcome": "CASE WHEN id % 100 < 5 THEN 'deferred' WHEN id % 100 = 5 THEN 'redirected' ELSE 'accepted' END",
    "reason": "''",
    "decision": "''",
    "request_excerpt": "''",
    "answer_excerpt": "''",
    "differences": "'[]'",
}


def fill(alias: str, count: int) -> None:
    """Insert that many orders, and an attempt for each."""
    with connections[alias].cursor() as cursor:
        for table, columns, source in (
            ("bronto_orders_order", _COLUMNS, "generate_series(1, %(count)s) AS n"),
            ("bronto_orders_syncattempt", _ATTEMPTS, "bronto_orders_order"),
        ):
            values = ", ".join(columns.values()).replace(" % ", " %% ")
            sql = f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {source}"
            cursor.execute(sql, {"count": count})
        cursor.execute("VACUUM ANALYZE bronto_orders_syncattempt")
    orders.tidy(alias)


def pages(alias: str) -> dict[str, list[Callable[[], object]]]:
    """Return the lists, by what they are."""
    from bronto_orders.models import Order

    middle = Order.objects.using(alias).count() // 200 * 100 + 1
    return {what: [_list(alias, query, middle) for query in queries] for what, queries in LISTS.items()}


def dashboards(alias: str) -> dict[str, list[Callable[[], object]]]:
    """Return the dashboard with an empty cache and with what it leaves there; of several looks, the slowest counts."""
    from django.core.cache import cache

    look = _dashboard(alias)

    def first_look() -> None:
        cache.clear()
        look()

    return {
        "dashboard, from an empty cache": [first_look, *[look] * LOOKS],
        "dashboard, all counted before": [look],
    }


def _list(alias: str, query: str, number: int) -> Callable[[], object]:
    from django.contrib.admin import AdminSite
    from django.contrib.auth.models import User
    from django.test import RequestFactory

    from bronto_orders.admin import OrderAdmin
    from bronto_orders.models import Order

    class Listed(OrderAdmin):
        def get_queryset(self, request: Any) -> Any:
            return super().get_queryset(request).using(alias)

    request = RequestFactory().get("/" + (query % number if "%" in query else query))
    request.user = User(is_active=True, is_staff=True, is_superuser=True)
    return lambda: list(Listed(Order, AdminSite()).get_changelist_instance(request).result_list)


def _dashboard(alias: str) -> Callable[[], object]:
    from django.contrib.admin import AdminSite
    from django.contrib.auth.models import User
    from django.test import RequestFactory, override_settings

    from bronto_orders.admin import OrderAdmin
    from bronto_orders.models import Order

    class Dashboard(OrderAdmin):
        def dashboard_url(self) -> str:
            return "/dashboard/"

        def list_url(self) -> str:
            return "/"

    class ToAlias:
        def db_for_write(self, model: Any, **hints: Any) -> str:
            return alias

    request = RequestFactory().get("/dashboard/")
    request.user = User(is_active=True, is_staff=True, is_superuser=True)

    def look() -> object:
        with override_settings(DATABASE_ROUTERS=[ToAlias()]):
            return Dashboard(Order, AdminSite()).get_dashboard_context(request)

    return look


def measure(alias: str, runs: int) -> dict[str, Any]:
    """Open each page that often. Returns, by what they are, the slowest page's milliseconds, and the most queries."""
    found = {}
    for what, opened in (pages(alias) | dashboards(alias)).items():
        times = [[_database_time(alias, page) for page in opened] for _ in range(runs + 1)]
        # The first time, rows may come from the disk.
        slowest = [max(seconds for seconds, _queries in run) * 1e3 for run in times[1:]]
        found[what] = {"ms": slowest, "queries": max(queries for run in times for _seconds, queries in run)}
    return found


def _database_time(alias: str, page: Callable[[], object]) -> tuple[float, int]:
    taken: list[float] = []

    def timed(execute: Any, *call: Any) -> Any:
        started = time.perf_counter()
        try:
            return execute(*call)
        finally:
            taken.append(time.perf_counter() - started)

    with connections[alias].execute_wrapper(timed):
        page()
    return sum(taken), len(taken)


def run(effort: Effort) -> Iterator[Figure]:
    """Fill a table and open the pages."""
    count = effort.orders(ORDERS, 10_000)
    try:
        databases.create("large")
        fill("large", count)
        (found,) = processes.run("open_pages", [{"alias": "large", "runs": effort.runs}], admin=True)
    finally:
        databases.drop("large")
    for what, measured in found.items():
        yield Figure(
            benchmark="admin", what=f"{what}, {count:,} orders", values=measured["ms"], unit="ms", at_most=MOST_MS
        )
    for what, most, names in (
        ("queries of any list", MOST_QUERIES, LISTS.keys()),
        ("queries of the dashboard", MOST_QUERIES_OF_DASHBOARD, found.keys() - LISTS.keys()),
    ):
        values = [max(found[name]["queries"] for name in names)]
        yield Figure(benchmark="admin", what=what, values=values, unit="", at_most=most, exact=True)
