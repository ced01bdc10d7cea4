"""The lines of the diff page: values as text, shortened around what differs, and marked. Templates escape them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from typing import Any

from django.utils.text import capfirst
from django.utils.translation import gettext as _

from bronto_orders import payloads, wire
from bronto_orders.diffing import Change, Item, Verdict
from bronto_orders.models import LineItem, Order

#: Texts up to that length are shown whole, and marked whole.
SHORT = 40
#: Of longer ones: so much of what both have in common, before and after what differs, and of the difference itself.
KEPT, SHOWN = 20, 80
#: Numbers of more digits are shown as they come.
DIGITS = 20


@dataclass(frozen=True)
class Part:
    """A piece of a value; ``mark`` is ``ins``, ``del`` or empty."""

    text: str
    mark: str = ""


@dataclass(frozen=True)
class Row:
    """One line of the table. A cell is None where the side has no value."""

    label: str
    name: str
    cells: list[list[Part] | None]
    verdict: Verdict
    #: The verdict in words.
    words: object


@dataclass(frozen=True)
class ItemBlock:
    """The lines of one line item: itself, then its fields."""

    whole: Row
    rows: list[Row]


def _labels(model: type[Any], table: Sequence[payloads.WireField]) -> dict[str, Any]:
    return {field.name: model._meta.get_field(field.attribute).verbose_name for field in table}


def field_row(change: Change) -> Row:
    """Return the line of one field of the order."""
    labels = _labels(Order, payloads.FIELDS) | {
        "states.processed": Order._meta.get_field("processed").verbose_name,
        "states.shipped": Order._meta.get_field("shipped").verbose_name,
        "orderId": Order._meta.get_field("bronto_order_id").verbose_name,
        "hasTracking": Order._meta.get_field("has_tracking").verbose_name,
        "updatedDate": Order._meta.get_field("bronto_updated_at").verbose_name,
        "createdDate": _("created at Bronto"),
        "status": _("status"),
    }
    return _row(labels.get(change.path), change.path, change)


def _row(label: object, name: str, change: Change) -> Row:
    name = printable(name)
    return Row(capfirst(str(label or name)), name, cells(change), change.verdict, change.verdict.label)


def item_blocks(changes: Sequence[Change], *, show_all: bool) -> Iterator[ItemBlock]:
    """Yield the line items that differ, or all of them, each with the fields that differ, or all of them.

    Of an item that one side lacks, only the item itself is said to differ.
    """
    labels = _labels(LineItem, payloads.ITEM_FIELDS)
    of_items = [change for change in changes if change.item]
    for item, group in groupby(of_items, key=lambda change: change.item):
        whole, *fields = group
        assert item is not None  # noqa: S101 - by the list above
        shown = [change for change in fields if show_all or (change.verdict.is_difference and not item.lonely)]
        if shown or show_all or whole.verdict.is_difference:
            rows = [_row(labels.get(change.field), change.field, change) for change in shown]
            yield ItemBlock(_item_row(item, whole, fields), rows)


def _item_row(item: Item, whole: Change, fields: Sequence[Change]) -> Row:
    words = _item_words(item, whole.verdict)
    positions = whole.now, whole.last_sent, whole.remote
    shown = fields if item.lonely else []
    texts = [_item_text(position, side, shown) for side, position in enumerate(positions)]
    label = printable(" · ".join(filter(None, [item.sku, item.name]))) or _("line item without SKU")
    return Row(label, label, mark(texts, whole.verdict), whole.verdict, words)


def _item_text(position: int | None, side: int, fields: Sequence[Change]) -> str | None:
    if position is None:
        return None
    values = {change.field: (change.now, change.last_sent, change.remote)[side] for change in fields}
    parts = [_("line %(number)d") % {"number": position + 1}]
    if values.get("quantity") is not None:
        parts.append(_("%(quantity)s pcs.") % {"quantity": number_texts([values["quantity"]])[0]})
    return ", ".join(parts)


def _item_words(item: Item, verdict: Verdict) -> object:
    if verdict is Verdict.CHANGED_HERE:
        if item.lonely:
            return _("removed here") if item.now is None else _("added here")
        return _("moved here")
    if verdict is Verdict.CHANGED_THERE:
        if item.lonely:
            return _("removed at Bronto") if item.remote is None else _("added at Bronto")
        return _("moved at Bronto")
    return verdict.label


def cells(change: Change) -> list[list[Part] | None]:
    """Return the three values of a change as text, what differs marked."""
    return mark(number_texts([change.now, change.last_sent, change.remote]), change.verdict)


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


def mark(texts: Sequence[str | None], verdict: Verdict) -> list[list[Part] | None]:
    """Shorten the texts of the three sides around what differs, and mark it: what is new, what it replaces."""
    marks = _MARKS.get(verdict, ("", "", ""))
    return [
        None if parts is None else [Part(text, marks[side] if differs else "") for text, differs in parts]
        for side, parts in enumerate(shorten(texts))
    ]


#: For now, last sent and Bronto.
_MARKS = {
    Verdict.CHANGED_HERE: ("ins", "del", "del"),
    Verdict.CHANGED_THERE: ("", "", "ins"),
    Verdict.CONFLICT: ("ins", "del", "ins"),
    Verdict.NOT_SENT: ("ins", "", "del"),
    Verdict.CANNOT_CHANGE: ("ins", "", ""),
}


def shorten(texts: Sequence[str | None]) -> list[list[tuple[str, bool]] | None]:
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


def _pieces(text: str, head: int, tail: int) -> list[tuple[str, bool]]:
    before = text[:head] if head <= KEPT else f"…{text[head + 1 - KEPT : head]}"
    pieces = [(before, False), (_begin(text[head:tail], SHOWN), True), (_begin(text[tail:], KEPT), False)]
    return [piece for piece in pieces if piece[0]]


def _begin(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _as_text(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, Mapping | list | tuple):
        value = json.dumps(value, default=str, ensure_ascii=False)
    return printable(str(value))


def printable(text: str) -> str:
    """Return the text without halves of surrogate pairs, which JSON may hold and no response can."""
    return text.encode("utf-8", "replace").decode()


def pretty(value: Any, indent: str = "") -> str:
    """Return a body as JSON to read. Numbers are written as they are sent."""
    inner = indent + "  "
    if isinstance(value, Mapping) and value:
        members = [f"{inner}{json.dumps(name)}: {pretty(member, inner)}" for name, member in value.items()]
        return "{\n" + ",\n".join(members) + f"\n{indent}}}"
    if isinstance(value, list | tuple) and value:
        return "[\n" + ",\n".join(inner + pretty(member, inner) for member in value) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else wire.dumps(value)
