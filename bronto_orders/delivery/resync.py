"""Sending orders again: what it would do, runs that queue any number of orders, and how far they are.

A run is a row (``ResyncRun``) that workers advance: each chunk of orders is queued in one transaction with the place
where the next one begins, so that a crash repeats nothing and loses nothing. From there on the orders go the way of
all orders, behind those that customers are waiting for.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.db import DEFAULT_DB_ALIAS, Error, connections, transaction
from django.db.models import Case, CharField, Count, Exists, F, Max, OuterRef, Q, Value, When
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext as _

from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import hints, selections
from bronto_orders.delivery.pace import BULK_SHARE, Pace
from bronto_orders.delivery.pushes import next_push
from bronto_orders.exceptions import BrontoConfigurationError
from bronto_orders.models import DbNow, Order, ResyncRun, SyncAttempt, SyncState
from bronto_orders.models.deliverable import ERASED, IGNORED_BY_STAFF
from bronto_orders.models.querysets import CHUNK, OrderQuerySet, writing
from bronto_orders.payloads import InvalidOrderError, build_document

logger = logging.getLogger(__name__)

#: How many orders are compared with what Bronto acknowledged; of more, this many, taken from all over the selection.
SAMPLE = 200
#: From how many places of the keys' range they are taken.
PLACES = 8
#: The requests that the speed is measured by.
MEASURED = 500
#: How many runs are looked at for those that are not over.
LATEST = 5


@dataclass(frozen=True)
class Resynced:
    """How many orders a resync has queued, and how many were queued already."""

    queued: int
    already_queued: int


@dataclass(frozen=True, kw_only=True)
class Options:
    """How orders are sent again."""

    #: Also those whose content Bronto has acknowledged already.
    force: bool = False
    #: Tracking fields go with updates although Bronto has said that it took them.
    send_tracking: bool = False
    #: Bronto runs the workflows that wait for orders.
    trigger_events: bool = False
    #: Bronto runs them also for orders that have not changed; needs ``trigger_events``.
    force_events: bool = False
    #: Orders that staff have marked as ignored are sent, too.
    include_ignored: bool = False

    def for_push(self, trigger: str) -> dict[str, Any]:
        """Return what is kept with each order for its push."""
        extra = {name: True for name in ("send_tracking", "force_events") if getattr(self, name)}
        return {"trigger": trigger, "trigger_events": self.trigger_events, **extra}


def resync(orders: OrderQuerySet, *, trigger: str, force: bool, trigger_events: bool) -> Resynced:
    """Queue orders for another push and wake the workers after commit.

    Orders that are owed already keep what they are owed, events and all: a change of the shop's must not be silenced
    by a resync that happens to come with it. They are tried at once, though. Without ``force``, an order whose content
    Bronto has acknowledged already ends synced without a request. ``trigger`` says who asked.
    """
    using = writing(orders)
    with transaction.atomic(using=using):
        accounts: set[str] = set(orders.order_by().values_list("account", flat=True).distinct())
        already_queued = orders.owed().count()
        orders.hasten()
        queued = orders.resync(options={"trigger": trigger, "trigger_events": trigger_events}, force=force)
        for account in accounts:
            hints.wake_after_commit(account, using=using)
    return Resynced(queued=queued, already_queued=already_queued)


# What a resync would do


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a resync would do, counted before it is done."""

    #: Orders by account, state and reason.
    counts: Mapping[tuple[str, str, str], int]
    #: Of the orders at rest: Bronto has this content; it lacks it; it would refuse it, by reason. Scaled up from a
    #: sample unless ``exact``.
    unchanged: int
    changed: int
    invalid: Mapping[str, int]
    exact: bool
    left_out: int
    #: Seconds for one request with one worker, by account; accounts without a measure are missing.
    pace: Mapping[str, float]

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def already_queued(self) -> int:
        return sum(count for (_account, state, _reason), count in self.counts.items() if is_owed(state))

    @property
    def states(self) -> Counter[str]:
        """Orders by state."""
        states: Counter[str] = Counter()
        for (_account, state, _reason), count in self.counts.items():
            states[state] += count
        return states

    @property
    def reasons(self) -> Counter[tuple[str, str]]:
        """Orders that were rejected or skipped, by state and reason."""
        reasons: Counter[tuple[str, str]] = Counter()
        for (_account, state, reason), count in self.counts.items():
            if state in SyncState.parked():
                reasons[state, reason] += count
        return reasons

    @property
    def accounts(self) -> Counter[str]:
        """Orders by account."""
        accounts: Counter[str] = Counter()
        for (account, _state, _reason), count in self.counts.items():
            accounts[account] += count
        return accounts

    def requests(self, *, force: bool) -> int:
        """Return how many requests would be sent."""
        return self.changed + (self.unchanged if force else 0)

    def seconds(self, *, force: bool) -> float | None:
        """Return how long that would take; None when nothing tells."""
        if not self.pace:
            return None
        slowest = max(self.pace.values())
        each = sum(count * self.pace.get(account, slowest) for account, count in self.accounts.items())
        return self.requests(force=force) * each / self.total if self.total else 0.0


