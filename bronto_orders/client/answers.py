"""What an answer of the Orders API means: the one place where statuses and reasons become errors."""

from __future__ import annotations

import email.utils
import math
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC
from typing import Any, Final

from bronto_orders import wire
from bronto_orders.client.redaction import excerpt
from bronto_orders.client.transport import Answer
from bronto_orders.exceptions import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    DuplicateOrderError,
    NotFoundError,
    RateLimitedError,
    ServerError,
    UnexpectedAnswerError,
    UnknownContactError,
    UnreadableAnswerError,
)

_REASON_LENGTH: Final = 500
_STATUS_ERRORS: Final[dict[int, type[APIError]]] = {
    401: AuthenticationError,
    403: AuthenticationError,
    404: NotFoundError,
    408: ServerError,
    429: RateLimitedError,
}
# Nobody knows the body of a refusal (bronto-api section 9); these are the usual names.
_REASON_MEMBERS: Final = ("reason", "message", "error_description", "detail", "error")

_DUPLICATE_WORDS: Final = re.compile(
    r"already|duplicat|\bin use\b|\btaken\b|\bunique|customer[\s_-]?order[\s_-]?id"
    r"|\b(?:order|return)\b.{0,80}\bexists\b",
    re.IGNORECASE | re.DOTALL,
)
_CONTACT_WORDS: Final = re.compile(r"contact|e-?mail|recipient|subscriber", re.IGNORECASE)


class AnsweredOrder(dict[str, Any]):
    """An order as the service has it."""

    #: The JSON that it was read from.
    body: bytes = b""


def _unchanged(text: str) -> str:
    return text


def order_in(answer: Answer, *, expected: int, scrub: Callable[[str], str] = _unchanged) -> AnsweredOrder:
    """Return the order that the answer holds.

    Raises UnreadableAnswerError when the body is not a JSON object with an ``orderId``, otherwise as ``require``.
    """
    require(answer, expected=expected, scrub=scrub)
    order = AnsweredOrder(_as_order(_json_in(answer), answer))
    order.body = answer.body
    return order


def orders_in(answer: Answer, *, scrub: Callable[[str], str] = _unchanged) -> list[dict[str, Any]]:
    """Return the orders that a search found; a 204 has no body and means none (H:search)."""
    if answer.status == 204:
        return []
    require(answer, expected=200, scrub=scrub)
    found = _json_in(answer)
    if not isinstance(found, list):
        raise UnreadableAnswerError("The answer to a search is not a JSON array", status=answer.status)
    return [_as_order(order, answer) for order in found]


def require(answer: Answer, *, expected: int, scrub: Callable[[str], str] = _unchanged) -> None:
    """Raise the APIError that the answer stands for, unless it has the one status that the call documents.

    Another 2xx is an UnexpectedAnswerError: the request may have taken effect all the same. ``scrub`` takes secrets
    out of the service's words before they become the error's reason.
    """
    if answer.status == expected:
        return
    words = scrub(_words(answer))
    reason = excerpt(" ".join(words.split()), _REASON_LENGTH)
    raise _error_class(answer.status, words)(
        status=answer.status, reason=reason, retry_after=retry_after(answer.headers)
    )


def _error_class(status: int, words: str) -> type[APIError]:
    if status == 409:
        return conflict_class(words)
    if status in _STATUS_ERRORS:
        return _STATUS_ERRORS[status]
    if 400 <= status < 500:
        return BadRequestError
    return ServerError if 500 <= status < 600 else UnexpectedAnswerError


def conflict_class(words: str) -> type[ConflictError]:
    """Tell the two meanings of 409 (S1, S2) apart by the service's words.

    The true texts are not known. Words of both kinds, or of none, give plain ConflictError: a search for the order
    then decides.
    """
    duplicate, contact = _DUPLICATE_WORDS.search(words), _CONTACT_WORDS.search(words)
    if bool(duplicate) == bool(contact):
        return ConflictError
    return DuplicateOrderError if duplicate else UnknownContactError


def _words(answer: Answer) -> str:
    """Return the service's reason: the X-Reason header (S1, S2), else the body's message, else the status phrase."""
    return unwrap_reason(_utf8(answer.headers.get("X-Reason", ""))) or _message_in(answer.body) or answer.phrase


def unwrap_reason(text: str) -> str:
    """Return the inner text of ``ServiceExceptionMessage{siteId=1, statusCode=409, reason=text}`` (C:m26).

    The text may hold commas and braces itself. Anything else is returned as it is.
    """
    text = text.strip()
    if text.startswith("ServiceExceptionMessage{") and "reason=" in text:
        text = text.partition("reason=")[2].strip().removesuffix("}").strip()
    return "" if text == "null" else text


def _utf8(header: str) -> str:
    """Undo the Latin-1 that http.client reads headers with, where they were UTF-8."""
    try:
        return header.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return header


def _message_in(body: bytes) -> str:
    text = body.decode("utf-8", "replace").strip()
    if text.startswith("<"):
        return ""
    try:
        parsed = wire.loads(text)
    except (ValueError, ArithmeticError, RecursionError):
        return unwrap_reason(text)
    if isinstance(parsed, dict):
        parsed = next((parsed[name] for name in _REASON_MEMBERS if isinstance(parsed.get(name), str)), "")
    return unwrap_reason(parsed) if isinstance(parsed, str) else ""


def retry_after(headers: Mapping[str, str], *, now: float | None = None) -> float | None:
    """Return the seconds to wait that ``Retry-After`` asks for, None when it is absent or makes no sense.

    A date is read against the answer's own ``Date``, so that the two machines' clocks need not agree, and against
    ``now`` (epoch seconds, default: this machine's clock) only without one. Nothing is capped here.
    """
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        seconds = float(text)
        return seconds if math.isfinite(seconds) else None
    moment = _http_date(text)
    if moment is None:
        return None
    answered = _http_date(headers.get("Date", ""))
    if answered is None:
        answered = time.time() if now is None else now
    return max(moment - answered, 0.0)


def _http_date(text: str) -> float | None:
    try:
        moment = email.utils.parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _json_in(answer: Answer) -> Any:
    try:
        return wire.loads(answer.body)
    except (ValueError, ArithmeticError, RecursionError):
        pass
    kind = answer.headers.get("Content-Type", "no content type").partition(";")[0]
    raise UnreadableAnswerError(
        f"The answer is not JSON (HTTP {answer.status}, {excerpt(kind, 60)}, {len(answer.body)} bytes)",
        status=answer.status,
    )


def _as_order(value: Any, answer: Answer) -> dict[str, Any]:
    if isinstance(value, dict) and isinstance(value.get("orderId"), str) and value["orderId"]:
        return value
    raise UnreadableAnswerError(f"The answer is no order with an orderId (HTTP {answer.status})", status=answer.status)
