"""A client for the Bronto Orders REST API that knows nothing of Django's models and settings."""

from __future__ import annotations

from bronto_orders.client.client import BrontoClient
from bronto_orders.client.deadline import ending_by
from bronto_orders.client.tokens import CacheTokenStore, MemoryTokenStore, Token, TokenStore

__all__ = ["BrontoClient", "CacheTokenStore", "MemoryTokenStore", "Token", "TokenStore", "ending_by"]
