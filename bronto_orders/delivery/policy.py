"""What an answer means: the one table from what Bronto did to what we do next.

Pure: no query, no clock. The rules that stand above the table:

* A refusal of the content (4xx) rejects *this revision*; the next change of the order begins afresh.
* Whatever may be Bronto's own trouble defers the order, with a growing, random delay, and never rejects it.
* A failure that speaks against the account (outage, credentials, throttling) holds the account and is not counted
  against the order. Whether a 401 or 403 does is found out first (``Blame``): a firewall may dislike one order.
* When nobody knows whether a request took effect, an add is followed by an update (which finds out), and an update by
  nothing at all until it can no longer land.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, ngettext

from bronto_orders import exceptions as errors
from bronto_orders.conf import DeliverySettings
from bronto_orders.models import Presence, SyncAttempt, SyncState

Outcome = SyncAttempt.Outcome
Operation = SyncAttempt.Operation
#: The operation of a tombstone, which leaves no attempts.
DELETE: Final = "delete"

#: Seconds before an add of unknown fate is looked into: time for a slow request to end.
UNSURE_ADD_SECONDS = 5.0
#: An order that is at Bronto by one answer and not by the next, this often, is held by something else: a Return.
MAX_FLIPS = 2
#: Statuses after which a gateway, Cloudflare's among them, may still pass the request on.
GATEWAY_STATUSES = {408, 502, 504, *range(520, 528)}
#: 4xx statuses that speak of the way to the service and not of the order: proxy login, misdirected, too early.
PATH_STATUSES = {407, 421, 425}
#: A service that says "unavailable" says nothing of the order, however often.
UNAVAILABLE = 503
#: Seconds until a refused order is tried again: time for others to show whether the account is let in.
REFUSED_SECONDS = 60.0
LONGEST_RETRY_AFTER = 3600.0
DEFAULT_RETRY_AFTER = 5.0


class Standing(Enum):
    """What a result says about the account."""

    WELL = "well"
    SILENT = "silent"
    FAILING = "failing"
    THROTTLED = "throttled"
    #: Perhaps its credentials are refused.
    DOUBTFUL = "doubtful"
    AUTH = "auth"
    CONFIGURATION = "configuration"


class Blame(Enum):
    """Whom a 401 or 403 speaks against."""

    ACCOUNT = "account"
    UNCLEAR = "unclear"
    ORDER = "order"


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """What was asked and what came back, as far as the decision depends on it."""

    operation: str
    presence: str
    attempts: int
    flips: int
    #: The order names an e-mail address and the account does not let Bronto make contacts: a 409 may be about that.
    contact_may_lack: bool
    error: errors.BrontoError | None = None
    #: After an unreadable 409, or a 404 to a deletion: whether a search found the order. None when nobody looked.
    found: bool | None = None
    #: After a 401 or 403.
    blame: Blame = Blame.ACCOUNT


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What becomes of the order, and what the answer says about the account."""

    outcome: str
    state: SyncState
    #: Machine code for ``sync_reason``.
    reason: str = ""
    #: One sentence for staff: what happened and what is done next.
    message: str = ""
    presence: Presence | None = None
    #: Seconds until the next try, for orders that wait.
    delay: float = 0.0
    #: Whether the attempt counts against the order.
    counts: bool = True
    #: Whether the order itself may be what the service fails on; only such a one is given up in the end.
    suspect: bool = False
    flip: bool = False
    #: The request may still land; nothing newer may be sent before it no longer can.
    settle: bool = False
    standing: Standing = Standing.SILENT
    #: Seconds that Bronto asked the account to wait, for ``Standing.THROTTLED`` and ``Standing.FAILING``.
    retry_after: float = 0.0


