"""A call and its answer, whatever carries them: a socket, a Django view or a mounted ``requests`` adapter."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl, unquote_to_bytes

from django.utils.http import parse_header_parameters

from bronto_orders.sandbox.cut import Cut
from bronto_orders.sandbox.refusals import Malformed, Refusal, TooLarge
from bronto_orders.sandbox.wire import JSON_TYPE, REASON_HEADER, encode, error_body, one_line

logger = logging.getLogger(__name__)

#: The largest body that is read, in bytes (our choice).
BODY_LIMIT: Final = 2 * 1024 * 1024
PARAMETER_LIMIT: Final = 1000


@dataclass(frozen=True, slots=True)
class Request:
    """One call. ``path`` and ``query`` are as they were sent, percent-encoding and all, one character a byte."""

    method: str
    #: Below the place where the sandbox is mounted, so it begins with ``/orders``, ``/oauth2`` or ``/_sandbox``.
    path: str
    query: str = ""
    #: With names in lower case.
    headers: Mapping[str, str] = field(default_factory=dict)
    #: None when it is over the limit and was not read.
    body: bytes | None = b""
    remote_address: str = ""
    #: Where the sandbox is, as the caller names it, up to where ``path`` begins.
    base_url: str = ""

    @property
    def content_type(self) -> tuple[str, dict[str, str]]:
        """The media type of the body and its parameters."""
        return parse_header_parameters(self.headers.get("content-type", ""))

    def check_size(self) -> None:
        """Refuse a body that was too large to be read."""
        if self.body is None:
            raise TooLarge(f"the body is larger than {BODY_LIMIT} bytes")

    def segments(self) -> list[str]:
        """The decoded parts of the path; an encoded slash is part of its segment."""
        try:
            return [unquote_to_bytes(part.encode("latin-1")).decode("utf-8") for part in self.path.split("/")[1:]]
        except UnicodeError:
            raise Malformed("path: not UTF-8") from None

    def parameters(self) -> dict[str, str]:
        """The query parameters; of one given twice the last counts (our choice)."""
        return dict(read_pairs(self.query))


@dataclass(slots=True)
class Answer:
    """What goes back."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    #: How the connection is to spoil it.
    cut: Cut | None = None

    @property
    def phrase(self) -> str:
        """The words beside the status code."""
        try:
            return HTTPStatus(self.status).phrase
        except ValueError:
            return "Unknown"

    @classmethod
    def json(cls, value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
        """Any value as JSON."""
        return cls.json_text(encode(value), status, headers)

    @classmethod
    def json_text(cls, document: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
        """JSON that is written already."""
        return cls(status, document.encode("utf-8"), {"Content-Type": JSON_TYPE, **(headers or {})})

    @classmethod
    def refusal(cls, refusal: Refusal) -> Answer:
        """The answer that says no."""
        return cls.error(refusal.status, refusal.reason, refusal.headers)

    @classmethod
    def error(cls, status: int, reason: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Any error: the reason is in ``X-Reason`` (S1, S2, H:search); the body is our choice."""
        return cls.json(error_body(status, reason), status, {REASON_HEADER: one_line(reason), **(headers or {})})


def attempt(handle: Callable[[], Answer]) -> Answer:
    """The answer of a handler, whatever becomes of it; a failure of our own is a 500 like any other service's."""
    try:
        return handle()
    except Refusal as refusal:
        return Answer.refusal(refusal)
    except Exception:
        logger.exception("The sandbox failed to answer")
        return Answer.error(500, "internal error of the sandbox")


def read_pairs(text: str) -> list[tuple[str, str]]:
    """The pairs of a query or a form whose characters stand for bytes."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, encoding="latin-1", max_num_fields=PARAMETER_LIMIT)
    except ValueError:
        raise Malformed(f"more than {PARAMETER_LIMIT} parameters") from None
    return [(_utf8(name), _utf8(value)) for name, value in pairs]


def _utf8(text: str) -> str:
    return text if text.isascii() else text.encode("latin-1", "replace").decode("utf-8", "replace")
