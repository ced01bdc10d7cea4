"""Writing results down: one guarded UPDATE for each order, fenced by its lease, and the attempts in one INSERT."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import models, transaction
from django.db.models import Case, F, Q, Value, When
from django.utils.dateparse import parse_datetime
from django.utils.timezone import is_aware
from django.utils.translation import gettext as _

from bronto_orders import diffing, signals, wire
from bronto_orders.client.redaction import excerpt, redacted_body
from bronto_orders.conf import DeliverySettings
from bronto_orders.delivery import claims, personal
from bronto_orders.delivery.claims import MOVED_ON
from bronto_orders.delivery.gate import Gate
from bronto_orders.delivery.policy import Decision, Operation, Outcome, Standing, decide
from bronto_orders.delivery.sending import Result, log_ids
from bronto_orders.delivery.statements import Parameter, PreparedUpdate, insert
from bronto_orders.exceptions import FateUnknownError, ServerError, UnexpectedAnswerError, UnreadableAnswerError
from bronto_orders.models import DbNow, Order, Presence, SyncAttempt, SyncState, Tombstone
from bronto_orders.models.deliverable import ERASED
from bronto_orders.payloads import Document, InvalidOrderError, acknowledged, perhaps_acknowledged

logger = logging.getLogger(__name__)

#: Seconds until an order looks again whether its number is free; the end of the deletion wakes it before that.
DELETION_SECONDS = 30.0


@dataclass(frozen=True)
class Settled:
    """An order that needs no request."""

    order: Order
    outcome: str
    state: SyncState
    reason: str = ""
    message: str = ""

    @classmethod
    def unchanged(cls, order: Order) -> Settled:
        """Bronto has this very content already."""
        return cls(order, "unchanged", SyncState.SYNCED)

    @classmethod
    def invalid(cls, order: Order, error: InvalidOrderError) -> Settled:
        """Bronto would refuse it."""
        return cls(order, Outcome.SKIPPED, SyncState.SKIPPED, error.code, str(error.message))

    @classmethod
    def unbuildable(cls, order: Order, error: Exception) -> Settled:
        """Our own code failed on it."""
        message = _("The order could not be turned into a request (%(error)s). Tell the developers.")
        return cls(
            order, Outcome.SKIPPED, SyncState.SKIPPED, "invalid:order", message % {"error": type(error).__name__}
        )

    @classmethod
    def crash_loop(cls, order: Order) -> Settled:
        """Workers keep dying of it."""
        message = _("Workers died %(count)d times in a row while they sent this order. Tell the developers.")
        return cls(order, Outcome.REJECTED, SyncState.REJECTED, "crash_loop", message % {"count": claims.MAX_CRASHES})

    @classmethod
    def of_tombstone(cls, order: Order) -> Settled | None:
        """Return what becomes of an order that stands under a tombstone; None without one."""
        match getattr(order, "buried", None):
            case Tombstone.Kind.ERASED:
                return cls(order, Outcome.SKIPPED, SyncState.SKIPPED, ERASED, str(personal.ERASED_MESSAGE))
            case Tombstone.Kind.DELETED:
                message = _("An earlier order with this number is still to be deleted at Bronto; sent after that.")
                return cls(order, Outcome.DEFERRED, SyncState.PENDING, "deletion", message)
        return None


def settle(ends: Sequence[Settled], *, using: str) -> None:
    """Record orders that came to rest without a request; one that the shop has locked waits for its lease to end."""
    with transaction.atomic(using=using):
        locked, _existing = claims.lock([end.order for end in ends], using=using)
        done = [end for end in ends if _is_held(end.order, locked)]
        unchanged = [_lease(end.order) for end in done if end.state is SyncState.SYNCED]
        _run(_REST_UNCHANGED, unchanged, using)
        for end in done:
            if end.state is not SyncState.SYNCED:
                _settle(end, using)
    for end in done:
        _announce(end.order, end.state, end.reason, using)


def _settle(end: Settled, using: str) -> None:
    row = claims.held(end.order, using=using)
    if end.state is SyncState.PENDING:
        words = {"sync_reason": end.reason, "sync_message": end.message}
        row.update(attempts=F("attempts") - 1, **words, **claims.waiting(DELETION_SECONDS))
    elif end.reason == ERASED:
        personal.scrub(row, end.order.pk, **claims.at_rest(end.state, end.reason, end.message))
    else:
        row.update(**claims.at_rest(end.state, end.reason, end.message))


@dataclass(frozen=True)
class Decided:
    """A result, what is to be done about the order, and what is to be written about the account."""

    result: Result
    decision: Decision
    gate_changes: dict[str, Any]

    @property
    def order(self) -> Order:
        """The order that the result is about, as it was claimed."""
        return self.result.job.order


def judge(results: Iterable[Result], *, gate: Gate, delivery: DeliverySettings) -> list[Decided]:
    """Decide on results of requests that were sent, in the order in which they came."""
    return [_judge(result, gate, delivery) for result in results if result.sent]


def _judge(result: Result, gate: Gate, delivery: DeliverySettings) -> Decided:
    decision = gate.decide(result.exchange(), result.job.order, delivery)
    columns = gate.take(decision)
    if not gate.breaker_closed and decision.standing is Standing.FAILING:
        decision = replace(decision, counts=False)
    return Decided(result, replace(decision, message=printable(decision.message)), columns)


def record(
    decided: Sequence[Decided], unsent: Sequence[Order], *, gate: Gate, delivery: DeliverySettings, using: str
) -> list[Decided]:
    """Write results down in one transaction, then send the signals. Returns those whose rows others have locked.

    May be called again with the same results when the database fails half way. An order whose lease has been taken
    over is left to its new holder and pushed once more after that: what was sent meanwhile may have come in between.
    """
    kept: list[Decided] = []
    lost: list[Decided] = []
    with transaction.atomic(using=using):
        locked, existing = claims.lock([*(item.order for item in decided), *unsent], using=using)
        claims.hand_back([order for order in unsent if order.pk in locked], using=using)
        for item in decided:
            if item.order.pk in locked:
                (kept if _is_held(item.order, locked) else lost).append(item)
        accepted = [item for item in kept if item.decision.state is SyncState.SYNCED]
        moved_on = [item.order for item in accepted if locked[item.order.pk].revision > item.order.lease_revision]
        brought = _brought_meanwhile(moved_on, using)
        _run(_ACKNOWLEDGE, [_acknowledged(item, brought.get(item.order.pk)) for item in accepted], using)
        for item in kept:
            if item.decision.state is not SyncState.SYNCED:
                claims.held(item.order, using=using).update(**_columns(item, delivery))
        for item in lost:
            _repair(item, delivery, using)
        attempts = [_attempt(item, item.decision.outcome) for item in kept]
        attempts += [_attempt(item, Outcome.LEASE_LOST) for item in lost]
        insert(attempts, using=using)
        gate.write({name: value for item in decided for name, value in item.gate_changes.items()})
    gate.announce()
    for item, attempt in zip([*kept, *lost], attempts, strict=True):
        _tell(item, attempt, using)
    for item in kept:
        _announce(item.order, item.decision.state, item.decision.reason, using)
    return [
        replace(item, gate_changes={}) for item in decided if item.order.pk in existing and item.order.pk not in locked
    ]


def unrecordable(item: Decided, error: Exception, delivery: DeliverySettings) -> Decided:
    """Return what to write instead of a result that the database refuses: that an answer came that cannot be kept."""
    result = replace(item.result, answer=None, found=None, error=UnreadableAnswerError(type(error).__name__))
    return Decided(result, decide(result.exchange(), delivery, healthy=False), item.gate_changes)


def _repair(item: Decided, delivery: DeliverySettings, using: str) -> None:
    logger.warning("The lease of order %d was lost; it is pushed once more.", item.order.pk, extra=log_ids(item.order))
    settle_seconds = delivery.settle_seconds if item.result.job.push.operation == Operation.UPDATE else 0
    claims.repair(item.order, sent=item.result.job.push.body, settle_seconds=settle_seconds, using=using)


def _columns(item: Decided, delivery: DeliverySettings) -> dict[str, Any]:
    """Return what to write for an order that Bronto has not acknowledged."""
    decision = item.decision
    columns = _knowledge(item)
    if decision.settle:
        columns["settle_until"] = DbNow(delivery.settle_seconds)
    if decision.state is not SyncState.PENDING:
        return columns | claims.at_rest(decision.state, decision.reason, decision.message)
    if decision.flip:
        columns["flips"] = F("flips") + 1
    if not decision.counts:
        columns["attempts"] = F("attempts") - 1
    return columns | {
        "sync_reason": decision.reason,
        "sync_message": decision.message,
        **claims.waiting(decision.delay),
    }


def _knowledge(item: Decided) -> dict[str, Any]:
    """Return what the answer tells of the order at Bronto: whether it is there, and whether it may have changed."""
    columns: dict[str, Any] = {}
    error, presence, found = item.result.error, item.decision.presence, item.result.found
    if isinstance(error, ServerError | FateUnknownError | UnexpectedAnswerError):
        columns["last_sent_hash"] = ""
        known = perhaps_acknowledged(item.result.job.push.body, item.order.last_sent)
        if known != (item.order.last_sent or {}):
            columns["last_sent"] = wire.storable(known)
        if (item.order.resync_options or {}).get("force_events"):
            # The try may have reached the customer, though it does not count against the order.
            columns["resync_options"] = {**item.order.resync_options, "force_events": False}
    if presence is not None:
        columns["presence"] = presence
    if presence is Presence.ABSENT:
        columns |= {"bronto_order_id": "", "last_sent_hash": "", "has_tracking": None}
    elif found:
        columns["bronto_order_id"] = printable(str(found[0].get("orderId", "")))[:64]
    return columns


def _brought_meanwhile(orders: Sequence[Order], using: str) -> dict[Any, Document]:
    """Return ``last_sent``, as it stands now, of those of the orders that a lost lease may have disturbed."""
    if not orders:
        return {}
    rows = Order.objects.using(using).filter(_DISTURBED, pk__in=[order.pk for order in orders])
    return {pk: last_sent or {} for pk, last_sent in rows.values_list("pk", "last_sent")}


def _acknowledged(item: Decided, brought: Document | None) -> dict[str, Any]:
    """Return the values of ``_ACKNOWLEDGE`` for an order that Bronto has acknowledged.

    ``brought`` is what a request of a lost lease may have brought there beside it.
    """
    job, answer = item.result.job, item.result.answer or {}
    adding = job.push.operation == Operation.ADD
    tracking = answer.get("hasTracking")
    there = acknowledged(job.push.body, None if adding else job.order.last_sent)
    return {
        **_lease(job.order),
        "last_sent": wire.storable(perhaps_acknowledged(brought, there) if brought else there),
        "last_sent_hash": job.push.fingerprint,
        "bronto_order_id": printable(answer["orderId"])[:64],
        "bronto_updated_at": moment(answer.get("updatedDate")),
        "has_tracking": tracking if isinstance(tracking, bool) else None,
    }


#: Emptied since the claim by a worker that had lost this lease: its request may still land after this one.
_DISTURBED = MOVED_ON & Q(last_sent_hash="")


def _acknowledge() -> dict[str, Any]:
    sent_hash = Parameter(Order, "last_sent_hash")
    return {
        "acked_revision": F("lease_revision"),
        "presence": Presence.PRESENT,
        "last_sent": Parameter(Order, "last_sent"),
        "settle_until": Case(
            When(_DISTURBED, then=F("settle_until")), default=None, output_field=models.DateTimeField()
        ),
        "last_sent_hash": Case(When(_DISTURBED, then=Value("")), default=sent_hash, output_field=models.CharField()),
        "bronto_order_id": Parameter(Order, "bronto_order_id"),
        "bronto_updated_at": Parameter(Order, "bronto_updated_at"),
        "has_tracking": Parameter(Order, "has_tracking"),
        "synced_at": DbNow(),
        **claims.at_rest(SyncState.SYNCED),
    }


#: Fenced by the lease, as ``claims.held`` is.
_GUARD = ("id", "lease_token")
_ACKNOWLEDGE = PreparedUpdate(Order, _GUARD, _acknowledge)
_REST_UNCHANGED = PreparedUpdate(
    Order, _GUARD, lambda: {"acked_revision": F("lease_revision"), **claims.at_rest(SyncState.SYNCED)}
)


def _lease(order: Order) -> dict[str, Any]:
    return {"id": order.pk, "lease_token": order.lease_token}


def _is_held(order: Order, locked: Mapping[Any, claims.Locked]) -> bool:
    """Tell whether the lease that the order was claimed with still stands, of rows that are locked."""
    return order.pk in locked and locked[order.pk].lease_token == order.lease_token


def _run(statement: PreparedUpdate, rows: Sequence[Mapping[str, Any]], using: str) -> None:
    """Write rows that are locked and held. Raises RuntimeError if one was not there all the same."""
    if rows and statement.run(rows, using=using) != len(rows):
        raise RuntimeError("a locked row has changed")


def printable(text: str) -> str:
    """Return the text without what a database may refuse: halves of surrogate pairs and NUL."""
    return text.encode("utf-8", "replace").decode().replace("\0", "")


def moment(text: object) -> datetime | None:
    """Return the moment that Bronto names, None if it is none that a database takes."""
    try:
        parsed = parse_datetime(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return parsed if parsed is not None and is_aware(parsed) and 1970 < parsed.year < 9000 else None


def _attempt(item: Decided, outcome: str) -> SyncAttempt:
    result, decision = item.result, item.decision
    job, answer, error = result.job, result.answer, result.error
    differences = diffing.taken_differently(job.push.body, answer) if answer else []
    return SyncAttempt(
        order=job.order,
        account=job.order.account,
        revision=job.order.lease_revision,
        operation=job.push.operation,
        trigger=job.trigger,
        started_at=result.started_at,
        duration_ms=round(result.duration * 1000),
        http_status=_status(result),
        outcome=outcome,
        reason=printable(excerpt(str(error))) if error else "",
        decision=decision.message or _decision(differences),
        request_excerpt=redacted_body(job.body_json),
        answer_excerpt=printable(redacted_body(getattr(answer, "body", b"") or wire.dumps(answer))) if answer else "",
        differences=differences,
    )


def _decision(differences: list[str]) -> str:
    if differences:
        return _("Bronto took the order, with other values in: %(names)s.") % {"names": ", ".join(differences)}
    return _("Done: Bronto has acknowledged the order.")


def _status(result: Result) -> int | None:
    if result.answer is not None:
        return 201 if result.job.push.operation == Operation.ADD else 200
    status = getattr(result.error, "status", None)
    return status if status is not None and 100 <= status <= 599 else None


def _tell(item: Decided, attempt: SyncAttempt, using: str) -> None:
    signals.push_attempted.send_robust(
        SyncAttempt,
        order_id=item.order.pk,
        account=attempt.account,
        operation=str(attempt.operation),
        outcome=str(attempt.outcome),
        http_status=attempt.http_status,
        seconds=item.result.duration,
        trigger=attempt.trigger,
        using=using,
    )


def _announce(order: Order, state: SyncState, reason: str, using: str) -> None:
    known = {**log_ids(order), "using": using}
    logger.info("order %d: %s", order.pk, f"{state.value} {reason}".rstrip(), extra=known)
    if state is SyncState.SYNCED:
        signals.order_synced.send_robust(Order, **known)
    elif state is SyncState.REJECTED:
        signals.order_rejected.send_robust(Order, reason=reason, **known)
    elif state is SyncState.SKIPPED:
        signals.order_skipped.send_robust(Order, reason=reason, **known)