def is_owed(state: str) -> bool:
    """Tell whether orders in this state are to be delivered."""
    return state not in SyncState.at_rest()


def plan(orders: OrderQuerySet, options: Options) -> Plan:
    """Count what a resync of these orders would do. Changes nothing and asks nobody but the database."""
    groups = orders.order_by().values_list("account", "sync_state", "sync_reason")
    counts = {(account, state, reason): count for account, state, reason, count in groups.annotate(count=Count("pk"))}
    total = sum(counts.values())
    owed = sum(count for (_account, state, _reason), count in counts.items() if is_owed(state))
    ignored = sum(count for (_account, _state, reason), count in counts.items() if reason == IGNORED_BY_STAFF)
    left_out = 0 if options.include_ignored else ignored
    resting = total - owed - left_out
    at_rest = orders.filter(due_at=None)
    if left_out:
        at_rest = at_rest.exclude(sync_reason=IGNORED_BY_STAFF)
    sample = _sample(at_rest, resting) if resting else []
    found = Counter(_fate(order) for order in sample)
    share = resting / len(sample) if sample else 0
    unchanged = round(found.pop("unchanged", 0) * share)
    invalid = {reason: round(count * share) for reason, count in found.items() if reason != "changed"}
    return Plan(
        counts=counts,
        unchanged=unchanged,
        changed=max(0, resting - unchanged - sum(invalid.values())),
        invalid=invalid,
        exact=len(sample) == resting,
        left_out=left_out,
        pace=_pace({account for account, _state, _reason in counts}, orders.db),
    )


