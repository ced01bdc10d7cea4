"""Which environment this is, and as whom it speaks: so that a copy of a database does not speak for the original.

A shop that copies its production database for a test would otherwise deliver from there as well, with the same
credentials: orders that nobody placed, states that are out of date.
"""

from __future__ import annotations

import hashlib
import os

from django.conf import settings
from django.db import NotSupportedError, ProgrammingError, connections, transaction
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
    return _hash("derived", *where, str(module), database_identity(using))


def database_identity(using: str) -> str:
    """Return what tells the database from another one that is reached by the same address, as far as there is such.

    PostgreSQL: the identifier that its data were given when they were made. A dump that is restored elsewhere is in
    data with another one; a replica that takes over has the same, and so has a copy of the files. ``pg_upgrade`` gives
    a new one: after that, as after any move, a person says that it is the same shop. A server that does not tell,
    because the right to ask was taken away or it only speaks PostgreSQL's protocol, has none.

    SQLite: the file, with links resolved.

    MariaDB and MySQL: none. Their names for a server (``server_uuid``, ``server_uid``, ``hostname``) change when a
    replica takes over or a container is made anew, and a shop that stops then is worse than a copy that is not seen.
    """
    database = connections[using]
    if database.vendor == "sqlite":
        name = str(database.settings_dict["NAME"])
        return "" if name.startswith("file:") or name == ":memory:" else os.path.realpath(name)
    if database.vendor != "postgresql":
        return ""
    if using not in _identities:
        _identities[using] = _system_identifier(using)
    return _identities[using]


#: Of PostgreSQL's databases by their aliases, as each process has read them once.
_identities: dict[str, str] = {}


def _system_identifier(using: str) -> str:
    try:
        with transaction.atomic(using=using), connections[using].cursor() as cursor:
            cursor.execute("SELECT system_identifier FROM pg_control_system()")
            return str(cursor.fetchone()[0])
    except (NotSupportedError, ProgrammingError):
        return ""


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
