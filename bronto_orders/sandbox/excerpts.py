"""Foreign text made fit to be read on a page: nothing invisible, nothing endless, JSON over several lines."""

from __future__ import annotations

import json
import re
from typing import Any, Final

WORD_LIMIT: Final = 100
TEXT_LIMIT: Final = 400
LIST_LIMIT: Final = 25
DEPTH_LIMIT: Final = 16
BODY_LIMIT: Final = 16_000

#: Characters that a page does not show, or that turn the text around them.
_INVISIBLE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)


class _Number(str):
    """A number as it was written."""

    __slots__ = ()


def shorten(text: object, limit: int = WORD_LIMIT) -> str:
    """A text on one line, its beginning and its size if it is long."""
    words = str(text)
    return _visible(words[:limit]).replace("\n", " ").replace("\t", " ") + _rest(len(words), limit)


def show_json(value: Any) -> str:
    """A value as JSON over several lines; what is long in it is shortened."""
    shown = _write(value, "\n")
    return shown if len(shown) <= BODY_LIMIT else f"{shown[:BODY_LIMIT]}\n… and more"


def show_body(text: str) -> str:
    """A body as it was sent, laid out if it is JSON."""
    value = read_body(text)
    return _visible(text[:BODY_LIMIT]) + _rest(len(text), BODY_LIMIT) if value is None else show_json(value)


def read_body(text: str) -> Any:
    """What a body holds if it is JSON, else None."""
    try:
        return read_json(text)
    except (ValueError, RecursionError):
        return None


def read_json(text: str) -> Any:
    """Read JSON with its numbers as they were written; ValueError for a key that is given twice."""
    return json.loads(text, parse_int=_Number, parse_float=_Number, parse_constant=_Number, object_pairs_hook=_unique)


def _write(value: Any, line: str) -> str:
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, str):
        return _visible(json.dumps(value[:TEXT_LIMIT], ensure_ascii=False)) + _rest(len(value), TEXT_LIMIT)
    if not isinstance(value, (dict, list, tuple)):
        return json.dumps(value)
    if len(line) > 2 * DEPTH_LIMIT:
        return "…"
    inner = f"{line}  "
    if isinstance(value, dict):
        opening, closing = "{}"
        parts = [f"{_write(str(name), inner)}: {_write(value[name], inner)}" for name in list(value)[: LIST_LIMIT * 4]]
    else:
        opening, closing = "[]"
        parts = [_write(item, inner) for item in value[:LIST_LIMIT]]
    if len(parts) < len(value):
        parts.append(f"… and {len(value) - len(parts):,} more")
    return f"{opening}{inner}{f',{inner}'.join(parts)}{line}{closing}" if parts else opening + closing


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is given twice")
    return found


def _visible(text: str) -> str:
    return _INVISIBLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _rest(size: int, limit: int) -> str:
    return f" … ({size:,} characters)" if size > limit else ""
