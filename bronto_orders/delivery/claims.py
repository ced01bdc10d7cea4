"""The SQL of delivery: who holds a row, until when, and what is written when a result comes in.

Everything here is one statement, or a few in one transaction, on the database's own clock. A row is held by a lease:
``lease_token`` names the holder, ``due_at`` is when the lease ends, ``lease_revision`` is the revision that the holder
will send. Whoever writes a result names the token; a holder whose lease was taken over writes nothing.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Collection
from contextlib import nullcontext
from enum import Enum
from typing import Any, NamedTuple

from django.db import connections, models, transaction
from django.db.models import Case, Exists, F, Q, QuerySet, Subquery, Value, When
from django.utils.translation import gettext as _

from bronto_orders import signals, wire
from bronto_orders.conf import DeliverySettings
from bronto_orders.models import AccountStatus, DbNow, Order, Presence, SyncState, Tombstone
from bronto_orders.models.deliverable import ERASED
from bronto_orders.models.querysets import OrderQuerySet
from bronto_orders.payloads import Document, perhaps_acknowledged

logger = logging.getLogger(__name__)

#: Workers that died in a row while they held an order, after which it is only claimed alone.
SUSPECT_CRASHES = 3
#: The same, after which it is given up.
MAX_CRASHES = 6

#: Orders under which that many workers have died; the last death is counted by the claim that finds the lease run out.
SUSPECT = Q(crashes__gte=SUSPECT_CRASHES) | Q(crashes=SUSPECT_CRASHES - 1, lease_token__isnull=False)
#: The order has changed since it was claimed.
MOVED_ON = Q(revision__gt=F("lease_revision"))


def shut() -> Q:
    """Select the accounts for which nothing may be sent now."""
    return Q(paused=True) | Q(held_until__gt=DbNow())


def gate_closed(account: str) -> Exists:
    """Tell in SQL whether nothing may be sent for the account now."""
    return Exists(AccountStatus.objects.filter(shut(), account=account))


class Turn(Enum):
    """Which due orders a claim takes."""

    #: Live orders before bulk ones, the oldest first.
    ANY = "any"
    LIVE = "live"
    BULK = "bulk"
    #: One order under which workers have died, and none while another such order is held anywhere: alone, so that it
    #: takes no others with it. The longest due, so that one that kills again is behind the others.
    SUSPECT = "suspect"

    @property
    def bulk(self) -> list[bool]:
        """The orders' ``bulk``; both are named, or MariaDB, which has no partial index, reads all that are not owed."""
        return {Turn.LIVE: [False], Turn.BULK: [True]}.get(self, [False, True])


def claim(
    account: str,
    limit: int,
    settings: DeliverySettings,
    *,
    using: str,
    pks: Collection[int] | None = None,
    turn: Turn = Turn.ANY,
    probing: bool = False,
) -> list[Order]:
    """Take up to ``limit`` due orders of the account and return them as they are *after* the claim.

    Reading after the claim makes sure that what is sent is never older than ``lease_revision``. A row whose lease has
    run out may have been sent by a holder that died, so that an add of it is of unknown fate. Each order's ``buried``
    is the kind of the tombstone that it stands under, None without one. ``probing`` claims in
    spite of the hold, for who has taken the right to (``Gate.claim_limit``).
    """
    orders = Order.objects.using(using)
    candidates = orders.due().filter(account=account, bulk__in=turn.bulk)
    if not probing:
        candidates = candidates.filter(~gate_closed(account))
    if turn is Turn.SUSPECT:
        leased = orders.filter(account=account, bulk__in=turn.bulk, due_at__gt=DbNow(), lease_token__isnull=False)
        others = Exists(leased.filter(crashes__gte=SUSPECT_CRASHES))
        candidates, limit = candidates.filter(SUSPECT, ~others).order_by("due_at"), 1
    else:
        candidates = candidates.filter(~SUSPECT).order_by("bulk", "due_at")
    if pks is not None:
        candidates = candidates.filter(pk__in=pks)
    token = uuid.uuid4()
    chosen = lease(candidates[:limit], orders.due(), _lease(token, settings), using=using)
    if not chosen:
        return []
    claimed = orders.filter(lease_token=token).annotate(buried=_buried()).order_by("pk").prefetch_related("line_items")
    try:
        return list(claimed.filter(pk__in=chosen))
    except (ArithmeticError, ValueError) as error:
        logger.error("An order cannot be read (%s); reading one by one.", type(error).__name__)
        return [order for pk in chosen for order in _read_alone(claimed, pk, account)]


def lease(candidates: QuerySet[Any], due: QuerySet[Any], columns: dict[str, Any], *, using: str) -> list[Any]:
    """Write a lease on those of the candidates that nobody has locked and that are still due; return the keys of all.

    Those among them that another has taken meanwhile hold another token.
    """
    skips_locked = connections[using].features.has_select_for_update_skip_locked
    if skips_locked:
        candidates = candidates.select_for_update(skip_locked=True)
    # SQLite has one writer at a time: a conditional UPDATE is all the locking there is, and needs no transaction.
    with transaction.atomic(using=using) if skips_locked else nullcontext():
        chosen = list(candidates.values_list("pk", flat=True))
        if chosen:
            due.filter(pk__in=chosen).update(**columns)
    return chosen


def _buried() -> Subquery:
    """Return the kind of the tombstone that an order stands under, read with the order *after* the claim."""
    return Subquery(Tombstone.objects.in_force().over_orders().values("kind")[:1])