def _sample(orders: OrderQuerySet, count: int) -> list[Order]:
    """Return the orders with their items if they are few, else some of them from all over the range of keys."""
    newest = orders.order_by("-pk").values_list("pk", flat=True)
    if count <= SAMPLE:
        chosen = set(newest[:SAMPLE])
    else:
        chosen = set()
        top, bottom = newest.first() or 0, orders.order_by("pk").values_list("pk", flat=True).first() or 0
        for place in range(PLACES):
            start = top - (top - bottom) * place // PLACES
            chosen |= set(newest.filter(pk__lte=start)[: SAMPLE // PLACES])
    return list(Order.objects.using(orders.db).filter(pk__in=chosen).prefetch_related("line_items"))


def _fate(order: Order) -> str:
    """Say what would become of an order: ``unchanged``, ``changed``, or why it cannot be sent."""
    if order.sync_reason == ERASED:
        return ERASED
    try:
        document = build_document(order, order.line_items.all(), now=timezone.now())
        return "unchanged" if next_push(order, document, with_order_date=False).idle else "changed"
    except InvalidOrderError as error:
        return error.code
    except Exception:  # the engine says so, too, and lets the order be
        return "invalid:order"


def _pace(accounts: Collection[str], using: str) -> dict[str, float]:
    """Return the seconds that one worker takes for a request of each account, by its last ones and its limit."""
    durations: dict[str, list[int]] = {}
    last = SyncAttempt.objects.using(using).order_by("-pk").values_list("account", "duration_ms")[:MEASURED]
    for account, duration in last:
        durations.setdefault(account, []).append(duration)
    pace = {}
    for account in accounts:
        try:
            settings = bronto_settings.account(account)
        except (BrontoConfigurationError, KeyError):
            continue
        if measured := durations.get(account):
            pace[account] = sum(measured) / len(measured) / 1000 / settings.concurrency
        limit = Pace(settings)
        if settings.rate_limit:
            pace[account] = max(pace.get(account, 0.0), limit.window / (limit.share * BULK_SHARE))
    return pace


# Runs


def start_run(
    orders: OrderQuerySet, *, trigger: str, options: Options, token: uuid.UUID | None = None
) -> tuple[ResyncRun, bool]:
    """Begin to send these orders again. Returns the run and whether it is new: a ``token`` is good for one.

    Few orders are queued at once, others by workers. Orders that come in later are not drawn in, though they may meet
    the same conditions.
    """
    using = writing(orders)
    runs = ResyncRun.objects.using(using)
    if token is not None and (known := runs.filter(token=token).first()):
        return known, False
    filters, total = selections.keep(orders)
    with transaction.atomic(using=using):
        run, created = runs.get_or_create(
            token=token or uuid.uuid4(),
            defaults={
                "trigger": trigger,
                "filters": filters,
                "options": asdict(options),
                "total": total,
                "cursor": _above_all(using),
            },
        )
        if created and "keys" in filters and total <= CHUNK:
            advance(run)
        if created and not run.finished_at:
            hints.wake_resync_after_commit(using=using)
    return run, created


def _above_all(using: str) -> int:
    highest: int | None = Order.objects.using(using).aggregate(highest=Max("pk"))["highest"]
    return (highest or 0) + 1


def cancel(run: ResyncRun) -> bool:
    """Stop queueing, and take back what the run has queued as far as nobody has tried it. Returns whether it did.

    Only orders that Bronto had acknowledged before come to rest again. Those that had been rejected or skipped stay
    queued, as they are owed anyway, and so do those that the shop has changed meanwhile.
    """
    using = run._state.db or DEFAULT_DB_ALIAS
    runs = ResyncRun.objects.using(using).filter(pk=run.pk, cancelled_at=None, error="")
    waiting = Order.objects.using(using).owed().filter(resync_run=run.pk)
    if not runs.filter(finished_at=None).exists() and not waiting.exists():
        return False
    changed = runs.update(
        cancelled_at=DbNow(), finished_at=None, cursor=_above_all(using), postponed=[], step=F("step") + 1
    )
    if changed:
        advance(run)
        hints.wake_resync_after_commit(using=using)
    return changed > 0


def unfinished(*, using: str = DEFAULT_DB_ALIAS) -> list[ResyncRun]:
    """Return the runs that have orders left to queue, or to take back, the oldest first."""
    return list(ResyncRun.objects.using(using).filter(finished_at=None).order_by("pk"))


def wake_unfinished(*, using: str = DEFAULT_DB_ALIAS) -> None:
    """Wake a worker if a run has orders left."""
    if ResyncRun.objects.using(using).filter(finished_at=None).exists():
        hints.wake_resync(using=using)


def advance_all(
    *,
    using: str = DEFAULT_DB_ALIAS,
    budget_seconds: float,
    stopping: Callable[[], bool] = lambda: False,
) -> bool:
    """Advance each unfinished run. Returns whether one has more that could be done at once.

    A database that is away, or that refuses one run's orders, stops neither other runs nor who delivers after this:
    the next call tries again.
    """
    ends_at = time.monotonic() + budget_seconds
    more = False
    try:
        runs = unfinished(using=using)
    except Error as error:
        logger.warning("The database failed (%s); no resync goes on.", type(error).__name__)
        return False
    for run in runs:
        if stopping() or time.monotonic() >= ends_at:
            return True
        try:
            more |= advance(run, budget_seconds=ends_at - time.monotonic(), stopping=stopping)
        except Error as error:
            logger.error("Resync %d cannot go on for now: %s", run.pk, type(error).__name__)
            connections[using].close_if_unusable_or_obsolete()
    return more


def advance(run: ResyncRun, *, budget_seconds: float = 0.0, stopping: Callable[[], bool] = lambda: False) -> bool:
    """Queue the run's next orders, at least one chunk. Returns whether there is more that could be done at once.

    Any number of workers may do so at the same time: each chunk is one worker's, and who comes second leaves the run
    to who was first.
    """
    ends_at = time.monotonic() + budget_seconds
    while _step(run):
        if stopping() or time.monotonic() >= ends_at:
            return True
    return False


def _step(run: ResyncRun) -> bool:
    """Do one chunk and commit it with the place where the next one begins. Returns whether to go on."""
    using = run._state.db or DEFAULT_DB_ALIAS
    run.refresh_from_db()
    if run.finished_at:
        return False
    try:
        # To take orders back, nobody needs to understand how they were to be sent.
        options = Options() if run.cancelled_at else Options(**run.options)
        pks = _next_keys(run, using)
    except selections.UNREADABLE as error:
        _give_up(run, error, using)
        return False
    once_more = not pks
    if once_more:
        pks = run.postponed[:CHUNK]
    runs = ResyncRun.objects.using(using).filter(pk=run.pk)
    with transaction.atomic(using=using):
        mine = runs.filter(step=run.step, finished_at=None)
        if not mine.update(step=F("step") + 1, heartbeat=DbNow(), started_at=Coalesce(F("started_at"), DbNow())):
            return False
        counts, locked = _take_back(run, pks, using) if run.cancelled_at else _queue(run, options, pks, using)
        postponed = [*(run.postponed[CHUNK:] if once_more else run.postponed), *locked]
        finished = len(pks) < CHUNK and not postponed
        runs.update(
            cursor=F("cursor") if once_more else pks[-1],
            postponed=postponed,
            finished_at=DbNow() if finished else None,
            **({"filters": _over(run.filters)} if finished else {}),
            **{name: F(name) + count for name, count in counts.items()},
        )
    run.refresh_from_db()
    return not finished and not (once_more and len(locked) == len(pks))


def _next_keys(run: ResyncRun, using: str) -> list[int]:
    if not run.cancelled_at:
        return selections.keys(run.filters, below=run.cursor, limit=CHUNK, using=using)
    queued = Order.objects.using(using).filter(resync_run=run.pk, pk__lt=run.cursor)
    return list(queued.order_by("-pk").values_list("pk", flat=True)[:CHUNK])


def _queue(run: ResyncRun, options: Options, pks: Collection[int], using: str) -> tuple[Counter[str], list[int]]:
    """Queue orders. Returns the counts, and the keys of those that must wait because somebody has locked them.

    Waiting here would hold up the shop: it would wait for the rows that are locked already. Orders that a worker has
    locked are owed.
    """
    free = _lock(pks, using)
    passed = Order.objects.using(using).filter(pk__in=[pk for pk in pks if pk not in free])
    others = dict(passed.values_list("pk", "due_at"))
    resting = {pk for pk, (due_at, _reason, _account) in free.items() if due_at is None}
    ignored = {pk for pk in resting if free[pk][1] == IGNORED_BY_STAFF and not options.include_ignored}
    wanted = Order.objects.using(using).filter(pk__in=sorted(resting - ignored))
    queued = wanted.resync(options=options.for_push(run.trigger), force=options.force, run=run)
    Order.objects.using(using).filter(pk__in=sorted(free.keys() - resting)).hasten()
    for account in {account for _due_at, _reason, account in free.values()}:
        hints.wake_after_commit(account, using=using)
    locked = [pk for pk, due_at in others.items() if due_at is None]
    already_queued = len(free) + len(others) - len(locked) - len(ignored) - queued
    left_out = len(ignored) + len(pks) - len(free) - len(others)
    return Counter(queued=queued, already_queued=already_queued, left_out=left_out), locked


def _lock(pks: Collection[int], using: str) -> dict[int, tuple[datetime | None, str, str]]:
    """Lock those of the orders that nobody else has locked. Returns each one's due_at, reason and account."""
    rows = Order.objects.using(using).filter(pk__in=pks).order_by("pk")
    if connections[using].features.has_select_for_update_skip_locked:
        rows = rows.select_for_update(skip_locked=True)
    return {pk: row for pk, *row in rows.values_list("pk", "due_at", "sync_reason", "account")}  # type: ignore[misc]


def _take_back(run: ResyncRun, pks: Collection[int], using: str) -> tuple[Counter[str], list[int]]:
    """Let orders rest again. What somebody has locked is being sent or changed, and stays queued."""
    orders = Order.objects.using(using).filter(pk__in=sorted(_lock(pks, using)))
    return Counter(taken_back=orders.take_back(run)), []


def _give_up(run: ResyncRun, error: Exception, using: str) -> None:
    logger.error("Resync %d cannot go on: %s", run.pk, type(error).__name__)
    message = _("The selection cannot be read any more (%(error)s). Choose the orders again.")
    ResyncRun.objects.using(using).filter(pk=run.pk, finished_at=None).update(
        finished_at=DbNow(), error=message % {"error": type(error).__name__}, filters=_over(run.filters)
    )
    run.refresh_from_db()


def _over(filters: selections.Filters) -> selections.Filters:
    """Return what is kept of a selection when all are queued: no conditions, in which an e-mail address may stand."""
    return {name: value for name, value in filters.items() if name == "keys"}


# How far a run is


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What has become of a run's orders."""

    run: ResyncRun
    #: Orders that the run has queued and that no later run has taken over, by state and reason.
    outcomes: Mapping[tuple[str, str], int]

    @property
    def states(self) -> Counter[str]:
        """The same by state alone."""
        states: Counter[str] = Counter()
        for (state, _reason), count in self.outcomes.items():
            states[state] += count
        return states

    @property
    def waiting(self) -> int:
        """Orders that are queued or being sent."""
        return sum(count for state, count in self.states.items() if is_owed(state))

    @property
    def elsewhere(self) -> int:
        """Orders that a later run has taken over, or that were deleted."""
        return max(0, self.run.queued - self.run.taken_back - sum(self.outcomes.values()))

    @property
    def total(self) -> int:
        """Orders in all; while they are being queued, what was counted at the start."""
        return self.run.seen if self.run.finished_at else max(self.run.total, self.run.seen)

    @property
    def done(self) -> int:
        """Orders of which nothing more is to come from this run."""
        return self.run.seen - self.waiting

    @property
    def failed(self) -> int:
        """Orders that were rejected."""
        return self.states[SyncState.REJECTED]

    @property
    def unsent(self) -> int:
        """Orders that were rejected or skipped."""
        return sum(self.states[state] for state in SyncState.parked())

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self.run.finished_at is not None and not self.waiting


def progress(run: ResyncRun) -> Progress:
    """Count what has become of the run's orders. An order counts as synced though the shop has changed it since."""
    acknowledged = Q(acked_revision__gte=F("resync_revision"))
    outcome = Case(
        When(acknowledged, then=Value(SyncState.SYNCED.value)), default=F("sync_state"), output_field=CharField()
    )
    reason = Case(When(acknowledged, then=Value("")), default=F("sync_reason"), output_field=CharField())
    orders = Order.objects.using(run._state.db or DEFAULT_DB_ALIAS).filter(resync_run=run.pk).order_by()
    counted = orders.annotate(outcome=outcome, why=reason).values_list("outcome", "why").annotate(count=Count("pk"))
    return Progress(run=run, outcomes={(state, why): count for state, why, count in counted})


def unchanged(run: ResyncRun) -> int:
    """Count the run's orders that Bronto had in this very state, so that nothing was sent. Reads their attempts."""
    attempts = SyncAttempt.objects.filter(order=OuterRef("pk"), revision__gte=OuterRef("resync_revision"))
    sent = Exists(attempts.exclude(operation=SyncAttempt.Operation.LOOKUP))
    orders = Order.objects.using(run._state.db or DEFAULT_DB_ALIAS).filter(resync_run=run.pk)
    return orders.filter(~sent, acked_revision__gte=F("resync_revision")).count()


def running(*, using: str = DEFAULT_DB_ALIAS) -> list[tuple[ResyncRun, int]]:
    """Return those of the latest runs that are not over, the oldest first, each with how many orders are done."""
    latest = list(ResyncRun.objects.using(using).order_by("-pk")[:LATEST])
    left = waiting(latest, using=using)
    return [
        (run, run.seen - left.get(run.pk, 0)) for run in reversed(latest) if run.finished_at is None or run.pk in left
    ]


def waiting(runs: Collection[ResyncRun], *, using: str = DEFAULT_DB_ALIAS) -> dict[int | None, int]:
    """Return for each of the runs with orders that are queued or being sent how many these are."""
    owed = Order.objects.using(using).owed().filter(acked_revision__lt=F("resync_revision"))
    counted = owed.filter(resync_run__in=runs).order_by().values_list("resync_run").annotate(count=Count("pk"))
    return dict(counted) if runs else {}
