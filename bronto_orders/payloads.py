"""From an order to what goes over the wire.

``FIELDS`` and ``ITEM_FIELDS`` are the one table of what is sent: wire name, model field, kind of value and rule of
sending. ``build_document`` makes the whole order as the shop has it now; the body of an add or an update is a
selection from it. Pure: no query, no clock but the one given, no setting.

Wire names and types: S1, S2, S3 and the captured traffic of C:om. Bronto's documents leave open what an update does
with null and with ``orderDate``; see ``update_body`` for what is done here.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils import timezone
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from bronto_orders import wire
from bronto_orders.currencies import EXPONENTS

if TYPE_CHECKING:
    from bronto_orders.models import LineItem, Order

Document = dict[str, Any]

EARLIEST_ORDER_DATE = datetime(2000, 1, 1, tzinfo=UTC)
LATEST_ORDER_YEARS = 5
#: Field data used in a message must stay below 1 MB (S4); measured in UTF-8.
MAX_TEXT_BYTES = 1_000_000
#: Amounts without a known currency keep what two decimals hold.
DEFAULT_EXPONENT = 2


class InvalidOrderError(Exception):
    """The order breaks a documented limit of Bronto's; sending it would only be refused.

    ``field`` is the model field (items: ``line_items``), ``message`` a text for the shop's staff.
    """

    def __init__(self, field: str, message: Any) -> None:
        self.field = field
        self.message = message
        super().__init__(field)

    @property
    def code(self) -> str:
        """The machine code, such as ``invalid:order_date``."""
        return f"invalid:{self.field}"


class Sending(Enum):
    """When a field is part of a body."""

    ALWAYS = "always"
    #: With an add alone: an update cannot change it (S0).
    ADD = "add"
    #: With an add, and with an update where the account says so: the documents disagree (S0 against S1).
    ORDER_DATE = "order_date"
    #: With an add, and with updates until Bronto has acknowledged it; never null (C:om).
    TRACKING = "tracking"


#: Makes the wire form of a value that is neither None nor empty text.
Converter = Callable[["Context", str, Any], Any]


@dataclass(frozen=True)
class Context:
    """What a value's wire form depends on beside the value."""

    exponent: int
    now: datetime


#: The smallest unit by number of decimals, for those that currencies have.
_QUANTA = {exponent: Decimal(1).scaleb(-exponent) for exponent in {DEFAULT_EXPONENT, *EXPONENTS.values()}}


@dataclass(frozen=True)
class WireField:
    """One row of the field table."""

    name: str
    attribute: str
    convert: Converter
    sending: Sending = Sending.ALWAYS


def _text(context: Context, field: str, value: str) -> str:
    try:
        size = len(value) if value.isascii() else len(value.encode())
    except UnicodeEncodeError:
        raise InvalidOrderError(field, _("The text holds characters that cannot be sent. Type it again.")) from None
    if size >= MAX_TEXT_BYTES:
        raise InvalidOrderError(field, _("The text is longer than the 1 MB that Bronto takes. Shorten it."))
    return value


def _email(context: Context, field: str, value: str) -> str:
    try:
        validate_email(value)
    except ValidationError:
        raise InvalidOrderError(field, _("This is not an e-mail address. Correct it.")) from None
    return value


def _currency(context: Context, field: str, value: str) -> str:
    if value not in EXPONENTS:
        message = _("“{code}” is not an ISO 4217 currency code such as USD or EUR. Correct it.")
        raise InvalidOrderError(field, format_lazy(message, code=value))
    return value


def _amount(context: Context, field: str, value: Decimal | float | str) -> Decimal:
    return quantize(_decimal(field, value), context.exponent)


def _quantity(context: Context, field: str, value: Decimal | float | str) -> Decimal:
    return _decimal(field, value)


def _decimal(field: str, value: object) -> Decimal:
    try:
        number = value if isinstance(value, Decimal) else Decimal(str(value))
    except ArithmeticError:
        number = Decimal("NaN")
    if not number.is_finite():
        raise InvalidOrderError(field, _("This is not a number. Correct it."))
    return number


