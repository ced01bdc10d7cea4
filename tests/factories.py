from __future__ import annotations

from typing import Any

from django.db import DEFAULT_DB_ALIAS
from django.db.models import F

from bronto_orders.testing import LineItemFactory, OrderFactory

__all__ = ["LineItemFactory", "OrderFactory", "acknowledge"]


def acknowledge(order: Any, *, using: str = DEFAULT_DB_ALIAS, **columns: Any) -> None:
    """Write what the engine writes when Bronto has acknowledged the newest revision."""
    from bronto_orders.models import DbNow, Order, Presence, SyncState

    Order.objects.using(using).filter(pk=order.pk).update(
        sync_state=SyncState.SYNCED,
        due_at=None,
        acked_revision=F("revision"),
        presence=Presence.PRESENT,
        bronto_order_id="0ad24370-96de-4922-9a53-954530fcbb64",
        last_sent={"grandTotal": 4.27},
        last_sent_hash="h" * 64,
        synced_at=DbNow(),
        has_tracking=True,
        **columns,
    )