def decide(exchange: Exchange, settings: DeliverySettings, *, healthy: bool) -> Decision:
    """Return what to do after one exchange.

    ``healthy`` says that the account's other orders succeed: only then can it be the order's own fault that it keeps
    failing, and only then is one given up after MAX_ATTEMPTS.
    """
    decision = _rule(exchange.error)(exchange, settings)
    if decision.state is not SyncState.PENDING or not decision.counts or exchange.attempts < settings.max_attempts:
        return decision
    if not healthy or not decision.suspect or exchange.operation == DELETE:
        return replace(decision, counts=False)
    message = ngettext(
        "Bronto did not take this order in %(attempts)d attempt while it took others. Change the order or resync it.",
        "Bronto did not take this order in %(attempts)d attempts while it took others. Change the order or resync it.",
        exchange.attempts,
    )
    return replace(
        decision,
        outcome=Outcome.REJECTED,
        state=SyncState.REJECTED,
        reason="poison",
        message=message % {"attempts": exchange.attempts},
    )


def _rule(error: errors.BrontoError | None) -> Rule:
    for cls in type(error).__mro__:
        if cls in TABLE:
            return TABLE[cls]
    raise TypeError(f"no rule for {type(error).__name__}")


def backoff(attempts: int, settings: DeliverySettings) -> float:
    """Return a random number of seconds up to a limit that doubles with each attempt (full jitter)."""
    limit = min(settings.backoff_cap, settings.backoff_base * 2 ** min(attempts - 1, 30))
    return max(0.5, random.uniform(0, limit))  # noqa: S311 - not a secret


Rule = Callable[[Exchange, DeliverySettings], Decision]


def _accepted(exchange: Exchange, settings: DeliverySettings) -> Decision:
    return Decision(outcome=Outcome.ACCEPTED, state=SyncState.SYNCED, presence=Presence.PRESENT, standing=Standing.WELL)


def _refused(exchange: Exchange, settings: DeliverySettings) -> Decision:
    if isinstance(exchange.error, errors.APIError) and exchange.error.status in PATH_STATUSES:
        return _misconfigured(exchange, settings)
    if exchange.operation == DELETE:
        message = _("Bronto refused to delete the order: %(reason)s. Delete it there, or try again.")
    else:
        message = _("Bronto refused the order: %(reason)s. Correct the order; saving it sends it again.")
    return Decision(
        outcome=Outcome.REJECTED,
        state=SyncState.REJECTED,
        reason="refused",
        message=message % {"reason": _service_words(exchange.error)},
        standing=Standing.WELL,
    )


def _service_words(error: errors.BrontoError | None) -> str:
    """Return the service's reason. Errors in which it has not spoken have none."""
    return (error.reason or f"HTTP {error.status}").rstrip(".") if isinstance(error, errors.APIError) else ""


def _not_found(exchange: Exchange, settings: DeliverySettings) -> Decision:
    if exchange.operation == Operation.ADD:
        return _misconfigured(exchange, settings)
    if exchange.operation == DELETE:
        return _gone(exchange, settings)
    absent = Decision(
        outcome=Outcome.REDIRECTED,
        state=SyncState.PENDING,
        presence=Presence.ABSENT,
        counts=False,
        standing=Standing.WELL,
    )
    if exchange.presence == Presence.UNSURE:
        return replace(absent, message=_("The earlier add never reached Bronto; adding the order now."))
    if exchange.flips + 1 >= MAX_FLIPS:
        return _id_taken(exchange, settings)
    return replace(absent, flip=True, message=_("Bronto no longer has the order; adding it again."))


def _gone(exchange: Exchange, settings: DeliverySettings) -> Decision:
    """A 404 to a deletion. No document knows it, and an API_URL that leads elsewhere would answer so, too."""
    if exchange.found is None:
        return _misconfigured(exchange, settings)
    if not exchange.found:
        return _accepted(exchange, settings)
    message = _("Bronto has the order under another ID than the one that is known; deleting it by its number.")
    return replace(_deferred(exchange, settings, "not_found"), message=message, standing=Standing.WELL)


def _id_taken(exchange: Exchange, settings: DeliverySettings) -> Decision:
    return Decision(
        outcome=Outcome.REJECTED,
        state=SyncState.REJECTED,
        reason="id_taken",
        message=_(
            "Bronto holds this order number for something that is not an order, most likely a return. "
            "Delete that at Bronto, then resync the order."
        ),
        presence=Presence.ABSENT,
        standing=Standing.WELL,
    )


