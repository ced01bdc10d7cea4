"""The gate of an account: held on outage, throttling or refused credentials; opened again by success.

::

    closed ──(THRESHOLD failures in a row)──> open, held for a growing time
      ^                                         │ hold over: one worker at a time tries PROBES orders
      └───────────────(a success)───────────────┘

The hold itself is enforced in the claim statement, for all workers at once. This class is one run's view of the
account's row, and writes it on transitions only. A longer hold is never shortened by another. A success ends the
breaker's own hold at once, and any other when its time is over: requests that were in flight prove nothing against what
was asked or refused meanwhile. Signals say that the row's ``held_reason`` has changed, and nothing else.

A 401 or 403 is refused credentials, or a firewall that dislikes one order's content:

===========================================================================  =========================================
the order was refused before, and others were sent and accepted since then   it counts against the order
an order succeeded lately, and fewer than ``REFUSALS`` failures in a row     the order alone waits; it is not counted
otherwise                                                                    the account is held; it is not counted
===========================================================================  =========================================

So a run of refusals holds the account with the third at the latest, and lost credentials use up no attempts.

An environment that is not the account's own (see ``environment``) finds the gate shut without a hold being written: it
may be that both share the row.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from django.db import Error
from django.db.models import (
    BigIntegerField,
    BooleanField,
    Case,
    DateTimeField,
    ExpressionWrapper,
    F,
    Q,
    QuerySet,
    Subquery,
    When,
)

from bronto_orders.conf import GUARD_SECONDS, AccountSettings, DeliverySettings
from bronto_orders.delivery import accounts, environment, policy
from bronto_orders.delivery.policy import Blame, Decision, Exchange, Standing
from bronto_orders.exceptions import AuthenticationError
from bronto_orders.models import AccountStatus, DbNow, Order, SyncAttempt

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
#: Refused orders in a row, with no success between, that mean that the account is refused.
REFUSALS = 3
#: A success this many seconds ago still tells that the account works, and a failure that the service has its troubles.
RECENT_SECONDS = 600.0
#: Attempts that are looked at for how others fared, at most: their table may be large.
LOOK_BACK = 5000
#: Seconds after which another look at the row, or another note of success in it, is worth a query.
RELOAD_SECONDS = 1.0
NOTE_SECONDS = 60.0

_OUTAGE = "outage"
_LASTING_REASONS = {Standing.AUTH: "auth", Standing.CONFIGURATION: "configuration"}


@dataclass(frozen=True)
class Hold:
    """That nothing is to be sent for the account for some time."""

    seconds: float
    reason: str
    message: str
    refused_settings: str


class Gate:
    """One account's gate, seen and worked from one delivery run."""

    def __init__(self, account: AccountSettings, *, using: str) -> None:
        self.account = account.name
        self.using = using
        self.held = False
        self._settings = environment.connection_settings(account)
        self._probe_seconds = account.total_timeout + GUARD_SECONDS
        self._probing = False
        #: What stood in the row when this run took the right to probe, and what listeners were told last.
        self._reason_before: str | None = None
        #: The longest hold that this run's results have asked for, and its end.
        self._hold: Hold | None = None
        self._held_until = float("-inf")
        self._noted_at = float("-inf")
        #: What ``write`` has changed the row's ``held_reason`` to, if it has.
        self._news: str | None = None
        #: Whether what it has written stands in the place of what stood there before the probe.
        self._is_past_probe = False
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

        def since(seconds: float) -> ExpressionWrapper[Q]:
            return ExpressionWrapper(Q(last_success_at__gt=DbNow(-seconds)), output_field=BooleanField())

        status = self._row.annotate(succeeded=since(RECENT_SECONDS), noted=since(NOTE_SECONDS)).first()
        self.breaker_closed = status is None or status.breaker_state == AccountStatus.Breaker.CLOSED
        self.failures = status.consecutive_failures if status else 0
        self.held_reason = status.held_reason if status else ""
        self._succeeded = bool(status and status.succeeded)
        if status and status.noted:
            self._noted_at = time.monotonic()
        self._loaded_at = time.monotonic()
        return status

    def _release(self) -> None:
        """Try at once what was refused with other settings."""
        refused = self._row.exclude(refused_settings__in=["", self._settings])
        if refused.update(**accounts.LIFTED):
            self.held_reason = ""
            accounts.retry_refused(self.account, using=self.using)
            accounts.tell_released(self.account, using=self.using)

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
        probe = {"held_until": DbNow(self._probe_seconds), "held_reason": _OUTAGE}
        if not free.filter(breaker_state=AccountStatus.Breaker.OPEN).update(**probe):
            return 0, False
        self._probing, self._reason_before, self.held_reason = True, self.held_reason, _OUTAGE
        return min(limit, PROBES), True

    def end_probe(self) -> None:
        """Give back the right to probe, if this run has it: hold the account for as long as results ask, if they do."""
        if self._probing:
            reason = self._hold.reason if self._hold else _OUTAGE
            self.held_reason = reason if self._reason_before is None else self._reason_before
            probed = self._row.filter(
                breaker_state=AccountStatus.Breaker.OPEN,
                held_until__lte=DbNow(self._probe_seconds),
                held_reason=reason,
            )
            probed.update(held_until=DbNow(max(0.0, self._held_until - time.monotonic())), held_reason=self.held_reason)
            self._probing, self._reason_before = False, None

    @property
    def healthy(self) -> bool:
        """Whether the account's orders succeed, so that a failing one may have itself to blame."""
        return self.breaker_closed and self._succeeded

    def decide(self, exchange: Exchange, order: Order | None, settings: DeliverySettings) -> Decision:
        """Return what to do after one exchange, in the light of how the account's other orders fared.

        ``order`` is None for a deletion.
        Asks the database only about what is rare: a refusal, and an order that would be given up.
        """
        if isinstance(exchange.error, AuthenticationError):
            exchange = replace(exchange, blame=self._blame(order))
        decision = policy.decide(exchange, settings, healthy=self.healthy)
        if decision.reason == "poison" and self._others_fail(order):
            return policy.decide(exchange, settings, healthy=False)
        return decision

    def _blame(self, order: Order | None) -> Blame:
        if order is None:
            # The right to delete is one of its own; orders find out by themselves if the whole account is refused.
            return Blame.ORDER if self._succeeded else Blame.ACCOUNT
        attempts = SyncAttempt.objects.using(self.using)
        try:
            last = attempts.filter(order=order).order_by("-pk").first()
            if last is not None and last.http_status in (401, 403):
                # Requests that were in flight at the same time prove nothing.
                ended_at = last.started_at + timedelta(milliseconds=last.duration_ms + 1)
                since = attempts.filter(pk__gt=last.pk, pk__lte=last.pk + LOOK_BACK, started_at__gt=ended_at)
                accepted = since.filter(account=self.account, outcome=SyncAttempt.Outcome.ACCEPTED)
                if accepted.exclude(order=order).exists():
                    return Blame.ORDER
        except Error as error:
            logger.warning("Nobody knows who is refused: the database failed (%s).", type(error).__name__)
        return Blame.UNCLEAR if self._succeeded and self.failures + 1 < REFUSALS else Blame.ACCOUNT

    def _others_fail(self, order: Order | None) -> bool:
        """Tell whether the service failed on another order lately, so that a failure may be nobody's fault."""
        attempts = SyncAttempt.objects.using(self.using)
        newest = Subquery(attempts.order_by("-pk").values("pk")[:1], output_field=BigIntegerField())
        failed = attempts.filter(account=self.account, http_status__gte=500, started_at__gt=DbNow(-RECENT_SECONDS))
        try:
            return failed.filter(pk__gt=newest - LOOK_BACK).exclude(order=order).exists()
        except Error as error:
            logger.warning("Nobody is given up: the database failed (%s).", type(error).__name__)
            return True

    def take(self, decision: Decision) -> dict[str, Any]:
        """Take in what a result says of the account. Returns what ``write`` is to write, empty if nothing changes.

        These are columns, and under "hold" a ``Hold``, or None for an end of it. Of several results the later one wins.
        """
        match decision.standing:
            case Standing.WELL:
                return self._well()
            case Standing.FAILING:
                return self._failing(decision)
            case Standing.DOUBTFUL:
                self.failures += 1
                return {"consecutive_failures": self.failures}
            case Standing.THROTTLED:
                return self._held("throttled", decision, decision.retry_after)
            case Standing.AUTH | Standing.CONFIGURATION as standing:
                return self._held(_LASTING_REASONS[standing], decision, REFUSED_HOLD)
            case _:
                return {}

    def _well(self) -> dict[str, Any]:
        self._succeeded = True
        news = self.failures > 0 or not self.breaker_closed or self.held_reason != ""
        if not news and time.monotonic() - self._noted_at < NOTE_SECONDS:
            return {}
        self._noted_at = time.monotonic()
        columns: dict[str, Any] = {"consecutive_failures": 0, "last_success_at": DbNow()}
        self.failures = 0
        if news:
            self.breaker_closed, self._probing = True, False
            columns["breaker_state"] = AccountStatus.Breaker.CLOSED
            if self._hold is None or self._hold.reason == _OUTAGE or time.monotonic() > self._held_until:
                self._hold, self._held_until, self.held_reason = None, float("-inf"), ""
                self.held = False
                columns["hold"] = None
        return columns

    def _failing(self, decision: Decision) -> dict[str, Any]:
        self.failures += 1
        columns: dict[str, Any] = {"consecutive_failures": self.failures}
        if self.failures >= THRESHOLD:
            self.breaker_closed = False
            rounds = min((self.failures - THRESHOLD) // PROBES, 10)
            columns["breaker_state"] = AccountStatus.Breaker.OPEN
            columns |= self._held(_OUTAGE, decision, min(LONGEST_HOLD, FIRST_HOLD * 2**rounds))
        if decision.retry_after:
            columns |= self._held("throttled", decision, decision.retry_after)
        return columns

    def _held(self, reason: str, decision: Decision, seconds: float) -> dict[str, Any]:
        self.held = True
        if time.monotonic() + seconds < self._held_until:
            return {}
        self._held_until = time.monotonic() + seconds
        self.held_reason = reason
        refused = self._settings if reason in _LASTING_REASONS.values() else ""
        self._hold = Hold(seconds, reason, decision.message, refused)
        return {"hold": self._hold}

    def write(self, changes: dict[str, Any]) -> None:
        """Write what ``take`` returned, if anything. Call inside the transaction that records the results."""
        self._news, self._is_past_probe = None, False
        columns = {name: value for name, value in changes.items() if name != "hold"}
        if not changes or ("hold" not in changes and self._row.update(**columns)):
            return
        status, _created = AccountStatus.objects.using(self.using).select_for_update().get_or_create(pk=self.account)
        if columns:
            self._row.update(**columns)
        if "hold" in changes:
            hold: Hold | None = changes["hold"]
            reason, before = hold.reason if hold else "", status.held_reason
            if before == _OUTAGE and self._reason_before is not None:
                before = self._reason_before
            self._is_past_probe = True
            written = self._lengthen(hold) if hold else self._lift()
            if written and reason != before and (reason or not status.paused):
                self._news = reason

    def touch(self) -> None:
        """Write nothing new. Raises what the database raises when it takes no writes."""
        self._row.update(paused=F("paused"))

    def _lift(self) -> int:
        """End the breaker's hold, or one that is over. What another worker was told meanwhile stands."""
        over = Q(held_until=None) | Q(held_until__lte=DbNow())
        return self._row.filter(over | Q(held_reason=_OUTAGE)).update(**accounts.LIFTED)

    def _lengthen(self, hold: Hold) -> int:
        """Write a hold, unless there is one that lasts longer."""
        until = DbNow(hold.seconds)
        shorter = Q(held_until=None) | Q(held_until__lte=until)
        if self._probing:
            # By this run, for as long as its probes may last; ``end_probe`` shortens it.
            shorter |= Q(held_reason=_OUTAGE)
        return self._row.filter(shorter).update(
            held_until=Case(When(held_until__gt=until, then="held_until"), default=until, output_field=DateTimeField()),
            held_reason=hold.reason,
            held_message=hold.message,
            refused_settings=hold.refused_settings,
        )

    def announce(self) -> None:
        """Tell who listens what ``write`` has changed, once it is committed."""
        if self._is_past_probe:
            self._reason_before = None
        if self._news:
            accounts.tell_held(self.account, self._news, using=self.using)
        elif self._news == "":
            accounts.tell_released(self.account, using=self.using)
