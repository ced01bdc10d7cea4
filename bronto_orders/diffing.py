"""Compare the shop's order with what Bronto last acknowledged and with what Bronto answers now.

All three are documents in wire names. Nothing here raises, whatever JSON they hold. What counts as the same value is
``equality``'s to say.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import Enum
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from bronto_orders.equality import (
    FIELDS,
    FILLED_FIELDS,
    IMMUTABLE,
    ITEM_FIELDS,
    SERVER_FIELDS,
    WRITE_ONLY,
    Document,
    Normaliser,
    equal,
    flatten,
    identical,
    line_items,
    mapping,
    text,
)


class Verdict(Enum):
    """What the three values of a field say together."""

    SAME = "same"
    #: The same value, written differently.
    EQUAL = "equal"
    CHANGED_HERE = "changed_here"
    CHANGED_THERE = "changed_there"
    CONFLICT = "conflict"
    NOT_SENT = "not_sent"
    CANNOT_CHANGE = "cannot_change"
    WRITE_ONLY = "write_only"
    SET_BY_BRONTO = "set_by_bronto"

    @property
    def label(self) -> Promise:
        """The verdict in a few words."""
        return _WORDS[self][0]

    @property
    def explanation(self) -> Promise:
        """The verdict in a sentence."""
        return _WORDS[self][1]

    @property
    def is_difference(self) -> bool:
        """Whether the shop and Bronto do not agree."""
        return self in _DIFFERENCES


_WORDS: dict[Verdict, tuple[Promise, Promise]] = {
    Verdict.SAME: (_("same"), _("The shop and Bronto agree.")),
    Verdict.EQUAL: (_("equal"), _("The shop and Bronto write the same value differently.")),
    Verdict.CHANGED_HERE: (_("changed here"), _("The shop has changed it since it was last sent.")),
    Verdict.CHANGED_THERE: (
        _("changed at Bronto"),
        _("Bronto has another value than it last acknowledged; the next push overwrites it."),
    ),
    Verdict.CONFLICT: (
        _("conflict"),
        _("Both have changed it since it was last sent; the next push overwrites Bronto's value."),
    ),
    Verdict.NOT_SENT: (_("not sent"), _("Bronto has not acknowledged it yet.")),
    Verdict.CANNOT_CHANGE: (_("cannot change"), _("They differ, and an update cannot change this at Bronto.")),
    Verdict.WRITE_ONLY: (_("write-only"), _("Bronto takes it and never gives it back, so it cannot be compared.")),
    Verdict.SET_BY_BRONTO: (_("set by Bronto"), _("Bronto fills it in by itself.")),
}
_DIFFERENCES = frozenset(
    {Verdict.CHANGED_HERE, Verdict.CHANGED_THERE, Verdict.CONFLICT, Verdict.NOT_SENT, Verdict.CANNOT_CHANGE}
)


@dataclass(frozen=True, slots=True)
class Item:
    """Which line item a change belongs to. Positions count from 0; None where the item is missing."""

    key: str
    sku: str
    name: str
    now: int | None
    last_sent: int | None
    remote: int | None
    #: The shop has it and Bronto, as far as is known, does not; or the other way round.
    lonely: bool


@dataclass(frozen=True, slots=True)
class Change:
    """One field on three sides, None where a side does not have it.

    Of an item, ``position`` stands for the item as a whole: there or not, and moved or not.
    """

    #: ``grandTotal``, ``states.shipped``, ``lineItems[sku=0003105].quantity``.
    path: str
    field: str
    now: Any
    last_sent: Any
    remote: Any
    verdict: Verdict
    item: Item | None = None


def compare(
    now: Any,
    last_sent: Any,
    remote: Any,
    *,
    write_only: Collection[str] = WRITE_ONLY,
    immutable: Collection[str] = IMMUTABLE,
) -> tuple[Change, ...]:
    """Compare an order on three sides, field by field, then item by item.

    ``last_sent`` is None when Bronto has acknowledged nothing yet, ``remote`` when nobody knows what Bronto has, or
    Bronto has nothing. Fields that are empty on all sides are left out. Items are matched by sku, then by content and
    position; their order counts, their database rows do not.
    """
    judge = _Judge(last_sent is not None, remote is not None, write_only, immutable)
    return (*_compare_fields(judge, now, last_sent, remote), *_compare_items(judge, now, last_sent, remote))


def taken_differently(sent: Any, answer: Any) -> list[str]:
    """Return the wire names of what Bronto, having accepted ``sent``, answers with another value.

    What was not sent is not looked at, nor what Bronto never returns.
    """
    got = flatten(answer)
    found = [
        name
        for name, value in flatten(sent).items()
        if name not in WRITE_ONLY and not equal(FIELDS.get(name, text), value, got.get(name))
    ]
    if "lineItems" in mapping(sent):
        found += _items_taken_differently(line_items(sent), line_items(answer))
    return found


def _items_taken_differently(sent: Sequence[Document], got: Sequence[Document]) -> list[str]:
    if len(sent) != len(got):
        return ["lineItems"]
    return [
        f"lineItems[{index}].{name}"
        for index, (item, other) in enumerate(zip(sent, got, strict=True))
        for name, value in item.items()
        if not equal(ITEM_FIELDS.get(name, text), value, other.get(name))
    ]


@dataclass(frozen=True)
class _Judge:
    """Gives verdicts. Knows which sides there are beside the shop's."""

    has_sent: bool
    has_remote: bool
    write_only: Collection[str] = ()
    immutable: Collection[str] = ()

    def field(self, name: str, normalise: Normaliser, now: Any, sent: Any, remote: Any) -> Verdict:
        """Judge the values of one field."""
        now_empty, sent_empty, remote_empty = (equal(normalise, value, None) for value in (now, sent, remote))
        now_is_sent, now_is_remote = equal(normalise, now, sent), equal(normalise, now, remote)
        unread = not self.has_remote or (name in self.write_only and remote_empty)
        if unread and now_is_sent and self.has_sent and name in self.write_only:
            return Verdict.WRITE_ONLY
        judge = _Judge(self.has_sent, not unread)
        verdict = judge.whole(now_is_sent, now_is_remote, equal(normalise, sent, remote), given=not now_empty)
        if verdict is Verdict.SAME:
            others = [value for value, shown in ((sent, self.has_sent and now_is_sent), (remote, not unread)) if shown]
            return Verdict.SAME if all(identical(now, other) for other in others) else Verdict.EQUAL
        if name in SERVER_FIELDS or (name in FILLED_FIELDS and now_empty and sent_empty):
            return Verdict.SET_BY_BRONTO
        if name in self.immutable and (self.has_remote or not sent_empty):
            return Verdict.CANNOT_CHANGE
        return verdict

    def whole(self, now_is_sent: bool, now_is_remote: bool, sent_is_remote: bool, *, given: bool) -> Verdict:  # noqa: FBT001
        """Judge from which sides agree. ``given`` says that the shop has something at all."""
        if now_is_remote if self.has_remote else now_is_sent if self.has_sent else not given:
            return Verdict.SAME
        if not self.has_sent:
            return Verdict.NOT_SENT if given else Verdict.CHANGED_THERE
        if not self.has_remote or sent_is_remote:
            return Verdict.CHANGED_HERE
        return Verdict.CHANGED_THERE if now_is_sent else Verdict.CONFLICT


