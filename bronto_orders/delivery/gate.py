"""The gate of an account: held on outage, throttling or refused credentials; opened again by success.

::

    closed ──(THRESHOLD failures in a row)──> open, held for a growing time
      ^                                         │ hold over: one worker at a time tries PROBES orders
      └───────────────(a success)───────────────┘

The hold itself is enforced in the claim statement, for all workers at once. This class is one run's view of the
account's row, and writes it on transitions only.

An environment that is not the account's own (see ``environment``) finds the gate shut without a hold being written: it
may be that both share the row.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Any

from django.db.models import BooleanField, Case, DateTimeField, ExpressionWrapper, Q, QuerySet, When

from bronto_orders.conf import GUARD_SECONDS, AccountSettings
from bronto_orders.delivery import accounts, environment
from bronto_orders.delivery.policy import Decision, Standing
from bronto_orders.models import AccountStatus, DbNow

logger = logging.getLogger(__name__)

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

    def __init__(self, account: AccountSettings, *, using: str) -> None:
        self.account = account.name
        self.using = using
        self.held = False
        self._settings = environment.connection_settings(account)
        self._probe_seconds = account.total_timeout + GUARD_SECONDS
        self._probing = False
        self._held_until = float("-inf")
        self._noted_at = float("-inf")
        status = self.load()
        if not environment.adopt(account, status, using=using):
            logger.error("Account %s: %s", self.account, environment.FOREIGN, extra={"account": self.account})
            self.held = True
        elif status is not None and status.refused_settings not in ("", self._settings):
            self._release()

    @property
    def _row(self) -> QuerySet[AccountStatus]:
        return AccountStatus.objects.using(self.using).filter(pk=self.account)

    def load(self) -> AccountStatus | None:
        """Read the row. An account without one is open."""
        recent = ExpressionWrapper(Q(last_success_at__gt=DbNow(-RECENT_SECONDS)), output_field=BooleanField())
        status = self._row.annotate(succeeded=recent).first()
        self.breaker_closed = status is None or status.breaker_state == AccountStatus.Breaker.CLOSED
        self.failures = status.consecutive_failures if status else 0
        self.held_reason = status.held_reason if status else ""
        self._succeeded = bool(status and status.succeeded)
        self._loaded_at = time.monotonic()
        return status

    def _release(self) -> None:
        """Try at once what was refused with other settings."""
        refused = self._row.exclude(refused_settings__in=["", self._settings])
        if refused.update(**accounts.LIFTED):
            self.held_reason = ""
            self.announce([{"held_reason": ""}])

    def claim_limit(self, limit: int) -> tuple[int, bool]:
        """Return how many orders may be claimed at once, and whether as a probe, in spite of the hold.

        While the breaker is open, one worker at a time probes: it takes that right by holding the account for as long
        as its probes may last, or until ``end_probe``.
        """
        if time.monotonic() - self._loaded_at > RELOAD_SECONDS:
            self.load()
        if self.breaker_closed:
            return limit, False
        free = self._row.filter(Q(held_until=None) | Q(held_until__lte=DbNow()), paused=False)
        probe = {"held_until": DbNow(self._probe_seconds), "held_reason": "outage"}
        if not free.filter(breaker_state=AccountStatus.Breaker.OPEN).update(**probe):
            return 0, False
        self._probing, self.held_reason = True, "outage"
        return min(limit, PROBES), True

    def end_probe(self) -> None:
        """Give back the right to probe, if this run has it: hold the account for as long as results ask, if they do."""
        if self._probing:
            probed = self._row.filter(
                breaker_state=AccountStatus.Breaker.OPEN, held_until__lte=DbNow(self._probe_seconds)
            )
            probed.update(held_until=DbNow(max(0.0, self._held_until - time.monotonic())))
            self._probing = False

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
            self.breaker_closed, self._probing = True, False
            columns["breaker_state"] = AccountStatus.Breaker.CLOSED
            if self.held_reason != "throttled":
                self.held_reason = ""
                columns |= accounts.LIFTED
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
        refused = self._settings if reason in _LASTING_REASONS.values() else ""
        return {
            "held_until": longer,
            "held_reason": reason,
            "held_message": decision.message,
            "refused_settings": refused,
        }

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
                accounts.tell_held(self.account, changed["held_reason"], using=self.using)
            elif changed.get("held_reason") == "":
                accounts.tell_released(self.account, using=self.using)
