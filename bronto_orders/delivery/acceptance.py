"""Leaving an order at Bronto as it is, although the shop has it otherwise.

What Bronto has becomes what it has acknowledged (``last_sent``), and what the shop has now becomes content for which
nothing is owed (``last_sent_hash``). From there on the engine's own rules do the rest: a claim finds nothing to send
as long as the shop's content is this one; any other content is sent whole, and clears what only Bronto has.

Sound because nothing is under way for a synced order and no older request can still land; because Bronto is read
between looking at the row and writing it; and because the one UPDATE writes only if the row is as it was looked at.
A change of the shop's, a resync and a lost lease that is repaired all move the revision on.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django.db import DEFAULT_DB_ALIAS
from django.db.models import F
from django.utils.translation import gettext as _

from bronto_orders import payloads, wire
from bronto_orders.delivery import records
from bronto_orders.delivery.comparison import Comparison, compare
from bronto_orders.equality import (
    FIELDS,
    FILLED_FIELDS,
    ITEM_FIELDS,
    WRITE_ONLY,
    Document,
    Normaliser,
    equal,
    line_items,
    mapping,
)
from bronto_orders.models import Order, Presence, SyncState


class NotAcceptedError(Exception):
    """Bronto's state cannot be taken as it is. The message says why, for the shop's staff."""


def accept(order: Order, *, seen: str) -> bool:
    """Take what Bronto has of the order as it is; nothing is sent until the shop changes the order.

    ``order`` has just been read from the database. ``seen`` is the comparison that somebody decided upon
    (``Comparison.seen``). Reads Bronto. Returns whether there was anything to accept. Raises NotAcceptedError, and
    changes nothing, when it cannot be done.
    """
    if refusal := _unrest(order):
        raise NotAcceptedError(refusal)
    comparison = compare(order)
    if refusal := _obstacle(comparison) or _news(comparison, seen):
        raise NotAcceptedError(refusal)
    if not comparison.can_settle:
        return False
    assert comparison.push is not None  # noqa: S101 - it is not invalid
    columns = _baseline(order, mapping(comparison.reading.document), comparison.push.fingerprint)
    rows = Order.objects.using(order._state.db or DEFAULT_DB_ALIAS).filter(
        pk=order.pk,
        revision=order.revision,
        sync_state=SyncState.SYNCED,
        presence=Presence.PRESENT,
        due_at=None,
        lease_token=None,
        settle_until=None,
    )
    if not rows.update(**columns):
        raise NotAcceptedError(_changed())
    return True


def may_be_accepted(comparison: Comparison) -> bool:
    """Tell whether there is something to accept, and nothing known that speaks against it."""
    return comparison.can_settle and not _unrest(comparison.order) and not _obstacle(comparison)


def _unrest(order: Order) -> str:
    """Return why what Bronto has may yet change by itself, or is not known for certain; nothing if it will not."""
    if order.due_at is not None:
        return _("The order is about to be sent. Wait until that is done, then compare again.")
    if order.sync_state != SyncState.SYNCED:
        return _("The order's newest state has not reached Bronto. Correct the order or resync it.")
    if order.presence != Presence.PRESENT or order.settle_until is not None:
        return _("Nobody knows for certain what Bronto has of the order. Resync it.")
    return ""


def _obstacle(comparison: Comparison) -> str:
    """Return why there is nothing that could be taken as Bronto's state of this order; nothing if there is."""
    order, reading = comparison.order, comparison.reading
    if comparison.invalid:
        message = _("The order cannot be sent as it is, so it has to be corrected. %(reason)s")
        return message % {"reason": comparison.invalid}
    if not reading.answered:
        return reading.trouble
    if reading.document is None:
        return _("Bronto does not have the order, so there is nothing to accept. Resync it.")
    if reading.document.get("customerOrderId") not in (None, order.customer_order_id):
        return _("What Bronto has under this ID is another order. Tell the developers.")
    return ""


def _news(comparison: Comparison, seen: str) -> str:
    return "" if comparison.seen == seen else _changed()


def _changed() -> str:
    return _("The order has changed since you looked, here or at Bronto. Look again, then decide.")


def _baseline(order: Order, remote: Mapping[str, Any], fingerprint: str) -> dict[str, Any]:
    """Return the columns that make Bronto's state the acknowledged one."""
    tracking = remote.get("hasTracking")
    bronto_id = remote.get("orderId")
    return {
        "last_sent": wire.storable(as_sent(remote, order.last_sent or {})),
        "last_sent_hash": fingerprint,
        "acked_revision": F("revision"),
        "has_tracking": tracking if isinstance(tracking, bool) else order.has_tracking,
        "bronto_updated_at": records.moment(remote.get("updatedDate")) or order.bronto_updated_at,
        "bronto_order_id": order.bronto_order_id or records.printable(str(bronto_id or ""))[:64],
    }


def as_sent(remote: Mapping[str, Any], last_sent: Mapping[str, Any]) -> payloads.Document:
    """Return Bronto's answer as if the shop had sent it: the shop's fields, those that are not empty.

    The next update clears what is in it and not in the shop's order. So what Bronto fills in by itself is in it only
    if the shop has sent that field before; what Bronto never gives back, and the number if it does not say, stay as
    they were sent.
    """
    known = [field.name for field in payloads.FIELDS if field.name not in FILLED_FIELDS or field.name in last_sent]
    document = _given({name: FIELDS[name] for name in known}, remote)
    for name in ("customerOrderId", *WRITE_ONLY):
        if name in last_sent:
            document.setdefault(name, last_sent[name])
    states = mapping(remote.get("states"))
    document["states"] = {name: states.get(name) is True for name in ("processed", "shipped")}
    document["lineItems"] = [_given(ITEM_FIELDS, item) for item in line_items(remote)]
    return document


def _given(table: Mapping[str, Normaliser], source: Document) -> payloads.Document:
    """Return the fields of a table that hold something, as a database can keep it."""
    values = {name: _storable(source.get(name)) for name in table}
    return {name: value for name, value in values.items() if not equal(table[name], value, None)}


def _storable(value: object) -> object:
    """Return a text or a number as it is, but for what a database may refuse; nothing for anything else."""
    if isinstance(value, str):
        return records.printable(value)
    return value if isinstance(value, bool | int | float | Decimal) else None
