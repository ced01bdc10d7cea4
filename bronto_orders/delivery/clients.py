from __future__ import annotations

from threading import Lock
from typing import Any

from bronto_orders.client import BrontoClient
from bronto_orders.client.tokens import CacheTokenStore
from bronto_orders.conf import AccountSettings
from bronto_orders.exceptions import BrontoConfigurationError

_clients: dict[tuple[Any, ...], BrontoClient] = {}
_lock = Lock()


def client_for(account: AccountSettings) -> BrontoClient:
    """Return this process's client for the account, made anew when the account's settings change.

    Clients of one account share their token with other processes through Django's default cache. Raises
    BrontoConfigurationError when no client can be made of the settings.
    """
    proxies = tuple(sorted((account.proxies or {}).items()))
    key = (
        account.name,
        account.api_url,
        account.token_url,
        account.client_id,
        account.client_secret,
        account.connect_timeout,
        account.read_timeout,
        account.total_timeout,
        account.concurrency,
        proxies,
    )
    with _lock:
        if key in _clients:
            return _clients[key]
        for old in [known for known in _clients if known[0] == account.name]:
            _clients.pop(old)
        try:
            client = BrontoClient(
                account.client_id,
                account.client_secret,
                api_url=account.api_url,
                token_url=account.token_url,
                connect_timeout=account.connect_timeout,
                read_timeout=account.read_timeout,
                total_timeout=account.total_timeout,
                proxies=dict(proxies) or None,
                pool_size=account.concurrency,
                token_store=CacheTokenStore(),
            )
        except ValueError as error:
            raise BrontoConfigurationError(f"The account {account.name!r} cannot be used: {error}.") from None
        return _clients.setdefault(key, client)