def _read_alone(claimed: OrderQuerySet, pk: int, account: str) -> list[Order]:
    """Read one row. A row that holds what its columns cannot (SQLite takes any number) is parked instead."""
    row, reason = claimed.filter(pk=pk), "invalid:order"
    try:
        return list(row)
    except (ArithmeticError, ValueError) as error:
        message = _("The order cannot be read from the database (%(error)s): a number in it is out of range.")
        if row.update(**at_rest(SyncState.SKIPPED, reason, message % {"error": type(error).__name__})):
            signals.order_skipped.send_robust(Order, order_id=pk, account=account, reason=reason, using=claimed.db)
        return []


def _lease(token: uuid.UUID, settings: DeliverySettings) -> dict[str, Any]:
    never_tried = Q(presence=Presence.ABSENT, lease_token=None)
    taken_over_add = Q(presence=Presence.ABSENT, lease_token__isnull=False)
    return {
        "due_at": Case(
            When(never_tried, then=DbNow(settings.add_lease_seconds)),
            default=DbNow(settings.update_lease_seconds),
            output_field=models.DateTimeField(),
        ),
        "presence": Case(
            When(taken_over_add, then=Value(Presence.UNSURE.value)),
            default=F("presence"),
            output_field=models.CharField(),
        ),
        # Whoever held the lease may have sent something and died before saying so.
        "last_sent_hash": Case(
            When(lease_token__isnull=False, then=Value("")),
            default=F("last_sent_hash"),
            output_field=models.CharField(),
        ),
        "crashes": Case(
            When(lease_token__isnull=False, then=F("crashes") + 1),
            default=F("crashes"),
            output_field=models.IntegerField(),
        ),
        "attempts": F("attempts") + 1,
        "sync_state": SyncState.SENDING,
        "lease_revision": F("revision"),
        "lease_token": token,
    }


def held(order: Order, *, using: str) -> OrderQuerySet:
    """Return the order's row if the lease that it was claimed with still stands."""
    return Order.objects.using(using).filter(pk=order.pk, lease_token=order.lease_token)


_NO_LEASE: dict[str, Any] = {"lease_token": None, "lease_revision": None}


def at_rest(state: SyncState, reason: str = "", message: str = "") -> dict[str, Any]:
    """Assign the end of an order's delivery; one that has changed meanwhile is due again at once."""

    def unless_moved_on(otherwise: object, output_field: models.Field[Any, Any], value: object) -> Case:
        return Case(When(MOVED_ON, then=Value(otherwise)), default=Value(value), output_field=output_field)

    return {
        "sync_state": unless_moved_on(SyncState.PENDING.value, models.CharField(), state.value),
        "sync_reason": unless_moved_on("", models.CharField(), reason),
        "sync_message": unless_moved_on("", models.TextField(), message),
        "due_at": Case(When(MOVED_ON, then=DbNow()), default=None, output_field=models.DateTimeField()),
        "attempts": 0,
        "flips": 0,
        "crashes": 0,
        **_NO_LEASE,
    }


def waiting(delay: float) -> dict[str, Any]:
    """Assign another try, ``delay`` seconds from now."""
    return {"sync_state": SyncState.PENDING, "due_at": DbNow(delay), "crashes": 0, **_NO_LEASE}


class Locked(NamedTuple):
    """What stands in a row that is locked."""

    lease_token: uuid.UUID | None
    revision: int


def lock(orders: Collection[Order], *, using: str) -> tuple[dict[Any, Locked], set[Any]]:
    """Lock rows that nobody else has locked, without waiting.

    Returns what stands in each by its key, and the keys of all that exist. A shop's long transaction on one order
    must not hold up the results of others, nor can two that wait for each other's rows come to a deadlock when one of
    them does not wait. SQLite has one writer anyway.
    """
    rows = Order.objects.using(using).filter(pk__in=[order.pk for order in orders])
    if not connections[using].features.has_select_for_update_skip_locked:
        locked = _contents(rows)
        return locked, set(locked)
    locked = _contents(rows.order_by("pk").select_for_update(skip_locked=True))
    return locked, set(locked) if len(locked) == len(orders) else set(rows.values_list("pk", flat=True))


def _contents(rows: OrderQuerySet) -> dict[Any, Locked]:
    return {pk: Locked(*columns) for pk, *columns in rows.values_list("pk", *Locked._fields)}


def hand_back(orders: Collection[Order], *, using: str) -> None:
    """Give back orders that were claimed and not sent, as if they had not been claimed."""
    by_token: dict[uuid.UUID, list[int]] = {}
    for order in orders:
        by_token.setdefault(order.lease_token, []).append(order.pk)
    for token, pks in by_token.items():
        rows = Order.objects.using(using).filter(pk__in=sorted(pks), lease_token=token)
        rows.update(**{**waiting(0), "attempts": F("attempts") - 1, "crashes": F("crashes")})


def repair(order: Order, *, sent: Document, settle_seconds: float, using: str) -> bool:
    """Have an order whose lease was lost after sending pushed once more, when what was sent can no longer land.

    ``sent`` is the body of that request. Call where the row is locked. Returns whether there still is such an order.
    """
    row = Order.objects.using(using).filter(pk=order.pk)
    if not row.mark():
        return False
    row.update(last_sent_hash="", **({"settle_until": DbNow(settle_seconds)} if settle_seconds else {}))
    for last_sent in list(row.exclude(sync_reason=ERASED).values_list("last_sent", flat=True)):
        if (known := perhaps_acknowledged(sent, last_sent)) != (last_sent or {}):
            row.update(last_sent=wire.storable(known))
    return True
