from __future__ import annotations

import time

from bronto_orders.client.tokens import CacheTokenStore, store_key
from bronto_orders.conf import AccountSettings

_store = CacheTokenStore()


def seconds_left(account: AccountSettings) -> float | None:
    """Return for how long the account's stored access token is still good, to some seconds; None if there is none.

    Asks nobody but the cache. Workers whose cache is their own, in memory, have tokens that nobody else sees.
    """
    token = _store.load(store_key(account.token_url, account.client_id, account.client_secret))
    if token is None:
        return None
    # A token's generation is the second in which it was got, save where two were got within one.
    return max(0.0, token.generation + token.lifetime - time.time())
