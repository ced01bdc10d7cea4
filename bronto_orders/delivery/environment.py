"""Which environment this is, and as whom it speaks: so that a copy of a database does not speak for the original.

A shop that copies its production database for a test would otherwise deliver from there as well, with the same
credentials: orders that nobody placed, states that are out of date.
"""

from __future__ import annotations

import hashlib
import os

from django.conf import settings
from django.db import connections
from django.utils.crypto import salted_hmac

from bronto_orders.conf import AccountSettings, bronto_settings
from bronto_orders.models import AccountStatus

FOREIGN = (
    "Another environment sends for this account with the same credentials, and this one looks like a copy of it. "
    "Nothing is sent from here. If it should be, run: manage.py bronto_accept_environment; "
    "if both are one, give both the same DELIVERY['ENVIRONMENT']"
)


def is_foreign(account: AccountSettings, status: AccountStatus | None, *, using: str) -> bool:
    """Tell whether the account belongs to another environment: one that used these credentials before this one."""
    return (
        status is not None
        and status.environment not in ("", environment(using))
        and status.credentials == credentials(account)
    )


def adopt(account: AccountSettings, status: AccountStatus | None, *, using: str) -> bool:
    """Make the account this environment's own, unless it is another's. Returns whether it is this one's now."""
    if is_foreign(account, status, using=using):
        return False
    known = None if status is None else (status.environment, status.credentials)
    if known != (environment(using), credentials(account)):
        accept(account, using=using)
    return True


def accept(account: AccountSettings, *, using: str) -> None:
    """Make the account this environment's own, whoever's it was. No order is touched."""
    AccountStatus.objects.using(using).update_or_create(
        pk=account.name, defaults={"environment": environment(using), "credentials": credentials(account)}
    )


def environment(using: str) -> str:
    """Return a hash that tells this environment from others: DELIVERY["ENVIRONMENT"], or database and settings."""
    name = bronto_settings.delivery.environment
    if name is not None:
        return _hash("named", name)
    database = connections[using].settings_dict
    where = (str(database.get(key) or "") for key in ("ENGINE", "HOST", "PORT", "NAME"))
    module = os.environ.get("DJANGO_SETTINGS_MODULE") or getattr(settings, "SETTINGS_MODULE", "")
    return _hash("derived", *where, str(module))


def credentials(account: AccountSettings) -> str:
    """Return a hash of whom the account speaks as, and to whom. Holds no secret."""
    return _hash(account.client_id, account.api_url)


def connection_settings(account: AccountSettings) -> str:
    """Return a hash of all that decides whether the service lets the account in; changes with its secret."""
    proxies = str(sorted((account.proxies or {}).items()))
    parts = (account.client_id, account.client_secret, account.api_url, account.token_url, proxies)
    return salted_hmac("bronto_orders.connection", "\n".join(parts), algorithm="sha256").hexdigest()


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
