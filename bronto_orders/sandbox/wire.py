"""JSON in and out with numbers kept as Decimal, so that 4.27 goes out as it came in."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any, NoReturn

from bronto_orders.sandbox.refusals import Malformed

REASON_HEADER = "X-Reason"
REASON_LIMIT = 500
JSON_TYPE = "application/json"
FORM_TYPE = "application/x-www-form-urlencoded"


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
    # By kind, the most frequent first: this is where most of the time of a call goes.
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, dict):
        return "{" + ",".join([f"{encode_basestring(key)}:{encode(item)}" for key, item in value.items()]) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join([encode(item) for item in value]) + "]"
    return json.dumps(value) if value is not None else "null"


def one_line(text: str) -> str:
    """Make a text fit for a header: ASCII, one line, of bounded length."""
    printable = text.encode("ascii", "backslashreplace").decode("ascii")
    return "".join(char if " " <= char <= "~" else " " for char in printable)[:REASON_LIMIT].strip()


def error_body(status: int, reason: str) -> dict[str, Any]:
    """The body of every error (our choice: the documents show only the header)."""
    return {"reason": one_line(reason), "status": status}


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
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise Malformed(f"body: {twice} is given twice")
    return found
