"""An order beside what Bronto acknowledged of it and has of it."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from bronto_orders import diffing, payloads, wire
from bronto_orders.conf import bronto_settings
from bronto_orders.currencies import EXPONENTS
from bronto_orders.delivery.personal import masked_document, masked_side
from bronto_orders.delivery.pushes import Push, next_push
from bronto_orders.delivery.remote import Reading, read, shut_gate
from bronto_orders.delivery.tombstones import is_erased
from bronto_orders.diffing import Change, Verdict
from bronto_orders.exceptions import BrontoConfigurationError
from bronto_orders.models import AccountStatus, LineItem, Order, Presence


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How an order stands in the shop and at Bronto."""

    order: Order
    changes: tuple[Change, ...]
    reading: Reading
    #: What is sent next. When that is nothing, because Bronto has acknowledged this very content: what is sent if
    #: somebody insists.
    push: Push | None
    #: Why the order cannot be sent as it is.
    invalid: str = ""
    #: The account's gate while it is shut.
    gate: AccountStatus | None = None
    #: The order's customer was erased: nothing is compared, and Bronto is not asked.
    erased: bool = False

    @property
    def idle(self) -> bool:
        """Whether Bronto has acknowledged this very content."""
        return self.push is not None and self.push.idle

    @property
    def differences(self) -> int:
        """How many fields and line items differ; a line item counts once."""
        return _places(change for change in self.changes if change.verdict.is_difference)

    @property
    def accepted(self) -> int:
        """How many fields and line items staff have left as Bronto has them."""
        return _places(change for change in self.changes if change.verdict is Verdict.ACCEPTED)

    @property
    def is_missing(self) -> bool:
        """Whether Bronto says that it does not have the order."""
        return self.reading.answered and self.reading.document is None

    @property
    def can_settle(self) -> bool:
        """Whether there are differences that a push, or taking Bronto's side, would do away with."""
        return any(one.verdict.is_difference and one.verdict is not Verdict.CANNOT_CHANGE for one in self.changes)

    @property
    def seen(self) -> str:
        """A short name for what was compared, by which a later look tells whether either side has changed since.

        Keyed, as it stands in the page: whoever sees only masked values could try out which ones give it otherwise.
        """
        state = wire.dumps([self.order.revision, self.reading.document])
        return salted_hmac("bronto_orders.seen", state, algorithm="sha256").hexdigest()[:32]

    def body(self, *, masked: bool = False) -> payloads.Document:
        """Return what is sent; ``masked`` for a reader who may not see personal data."""
        assert self.push is not None  # noqa: S101 - only an order that can be sent has a body
        return masked_document(self.push.body) if masked else self.push.body


def _places(changes: Iterable[Change]) -> int:
    return len({change.item or change.path for change in changes})


def compare(order: Order) -> Comparison:
    """Compare an order on all three sides. Asks Bronto; changes nothing; raises nothing that an order can cause."""
    if is_erased(order):
        return Comparison(order=order, changes=(), reading=Reading(trouble=erased_sentence()), push=None, erased=True)
    items = list(order.line_items.all())
    with_order_date = _updates_order_date(order)
    push, invalid = None, ""
    try:
        now = payloads.build_document(order, items, now=timezone.now())
        push = next_push(order, now, with_order_date=with_order_date)
        if push.idle:
            push = replace(next_push(_doubted(order), now, with_order_date=with_order_date), idle=True)
    except payloads.InvalidOrderError as error:
        now, invalid = as_typed(order, items), str(error.message)
    gate = shut_gate(order)
    reading = read(order, gate)
    changes = diffing.compare(
        now,
        order.last_sent,
        reading.document,
        immutable=immutable(order, reading, with_order_date=with_order_date),
        settled=push is not None and push.idle,
    )
    return Comparison(order=order, changes=changes, reading=reading, push=push, invalid=invalid, gate=gate)


def _doubted(order: Order) -> Order:
    """Return the order as it is once somebody insists on a push: nothing at Bronto is taken for granted."""
    doubted = copy.copy(order)
    doubted.last_sent_hash = ""
    return doubted


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
    for field, value in payloads.stated(table, source):
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


def erased_sentence() -> str:
    """Say why an order whose customer was erased is neither compared nor sent."""
    return _("The customer was erased; the order is never sent again.")


def sentence(comparison: Comparison) -> str:
    """Say in one sentence how the shop and Bronto stand."""
    order, reading, count = comparison.order, comparison.reading, comparison.differences
    if comparison.erased:
        return erased_sentence()
    if comparison.is_missing:
        if order.presence == Presence.ABSENT:
            return _("Bronto does not have this order yet.")
        if comparison.idle:
            return _("Bronto no longer has this order. Resync it to add it again.")
        return _("Bronto no longer has this order. The next push adds it again.")
    if not reading.answered and order.last_sent is None:
        return _("Bronto has acknowledged nothing of this order yet.")
    if not count:
        if comparison.accepted:
            text = ngettext(
                "Bronto differs in %(count)d place, which has been accepted as it is.",
                "Bronto differs in %(count)d places, which have been accepted as they are.",
                comparison.accepted,
            )
            return text % {"count": comparison.accepted}
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


def report(comparison: Comparison, *, masked: bool = False) -> dict[str, Any]:
    """Return the comparison as a document whose keys stay as they are: for programs."""
    order, reading, push = comparison.order, comparison.reading, comparison.push
    return {
        "account": order.account,
        "customer_order_id": order.customer_order_id,
        "bronto_order_id": order.bronto_order_id,
        "state": order.sync_state,
        "revision": order.revision,
        "acked_revision": order.acked_revision,
        "synced_at": order.synced_at.isoformat() if order.synced_at else None,
        "read_at": reading.read_at.isoformat() if reading.answered else None,
        "at_bronto": reading.document is not None if reading.answered else None,
        "trouble": reading.trouble,
        "invalid": comparison.invalid,
        "sentence": sentence(comparison),
        "differences": comparison.differences,
        "accepted": comparison.accepted,
        "changes": [_reported(change, masked=masked) for change in comparison.changes],
        "next_push": push
        and {"operation": push.operation.value, "idle": comparison.idle, "body": comparison.body(masked=masked)},
    }


def _reported(change: Change, *, masked: bool) -> dict[str, Any]:
    values = {"now": change.now, "last_sent": change.last_sent, "bronto": change.remote}
    if masked:
        values = {side: masked_side(change, value) for side, value in values.items()}
    return {
        "path": change.path,
        "sku": change.item.sku if change.item else None,
        "field": change.field,
        **values,
        "verdict": change.verdict.value,
        "differs": change.verdict.is_difference,
    }
