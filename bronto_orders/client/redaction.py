"""Text that may be logged, stored and shown: what identifies a shopper or opens an account is taken out.

All of it takes time linear in the length of the text, whatever the text, because answers come from outside.
"""

from __future__ import annotations

import re
from typing import Final

#: What stands in place of a secret.
REDACTED: Final = "[redacted]"
#: What stands in place of an e-mail address.
EMAIL: Final = "[e-mail]"
#: Members of an order whose values name, locate or follow a person (wire names of S1).
PERSONAL: Final = ("emailAddress", "originIp", "originUserAgent", "tid", "trackingCookieValue")

_PERSONAL_MEMBER = re.compile(rf'("(?:{"|".join(PERSONAL)})"\s{{0,8}}:\s{{0,8}})"(?:[^"\\]|\\.)++"?')

_NAMES = r"(?i:access_?token|refresh_?token|client_?secret)"
_SECRET_HINTS = ("authorization", "bearer", "token", "secret")
# An odd number of backslashes; behind an even number stands the end of a JSON string.
_ESCAPED_QUOTE = r"\\(?:\\\\){0,4}\""
# One pattern for each way of writing a named value. None can run over the end of a JSON string it stands in.
_SECRETS = (
    (re.compile(rf'({_NAMES}"\s{{0,8}}:\s{{0,8}})(?:"(?:[^"\\]|\\.)*+"?|[^\s,{{}}\[\]"]++)'), rf'\1"{REDACTED}"'),
    (re.compile(rf"({_NAMES}'\s{{0,8}}:\s{{0,8}}')[^'\"\\]*+"), rf"\1{REDACTED}"),
    (re.compile(rf"({_NAMES}{_ESCAPED_QUOTE}\s{{0,8}}:\s{{0,8}}{_ESCAPED_QUOTE})[^\"\\]*+"), rf"\1{REDACTED}"),
    (re.compile(rf"({_NAMES}\s{{0,8}}[=:]\s{{0,8}}[\"']?)[^\s&\"'\\,;:{{}}\[\]]++"), rf"\1{REDACTED}"),
    (re.compile(r"(?i)(\bbearer\s{1,8}|\bauthorization\W{1,6}basic\s{1,8})(?!token\b)[\w.~+/=-]++"), rf"\1{REDACTED}"),
    (re.compile(r"(?i)(token\W{1,4})[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"), rf"\1{REDACTED}"),
)

_AT = re.compile(r"(@|%40|(?<!\\)\\u0040)")
_AT_SIGNS = ("@", "%40", "\\u0040")
# Delimiters rather than an alphabet: addresses may hold any letter, and too much hidden is better than too little.
_EDGE = frozenset(' \t\r\n"<>(),:;@[]{}=&?/\\|\x00')
_DOMAIN = re.compile(r"(?:[^\s\"'<>(),:;@\[\]{}=&?/\\|%\x00]|\\u[0-9a-fA-F]{4})++")
_LETTER = re.compile(r"\\u[0-9a-fA-F]{4}")
_LONGEST_LOCAL_PART = 320


class Secret(str):
    """A text that is sent as it is and shown as ``'[redacted]'``, also by the containers and frames that hold it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(REDACTED)


def redact(text: str) -> str:
    """Return the text without e-mail addresses, bearer tokens and values named as tokens or client secrets.

    JSON stays JSON and form text stays form text.
    """
    # Looked for by plain search first, because most texts hold neither.
    folded = text.casefold()
    if any(hint in folded for hint in _SECRET_HINTS):
        for pattern, replacement in _SECRETS:
            text = pattern.sub(replacement, text)
    return _hide_addresses(text) if any(sign in text for sign in _AT_SIGNS) else text


def excerpt(text: str, limit: int = 2000) -> str:
    """Return the redacted text, cut to ``limit`` characters with an ellipsis as the last of them."""
    text = redact(text)
    return text if len(text) <= limit else text[: max(limit - 1, 0)] + "…"


def redacted_body(body: bytes | str, limit: int = 20_000) -> str:
    """Return the text of a request or answer without what identifies the shopper.

    The values of ``emailAddress``, ``originIp``, ``originUserAgent``, ``tid`` and ``trackingCookieValue`` are
    replaced, and all that ``redact`` finds. The rest stays as it was written, so JSON stays JSON unless it is longer
    than ``limit`` characters and is cut.
    """
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    return excerpt(_PERSONAL_MEMBER.sub(rf'\1"{REDACTED}"', text), limit)


def _hide_addresses(text: str) -> str:
    first, *rest = _AT.split(text)
    kept = [first]
    for sign, right in zip(rest[::2], rest[1::2], strict=True):
        left = kept[-1]
        domain = _DOMAIN.match(right) if left and right else None
        start = _local_part_start(left) if domain else len(left)
        if domain and start < len(left):
            kept[-1] = left[:start]
            kept += EMAIL, right[domain.end() :]
        else:
            kept.append(sign + right)
    return "".join(kept)


def _local_part_start(text: str) -> int:
    """Return where the run of address characters that ends the text begins."""
    start = len(text)
    lowest = max(start - _LONGEST_LOCAL_PART, 0)
    while start > lowest and (text[start - 1] not in _EDGE or _is_letter(text, start - 1)):
        start -= 1
    # A JSON escape must not lose its letters, or the text would no longer be JSON.
    escape = text.rfind("\\", max(start - 5, 0), start)
    if escape >= 0:
        start = max(start, min(escape + (6 if _LETTER.match(text, escape) else 2), len(text)))
    while start < len(text) and text[start] == "'":
        start += 1
    return start


def _is_letter(text: str, index: int) -> bool:
    """Return whether a letter written as a JSON escape begins here: no backslash that is itself escaped."""
    return text[index] == "\\" and text[index - 1 : index] != "\\" and _LETTER.match(text, index) is not None
