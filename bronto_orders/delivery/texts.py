"""Values of orders as text, for pages and terminals alike: nothing invisible, nothing endless."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from django.utils.text import capfirst
from django.utils.translation import gettext as _

from bronto_orders import payloads, wire
from bronto_orders.delivery.personal import masked_side
from bronto_orders.diffing import Change, Item, Verdict
from bronto_orders.models import LineItem, Order

#: Texts up to that length are shown whole, and marked whole.
SHORT = 40
#: Of longer ones: so much of what both have in common, before and after what differs, and of the difference itself.
KEPT, SHOWN = 20, 80
#: Numbers of more digits are shown as they come.
DIGITS = 20

Piece = tuple[str, bool]


def field_label(change: Change) -> str:
    """Return what the shop calls a field of the order or, in an item, of the item."""
    labels = _labels(LineItem, payloads.ITEM_FIELDS) if change.item else _order_labels()
    name = change.field if change.item else change.path
    return visible(capfirst(str(labels.get(name) or name)))


def _order_labels() -> dict[str, Any]:
    return _labels(Order, payloads.FIELDS) | {
        "states.processed": Order._meta.get_field("processed").verbose_name,
        "states.shipped": Order._meta.get_field("shipped").verbose_name,
        "orderId": Order._meta.get_field("bronto_order_id").verbose_name,
        "hasTracking": Order._meta.get_field("has_tracking").verbose_name,
        "updatedDate": Order._meta.get_field("bronto_updated_at").verbose_name,
        "createdDate": _("created at Bronto"),
        "status": _("status"),
    }


def _labels(model: type[Any], table: Sequence[payloads.WireField]) -> dict[str, Any]:
    return {field.name: model._meta.get_field(field.attribute).verbose_name for field in table}


def item_label(item: Item) -> str:
    """Return what stands for a line item."""
    return visible(" · ".join(filter(None, [item.sku, item.name]))) or _("line item without SKU")


def item_verdict(item: Item, verdict: Verdict) -> str:
    """Return in words what became of a line item as a whole."""
    if verdict is Verdict.CHANGED_HERE:
        if item.lonely:
            return _("removed here") if item.now is None else _("added here")
        return _("moved here")
    if verdict is Verdict.CHANGED_THERE:
        if item.lonely:
            return _("removed at Bronto") if item.remote is None else _("added at Bronto")
        return _("moved at Bronto")
    return str(verdict.label)


def item_texts(whole: Change, fields: Sequence[Change]) -> list[str | None]:
    """Return where a line item stands on each side; of one that a side lacks, also how many there are."""
    item = whole.item
    quantities = next((change for change in fields if change.field == "quantity" and item and item.lonely), None)
    counts = number_texts([quantities.now, quantities.last_sent, quantities.remote] if quantities else [None] * 3)
    places = zip((whole.now, whole.last_sent, whole.remote), counts, strict=True)
    return [_place_text(position, count) for position, count in places]


def _place_text(position: int | None, count: str | None) -> str | None:
    if position is None:
        return None
    parts = [_("line %(number)d") % {"number": position + 1}]
    if count is not None:
        parts.append(_("%(quantity)s pcs.") % {"quantity": count})
    return ", ".join(parts)


def value_texts(change: Change, *, masked: bool = False) -> list[str | None]:
    """Return the three values of a change; ``masked`` for a reader who may not see personal data."""
    texts = number_texts([change.now, change.last_sent, change.remote])
    return [masked_side(change, text) for text in texts] if masked else texts


def number_texts(values: Sequence[Any]) -> list[str | None]:
    """Return values as text, numbers among them with equally many decimals."""
    places = max((_decimals(value) for value in values), default=0)
    wanted = 2 if places == 1 else places
    return [f"{value:.{wanted}f}" if _is_plain(value) else _as_text(value) for value in values]


def _is_plain(value: object) -> bool:
    """Tell whether a value is a number that can be written in full."""
    if isinstance(value, Decimal):
        return value.is_finite() and abs(value.adjusted()) < DIGITS
    return isinstance(value, int | float) and not isinstance(value, bool) and -(10**DIGITS) < value < 10**DIGITS


def _decimals(value: Any) -> int:
    return len(wire.dumps(value).partition(".")[2]) if _is_plain(value) else 0


def _as_text(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, Mapping | list | tuple):
        value = json.dumps(value, default=str, ensure_ascii=False)
    return visible(str(value))


#: Controls, halves of surrogate pairs, marks of writing direction, joiners, and spaces that look like others.
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"}
_SEEN = {" ", "\n"}
_PERHAPS_UNSEEN = re.compile(r"[^\n -~]")


def _is_unseen(letter: str) -> bool:
    return letter not in _SEEN and unicodedata.category(letter) in _UNSEEN


def visible(text: str) -> str:
    """Return the text with the code in place of each character that cannot be seen or changes what others look like."""
    return _PERHAPS_UNSEEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩" if _is_unseen(found[0]) else found[0], text)


def shorten(texts: Sequence[str | None]) -> list[list[Piece] | None]:
    """Return each text as pieces that say whether they differ, cut so that the first difference can be seen."""
    given = [text for text in texts if text is not None]
    if max(map(len, given), default=0) <= SHORT:
        return [None if text is None else [(text, True)] for text in texts]
    if len(set(given)) == 1:
        return [None if text is None else [(_begin(text, SHOWN), True)] for text in texts]
    head = _common(given)
    tail = _common([text[head:][::-1] for text in given])
    return [None if text is None else _pieces(text, head, len(text) - tail) for text in texts]


def _common(texts: Sequence[str]) -> int:
    """Return how many characters the texts begin with in common."""
    pairs = enumerate(zip(*texts, strict=False))
    return next((index for index, letters in pairs if len(set(letters)) > 1), min(map(len, texts)))


def _pieces(text: str, head: int, tail: int) -> list[Piece]:
    before = text[:head] if head <= KEPT else f"…{text[head + 1 - KEPT : head]}"
    pieces = [(before, False), (_begin(text[head:tail], SHOWN), True), (_begin(text[tail:], KEPT), False)]
    return [piece for piece in pieces if piece[0]]


def _begin(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def pretty(value: Any, indent: str = "") -> str:
    """Return a body as JSON to read. Numbers are written as they are sent, what cannot be seen by its code."""
    inner = indent + "  "
    if isinstance(value, Mapping) and value:
        members = [f"{inner}{_quoted(name)}: {pretty(member, inner)}" for name, member in value.items()]
        return "{\n" + ",\n".join(members) + f"\n{indent}}}"
    if isinstance(value, list | tuple) and value:
        return "[\n" + ",\n".join(inner + pretty(member, inner) for member in value) + f"\n{indent}]"
    return _quoted(value) if isinstance(value, str) else wire.dumps(value)


def _quoted(text: str) -> str:
    return _PERHAPS_UNSEEN.sub(_escape, json.dumps(text, ensure_ascii=False))


def _escape(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1] if _is_unseen(found[0]) else found[0]