def _compare_fields(judge: _Judge, *documents: Any) -> Iterator[Change]:
    for name, values in _in_order(FIELDS, *map(flatten, documents)):
        verdict = judge.field(name, FIELDS.get(name, text), *values)
        yield Change(name, name.rpartition(".")[2], *values, verdict)


def _in_order(table: Collection[str], *sides: Document) -> Iterator[tuple[str, tuple[Any, Any, Any]]]:
    """Yield the fields that are not empty on all sides: the table's, then unknown ones, then those of Bronto's own."""
    names = {name for side in sides for name in side}
    unknown = sorted(names.difference(table, SERVER_FIELDS))
    for name in (*table, *unknown, *SERVER_FIELDS):
        now, sent, remote = (side.get(name) for side in sides)
        if any(value is not None and value != "" for value in (now, sent, remote)):
            yield name, (now, sent, remote)


_Place = tuple[int, Document]
_PAIRS = ((0, 1), (0, 2), (1, 2))


@dataclass(slots=True)
class _Row:
    """One line item: its position and content on each of the three sides."""

    places: list[_Place | None]

    @property
    def shown(self) -> Document:
        """The item as the shop has it; if it does not, as Bronto has it or had it."""
        now, sent, remote = self.places
        place = now or remote or sent
        return place[1] if place else {}

    def position(self, side: int) -> int | None:
        place = self.places[side]
        return place[0] if place else None


