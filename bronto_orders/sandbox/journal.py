"""The request log: every token and order call, secrets masked, the newest ones kept."""

from __future__ import annotations

import re
from itertools import count
from urllib.parse import parse_qsl, urlencode

from django.db.models import Max
from django.http import HttpRequest, HttpResponse

from bronto_orders.sandbox.models import Call
from bronto_orders.sandbox.oauth import FORM_TYPE
from bronto_orders.sandbox.wire import REASON_HEADER

CALLS_KEPT = 10_000
PRUNE_EVERY = 250
EXCERPT = 64 * 1024
MASK = "***"
#: Form fields that tell nothing secret; all others of a token call are masked.
OPEN_FIELDS = ("grant_type", "client_id")
SECRET_PARAMETERS = ("access_token", "client_secret", "refresh_token")
_TOKENS = re.compile(r'("(?:access|refresh)_token":)"[^"]*"')

_recorded = count(1)


def record(call: Call) -> None:
    """Keep a call; now and then drop those that are too many."""
    call.save(force_insert=True)
    if next(_recorded) % PRUNE_EVERY == 0:
        newest = Call.objects.aggregate(newest=Max("pk"))["newest"] or 0
        Call.objects.filter(pk__lte=newest - CALLS_KEPT).delete()


def mask_query(query: str) -> str:
    """The query string without secrets; one that holds none stays as it was sent."""
    pairs = parse_qsl(query, keep_blank_values=True)
    if not any(name in SECRET_PARAMETERS for name, _ in pairs):
        return clean(query)
    return urlencode([(name, MASK if name in SECRET_PARAMETERS else value) for name, value in pairs], safe="*")


def mask_request(request: HttpRequest, body: bytes | None, *, is_token_call: bool) -> str:
    """The request's body, without secrets and cut to size."""
    if body is None:
        return "(too large to be read)"
    if not is_token_call:
        return excerpt(body)
    if request.content_type != FORM_TYPE:
        return f"({len(body)} bytes that are not a form)"
    pairs = parse_qsl(body[:EXCERPT].decode("utf-8", "replace"), keep_blank_values=True)
    return urlencode([(name, value if name in OPEN_FIELDS else MASK) for name, value in pairs], safe="*")


def mask_response(response: HttpResponse, *, is_token_call: bool) -> str:
    """The answer's body, without tokens and cut to size."""
    text = excerpt(response.content)
    return _TOKENS.sub(rf'\1"{MASK}"', text) if is_token_call else text


def reason_of(response: HttpResponse) -> str:
    return response.get(REASON_HEADER, "")


def excerpt(body: bytes) -> str:
    """The beginning of a body as text."""
    text = clean(body[:EXCERPT].decode("utf-8", "replace"))
    return text if len(body) <= EXCERPT else f"{text} ... ({len(body)} bytes)"


def clean(text: str) -> str:
    """Text that every database can keep."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
