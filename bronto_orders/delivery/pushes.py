from __future__ import annotations

from dataclasses import dataclass

from bronto_orders import payloads
from bronto_orders.models import Order, Presence, SyncAttempt


@dataclass(frozen=True, kw_only=True)
class Push:
    """What is sent for an order as the shop has it now."""

    operation: SyncAttempt.Operation
    #: The whole order, and the part of it that is sent.
    document: payloads.Document
    body: payloads.Document
    fingerprint: str
    #: Bronto has acknowledged this very content, so that nothing is sent unless somebody insists.
    idle: bool


def next_push(order: Order, document: payloads.Document, *, with_order_date: bool) -> Push:
    """Decide between add and update by what is known of the order at Bronto, and build the body.

    Tracking goes with an update until Bronto says that it has taken it.
    """
    fingerprint = payloads.fingerprint(document)
    if order.presence == Presence.ABSENT:
        operation, body = SyncAttempt.Operation.ADD, payloads.add_body(document)
    else:
        operation = SyncAttempt.Operation.UPDATE
        body = payloads.update_body(
            document, order.last_sent, with_order_date=with_order_date, with_tracking=not order.has_tracking
        )
    settled = order.presence == Presence.PRESENT and order.settle_until is None
    idle = settled and order.last_sent_hash == fingerprint
    return Push(operation=operation, document=document, body=body, fingerprint=fingerprint, idle=idle)