def quantize(amount: Decimal, exponent: int) -> Decimal:
    """Round to ``exponent`` decimals, half away from zero as price tags do."""
    return amount.quantize(_QUANTA.get(exponent) or Decimal(1).scaleb(-exponent), rounding=ROUND_HALF_UP)


def _moment(context: Context, field: str, value: datetime) -> str:
    return _aware(value).isoformat(timespec="milliseconds")


def _aware(value: datetime) -> datetime:
    return value if timezone.is_aware(value) else timezone.make_aware(value)


def _order_date(context: Context, field: str, value: datetime) -> str:
    moment = _aware(value)
    if moment < EARLIEST_ORDER_DATE:
        raise InvalidOrderError(field, _("Bronto takes no orders from before 1 January 2000. Correct the date."))
    if moment > _years_later(context.now, LATEST_ORDER_YEARS):
        message = _("Bronto takes no orders dated more than five years ahead. Correct the date.")
        raise InvalidOrderError(field, message)
    return _moment(context, field, moment)


def _years_later(moment: datetime, years: int) -> datetime:
    try:
        return moment.replace(year=moment.year + years)
    except ValueError:  # 29 February
        return moment.replace(year=moment.year + years, day=28)


def _uuid(context: Context, field: str, value: UUID | str) -> str:
    try:
        return str(value if isinstance(value, UUID) else UUID(str(value)))
    except ValueError:
        raise InvalidOrderError(field, _("This is not a UUID. Correct it.")) from None


