"""The lines of the diff page: values as text, shortened around what differs, and marked. Templates escape them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from bronto_orders.delivery.texts import (
    field_label,
    item_label,
    item_texts,
    item_verdict,
    shorten,
    value_texts,
    visible,
)
from bronto_orders.diffing import Change, Verdict

#: Of a value that is shortened, so much is there to be opened.
LONGEST = 10_000

#: What stands beside a verdict's words, so that colour does not stand alone.
SYMBOLS = {
    Verdict.SAME: "=",
    Verdict.EQUAL: "≈",
    Verdict.CHANGED_HERE: "→",
    Verdict.CHANGED_THERE: "←",
    Verdict.CONFLICT: "⇄",
    Verdict.NOT_SENT: "+",
    Verdict.CANNOT_CHANGE: "⊘",
    Verdict.ACCEPTED: "✓",
    Verdict.WRITE_ONLY: "?",
    Verdict.SET_BY_BRONTO: "⚙",
}


@dataclass(frozen=True)
class Part:
    """A piece of a value; ``mark`` is ``ins``, ``del`` or empty."""

    text: str
    mark: str = ""


@dataclass(frozen=True)
class Cell:
    """The value of one side, as pieces that are short enough to be compared at a glance."""

    parts: list[Part]
    #: The value in full, if the pieces are not.
    whole: str = ""


@dataclass(frozen=True)
class Row:
    """One line of the table. A cell is None where the side has no value."""

    label: str
    name: str
    cells: list[Cell | None]
    verdict: Verdict
    #: The verdict in words.
    words: str

    @property
    def symbol(self) -> str:
        """The verdict in one character."""
        return SYMBOLS[self.verdict]


@dataclass(frozen=True)
class ItemRows:
    """The lines of one line item: itself, then its fields."""

    whole: Row
    rows: list[Row]


@dataclass(frozen=True)
class ItemChanges:
    """What is shown of one line item, not put into words yet: of a thousand, only a page is."""

    whole: Change
    fields: list[Change]
    shown: list[Change]

    def rows(self, *, masked: bool = False) -> ItemRows:
        """Return the lines of the item."""
        assert self.whole.item is not None  # noqa: S101 - as made below
        label = item_label(self.whole.item)
        cells = mark(item_texts(self.whole, self.fields), self.whole.verdict)
        words = item_verdict(self.whole.item, self.whole.verdict)
        whole = Row(label, label, cells, self.whole.verdict, words)
        return ItemRows(whole, [row(change, masked=masked) for change in self.shown])


def row(change: Change, *, masked: bool = False) -> Row:
    """Return the line of one field. Of personal data that is ``masked``, it tells that it differs, and not how."""
    name = visible(change.field if change.item else change.path)
    return Row(field_label(change), name, cells(change, masked=masked), change.verdict, str(change.verdict.label))


def item_changes(changes: Sequence[Change], *, show_all: bool) -> list[ItemChanges]:
    """Return the line items that differ, or all of them, each with the fields that differ, or all of them.

    Of an item that one side lacks, only the item itself is said to differ.
    """
    found = []
    for item, group in groupby((change for change in changes if change.item), key=lambda change: change.item):
        whole, *fields = group
        lonely = item is not None and item.lonely
        shown = [change for change in fields if show_all or (change.verdict.is_news and not lonely)]
        if shown or show_all or whole.verdict.is_news:
            found.append(ItemChanges(whole, fields, shown))
    return found


def cells(change: Change, *, masked: bool = False) -> list[Cell | None]:
    """Return the three values of a change as text, what differs marked."""
    return mark(value_texts(change, masked=masked), change.verdict)


def mark(texts: Sequence[str | None], verdict: Verdict) -> list[Cell | None]:
    """Shorten the texts of the three sides around what differs, and mark it: what is new, what it replaces."""
    marks = _MARKS.get(verdict, ("", "", ""))
    return [
        None if text is None or pieces is None else _cell(text, pieces, side_mark)
        for text, pieces, side_mark in zip(texts, shorten(texts), marks, strict=True)
    ]


def _cell(text: str, pieces: Sequence[tuple[str, bool]], side_mark: str) -> Cell:
    parts = [Part(piece, side_mark if differs else "") for piece, differs in pieces]
    if "".join(piece for piece, _differs in pieces) == text:
        return Cell(parts)
    return Cell(parts, text if len(text) <= LONGEST else f"{text[:LONGEST]}…")


#: For now, last sent and Bronto.
_MARKS = {
    Verdict.CHANGED_HERE: ("ins", "del", "del"),
    Verdict.CHANGED_THERE: ("", "", "ins"),
    Verdict.CONFLICT: ("ins", "del", "ins"),
    Verdict.NOT_SENT: ("ins", "", "del"),
    Verdict.CANNOT_CHANGE: ("ins", "", ""),
    Verdict.ACCEPTED: ("", "", "ins"),
}
