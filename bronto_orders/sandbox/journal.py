"""What the request log keeps of a call: all that helps to understand it, no secret and no token."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from bronto_orders.sandbox.messages import Answer, Request
from bronto_orders.sandbox.wire import FORM_TYPE, REASON_HEADER

EXCERPT: Final = 64 * 1024
MASK: Final = "***"
#: Form fields that tell nothing secret; all others of a token call are masked.
OPEN_FIELDS: Final = ("grant_type", "client_id")
SECRET_PARAMETERS: Final = ("access_token", "client_secret", "refresh_token")
_TOKENS: Final = re.compile(r'("(?:access|refresh)_token":)"[^"]*"')


def describe_call(request: Request, answer: Answer, *, is_token_call: bool) -> dict[str, Any]:
    """The call as the log has it. What was sent is told even where the answer was then spoilt on its way."""
    silent = answer.cut is not None and answer.cut.end in ("drop", "reset")
    return {
        "method": _clean(request.method[:16]),
        "path": _clean(request.path),
        "query": _mask_query(request.query),
        "requestBody": _mask_request(request, is_token_call=is_token_call),
        "status": None if silent else answer.status,
        "reason": "" if silent else answer.headers.get(REASON_HEADER, ""),
        "responseBody": "" if silent else _mask_answer(answer, is_token_call=is_token_call),
    }


def _mask_query(query: str) -> str:
    """The query string without secrets; one that holds none stays as it was sent."""
    if not query:
        return ""
    pairs = parse_qsl(query, keep_blank_values=True)
    if not any(name in SECRET_PARAMETERS for name, _ in pairs):
        return _clean(query)
    return urlencode([(name, MASK if name in SECRET_PARAMETERS else value) for name, value in pairs], safe="*")


def _mask_request(request: Request, *, is_token_call: bool) -> str:
    if request.body is None:
        return "(too large to be read)"
    if not is_token_call:
        return _excerpt(request.body)
    if request.content_type[0] != FORM_TYPE:
        return f"({len(request.body)} bytes that are not a form)"
    pairs = parse_qsl(request.body[:EXCERPT].decode("utf-8", "replace"), keep_blank_values=True)
    return urlencode([(name, value if name in OPEN_FIELDS else MASK) for name, value in pairs], safe="*")


def _mask_answer(answer: Answer, *, is_token_call: bool) -> str:
    text = _excerpt(answer.body)
    return _TOKENS.sub(rf'\1"{MASK}"', text) if is_token_call else text


def _excerpt(body: bytes) -> str:
    """The beginning of a body as text."""
    text = _clean(body[:EXCERPT].decode("utf-8", "replace"))
    return text if len(body) <= EXCERPT else f"{text} ... ({len(body)} bytes)"


def _clean(text: str) -> str:
    """Text that can be kept."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
