"""When the workflows fire. One event is one firing, so events count how often a customer was mailed."""

from __future__ import annotations

from typing import Literal

from bronto_orders.sandbox.store import Order
from bronto_orders.sandbox.switches import SwitchBoard

Kind = Literal["orderAdded", "stateChange", "forced"]


def note_state(order: Order, switches: SwitchBoard, *, was_processed: bool, trigger: bool, force: bool) -> Kind | None:
    """Return what the order's present state sets off, and remember that it has been processed.

    The first time an order is processed is its only ``orderAdded``, also when it is added as processed (S1, newer
    crawl). Later changes to processed are ``stateChange``; ``force`` fires for an order that is processed already
    (S1, S2). ``triggerEvents=false`` silences them. Whether it silences ``force`` too, and whether an ``orderAdded``
    that passed in silence is lost, are switches.
    """
    if not order.document["states"]["processed"]:
        return None
    kind: Kind | None = None
    if not order.was_processed:
        kind = "orderAdded"
    elif not was_processed:
        kind = "stateChange"
    elif force:
        kind = "forced"
    heard = trigger or (force and switches["forceWhenSilent"] == "fire")
    if heard or switches["silencedOrderAdded"] == "lost":
        order.was_processed = True
    return kind if heard else None
