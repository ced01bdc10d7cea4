from __future__ import annotations

from bronto_orders.models.account import AccountStatus
from bronto_orders.models.attempt import SyncAttempt
from bronto_orders.models.deliverable import Presence, SyncState
from bronto_orders.models.functions import DbNow
from bronto_orders.models.order import LineItem, Order
from bronto_orders.models.resync import ResyncRun
from bronto_orders.models.tombstone import Tombstone

__all__ = [
    "AccountStatus",
    "DbNow",
    "LineItem",
    "Order",
    "Presence",
    "ResyncRun",
    "SyncAttempt",
    "SyncState",
    "Tombstone",
]
