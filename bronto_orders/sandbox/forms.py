"""What the bodies and the parameters of the calls may hold (S1; C:om for the kinds)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from bronto_orders.sandbox import fields
from bronto_orders.sandbox.fields import Field, Unfit
from bronto_orders.sandbox.messages import Request
from bronto_orders.sandbox.refusals import Malformed, WrongMediaType
from bronto_orders.sandbox.switches import SwitchBoard
from bronto_orders.sandbox.wire import JSON_TYPE, decode

Form = Mapping[str, Field]

#: One line; nothing in it is required (S1's sample has two fields).
LINE_ITEM: Final[Form] = {
    **dict.fromkeys(("name", "description", "sku", "other", "category", "imageUrl", "productUrl"), fields.text),
    **dict.fromkeys(("quantity", "unitPrice", "salePrice", "totalPrice"), fields.amount),
}
STATES: Final[Form] = {"processed": fields.flag, "shipped": fields.flag}
#: Tracking has rules of its own, see ``tracking``.
TRACKING: Final = ("tid", "trackingCookieName", "trackingCookieValue")
#: What only the service sets; clients that send back what they got are not refused (C:om).
READ_ONLY: Final = ("orderId", "createdDate", "updatedDate", "hasTracking")


def states(value: Any, switches: SwitchBoard) -> dict[str, bool] | None:
    """The preferred view of an order's state (S1, S2); null, and null within, says nothing (our choice)."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise Unfit("must be an object of booleans")
    found, reasons = _check(STATES, value, switches)
    reasons.update(_unknown(value, STATES, switches))
    if reasons:
        raise Unfit({f".{name}": reason for name, reason in reasons.items()})
    return {name: value for name, value in found.items() if value is not None}


def line_items(value: Any, switches: SwitchBoard) -> list[dict[str, Any]]:
    """The whole list of lines (S0); null is an empty list (our choice)."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise Unfit("must be an array of objects")
    if len(value) > switches["lineItems"]:
        raise Unfit(f"must not be longer than {switches['lineItems']} items")
    return [_line_item(index, item, switches) for index, item in enumerate(value)]


def _line_item(index: int, item: Any, switches: SwitchBoard) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise Unfit({f"[{index}]": "must be an object"})
    found, reasons = _check(LINE_ITEM, item, switches)
    reasons.update(_unknown(item, (*LINE_ITEM, "position"), switches))
    if reasons:
        raise Unfit({f"[{index}].{name}": reason for name, reason in reasons.items()})
    return found


#: What an update may hold (S1).
UPDATE: Final[Form] = {
    "emailAddress": fields.address,
    "contactId": fields.text,
    "orderDate": fields.moment,
    "status": fields.status,
    "states": states,
    "currency": fields.currency,
    "grandTotal": fields.amount,
    "subtotal": fields.amount,
    "discountAmount": fields.amount,
    "taxAmount": fields.amount,
    "shippingAmount": fields.amount,
    "shippingDate": fields.moment,
    "shippingDetails": fields.text,
    "shippingTrackingUrl": fields.text,
    "originIp": fields.ip_address,
    "originUserAgent": fields.text,
    "messageId": fields.text,
    "deliveryId": fields.text,
    "orderSource": fields.text,
    "lineItems": line_items,
}
#: The ids that an add alone may set (S0).
IDS: Final[Form] = {"customerOrderId": fields.customer_order_id, "cartId": fields.uuid_text}
ADD: Final[Form] = {**UPDATE, **IDS}
#: The parameters of a search, at least one of which must be given (H:search).
SEARCH: Final[Form] = {
    "customerOrderId": fields.name,
    "cartId": fields.uuid_text,
    "startDate": fields.moment,
    "endDate": fields.moment,
}
#: The parameters of add and update (S1, S2).
OPTIONS: Final[Form] = dict.fromkeys(("createContact", "triggerEvents", "force", "ignoreInvalidTid"), fields.parameter)
#: What may be staged, by the control API and by the console. Those are all the statuses that Bronto has.
CONTACT_STATUSES: Final = ("active", "onboarding", "transactional", "bounce", "unconfirmed", "unsubscribed")
CONTACT: Final[Form] = {"emailAddress": fields.address, "status": fields.one_of(*CONTACT_STATUSES)}
RETURN: Final[Form] = {"customerOrderId": fields.customer_order_id}


def read(form: Form, data: Mapping[str, Any], switches: SwitchBoard, required: Iterable[str] = ()) -> dict[str, Any]:
    """Return what was sent, checked; Malformed names each bad field."""
    found, reasons = _check(form, data, switches)
    for name in required:
        if data.get(name) is None:
            reasons.setdefault(name, "is required")
    if reasons:
        raise Malformed("; ".join(f"{name}: {reason}" for name, reason in reasons.items()))
    return found


def read_object(request: Request) -> dict[str, Any]:
    """Return the JSON object in the body, or refuse the call."""
    request.check_size()
    media_type, parameters = request.content_type
    if media_type != JSON_TYPE:
        raise WrongMediaType("Content-Type must be application/json")
    if parameters.get("charset", "utf-8").lower() not in ("utf-8", "utf8", "us-ascii"):
        raise WrongMediaType("JSON must be sent as UTF-8")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise WrongMediaType("Content-Encoding must be identity: compressed bodies are not read")
    value = decode(request.body or b"")
    if not isinstance(value, dict):
        raise Malformed("body: a JSON object is required")
    return value


def refuse_unknown(given: Iterable[str], known: Iterable[str], what: str) -> None:
    """Refuse names that are not documented; asked for by a switch only."""
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise Malformed("; ".join(f"{name}: no such {what}" for name in unknown))


def _unknown(given: Iterable[str], known: Iterable[str], switches: SwitchBoard) -> dict[str, str]:
    if switches["unknownFields"] == "ignore":
        return {}
    return dict.fromkeys(sorted(set(given) - set(known)), "no such field")


def _check(form: Form, data: Mapping[str, Any], switches: SwitchBoard) -> tuple[dict[str, Any], dict[str, str]]:
    found: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for name, field in form.items():
        if name in data:
            try:
                found[name] = field(data[name], switches)
            except Unfit as unfit:
                reasons.update({name + place: reason for place, reason in unfit.reasons.items()})
    return found, reasons
