from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from django.db import DEFAULT_DB_ALIAS
from django.db.models import Count, DateTimeField, ExpressionWrapper, Min

from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import claims, environment
from bronto_orders.exceptions import BrontoConfigurationError
from bronto_orders.models import AccountStatus, DbNow, Order, SyncState


@dataclass(kw_only=True)
class Overview:
    """Where one account's orders stand."""

    account: str
    configured: bool
    counts: dict[str, int] = field(default_factory=dict)
    #: Seconds for which the oldest due order has been due; None when none is.
    oldest_due_seconds: float | None = None
    held_until: datetime | None = None
    held_reason: str = ""
    paused: bool = False
    #: Another environment sends for the account, and this one looks like a copy of it.
    foreign: bool = False
    #: What is wrong with the account's settings.
    misconfigured: str = ""

    def __str__(self) -> str:
        counts = ", ".join(f"{self.counts.get(state, 0)} {state}" for state in SyncState.values)
        parts = [f"{self.account}: {counts}"]
        if self.oldest_due_seconds is not None:
            parts.append(f"oldest due for {self.oldest_due_seconds:.0f} s")
        if self.paused:
            parts.append("paused")
        if self.held_until:
            parts.append(f"held until {self.held_until:%Y-%m-%d %H:%M:%S %Z}: {self.held_reason}")
        if self.foreign:
            parts.append("another environment's")
        if self.misconfigured:
            parts.append("not configured properly")
        if not self.configured:
            parts.append("not configured")
        return "; ".join(parts)

    def complaints(self, *, max_age: float) -> list[str]:
        """Say what an operator should look at, one sentence each; empty when all is well."""
        found = []
        if self.paused:
            found.append(f"Account {self.account!r} is paused.")
        if self.foreign:
            found.append(f"Account {self.account!r}: {environment.FOREIGN}.")
        if self.held_until:
            found.append(f"Account {self.account!r} is held: {self.held_reason}.")
        if self.oldest_due_seconds is not None and self.oldest_due_seconds > max_age:
            found.append(
                f"Account {self.account!r} has an order that has been due for {self.oldest_due_seconds:.0f} s: "
                "is a worker running?"
            )
        if self.misconfigured:
            found.append(self.misconfigured)
        if not self.configured:
            found.append(f"Orders belong to the account {self.account!r}, which BRONTO_ORDERS does not have.")
        return found


def accounts(*, using: str = DEFAULT_DB_ALIAS) -> list[Overview]:
    """Return an overview of each account that is configured or has orders, by name."""
    overviews = {name: Overview(account=name, configured=True) for name in bronto_settings.account_names}
    orders = Order.objects.using(using).order_by()
    for account, state, count in orders.values_list("account", "sync_state").annotate(count=Count("pk")):
        overview = overviews.setdefault(account, Overview(account=account, configured=False))
        overview.counts[state] = count
    now = ExpressionWrapper(DbNow(), output_field=DateTimeField())
    for account, oldest, at in orders.due().values_list("account").annotate(oldest=Min("due_at"), at=now):
        overviews[account].oldest_due_seconds = max(0.0, (at - oldest).total_seconds())
    for row in AccountStatus.objects.using(using).filter(claims.shut()):
        overview = overviews.setdefault(row.account, Overview(account=row.account, configured=False))
        overview.paused, overview.held_until = row.paused, row.held_until
        overview.held_reason = row.held_message.rstrip(".") or row.held_reason
    rows = AccountStatus.objects.using(using).in_bulk(bronto_settings.account_names)
    for name in bronto_settings.account_names:
        try:
            overviews[name].foreign = environment.is_foreign(bronto_settings.account(name), rows.get(name), using=using)
        except BrontoConfigurationError as error:
            overviews[name].misconfigured = str(error)
    return [overviews[name] for name in sorted(overviews)]


def health(*, max_age: float = 600.0, using: str = DEFAULT_DB_ALIAS) -> list[str]:
    """Return what an operator should look at, one sentence each; empty when all is well.

    For a health endpoint or a monitoring agent. ``max_age`` is how long, in seconds, an order may have been due. Raises
    what the database raises when it cannot be asked.
    """
    return [complaint for account in accounts(using=using) for complaint in account.complaints(max_age=max_age)]
