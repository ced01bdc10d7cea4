from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction

from bronto_orders.delivery import hints
from bronto_orders.models.querysets import OrderQuerySet, writing


@dataclass(frozen=True)
class Resynced:
    """How many orders a resync has queued, and how many were queued already."""

    queued: int
    already_queued: int


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
