from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import DEFAULT_DB_ALIAS
from django.db.models import BooleanField, Count, DateTimeField, ExpressionWrapper, Min, Q

from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import claims, environment, figures
from bronto_orders.exceptions import BrontoConfigurationError
from bronto_orders.models import AccountStatus, DbNow, SyncState, Tombstone

#: Seconds after which Bronto should have confirmed a deletion, whatever it said to it.
LONG = 24 * 3600.0


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
    #: The machine code of it.
    held_code: str = ""
    paused: bool = False
    #: Too many deliveries have failed; a few orders at a time find out whether that is over.
    breaker_open: bool = False
    #: To the minute.
    last_success_at: datetime | None = None
    #: Why orders were rejected or skipped, the most frequent reason first.
    reasons: list[figures.Reason] = field(default_factory=list)
    #: Deletions at Bronto that wait or are in flight, those among them that have for ``LONG``, and those that it has
    #: refused.
    deletions_owed: int = 0
    deletions_late: int = 0
    deletions_refused: int = 0
    #: Seconds for which the oldest due deletion has been due; None when none is.
    oldest_deletion_seconds: float | None = None
    #: Another environment sends for the account, and this one looks like a copy of it.
    foreign: bool = False
    #: What is wrong with the account's settings.
    misconfigured: str = ""

    def __str__(self) -> str:
        counts = ", ".join(f"{self.counts.get(state, 0)} {state}" for state in SyncState.values)
        parts = [f"{self.account}: {counts}"]
        if self.oldest_due_seconds is not None:
            parts.append(f"oldest due for {self.oldest_due_seconds:.0f} s")
        if self.deletions_owed:
            parts.append(f"{self.deletions_owed} to be deleted")
        if self.deletions_refused:
            parts.append(f"{self.deletions_refused} not deleted")
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
        if self.oldest_deletion_seconds is not None and self.oldest_deletion_seconds > max_age:
            found.append(
                f"Account {self.account!r} has a deletion that has been due for {self.oldest_deletion_seconds:.0f} s: "
                "is a worker running?"
            )
        if self.deletions_late:
            found.append(
                f"Bronto has not confirmed deletions of the account {self.account!r} within a day "
                f"({self.deletions_late}): see “Deletions at Bronto” in the admin."
            )
        if self.deletions_refused:
            found.append(
                f"Bronto has refused to delete orders of the account {self.account!r} ({self.deletions_refused}): "
                "see “Deletions at Bronto” in the admin."
            )
        if self.misconfigured:
            found.append(self.misconfigured)
        if not self.configured:
            found.append(f"Orders belong to the account {self.account!r}, which BRONTO_ORDERS does not have.")
        return found


def accounts(*, using: str = DEFAULT_DB_ALIAS) -> list[Overview]:
    """Return an overview of each account that is configured or has orders, by name."""
    overviews = {name: Overview(account=name, configured=True) for name in bronto_settings.account_names}
    for account, orders in figures.orders(using=using).items():
        overview = overviews.setdefault(account, Overview(account=account, configured=False))
        overview.counts, overview.reasons = orders.by_state, orders.reasons
        overview.oldest_due_seconds = orders.oldest_due_seconds
    for account, owed, late, refused, seconds in _deletions(using):
        overview = overviews.setdefault(account, Overview(account=account, configured=False))
        overview.deletions_owed, overview.deletions_late, overview.deletions_refused = owed, late, refused
        overview.oldest_deletion_seconds = seconds
    shut = ExpressionWrapper(claims.shut(), output_field=BooleanField())
    rows = {row.account: row for row in AccountStatus.objects.using(using).annotate(shut=shut)}
    for name, row in rows.items():
        if name in overviews or row.shut:
            overview = overviews.setdefault(name, Overview(account=name, configured=False))
            _add_gate(overview, row)
    for name in bronto_settings.account_names:
        try:
            overviews[name].foreign = environment.is_foreign(bronto_settings.account(name), rows.get(name), using=using)
        except BrontoConfigurationError as error:
            overviews[name].misconfigured = str(error)
    return [overviews[name] for name in sorted(overviews)]


def _deletions(using: str) -> Iterator[tuple[str, int, int, int, float | None]]:
    """Yield for each account with deletions that are not done how many are owed, late and refused, and the oldest."""
    undone = Tombstone.objects.using(using).order_by().filter(done_at=None)
    now = ExpressionWrapper(DbNow(), output_field=DateTimeField())
    counts = undone.values_list("account").annotate(
        owed=Count("due_at"),
        late=Count("due_at", filter=Q(created_at__lt=DbNow(-LONG))),
        total=Count("pk"),
        oldest=Min("due_at"),
        now=now,
    )
    for account, owed, late, total, oldest, at in counts:
        seconds = (at - oldest).total_seconds() if oldest is not None and oldest <= at else None
        yield account, owed, late, total - owed, seconds


def _add_gate(overview: Overview, row: Any) -> None:
    overview.breaker_open = row.breaker_state == AccountStatus.Breaker.OPEN
    overview.last_success_at = row.last_success_at
    if row.shut:
        overview.paused, overview.held_until, overview.held_code = row.paused, row.held_until, row.held_reason
        overview.held_reason = row.held_message.rstrip(".") or row.held_reason


def stops(accounts: Iterable[str], *, using: str = DEFAULT_DB_ALIAS) -> dict[str, str]:
    """Say of each of the accounts that is paused or held now that it is, and why."""
    rows = AccountStatus.objects.using(using).filter(claims.shut(), account__in=accounts).order_by("account")
    return {row.account: "paused" if row.paused else _held(row) for row in rows}


def why_waiting(accounts: Iterable[str], *, using: str = DEFAULT_DB_ALIAS) -> str:
    """Return what to add to a line about orders of these accounts that wait; empty when only workers are waited for."""
    return "".join(
        f"; account {account} is {words.rstrip('.')}" for account, words in stops(accounts, using=using).items()
    )


def _held(row: AccountStatus) -> str:
    return f"held until {row.held_until:%H:%M:%S %Z}: {row.held_message or row.held_reason}"


def health(*, max_age: float = 600.0, using: str = DEFAULT_DB_ALIAS) -> list[str]:
    """Return what an operator should look at, one sentence each; empty when all is well.

    For a health endpoint or a monitoring agent. ``max_age`` is how long, in seconds, an order may have been due. Raises
    what the database raises when it cannot be asked.
    """
    return [complaint for account in accounts(using=using) for complaint in account.complaints(max_age=max_age)]
