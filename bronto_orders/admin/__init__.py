from __future__ import annotations

from bronto_orders.admin.accounts import AccountStatusAdmin
from bronto_orders.admin.attempts import SyncAttemptAdmin
from bronto_orders.admin.items import LineItemInline
from bronto_orders.admin.orders import OrderAdmin
from bronto_orders.admin.runs import ResyncRunAdmin
from bronto_orders.admin.tombstones import TombstoneAdmin

__all__ = ["AccountStatusAdmin", "LineItemInline", "OrderAdmin", "ResyncRunAdmin", "SyncAttemptAdmin", "TombstoneAdmin"]
