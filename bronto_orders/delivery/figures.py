"""How many: orders by state and reason, deliveries and failures by the hour; quick also where there are millions.

Three things keep it so. Orders that wait or were given up are few, and have indexes of their own. All others are
counted once, and from then on only those that came later. Hours that are over are counted once, too. What was counted
is kept in Django's default cache if it was much; without a cache, or with one that is down, all is counted each time.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypedDict

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Count, DateTimeField, ExpressionWrapper, Func, IntegerField, Min, Subquery, Value
from django.db.models.sql.compiler import SQLCompiler
from django.utils import timezone
from django.utils.crypto import salted_hmac

from bronto_orders.client.patience import PatientCache
from bronto_orders.delivery import environment
from bronto_orders.models import DbNow, Order, SyncAttempt, SyncState
from bronto_orders.models.order import UNTRACKED

Outcome = SyncAttempt.Outcome

HOURS = 24
HOUR = timedelta(hours=1)
#: An attempt is written some time after it began, so that an hour is not complete when it is over.
LATE = timedelta(minutes=10)
#: What a delivery that failed ended in: for now, or for good.
FAILED = frozenset({Outcome.DEFERRED, Outcome.REJECTED, Outcome.UNKNOWN, Outcome.HELD, Outcome.LEASE_LOST})

#: Rows counted at once from which on the result is kept; fewer are counted again as quickly.
WORTH_KEEPING = 10_000
#: Seconds until all orders are counted afresh. Deleted orders are counted for that long.
KEEP_ORDERS = 600
KEEP_HOURS = 24 * 3600
#: Orders among which those are counted whose tracking was not taken.
NEWEST = 10_000
#: Attempts of past hours that one look reads. Where there are more, the next looks read on.
MOST_ATTEMPTS = 50_000


class _Cache(PatientCache):
    complaint = "Figures are counted afresh each time: the cache failed (%r: %s)."


_cache = _Cache()


@dataclass(frozen=True, order=True)
class Reason:
    """Why orders of an account were rejected or skipped, and how many were."""

    count: int
    state: str
    code: str


@dataclass
class Orders:
    """How many orders of one account there are."""

    by_state: dict[str, int] = field(default_factory=dict)
    #: The most frequent first.
    reasons: list[Reason] = field(default_factory=list)
    #: Seconds for which the oldest due order has been due, those included that wait for an earlier push to settle; None
    #: when none is.
    oldest_due_seconds: float | None = None


@dataclass(frozen=True)
class Traffic:
    """What was sent for an account in an hour."""

    delivered: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Hour:
    """An hour's traffic by account; None while it has not been counted yet."""

    start: datetime
    traffic: Mapping[str, Traffic] | None


def orders(*, using: str) -> dict[str, Orders]:
    """Return how many orders of each account there are."""
    totals = _totals(using)
    found = {account: Orders() for account in totals}
    # All accounts and both values of bulk are named, or MariaDB, which has no partial index, reads all orders.
    owed = Order.objects.using(using).order_by().owed().filter(account__in=list(totals), bulk__in=[False, True])
    now = ExpressionWrapper(DbNow(), output_field=DateTimeField())
    # From the index alone, as there may be very many of these.
    waiting = owed.values_list("account").annotate(count=Count("*"), oldest=Min("due_at"), now=now)
    for account, count, oldest, at in waiting:
        found[account].by_state[SyncState.PENDING] = count
        if oldest <= at:
            found[account].oldest_due_seconds = (at - oldest).total_seconds()
    # A lease that has run out makes its order one that waits.
    leased = owed.filter(due_at__gt=DbNow(), sync_state=SyncState.SENDING)
    for account, count in leased.values_list("account").annotate(count=Count("*")):
        by_state = found[account].by_state
        by_state[SyncState.SENDING] = count
        # Claimed between the two queries, it may not be among those counted.
        by_state[SyncState.PENDING] = max(0, by_state.get(SyncState.PENDING, 0) - count)
    parked = Order.objects.using(using).order_by().filter(sync_state__in=SyncState.parked())
    for account, state, code, count in parked.values_list("account", "sync_state", "sync_reason").annotate(
        count=Count("*")
    ):
        one = found.setdefault(account, Orders())
        one.by_state[state] = one.by_state.get(state, 0) + count
        one.reasons.append(Reason(count, state, code))
    for account, one in found.items():
        one.reasons.sort(reverse=True)
        # Counted at slightly different times, so that the rest may come out below nothing.
        if (rest := totals.get(account, 0) - sum(one.by_state.values())) > 0:
            one.by_state[SyncState.SYNCED] = rest
    return found


def untaken(*, using: str) -> dict[str, int]:
    """Return of how many of the newest orders of each account Bronto has not taken the tracking that was sent.

    Of the newest only: what was wrong last year helps nobody, and not every database has the index that finds all.
    """
    orders = Order.objects.using(using).order_by("-pk")
    # Asked beforehand, and counted here: MariaDB reads all orders for a subquery, and to group them by account.
    oldest = next(iter(orders.values_list("pk", flat=True)[NEWEST - 1 : NEWEST]), 0)
    newest = orders.filter(~UNTRACKED, has_tracking=False, pk__gte=oldest)
    return dict(Counter(newest.values_list("account", flat=True)))


class _Totals(TypedDict):
    newest: int
    counts: dict[str, int]


