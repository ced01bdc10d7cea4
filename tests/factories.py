from __future__ import annotations

from bronto_orders.testing import LineItemFactory, OrderFactory

__all__ = ["LineItemFactory", "OrderFactory"]
