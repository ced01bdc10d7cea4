"""Writing an order that comes in whole or in part, by its account and number. Knows nothing of HTTP."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, OperationalError, router, transaction

from bronto_orders import payloads, tracking
from bronto_orders.models import LineItem, Order

Values = Mapping[str, Any]
#: How often a write is tried that loses a race: another has inserted the order meanwhile, or there was a deadlock.
TRIES = 3
_ITEM_ATTRIBUTES = [rule.attribute for rule in payloads.ITEM_FIELDS]


@dataclass(frozen=True, kw_only=True)
class Upserted:
    """The order as it is now, and whether the write has made it or changed it."""

    order: Order
    created: bool = False
    changed: bool = False


def upsert(
    account: str,
    customer_order_id: str,
    values: Values,
    *,
    allow: Callable[[Order | None], None],
) -> Upserted:
    """Make the order, or change what differs of it; ``line_items`` among the values are its items from now on.

    All in one transaction, and by the models' ordinary ways, which mark the order as owed to Bronto. An order that has
    all the values already is not written at all, so a repeat causes no push. ``allow`` is called with the locked order,
    or None when there is none, and raises what the caller is to get if it may not be written.
    """
    using = router.db_for_write(Order)
    for _attempt in range(TRIES - 1):
        try:
            return _upsert(account, customer_order_id, values, allow, using)
        except (IntegrityError, OperationalError):
            continue
    return _upsert(account, customer_order_id, values, allow, using)


def _upsert(account: str, number: str, values: Values, allow: Callable[[Order | None], None], using: str) -> Upserted:
    columns = {name: value for name, value in values.items() if name != "line_items"}
    items = values.get("line_items")
    with transaction.atomic(using=using):
        found = Order.objects.using(using).select_for_update()
        order = found.filter(account=account, customer_order_id=number).first()
        allow(order)
        if order is None:
            order = Order(account=account, customer_order_id=number, **columns)
            # The caller is not the customer: neither its cookies nor its address belong to the order.
            with tracking.use(tracking.NOTHING):
                order.save(using=using)
            _insert(order, items or [], using)
            created = changed = True
        else:
            created, changed = False, _change(order, columns, items, using)
        if changed:
            # Read, not refreshed: what the save had the database compute may be deferred, which a refresh would skip.
            order = Order.objects.using(using).get(pk=order.pk)
    return Upserted(order=order, created=created, changed=changed)


def _change(order: Order, columns: Values, items: Sequence[Values] | None, using: str) -> bool:
    changed = [name for name, value in columns.items() if getattr(order, name) != value]
    if changed:
        for name in changed:
            setattr(order, name, columns[name])
        order.save(using=using, update_fields=changed)
    if items is None or not _differ(order, items, using):
        return bool(changed)
    order.line_items.using(using).delete()
    _insert(order, items, using)
    return True


def _differ(order: Order, items: Sequence[Values], using: str) -> bool:
    stored = order.line_items.using(using).values(*_ITEM_ATTRIBUTES)
    given = [LineItem(**item) for item in items]
    return list(stored) != [{name: getattr(item, name) for name in _ITEM_ATTRIBUTES} for item in given]


def _insert(order: Order, items: Sequence[Values], using: str) -> None:
    if items:
        rows = [LineItem(order=order, position=position, **item) for position, item in enumerate(items)]
        LineItem.objects.using(using).bulk_create(rows)