def _compare_items(judge: _Judge, *documents: Any) -> Iterator[Change]:
    rows: list[_Row] = []
    for side, document in enumerate(documents):
        _place(rows, side, line_items(document))
    moved = [_moved(rows, one, other) for one, other in _PAIRS]
    keys: dict[str, int] = {}
    for index, row in enumerate(rows):
        there = [place is not None for place in row.places]
        agree = [
            there[one] == there[other] and index not in moves for (one, other), moves in zip(_PAIRS, moved, strict=True)
        ]
        whole = judge.whole(*agree, given=there[0])
        lonely = there[0] != (there[2] if judge.has_remote else judge.has_sent and there[1])
        yield from _compare_item(judge, _describe(row, index, keys, lonely=lonely), row, whole)


def _describe(row: _Row, index: int, keys: dict[str, int], *, lonely: bool) -> Item:
    sku, name = (str(row.shown.get(field) or "") for field in ("sku", "name"))
    key = f"sku={sku}" if sku else str(index)
    keys[key] = number = keys.get(key, 0) + 1
    now, last_sent, remote = map(row.position, range(3))
    return Item(key if number == 1 else f"{key}#{number}", sku, name, now, last_sent, remote, lonely)


def _compare_item(judge: _Judge, item: Item, row: _Row, whole: Verdict) -> Iterator[Change]:
    path = f"lineItems[{item.key}]"
    yield Change(path, "position", item.now, item.last_sent, item.remote, whole, item)
    _now, was_sent, is_there = (place is not None for place in row.places)
    cells = _Judge(judge.has_sent and was_sent, judge.has_remote and is_there)
    for name, values in _in_order(ITEM_FIELDS, *(place[1] if place else {} for place in row.places)):
        if name != "position":
            verdict = whole if item.lonely else cells.field(name, ITEM_FIELDS.get(name, text), *values)
            yield Change(f"{path}.{name}", name, *values, verdict, item)


def _place(rows: list[_Row], side: int, items: Sequence[Document]) -> None:
    """Find the row of each item of one side; make rows for what the sides before do not have."""
    waiting: dict[tuple[str, str], list[_Row]] = {}
    for row in rows:
        waiting.setdefault(_identity(row.shown), []).append(row)
    arriving: dict[tuple[str, str], list[_Place]] = {}
    for place in enumerate(items):
        arriving.setdefault(_identity(place[1]), []).append(place)
    for identity, places in arriving.items():
        _pair(waiting.get(identity, []), side, places)
    left = sorted((place for places in arriving.values() for place in places), key=lambda place: place[0])
    rows.extend(_Row([place if other == side else None for other in range(3)]) for place in left)


def _identity(item: Document) -> tuple[str, str]:
    sku, name = item.get("sku"), item.get("name")
    return ("sku", str(sku)) if sku else ("name", str(name or ""))


def _pair(rows: list[_Row], side: int, places: list[_Place]) -> None:
    """Give items to rows of the same identity: those of equal content first, then those in equal place, then the rest.

    Items that found a row are taken out of ``places``.
    """
    fits: tuple[Callable[[_Row, _Place], bool], ...] = (
        lambda row, place: _same_content(row.shown, place[1]),
        lambda row, place: place[0] in (row.position(0), row.position(1)),
        lambda row, place: True,
    )
    for fit in fits:
        for row in rows:
            found = None if row.places[side] else next((place for place in places if fit(row, place)), None)
            if found:
                row.places[side] = found
                places.remove(found)


def _same_content(one: Document, other: Document) -> bool:
    return all(equal(normalise, one.get(name), other.get(name)) for name, normalise in ITEM_FIELDS.items())


def _moved(rows: Sequence[_Row], one: int, other: int) -> set[int]:
    """Return the indexes of rows whose move explains why two sides have the items that both have in another order."""
    common = [index for index, row in enumerate(rows) if row.places[one] and row.places[other]]
    before, after = (sorted(common, key=lambda index: rows[index].position(side) or 0) for side in (one, other))
    blocks = SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks()
    return set(common).difference(*(before[block.a : block.a + block.size] for block in blocks))