def _totals(using: str) -> dict[str, int]:
    """Return how many orders each account has, in whatever state."""
    key = _key("orders", using)
    kept: _Totals | None = _cache.use(lambda cache: cache.get(key), otherwise=None)
    counts = Counter(kept["counts"] if kept else {})
    orders = Order.objects.using(using).order_by()
    added = orders.filter(pk__gt=kept["newest"]) if kept else orders
    newest = Subquery(Order.objects.order_by("-pk").values("pk")[:1])
    rows = list(added.values_list("account").annotate(count=Count("*"), newest=newest))
    for account, count, _newest in rows:
        counts[account] += count
    # What was kept is not kept for longer: it goes on counting deleted orders.
    if not kept and counts.total() >= WORTH_KEEPING:
        totals: _Totals = {"newest": rows[0][2], "counts": dict(counts)}
        _cache.use(lambda cache: cache.set(key, totals, KEEP_ORDERS), otherwise=None)
    return dict(counts)


#: Deliveries and failures by the hour's start and account; of plain values, as caches pickle them.
_Counts = dict[datetime, dict[str, tuple[int, int]]]


def hours(*, using: str) -> list[Hour]:
    """Return the traffic of the last 24 hours, the oldest first; the last one is not over."""
    now = timezone.now()
    current = now.replace(minute=0, second=0, microsecond=0)
    starts = [current - HOUR * ago for ago in reversed(range(HOURS))]
    unfinished = (now - LATE).replace(minute=0, second=0, microsecond=0)
    key = _key("hours", using)
    nothing: _Counts = {}
    counted = _cache.use(lambda cache: cache.get(key, nothing), otherwise=nothing)
    counted = {start: traffic for start, traffic in counted.items() if starts[0] <= start < unfinished}
    missing = [start for start in starts if start < unfinished and start not in counted]
    if missing:
        end = missing[-1] + HOUR
        past = _traffic(using, _readable(using, missing[0], end), end)
        counted |= past
        if sum(sum(counts) for hour in past.values() for counts in hour.values()) >= WORTH_KEEPING:
            _cache.use(lambda cache: cache.set(key, counted, KEEP_HOURS), otherwise=None)
    counted = counted | _traffic(using, unfinished, current + HOUR)
    return [Hour(start, _by_account(counted[start]) if start in counted else None) for start in starts]


def _by_account(counts: Mapping[str, tuple[int, int]]) -> dict[str, Traffic]:
    return {account: Traffic(*both) for account, both in counts.items()}


def _readable(using: str, begin: datetime, end: datetime) -> datetime:
    """Return from which full hour on there are not too many attempts to read: the last hour in any case."""
    attempts = SyncAttempt.objects.using(using).filter(started_at__gte=begin, started_at__lt=end)
    beyond = attempts.order_by("-started_at").values_list("started_at", flat=True)[MOST_ATTEMPTS : MOST_ATTEMPTS + 1]
    for moment in beyond:
        return min(moment.replace(minute=0, second=0, microsecond=0) + HOUR, end - HOUR)
    return begin


def _traffic(using: str, begin: datetime, end: datetime) -> _Counts:
    """Count deliveries and failures by hour and account."""
    attempts = SyncAttempt.objects.using(using).order_by().filter(started_at__gte=begin, started_at__lt=end)
    hour = _HoursSince("started_at", Value(begin, output_field=DateTimeField()))
    counts: defaultdict[tuple[int, str], Counter[str]] = defaultdict(Counter)
    for account, outcome, at, count in attempts.values_list("account", "outcome", hour).annotate(count=Count("*")):
        kind = "delivered" if outcome == Outcome.ACCEPTED else "failed" if outcome in FAILED else ""
        counts[at, account][kind] += count
    found: _Counts = {begin + HOUR * n: {} for n in range((end - begin) // HOUR)}
    # SQLite rounds to milliseconds, so that the last of them fall into the next hour.
    for (at, account), kinds in counts.items():
        found[min(begin + HOUR * at, end - HOUR)][account] = kinds["delivered"], kinds["failed"]
    return found


class _HoursSince(Func):
    """The whole hours from the second moment to the first.

    No ``TruncHour``: MariaDB does that only once the server has been given tables of time zones.
    """

    arity = 2
    output_field = IntegerField()
    template = "CAST(FLOOR(DATE_PART('epoch', %(expressions)s) / 3600) AS INTEGER)"
    arg_joiner = " - "

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        template = "(STRFTIME('%%%%s', %(expressions)s)) / 3600"
        joiner = ") - STRFTIME('%%s', "
        return self.as_sql(compiler, connection, template=f"({template})", arg_joiner=joiner, **context)

    def as_mysql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        template = "-TIMESTAMPDIFF(HOUR, %(expressions)s)"
        return self.as_sql(compiler, connection, template=template, arg_joiner=", ", **context)


def _key(what: str, using: str) -> str:
    """Return the key of what was counted in this database: others may share the cache, and copies the environment."""
    database = connections[using].settings_dict
    where = [str(database.get(name) or "") for name in ("ENGINE", "HOST", "PORT", "NAME")]
    counted = "\n".join([environment.environment(using), *where, environment.database_identity(using), using])
    owner = salted_hmac("bronto_orders.figures", counted, algorithm="sha256").hexdigest()
    return f"bronto_orders.figures.{what}.{owner}"
