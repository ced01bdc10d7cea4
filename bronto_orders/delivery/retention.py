"""How long what delivery leaves behind is kept, and what is personal of old orders."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from bronto_orders.conf import bronto_settings
from bronto_orders.models import Order, SyncAttempt, SyncState, Tombstone

#: The columns that have a setting of their own, by the names that Bronto has for them.
_DATED = {"origin_ip": "originIp", "origin_user_agent": "originUserAgent"}


def prune(*, days: int, per_order: int = 100, using: str = DEFAULT_DB_ALIAS, batch_size: int = 1000) -> int:
    """Delete attempts that are older than ``days``, and all but the newest ``per_order`` of each order, in batches.

    Tombstones that the shop's own deletions have left go with them once they are done; those of erased customers stay.
    Returns how many attempts were deleted.
    """
    attempts = SyncAttempt.objects.using(using).order_by("-pk")
    old = attempts.filter(started_at__lt=timezone.now() - timedelta(days=days)).order_by("started_at")
    deleted = _delete(old, batch_size)
    counts = attempts.order_by().values("order").annotate(count=Count("pk")).filter(count__gt=per_order)
    for order in list(counts.values_list("order", flat=True)):
        of_order = attempts.filter(order=order)
        # By key, not by number: another prune may be at work.
        newest_of_rest = of_order.values_list("pk", flat=True)[per_order : per_order + 1]
        for pk in newest_of_rest:
            deleted += _delete(of_order.filter(pk__lte=pk), batch_size)
    done = Tombstone.objects.using(using).filter(kind=Tombstone.Kind.DELETED)
    done.filter(done_at__lt=timezone.now() - timedelta(days=days)).delete()
    return deleted


def _delete(attempts: QuerySet[SyncAttempt], batch_size: int) -> int:
    """Delete attempts in batches. Returns how many there were."""
    deleted = 0
    while pks := list(attempts.values_list("pk", flat=True)[:batch_size]):
        deleted += SyncAttempt.objects.using(attempts.db).filter(pk__in=pks).delete()[0]
    return deleted


def forget(*, using: str = DEFAULT_DB_ALIAS, batch_size: int = 1000) -> int:
    """Empty what the PRIVACY setting gives a time, of orders that are older. Returns how many columns were emptied.

    Marks nothing, so that nothing is sent because of it. Orders that are being sent are left to the next time.
    """
    privacy = bronto_settings.privacy
    orders = Order.objects.using(using)
    emptied = 0
    for column, days in {"origin_ip": privacy.ip_days, "origin_user_agent": privacy.user_agent_days}.items():
        if days is None:
            continue
        nothing = None if Order._meta.get_field(column).null else ""
        filled = orders.exclude(**{column: nothing})
        # Orders without a date are as old as what was sent of them.
        for rows, age in ((filled, "order_date"), (filled.filter(order_date=None), "synced_at")):
            for pks in _older(rows, age, days, batch_size):
                emptied += _empty(pks, column, nothing, using)
    if privacy.last_sent_days is not None:
        # By the hash, too, the engine would take it for certain what Bronto has.
        unknown = {"last_sent": None, "last_sent_hash": ""}
        sent = orders.filter(sync_state=SyncState.SYNCED, due_at=None, last_sent__isnull=False)
        for pks in _older(sent, "synced_at", privacy.last_sent_days, batch_size):
            emptied += sent.filter(pk__in=pks).scrub(**unknown)
    return emptied


def _older(rows: QuerySet[Order], age: str, days: int, batch_size: int) -> Iterator[list[int]]:
    """Yield the keys of rows that are older than so many days by the column ``age``, in the order of its index."""
    rows = rows.filter(**{f"{age}__lt": timezone.now() - timedelta(days=days)}).order_by(age, "pk")
    after = rows
    while found := list(after.values_list("pk", age)[:batch_size]):
        yield [pk for pk, _moment in found]
        pk, moment = found[-1]
        after = rows.filter(Q(**{f"{age}__gt": moment}) | Q(**{age: moment, "pk__gt": pk}), **{f"{age}__gte": moment})


def _empty(pks: list[int], column: str, nothing: Any, using: str) -> int:
    """Empty a column, and drop its value from what Bronto last acknowledged. Returns how many orders there were."""
    orders = Order.objects.using(using)
    skips_locked = connections[using].features.has_select_for_update_skip_locked
    with transaction.atomic(using=using):
        free = orders.filter(pk__in=pks, lease_token=None).order_by("pk").select_for_update(skip_locked=skips_locked)
        found = dict(free.values_list("pk", "last_sent"))
        for pk, last_sent in found.items():
            if last_sent and _DATED[column] in last_sent:
                rest = {name: value for name, value in last_sent.items() if name != _DATED[column]}
                orders.filter(pk=pk).scrub(last_sent=rest)
        return orders.filter(pk__in=found).scrub(**{column: nothing})
