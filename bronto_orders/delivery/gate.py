"""The gate of an account: held on outage, throttling or refused credentials; opened again by success.

::

    closed ──(THRESHOLD failures in a row)──> open, held for a growing time
      ^                                         │ hold over: PROBES orders at a time may try
      └───────────────(a success)───────────────┘

The hold itself is enforced in the claim statement, for all workers at once. This class is one run's view of the
account's row, and writes it on transitions only.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from django.db.models import BooleanField, Case, DateTimeField, ExpressionWrapper, Q, When

from bronto_orders import signals
from bronto_orders.delivery.policy import Decision, Standing
from bronto_orders.models import AccountStatus, DbNow

#: Failures in a row that open the breaker.
THRESHOLD = 5
#: Orders that may try while the breaker is open and its hold is over.
PROBES = 3
#: Seconds of the first hold; doubled with every further round of failed probes.
FIRST_HOLD = 5.0
LONGEST_HOLD = 60.0
#: Seconds between looks at credentials or an address that were refused.
REFUSED_HOLD = 60.0
#: A success this many seconds ago still tells that the account works.
RECENT_SECONDS = 600.0
#: Seconds after which another look at the row, or another note of success in it, is worth a query.
RELOAD_SECONDS = 1.0
NOTE_SECONDS = 60.0

_LASTING_REASONS = {Standing.AUTH: "auth", Standing.CONFIGURATION: "configuration"}


class Gate:
    """One account's gate, seen and worked from one delivery run."""

    def __init__(self, account: str, *, using: str) -> None:
        self.account = account
        self.using = using
        self.held = False
        self._held_until = float("-inf")
        self._noted_at = float("-inf")
        self.load()

    def load(self) -> None:
        """Read the row. An account without one is open."""
        rows = AccountStatus.objects.using(self.using).filter(pk=self.account)
        recent = ExpressionWrapper(Q(last_success_at__gt=DbNow(-RECENT_SECONDS)), output_field=BooleanField())
        status = rows.annotate(succeeded=recent).first()
        self.breaker_closed = status is None or status.breaker_state == AccountStatus.Breaker.CLOSED
        self.failures = status.consecutive_failures if status else 0
        self.held_reason = status.held_reason if status else ""
        self._succeeded = bool(status and status.succeeded)
        self._loaded_at = time.monotonic()

    def claim_limit(self, limit: int) -> int:
        """Return how many orders may be claimed at once."""
        if time.monotonic() - self._loaded_at > RELOAD_SECONDS:
            self.load()
        return limit if self.breaker_closed else min(limit, PROBES)

    @property
    def healthy(self) -> bool:
        """Whether the account's orders succeed, so that a failing one may have itself to blame."""
        return self.breaker_closed and self._succeeded

    def take(self, decision: Decision) -> dict[str, Any]:
        """Take in what a result says of the account. Returns columns to write, empty if nothing changes."""
        match decision.standing:
            case Standing.WELL:
                return self._well()
            case Standing.FAILING:
                return self._failing(decision)
            case Standing.THROTTLED:
                return self._hold("throttled", decision, decision.retry_after)
            case Standing.AUTH | Standing.CONFIGURATION as standing:
                return self._hold(_LASTING_REASONS[standing], decision, REFUSED_HOLD)
            case _:
                return {}

    def _well(self) -> dict[str, Any]:
        self._succeeded = True
        news = self.failures > 0 or not self.breaker_closed or self.held_reason not in ("", "throttled")
        if not news and time.monotonic() - self._noted_at < NOTE_SECONDS:
            return {}
        self._noted_at = time.monotonic()
        columns: dict[str, Any] = {"consecutive_failures": 0, "last_success_at": DbNow()}
        self.failures = 0
        if news:
            self.breaker_closed = True
            columns["breaker_state"] = AccountStatus.Breaker.CLOSED
            if self.held_reason != "throttled":
                self.held_reason = ""
                columns |= {"held_until": None, "held_reason": "", "held_message": ""}
        return columns

    def _failing(self, decision: Decision) -> dict[str, Any]:
        self.failures += 1
        columns: dict[str, Any] = {"consecutive_failures": self.failures}
        if self.failures < THRESHOLD:
            return columns
        self.breaker_closed = False
        rounds = min((self.failures - THRESHOLD) // PROBES, 10)
        seconds = min(LONGEST_HOLD, FIRST_HOLD * 2**rounds)
        return {
            **columns,
            "breaker_state": AccountStatus.Breaker.OPEN,
            **self._hold("outage", decision, seconds),
        }

    def _hold(self, reason: str, decision: Decision, seconds: float) -> dict[str, Any]:
        self.held = True
        if time.monotonic() + seconds < self._held_until:
            return {}
        self._held_until = time.monotonic() + seconds
        self.held_reason = reason
        until = DbNow(seconds)
        longer = Case(When(held_until__gt=until, then="held_until"), default=until, output_field=DateTimeField())
        return {"held_until": longer, "held_reason": reason, "held_message": decision.message}

    def write(self, columns: dict[str, Any]) -> None:
        """Write what ``take`` returned, if anything. Call inside the transaction that records the results."""
        if not columns:
            return
        statuses = AccountStatus.objects.using(self.using)
        if not statuses.filter(pk=self.account).update(**columns):
            statuses.get_or_create(pk=self.account)
            statuses.filter(pk=self.account).update(**columns)

    def announce(self, columns: Iterable[dict[str, Any]]) -> None:
        """Send the signals for transitions that were written and committed."""
        for changed in columns:
            if changed.get("held_reason"):
                signals.account_held.send_robust(
                    AccountStatus, account=self.account, reason=changed["held_reason"], using=self.using
                )
            elif changed.get("held_reason") == "":
                signals.account_released.send_robust(AccountStatus, account=self.account, using=self.using)
