"""What identifies, locates or follows a shopper, and how it looks to those who may not see it.

One permission decides, ``bronto_orders.view_personal_data``. Without it, values are recognisable at best: enough to
tell two orders apart on the telephone, not enough to write to anybody.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from django.utils.translation import gettext_lazy

from bronto_orders import equality, payloads
from bronto_orders.client.redaction import PERSONAL
from bronto_orders.diffing import Change
from bronto_orders.models import LineItem, Order, Presence, SyncAttempt
from bronto_orders.models.querysets import OrderQuerySet

PERMISSION: Final = "bronto_orders.view_personal_data"
#: Stands for a value of which nothing is shown.
MASK: Final = "•••"
#: Stands for the rest of a value of which the beginning is shown.
REST: Final = "…"
#: The columns of an order that are personal: those that no record of a request keeps either.
COLUMNS: Final = tuple(field.attribute for field in payloads.FIELDS if field.name in PERSONAL)
#: Beside them, what leads back to the shopper by another system, and what people may have written freely.
TRACES: Final = (
    "contact_id",
    "tracking_cookie_name",
    "message_id",
    "delivery_id",
    "cart_id",
    "shipping_details",
    "shipping_tracking_url",
    "attribution_source",
    "attribution_seen_at",
    "attribution_note",
)
#: The same of line items.
ITEM_TRACES: Final = ("description", "other")
#: What delivery knows of the order, which is nothing once it is to be gone at Bronto.
FORGOTTEN: Final[Mapping[str, Any]] = {
    "presence": Presence.ABSENT,
    "last_sent": None,
    "last_sent_hash": "",
    "bronto_order_id": "",
    "bronto_updated_at": None,
    "has_tracking": None,
    "settle_until": None,
}
#: What an order whose customer was erased says for itself.
ERASED_MESSAGE: Final = gettext_lazy(
    "The customer was erased: the order is never sent again, and emptied again if somebody brings it back."
)
#: What Bronto may answer with beside these can be anything.
_KNOWN: Final = frozenset({*equality.FIELDS, *equality.SERVER_FIELDS})
_KNOWN_OF_ITEMS: Final = frozenset({*equality.ITEM_FIELDS, "position"})


def may_see(user: Any) -> bool:
    """Whether the user may see personal data in full."""
    return bool(user.has_perm(PERMISSION))


def masked(name: str, value: Any) -> Any:
    """Return a value of an order as it is shown without the permission. ``name`` is a column or a wire name."""
    if value in (None, ""):
        return value
    match name:
        case "email_address" | "emailAddress":
            return _email(str(value))
        case "origin_ip" | "originIp":
            return _address(str(value))
    return MASK if name in COLUMNS or name in PERSONAL else value


def is_masked(value: object) -> bool:
    """Tell whether a value is what ``masked`` puts in the place of another."""
    return isinstance(value, str) and (value == MASK or f"{REST}@" in value or value.endswith((f".{REST}", f":{REST}")))


def masked_document(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return an order in wire names, personal values masked."""
    return {name: masked(name, value) for name, value in document.items()}


def masked_side(change: Change, value: Any) -> Any:
    """Return one side of a comparison likewise, and hide what nobody knows the meaning of."""
    if value in (None, ""):
        return value
    if change.item is not None:
        return value if change.field in _KNOWN_OF_ITEMS else MASK
    return masked(change.path, value) if change.path in _KNOWN else MASK


def _email(value: str) -> str:
    local, at, domain = value.rpartition("@")
    return f"{local[:1]}{REST}@{domain}" if at else MASK


def _address(value: str) -> str:
    """Keep the network of an IPv4 address or, as much as that tells, of an IPv6 address."""
    if re.fullmatch(r"\d+\.\d+\.\d+\.\d+", value):
        return f"{value.rpartition('.')[0]}.{REST}"
    parts = value.split(":")
    return f"{parts[0]}:{parts[1]}:{REST}" if len(parts) > 2 else MASK


def scrub(orders: OrderQuerySet, pk: int, **columns: Any) -> bool:
    """Empty what is personal of one order, of its items and of its attempts, and write ``columns``.

    ``orders`` selects the row if it may be written. Marks nothing. Call inside a transaction.
    """
    emptied = {name: None if Order._meta.get_field(name).null else "" for name in (*COLUMNS, *TRACES)}
    if not orders.filter(pk=pk).scrub(**emptied, **FORGOTTEN, **columns):
        return False
    LineItem.objects.using(orders.db).filter(order=pk).scrub(**dict.fromkeys(ITEM_TRACES, ""))
    texts = dict.fromkeys(("reason", "decision", "request_excerpt", "answer_excerpt"), "")
    SyncAttempt.objects.using(orders.db).filter(order=pk).update(**texts)
    return True
