"""An order beside what Bronto acknowledged of it and has of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from bronto_orders import diffing, payloads
from bronto_orders.conf import bronto_settings
from bronto_orders.currencies import EXPONENTS
from bronto_orders.delivery.pushes import Push, next_push
from bronto_orders.delivery.remote import Reading, read
from bronto_orders.diffing import Change
from bronto_orders.exceptions import BrontoConfigurationError
from bronto_orders.models import LineItem, Order, Presence


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How an order stands in the shop and at Bronto."""

    changes: tuple[Change, ...]
    reading: Reading
    push: Push | None
    #: Why the order cannot be sent as it is.
    invalid: str = ""

    @property
    def differences(self) -> int:
        """How many fields and line items differ; a line item counts once."""
        return len({change.item or change.path for change in self.changes if change.verdict.is_difference})


def compare(order: Order) -> Comparison:
    """Compare an order on all three sides. Asks Bronto; changes nothing; raises nothing that an order can cause."""
    items = list(order.line_items.all())
    with_order_date = _updates_order_date(order)
    push, invalid = None, ""
    try:
        now = payloads.build_document(order, items, now=timezone.now())
        push = next_push(order, now, with_order_date=with_order_date)
    except payloads.InvalidOrderError as error:
        now, invalid = as_typed(order, items), str(error.message)
    reading = read(order)
    changes = diffing.compare(
        now, order.last_sent, reading.document, immutable=immutable(order, reading, with_order_date=with_order_date)
    )
    return Comparison(changes=changes, reading=reading, push=push, invalid=invalid)


def immutable(order: Order, reading: Reading, *, with_order_date: bool) -> frozenset[str]:
    """Return the fields that the next push cannot change at Bronto."""
    if reading.answered and reading.document is None:
        return frozenset()
    names = {field.name for field in payloads.FIELDS if field.sending is payloads.Sending.ADD}
    if not with_order_date:
        names.add("orderDate")
    if order.has_tracking:
        names |= payloads.TRACKING_NAMES
    return frozenset(names)


def as_typed(order: Order, items: Iterable[LineItem]) -> payloads.Document:
    """Return an order that cannot be sent, each value that is wrong as it stands in the database."""
    context = payloads.Context(exponent=EXPONENTS.get(order.currency, payloads.DEFAULT_EXPONENT), now=timezone.now())
    return {
        **_as_typed(payloads.FIELDS, order, context),
        "states": {"processed": order.processed, "shipped": order.shipped},
        "lineItems": [_as_typed(payloads.ITEM_FIELDS, item, context) for item in items],
    }


def _as_typed(table: Iterable[payloads.WireField], source: object, context: payloads.Context) -> payloads.Document:
    document = {}
    for field in table:
        value = getattr(source, field.attribute)
        try:
            document[field.name] = field.convert(context, field.attribute, value)
        except payloads.InvalidOrderError:
            document[field.name] = str(value)
    return document


def _updates_order_date(order: Order) -> bool:
    try:
        return bronto_settings.account(order.account).update_order_date
    except BrontoConfigurationError:
        return False


def sentence(order: Order, comparison: Comparison) -> str:
    """Say in one sentence how the shop and Bronto stand."""
    reading, count = comparison.reading, comparison.differences
    if reading.answered and reading.document is None:
        if order.presence == Presence.ABSENT:
            return _("Bronto does not have this order yet.")
        return _("Bronto no longer has this order. The next push adds it again.")
    if not reading.answered and order.last_sent is None:
        return _("Bronto has acknowledged nothing of this order yet.")
    if not count:
        if reading.answered:
            return _("Bronto has the order as the shop has it.")
        return _("Nothing has changed since Bronto last acknowledged the order.")
    if reading.answered:
        text = ngettext(
            "The shop and Bronto differ in %(count)d place.", "The shop and Bronto differ in %(count)d places.", count
        )
    else:
        text = ngettext(
            "%(count)d place has changed since Bronto last acknowledged the order.",
            "%(count)d places have changed since Bronto last acknowledged the order.",
            count,
        )
    return text % {"count": count}
