"""When two values on the wire mean the same: the table of fields and how each is compared.

Bronto writes what it took in its own way: dates in UTC with milliseconds, amounts without trailing zeros, null for an
empty text and 0 for an amount that was not given (C:om). Nothing here raises, whatever JSON it is given.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

Document = Mapping[str, Any]
Normaliser = Callable[[Any], Any]
_ZERO = Decimal(0)
#: Texts longer than that are neither numbers nor dates.
_LONGEST_SCALAR = 64


def text(value: Any) -> Any:
    """Normalise a value that is taken as it is; for fields that the tables do not have, too."""
    return None if value == "" else value


def _amount(value: Any) -> Any:
    if value is None or value == "":
        return _ZERO
    if isinstance(value, float):
        return Decimal(repr(value))
    if not isinstance(value, str) or len(value) > _LONGEST_SCALAR:
        return value
    try:
        number = Decimal(value)
    except InvalidOperation:
        return value
    return number if number.is_finite() else value


def _moment(value: Any) -> Any:
    if not isinstance(value, str) or not value or len(value) > _LONGEST_SCALAR:
        return text(value)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return value
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _address(value: Any) -> Any:
    if not isinstance(value, str) or ":" not in value:
        return text(value)
    try:
        return ipaddress.ip_address(value)
    except ValueError:
        return value


def _uuid(value: Any) -> Any:
    return value.lower() or None if isinstance(value, str) else value


def _flag(value: Any) -> Any:
    return False if value is None or value == "" else value


#: What is compared, in the order in which it is reported, and how.
FIELDS: dict[str, Normaliser] = {
    "customerOrderId": text,
    "cartId": _uuid,
    "emailAddress": text,
    "contactId": text,
    "orderDate": _moment,
    "currency": text,
    "grandTotal": _amount,
    "subtotal": _amount,
    "discountAmount": _amount,
    "taxAmount": _amount,
    "shippingAmount": _amount,
    "shippingDate": _moment,
    "shippingDetails": text,
    "shippingTrackingUrl": text,
    "originIp": _address,
    "originUserAgent": text,
    "messageId": text,
    "deliveryId": text,
    "orderSource": text,
    "tid": text,
    "trackingCookieName": text,
    "trackingCookieValue": text,
    "states.processed": _flag,
    "states.shipped": _flag,
}
ITEM_FIELDS: dict[str, Normaliser] = {
    "name": text,
    "description": text,
    "sku": text,
    "other": text,
    "category": text,
    "imageUrl": text,
    "productUrl": text,
    "quantity": _amount,
    "unitPrice": _amount,
    "salePrice": _amount,
    "totalPrice": _amount,
}
#: Fields of Bronto's own, in the order of reporting: last.
SERVER_FIELDS: tuple[str, ...] = ("orderId", "status", "hasTracking", "createdDate", "updatedDate")
#: What Bronto fills in when the shop says nothing: a contact by e-mail address, a date of arrival, and so on.
FILLED_FIELDS = frozenset({"cartId", "contactId", "deliveryId", "messageId", "orderDate"})
#: What Bronto takes and never gives back: tid by its documents, orderSource by its answers.
WRITE_ONLY = frozenset({"orderSource", "tid"})
#: What no update changes.
IMMUTABLE = frozenset({"cartId", "customerOrderId"})


def equal(normalise: Normaliser, one: Any, other: Any) -> bool:
    """Tell whether two values mean the same."""
    return one is other or one == other or bool(normalise(one) == normalise(other))


def identical(one: Any, other: Any) -> bool:
    """Tell whether two values are even written the same."""
    return one is other or (one == other and str(one) == str(other))


def mapping(value: Any) -> Document:
    """Return the value if it is an object, an empty one if not."""
    return value if isinstance(value, dict | Mapping) else {}


def flatten(document: Any) -> dict[str, Any]:
    """Return all fields but the line items, members of objects by dotted names."""
    flat: dict[str, Any] = {}
    for name, value in mapping(document).items():
        if isinstance(value, str):
            flat[name] = value
        elif isinstance(value, dict | Mapping):
            for member, inner in value.items():
                flat[f"{name}.{member}"] = inner
        elif name != "lineItems":
            flat[name] = value
    return flat


def line_items(document: Any) -> list[Document]:
    """Return the line items in the order that Bronto gives them, which is the order sent if it does not say."""
    given = mapping(document).get("lineItems")
    items = [mapping(item) for item in given] if isinstance(given, list | tuple) else []
    positions = [item.get("position") for item in items]
    if all(type(position) is int for position in positions):
        items.sort(key=lambda item: item["position"])
    return items
