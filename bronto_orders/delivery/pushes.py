from __future__ import annotations

from dataclasses import dataclass

from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from bronto_orders import payloads, wire
from bronto_orders.models import Order, Presence, SyncAttempt


@dataclass(frozen=True, kw_only=True)
class Push:
    """What is sent for an order as the shop has it now."""

    operation: SyncAttempt.Operation
    #: The whole order, and the part of it that is sent.
    document: payloads.Document
    body: payloads.Document
    #: The document as JSON, and its hash.
    document_json: str
    fingerprint: str
    #: Bronto has acknowledged this very content, so that nothing is sent unless somebody insists.
    idle: bool

    @property
    def body_json(self) -> bytes:
        """What is sent, as it is sent."""
        text = self.document_json if self.body is self.document else wire.dumps(self.body)
        return text.encode("ascii")


def next_push(order: Order, document: payloads.Document, *, with_order_date: bool, with_tracking: bool = False) -> Push:
    """Decide between add and update by what is known of the order at Bronto, and build the body.

    Tracking goes with an update until Bronto says that it has taken it, and ``with_tracking`` once more. Raises
    payloads.InvalidOrderError when the order's number has changed since it was sent.
    """
    sent_as = (order.last_sent or {}).get("customerOrderId", order.customer_order_id)
    if order.presence != Presence.ABSENT and sent_as != order.customer_order_id:
        message = _("The order was sent as “{number}”, and Bronto cannot change its number. Change it back.")
        raise payloads.InvalidOrderError("customer_order_id", format_lazy(message, number=sent_as))
    document_json = wire.dumps(document)
    fingerprint = payloads.fingerprint(document_json, order.account)
    # The hash is emptied whenever a request may have changed the order at Bronto without our knowing.
    certain = order.last_sent_hash != "" and order.settle_until is None
    if order.presence == Presence.ABSENT:
        operation, body = SyncAttempt.Operation.ADD, payloads.add_body(document)
    else:
        operation = SyncAttempt.Operation.UPDATE
        body = payloads.update_body(
            document,
            order.last_sent,
            certain=certain,
            with_order_date=with_order_date,
            with_tracking=with_tracking or not order.has_tracking,
        )
    idle = order.presence == Presence.PRESENT and certain and order.last_sent_hash == fingerprint
    return Push(
        operation=operation,
        document=document,
        body=body,
        document_json=document_json,
        fingerprint=fingerprint,
        idle=idle,
    )