def _address(context: Context, field: str, value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise InvalidOrderError(field, _("This is not an IPv4 or IPv6 address. Correct it.")) from None


FIELDS: tuple[WireField, ...] = (
    WireField("customerOrderId", "customer_order_id", _text, Sending.ADD),
    WireField("cartId", "cart_id", _uuid, Sending.ADD),
    WireField("emailAddress", "email_address", _email),
    WireField("contactId", "contact_id", _text),
    WireField("orderDate", "order_date", _order_date, Sending.ORDER_DATE),
    WireField("currency", "currency", _currency),
    WireField("grandTotal", "grand_total", _amount),
    WireField("subtotal", "subtotal", _amount),
    WireField("discountAmount", "discount_amount", _amount),
    WireField("taxAmount", "tax_amount", _amount),
    WireField("shippingAmount", "shipping_amount", _amount),
    WireField("shippingDate", "shipping_date", _moment),
    WireField("shippingDetails", "shipping_details", _text),
    WireField("shippingTrackingUrl", "shipping_tracking_url", _text),
    WireField("originIp", "origin_ip", _address),
    WireField("originUserAgent", "origin_user_agent", _text),
    WireField("messageId", "message_id", _text),
    WireField("deliveryId", "delivery_id", _text),
    WireField("orderSource", "order_source", _text),
    WireField("tid", "tid", _text, Sending.TRACKING),
    WireField("trackingCookieName", "tracking_cookie_name", _text, Sending.TRACKING),
    WireField("trackingCookieValue", "tracking_cookie_value", _text, Sending.TRACKING),
)

ITEM_FIELDS: tuple[WireField, ...] = (
    WireField("name", "name", _text),
    WireField("description", "description", _text),
    WireField("sku", "sku", _text),
    WireField("other", "other", _text),
    WireField("category", "category", _text),
    WireField("imageUrl", "image_url", _text),
    WireField("productUrl", "product_url", _text),
    WireField("quantity", "quantity", _quantity),
    WireField("unitPrice", "unit_price", _amount),
    WireField("salePrice", "sale_price", _amount),
    WireField("totalPrice", "total_price", _amount),
)

_NAMES_BY_SENDING = {rule: frozenset(field.name for field in FIELDS if field.sending is rule) for rule in Sending}
TRACKING_NAMES = _NAMES_BY_SENDING[Sending.TRACKING]
#: What Bronto may have filled in by itself is not cleared because the shop does not mention it.
_FILLED_BY_BRONTO = frozenset({"contactId", "messageId", "deliveryId"})
_SHOPS_OWN_NAMES = _NAMES_BY_SENDING[Sending.ALWAYS] - _FILLED_BY_BRONTO


def build_document(order: Order, items: Iterable[LineItem], *, now: datetime) -> Document:
    """Return the whole order in wire names, as the shop has it now.

    Empty text and None are left out. ``states`` and ``lineItems`` are always there. Half a cookie pair is left out:
    Bronto takes the pair or nothing. ``now`` is the clock for the date range.

    Raises InvalidOrderError when the order breaks a documented limit.
    """
    context = Context(exponent=EXPONENTS.get(order.currency, DEFAULT_EXPONENT), now=now)
    document = _convert(FIELDS, order, context)
    if "trackingCookieName" not in document or "trackingCookieValue" not in document:
        document.pop("trackingCookieName", None)
        document.pop("trackingCookieValue", None)
    document["states"] = {"processed": order.processed, "shipped": order.shipped}
    document["lineItems"] = [_item(item, context) for item in items]
    return document


def stated(table: Iterable[WireField], source: object) -> Iterator[tuple[WireField, Any]]:
    """Yield the fields of which the shop says something, each with its value."""
    for field in table:
        value = getattr(source, field.attribute)
        if value is not None and value != "":
            yield field, value


def _convert(table: Iterable[WireField], source: object, context: Context) -> Document:
    return {field.name: field.convert(context, field.attribute, value) for field, value in stated(table, source)}


def _item(item: LineItem, context: Context) -> Document:
    try:
        return _convert(ITEM_FIELDS, item, context)
    except InvalidOrderError as error:
        message = _("Line item at position {position}, {field}: {message}")
        text = format_lazy(message, position=item.position, field=error.field, message=error.message)
        raise InvalidOrderError("line_items", text) from None


def add_body(document: Document) -> Document:
    """Return the body of an add: all that the shop says."""
    return document


def update_body(
    document: Document,
    last_sent: Mapping[str, Any] | None,
    *,
    certain: bool,
    with_order_date: bool,
    with_tracking: bool,
) -> Document:
    """Return the body of an update: the whole order but for what an update cannot or should not change.

    A field that is empty now and was not when Bronto last acknowledged the order is sent as null: left out, it would
    keep its old value (S1). Unless it is ``certain`` that Bronto has what ``last_sent`` says, every empty field is:
    a request without an answer may have filled any of them. Whether Bronto clears a field on null is undocumented; a
    captured add treats null as empty (C:om).
    """
    unsent = set(_NAMES_BY_SENDING[Sending.ADD])
    if not with_order_date:
        unsent |= _NAMES_BY_SENDING[Sending.ORDER_DATE]
    if not with_tracking:
        unsent |= TRACKING_NAMES
    body = {name: value for name, value in document.items() if name not in unsent}
    perhaps_there = set(last_sent or ()) if certain else set(last_sent or ()) | _SHOPS_OWN_NAMES
    for name in perhaps_there - document.keys() - unsent - TRACKING_NAMES:
        body[name] = None
    return body


def acknowledged(body: Document, last_sent: Mapping[str, Any] | None) -> Document:
    """Return what Bronto has of the shop's once it has accepted ``body`` on top of ``last_sent``."""
    return {name: value for name, value in {**(last_sent or {}), **body}.items() if value is not None}


def perhaps_acknowledged(body: Document, last_sent: Mapping[str, Any] | None) -> Document:
    """Return ``last_sent`` with what a request without an answer may have filled in, of the fields Bronto also fills.

    An update that follows clears all other empty fields anyway; these only if the shop is known to have sent them.
    """
    filled = {name: body[name] for name in _FILLED_BY_BRONTO & body.keys() if body[name] is not None}
    return {**filled, **(last_sent or {})}


def fingerprint(document_json: str, account: str) -> str:
    """Return a hash of a document, as JSON: an equal one, acknowledged, means that the account has this content."""
    return hashlib.sha256(f"[{wire.dumps(account)},{document_json}]".encode()).hexdigest()
