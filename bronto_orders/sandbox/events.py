"""When the workflows fire. One row is one firing, so rows count how often a customer was mailed."""

from __future__ import annotations

from bronto_orders.sandbox.models import Event, Order


def note_state(order: Order, *, was_processed: bool, trigger: bool, force: bool) -> Event.Kind | None:
    """Return what the order's present state sets off, and remember that it has been processed.

    The first time an order is processed is its only ``orderAdded``, also when it is added as
    processed, and also when it passes in silence (S1, newer crawl). Later changes to processed are
    ``stateChange``; ``force`` fires for an order that is processed already (S1, S2).
    ``triggerEvents=false`` silences all of them, ``force`` included (our choice).
    """
    if not order.processed:
        return None
    kind: Event.Kind | None = None
    if not order.was_processed:
        kind = Event.Kind.ORDER_ADDED
    elif not was_processed:
        kind = Event.Kind.STATE_CHANGE
    elif force:
        kind = Event.Kind.FORCED
    order.was_processed = True
    return kind if trigger else None


def fire(order: Order, kind: Event.Kind | None) -> None:
    """Record one firing, if there is one."""
    if kind is not None:
        Event.objects.create(
            kind=kind,
            order_id=order.order_id,
            customer_order_id=order.customer_order_id,
            email_address=order.email_address,
        )