def _duplicate(exchange: Exchange, settings: DeliverySettings) -> Decision:
    if exchange.operation != Operation.ADD:
        return _conflict(exchange, settings)
    return Decision(
        outcome=Outcome.REDIRECTED,
        state=SyncState.PENDING,
        presence=Presence.PRESENT,
        counts=False,
        message=_("Bronto already has an order with this number; updating it."),
        standing=Standing.WELL,
    )


def _no_contact(exchange: Exchange, settings: DeliverySettings) -> Decision:
    message = _(
        "Bronto has no contact with the order's e-mail address and the account does not create contacts. "
        "The order is sent when it changes or is resynced."
    )
    return Decision(
        outcome=Outcome.SKIPPED,
        state=SyncState.SKIPPED,
        reason="no_contact",
        message=message,
        standing=Standing.WELL,
    )


def _conflict(exchange: Exchange, settings: DeliverySettings) -> Decision:
    """A 409 whose words say nothing that we know."""
    if exchange.operation != Operation.ADD:
        return _no_contact(exchange, settings) if exchange.contact_may_lack else _refused(exchange, settings)
    if exchange.found:
        return _duplicate(exchange, settings)
    if exchange.found is None:
        decision = _deferred(exchange, settings, "conflict")
        return replace(decision, message=_("Bronto sees a conflict and could not be asked which; trying again."))
    return _no_contact(exchange, settings) if exchange.contact_may_lack else _id_taken(exchange, settings)


def _deferred(exchange: Exchange, settings: DeliverySettings, reason: str) -> Decision:
    return Decision(
        outcome=Outcome.DEFERRED,
        state=SyncState.PENDING,
        reason=reason,
        delay=backoff(exchange.attempts, settings),
    )


def _not_sent(exchange: Exchange, settings: DeliverySettings) -> Decision:
    return replace(
        _deferred(exchange, settings, "unreachable"),
        message=_("Bronto could not be reached; trying again."),
        counts=False,
        standing=Standing.FAILING,
    )


def _server_error(exchange: Exchange, settings: DeliverySettings) -> Decision:
    assert isinstance(exchange.error, errors.APIError)  # noqa: S101 - by the table
    status = exchange.error.status
    if status in GATEWAY_STATUSES:
        return _paused(_fate_unknown(exchange, settings), exchange.error)
    message = _("Bronto answered %(status)d; trying again.")
    decision = replace(
        _deferred(exchange, settings, "server_error"),
        message=message % {"status": status},
        standing=Standing.FAILING,
        suspect=status != UNAVAILABLE,
    )
    if status == UNAVAILABLE:
        return _paused(decision, exchange.error)
    # With any other status it is this order that is asked to wait: it may be the only one that fails.
    return replace(decision, delay=max(decision.delay, min(exchange.error.retry_after or 0.0, LONGEST_RETRY_AFTER)))


def _paused(decision: Decision, error: errors.APIError) -> Decision:
    """Have the whole account wait as well, if the service asked for that."""
    seconds = _pause(error.retry_after or 0.0)
    if not seconds:
        return decision
    message = ngettext(
        "%(message)s A pause of %(seconds)d second was asked for.",
        "%(message)s A pause of %(seconds)d seconds was asked for.",
        round(seconds),
    )
    return replace(
        decision,
        message=message % {"message": decision.message, "seconds": round(seconds)},
        delay=max(decision.delay, seconds),
        retry_after=seconds,
    )


def _pause(asked: float) -> float:
    """Return the seconds to wait when so many were asked for: not too many, and not the same for all workers."""
    return min(max(asked, 0.0), LONGEST_RETRY_AFTER) * random.uniform(1, 1.25)  # noqa: S311 - not a secret


