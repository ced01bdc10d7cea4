"""JSON in and out with numbers kept as Decimal, so that 4.27 goes out as it came in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NoReturn

from django.http import HttpRequest, HttpResponse
from rest_framework.renderers import BaseRenderer

from bronto_orders.sandbox.refusals import Malformed, WrongMediaType

REASON_HEADER = "X-Reason"
REASON_LIMIT = 500
JSON_TYPE = "application/json"


def read_object(request: HttpRequest) -> dict[str, Any]:
    """Return the JSON object in the body, or refuse the call."""
    if request.content_type != JSON_TYPE:
        raise WrongMediaType("Content-Type must be application/json")
    if (request.content_params or {}).get("charset", "utf-8").lower() not in ("utf-8", "utf8", "us-ascii"):
        raise WrongMediaType("JSON must be sent as UTF-8")
    value = decode(request.body)
    if not isinstance(value, dict):
        raise Malformed("body: a JSON object is required")
    return value


def decode(body: bytes) -> Any:
    """Parse JSON strictly: no NaN, no duplicate keys, UTF-8 only (our choice)."""
    try:
        return json.loads(
            body.decode("utf-8"),
            parse_float=_number,
            parse_int=_number,
            parse_constant=_refuse_constant,
            object_pairs_hook=_unique,
        )
    except UnicodeDecodeError:
        raise Malformed("body: not UTF-8") from None
    except RecursionError:
        raise Malformed("body: nested too deep") from None
    except ValueError as error:
        raise Malformed(f"body: not JSON ({error})") from None


def encode(value: Any) -> str:
    """Write JSON, a Decimal as the plain number it is."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{json.dumps(str(key))}:{encode(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(encode, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def one_line(text: str) -> str:
    """Make a text fit for a header: ASCII, one line, of bounded length."""
    printable = text.encode("ascii", "backslashreplace").decode("ascii")
    return "".join(char if " " <= char <= "~" else " " for char in printable)[:REASON_LIMIT].strip()


def error_body(status: int, reason: str) -> dict[str, Any]:
    """The body of every error (our choice: the documents show only the header)."""
    return {"reason": one_line(reason), "status": status}


def error_response(status: int, reason: str) -> HttpResponse:
    """An error answer for places where no DRF view is at work."""
    response = HttpResponse(encode(error_body(status, reason)), content_type=JSON_TYPE, status=status)
    response[REASON_HEADER] = one_line(reason)
    return response


class WireRenderer(BaseRenderer):
    """Renders every answer, whatever the Accept header says."""

    media_type = JSON_TYPE
    format = "json"
    charset = None

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        return b"" if data is None else encode(data).encode("utf-8")


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except ArithmeticError:
        raise Malformed("body: a number is out of range") from None


def _refuse_constant(name: str) -> NoReturn:
    raise Malformed(f"body: {name} is not a JSON number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise Malformed(f"body: {twice} is given twice")
    return found
