"""Deletions at Bronto: claim a tombstone, send a DELETE from a thread, record the result.

They go through the same run as orders do, and by the same rules: leases, deadline guard, gate and rate limit. What is
different: no body is built, a deletion is never given up but when Bronto refuses it, and a repeat is harmless.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import F

from bronto_orders import exceptions as errors
from bronto_orders import signals
from bronto_orders.client import BrontoClient, ending_by
from bronto_orders.conf import DeliverySettings
from bronto_orders.delivery import claims
from bronto_orders.delivery.gate import Gate
from bronto_orders.delivery.policy import DELETE, Decision, Exchange
from bronto_orders.models import DbNow, Order, Presence, SyncState, Tombstone

logger = logging.getLogger(__name__)


def claim(account: str, limit: int, settings: DeliverySettings, *, using: str, probing: bool) -> list[Tombstone]:
    """Take up to ``limit`` due deletions of the account, the oldest first; as ``claims.claim`` takes orders."""
    rows = Tombstone.objects.using(using)
    candidates = rows.due().filter(account=account).order_by("due_at")
    if not probing:
        candidates = candidates.filter(~claims.gate_closed(account))
    token = uuid.uuid4()
    columns = {"due_at": DbNow(settings.update_lease_seconds), "lease_token": token, "attempts": F("attempts") + 1}
    chosen = claims.lease(candidates[:limit], rows.due(), columns, using=using)
    return list(rows.filter(pk__in=chosen, lease_token=token)) if chosen else []


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """One DELETE to be sent: everything that a thread needs."""

    tombstone: Tombstone
    #: ``time.monotonic()`` after which the request must not start.
    start_before: float
    #: Seconds that one call of the client may take in all.
    call_seconds: float


@dataclass(kw_only=True)
class Answer:
    """What came of a deletion."""

    deletion: Deletion
    #: False when nothing was sent: the lease was too short, or the account was held meanwhile.
    sent: bool = False
    error: errors.BrontoError | None = None
    #: After a 404, which no document knows: whether a search found the order. None when that got one, too.
    found: bool | None = None

    @property
    def tombstone(self) -> Tombstone:
        """The tombstone as it was claimed."""
        return self.deletion.tombstone

    def exchange(self) -> Exchange:
        """Return what the policy needs to know."""
        return Exchange(
            operation=DELETE,
            presence=Presence.PRESENT,
            attempts=self.tombstone.attempts,
            flips=0,
            contact_may_lack=False,
            error=self.error,
            found=self.found,
        )


def log_ids(tombstone: Tombstone) -> dict[str, Any]:
    """Return the attributes by which log records tell which deletion they are about."""
    return {"tombstone_id": tombstone.pk, "account": tombstone.account}


def send(client: BrontoClient, deletion: Deletion, halted: Callable[[], bool]) -> Answer:
    """Send the DELETE and return what came of it; never raises. Nothing is sent as of ``sending.send``."""
    answer, tombstone = Answer(deletion=deletion), deletion.tombstone
    if halted() or time.monotonic() > deletion.start_before:
        return answer
    answer.sent = True
    with ending_by(deletion.start_before + deletion.call_seconds):
        try:
            _delete(client, tombstone, answer)
        except errors.BrontoError as error:
            answer.error = error
        except Exception as error:  # a bug of ours must neither end the thread nor lose the deletion
            logger.error("Deletion %d failed: %s", tombstone.pk, type(error).__name__, extra=log_ids(tombstone))
            answer.error = errors.FateUnknownError(f"internal error: {type(error).__name__}")
    return answer


def _delete(client: BrontoClient, tombstone: Tombstone, answer: Answer) -> None:
    number = tombstone.customer_order_id
    try:
        if tombstone.bronto_order_id:
            client.delete(tombstone.bronto_order_id)
        else:
            client.delete_by_customer_order_id(number)
    except errors.NotFoundError as error:
        # What comes of the search counts in its place, if that fails.
        found = client.search(customer_order_id=number)
        answer.error, answer.found = error, any(order.get("customerOrderId") == number for order in found)


@dataclass(frozen=True)
class Judged:
    """An answer, what is to be done about the deletion, and what is to be written about the account."""

    answer: Answer
    #: None when nothing was sent.
    decision: Decision | None
    gate_changes: dict[str, Any]

    @property
    def is_accepted(self) -> bool:
        """Whether there is no order by the ID or the number that the request named."""
        return self.decision is not None and self.decision.state is SyncState.SYNCED

    @property
    def is_done(self) -> bool:
        """Whether the order is gone, under whatever ID."""
        return self.is_accepted and not self.answer.tombstone.bronto_order_id

    @property
    def outcome(self) -> str:
        """What a run's report counts it under; empty when nothing was sent, or the number is still to be."""
        if self.decision is None or self.is_accepted:
            return "deleted" if self.is_done else ""
        return self.decision.outcome


def judge(answers: Iterable[Answer], *, gate: Gate, delivery: DeliverySettings) -> list[Judged]:
    """Decide on answers, in the order in which they came."""
    judged = []
    for answer in answers:
        decision = gate.decide(answer.exchange(), None, delivery) if answer.sent else None
        judged.append(Judged(answer, decision, gate.take(decision) if decision else {}))
    return judged


def record(judged: Sequence[Judged], *, gate: Gate, using: str) -> None:
    """Write answers down in one transaction, each fenced by its lease, then tell who listens.

    May be called again with the same answers when the database fails half way. An order that has waited for a deletion
    is due as soon as that is done.
    """
    rows = Tombstone.objects.using(using)
    gone: list[Tombstone] = []
    with transaction.atomic(using=using):
        for item in judged:
            tombstone = item.answer.tombstone
            held = rows.filter(pk=tombstone.pk, lease_token=tombstone.lease_token)
            if held.update(lease_token=None, **_columns(item)) and item.is_done:
                gone.append(tombstone)
        gate.write({name: value for item in judged for name, value in item.gate_changes.items()})
    gate.announce()
    for tombstone in gone:
        # After the commit: who buries an order locks it before its tombstone.
        same = {"account": tombstone.account, "customer_order_id": tombstone.customer_order_id}
        Order.objects.using(using).filter(**same).hasten()
        logger.info("deletion %d: done", tombstone.pk, extra=log_ids(tombstone))
        signals.order_deleted.send_robust(Tombstone, **same, kind=str(tombstone.kind), using=using)


def _columns(item: Judged) -> dict[str, Any]:
    decision = item.decision
    if decision is None:
        return {"due_at": DbNow(), "attempts": F("attempts") - 1}
    if item.is_done:
        return {"due_at": None, "done_at": DbNow(), "message": "", "attempts": 0}
    if item.is_accepted:
        # Bronto says so whether or not there was one: an import may have brought it back under another ID.
        return {"due_at": DbNow(), "message": "", "bronto_order_id": "", "attempts": 0}
    waits = decision.state is SyncState.PENDING
    columns: dict[str, Any] = {"due_at": DbNow(decision.delay) if waits else None, "message": decision.message}
    if not decision.counts:
        columns["attempts"] = F("attempts") - 1
    if item.answer.found:
        # It is there under another ID than the one that is known.
        columns["bronto_order_id"] = ""
    return columns
