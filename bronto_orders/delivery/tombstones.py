"""Tombstones: how an order comes to be deleted at Bronto, and which accounts have such deletions due."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db import DEFAULT_DB_ALIAS
from django.utils import timezone

from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import hints
from bronto_orders.models import DbNow, Order, Presence, SyncState, Tombstone
from bronto_orders.models.deliverable import ERASED

Kind = Tombstone.Kind

#: What is read of an order that is buried: neither its content, nor what a broken row could not give.
READ = (
    "account",
    "customer_order_id",
    "bronto_order_id",
    "presence",
    "sync_state",
    "lease_token",
    "due_at",
    "settle_until",
    "synced_at",
)


def bury(order: Order, kind: Kind, *, trigger: str, using: str) -> None:
    """Have the order deleted at Bronto, and wake the workers for it after commit.

    ``order`` is its row as it is under lock, in the transaction that is open. A tombstone that is there already is
    raised; one of an erased order stays that.
    """
    settle = bronto_settings.delivery.settle_seconds
    first = {
        "bronto_order_id": order.bronto_order_id,
        "kind": kind,
        "trigger": trigger,
        "created_at": timezone.now(),
        "due_at": _when_all_has_landed(order, settle),
    }
    number = {"account": order.account, "customer_order_id": order.customer_order_id}
    rows = Tombstone.objects.using(using)
    # Not ``get_or_create``: the savepoints of a deletion of thousands would slow down all of PostgreSQL.
    rows.bulk_create([Tombstone(**number, **first)], ignore_conflicts=True)
    tombstone = rows.select_for_update().get(**number)
    if kind is Kind.ERASED or tombstone.kind != Kind.ERASED:
        same = rows.filter(pk=tombstone.pk)
        if tombstone.due_at is None:
            same.update(**first, done_at=None, attempts=0, message="")
        elif tombstone.kind != kind:
            # While one is owed no order of this number is sent, so that what it waits for is all there is to wait for.
            same.update(kind=kind)
    hints.wake_after_commit(order.account, using=using)


def bury_deleted(pk: Any, *, using: str) -> None:
    """Have an order deleted at Bronto whose row is about to be, unless Bronto cannot have it."""
    row = Order.objects.using(using).select_for_update().only(*READ).filter(pk=pk).first()
    if row is not None and not _was_never_sent(row, using):
        bury(row, Kind.DELETED, trigger="signal", using=using)


def _was_never_sent(order: Order, using: str) -> bool:
    """Tell whether no request about the order can have been made: none is leased, and none was recorded."""
    waiting = order.sync_state in (SyncState.PENDING, SyncState.SKIPPED) and order.lease_token is None
    if not waiting or order.presence != Presence.ABSENT:
        return False
    return not order.sync_attempts.using(using).exists()


def _when_all_has_landed(order: Order, settle: float) -> datetime | DbNow:
    """Return when no request about the order can land any more: one that did so later might bring it back.

    An update's lease outlives all that was sent under it; an add's does not. Before the last answer an add may have
    been given up, and may still be under way.
    """
    there = order.presence == Presence.PRESENT
    lease_end: datetime | None = order.due_at if order.lease_token else None
    answered: datetime | None = order.synced_at if there else None
    settled: datetime | None = order.settle_until
    if lease_end:
        return lease_end if there else lease_end + timedelta(seconds=settle)
    if answered:
        landed = answered + timedelta(seconds=settle)
        return max(landed, settled or landed)
    return DbNow(settle)


def accounts_due(among: Collection[str], *, using: str) -> list[str]:
    """Return those of these accounts that have anything to send now, orders or deletions, by name."""
    orders = Order.objects.using(using).accounts_due(among)
    return sorted({*orders, *Tombstone.objects.using(using).accounts_due(among)})


def is_erased(order: Order) -> bool:
    """Tell whether the order's customer was erased, be it that somebody has brought the order back since."""
    rows = Tombstone.objects.using(order._state.db or DEFAULT_DB_ALIAS).filter(kind=Kind.ERASED)
    return rows.filter(account=order.account, customer_order_id=order.customer_order_id).exists()


def erasures(orders: Iterable[Order]) -> dict[Any, Tombstone]:
    """Return the tombstones of those orders that rest because their customer was erased, by the order's key.

    One query; none where there is no such order. The orders are of one database.
    """
    erased = {(order.account, order.customer_order_id): order for order in orders if order.sync_reason == ERASED}
    if not erased:
        return {}
    using = next(iter(erased.values()))._state.db or DEFAULT_DB_ALIAS
    accounts, numbers = ({key[part] for key in erased} for part in (0, 1))
    found = Tombstone.objects.using(using).filter(kind=Kind.ERASED, account__in=accounts, customer_order_id__in=numbers)
    by_number = {(tombstone.account, tombstone.customer_order_id): tombstone for tombstone in found}
    return {order.pk: by_number[key] for key, order in erased.items() if key in by_number}