def _fate_unknown(exchange: Exchange, settings: DeliverySettings) -> Decision:
    decision = replace(
        _deferred(exchange, settings, "fate_unknown"), outcome=Outcome.UNKNOWN, standing=Standing.FAILING
    )
    if exchange.operation == Operation.ADD:
        return replace(
            decision,
            presence=Presence.UNSURE,
            delay=max(decision.delay, UNSURE_ADD_SECONDS),
            message=_("No answer came, so the order may or may not be at Bronto; looking again with an update."),
        )
    if exchange.operation == DELETE:
        message = _("No answer came and the deletion may still land; trying again when it no longer can.")
    else:
        message = _("No answer came and the update may still land; trying again when it no longer can.")
    return replace(decision, settle=True, delay=max(decision.delay, settings.settle_seconds), message=message)


def _throttled(exchange: Exchange, settings: DeliverySettings) -> Decision:
    asked = exchange.error.retry_after if isinstance(exchange.error, errors.APIError) else None
    seconds = _pause(DEFAULT_RETRY_AFTER if asked is None else asked)
    message = ngettext(
        "Bronto asked for a pause of %(seconds)d second; trying again after it.",
        "Bronto asked for a pause of %(seconds)d seconds; trying again after it.",
        round(seconds),
    )
    return Decision(
        outcome=Outcome.DEFERRED,
        state=SyncState.PENDING,
        reason="throttled",
        message=message % {"seconds": round(seconds)},
        delay=seconds,
        counts=False,
        standing=Standing.THROTTLED,
        retry_after=seconds,
    )


def _hold(reason: str, message: str, standing: Standing) -> Rule:
    def rule(exchange: Exchange, settings: DeliverySettings) -> Decision:
        return Decision(
            outcome=Outcome.HELD,
            state=SyncState.PENDING,
            reason=reason,
            message=_(message) % {"words": _service_words(exchange.error)},
            counts=False,
            standing=standing,
        )

    return rule


_refused_credentials = _hold(
    "auth",
    gettext_noop("Bronto refuses the account's credentials (%(words)s); the account waits until they work again."),
    Standing.AUTH,
)
_refused_client = _hold(
    "auth",
    gettext_noop("Bronto refuses the account's credentials; the account waits until they work again."),
    Standing.AUTH,
)
_misconfigured = _hold(
    "configuration",
    gettext_noop("What answers at API_URL does not speak Bronto's Orders API (%(words)s); the account waits."),
    Standing.CONFIGURATION,
)


def _not_let_in(exchange: Exchange, settings: DeliverySettings) -> Decision:
    if exchange.blame is Blame.ACCOUNT:
        # Others are tried first when the hold is over: it may be this order alone after all.
        return replace(_refused_credentials(exchange, settings), delay=REFUSED_SECONDS)
    decision = _deferred(exchange, settings, "refused")
    message = _("Bronto refuses this order (%(words)s) while it takes others; trying again.")
    proven = exchange.blame is Blame.ORDER
    return replace(
        decision,
        message=message % {"words": _service_words(exchange.error)},
        delay=max(decision.delay, REFUSED_SECONDS),
        counts=proven,
        suspect=True,
        standing=Standing.SILENT if proven else Standing.DOUBTFUL,
    )


def _unexpected(exchange: Exchange, settings: DeliverySettings) -> Decision:
    assert isinstance(exchange.error, errors.APIError)  # noqa: S101 - by the table
    if exchange.error.status // 100 == 2:
        return _fate_unknown(exchange, settings)
    return _misconfigured(exchange, settings)


#: Looked up by the error's class, then by its base classes. ``NoneType`` stands for success.
TABLE: dict[type, Rule] = {
    type(None): _accepted,
    errors.BadRequestError: _refused,
    errors.AuthenticationError: _not_let_in,
    errors.TokenRefusedError: _refused_client,
    errors.TokenUnavailableError: _not_sent,
    errors.NotFoundError: _not_found,
    errors.DuplicateOrderError: _duplicate,
    errors.UnknownContactError: _no_contact,
    errors.ConflictError: _conflict,
    errors.RateLimitedError: _throttled,
    errors.ServerError: _server_error,
    errors.NotSentError: _not_sent,
    errors.FateUnknownError: _fate_unknown,
    errors.UnexpectedAnswerError: _unexpected,
}
