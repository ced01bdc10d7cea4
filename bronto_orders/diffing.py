"""Compare the shop's order with what Bronto last acknowledged and with what Bronto answers now.

All three are documents in wire names. Nothing here raises, whatever JSON they hold. What counts as the same value is
``equality``'s to say.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass
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
    #: The shop's value differs from Bronto's, and staff have left it at that.
    ACCEPTED = "accepted"
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

    @property
    def is_news(self) -> bool:
        """Whether it is shown to those who asked for differences only: these, and what was accepted of them."""
        return self in _DIFFERENCES or self is Verdict.ACCEPTED


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
    Verdict.NOT_SENT: (_("not sent yet"), _("Bronto has not acknowledged it yet.")),
    Verdict.CANNOT_CHANGE: (_("cannot be changed"), _("They differ, and an update cannot change this at Bronto.")),
    Verdict.ACCEPTED: (
        _("accepted"),
        _("Bronto's value was accepted as it is; it stays until the shop changes the order."),
    ),
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
    settled: bool = False,
) -> tuple[Change, ...]:
    """Compare an order on three sides, field by field, then item by item.

    ``last_sent`` is None when Bronto has acknowledged nothing yet, ``remote`` when nobody knows what Bronto has, or
    Bronto has nothing. ``settled`` says that nothing is owed for what the shop has now: where that is not what
    Bronto acknowledged, staff have accepted Bronto's. Fields that are empty on all sides are left out. Items are
    matched by sku, then by content and position; their order counts, their database rows do not.
    """
    judge = _Judge(last_sent is not None, remote is not None, write_only, immutable, settled)
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
        if not item.items() <= other.items()
        for name, value in item.items()
        if not equal(ITEM_FIELDS.get(name, text), value, other.get(name))
    ]


def _may_be_brontos(name: str) -> bool:
    """Tell whether Bronto may give a field that the shop has not sent, one that this app does not know among them."""
    return name in FILLED_FIELDS or (name not in FIELDS and name not in ITEM_FIELDS)


@dataclass(frozen=True)
class _Judge:
    """Gives verdicts. Knows which sides there are beside the shop's."""

    has_sent: bool
    has_remote: bool
    write_only: Collection[str] = ()
    immutable: Collection[str] = ()
    settled: bool = False

    def field(self, name: str, normalise: Normaliser, now: Any, sent: Any, remote: Any) -> Verdict:
        """Judge the values of one field."""
        now_empty, sent_empty, remote_empty = (equal(normalise, value, None) for value in (now, sent, remote))
        now_is_sent, now_is_remote = equal(normalise, now, sent), equal(normalise, now, remote)
        unread = not self.has_remote or (name in self.write_only and remote_empty)
        if unread and now_is_sent and self.has_sent and name in self.write_only:
            return Verdict.WRITE_ONLY
        judge = _Judge(self.has_sent, not unread, settled=self.settled and name not in self.immutable)
        verdict = judge.whole(now_is_sent, now_is_remote, equal(normalise, sent, remote), given=not now_empty)
        if verdict is Verdict.SAME:
            others = [value for value, shown in ((sent, self.has_sent and now_is_sent), (remote, not unread)) if shown]
            return Verdict.SAME if all(identical(now, other) for other in others) else Verdict.EQUAL
        if name in SERVER_FIELDS or (_may_be_brontos(name) and now_empty and sent_empty):
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
            return Verdict.ACCEPTED if self.settled else Verdict.CHANGED_HERE
        return Verdict.CHANGED_THERE if now_is_sent or self.settled else Verdict.CONFLICT


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
    cells = _Judge(judge.has_sent and was_sent, judge.has_remote and is_there, settled=judge.settled)
    for name, values in _in_order(ITEM_FIELDS, *(place[1] if place else {} for place in row.places)):
        if name != "position":
            verdict = whole if item.lonely else cells.field(name, ITEM_FIELDS.get(name, text), *values)
            yield Change(f"{path}.{name}", name, *values, verdict, item)


def _place(rows: list[_Row], side: int, items: Sequence[Document]) -> None:
    """Find the row of each item of one side; make rows for what the sides before do not have.

    Items go to rows of the same identity: those of equal content first, then those in equal place, then the rest.
    """
    waiting: dict[Hashable, list[_Row]] = {}
    for row in rows:
        waiting.setdefault(_identity(row.shown), []).append(row)
    arriving: dict[Hashable, list[_Place]] = {}
    for place in enumerate(items):
        arriving.setdefault(_identity(place[1]), []).append(place)
    left: list[_Place] = []
    for identity, places in arriving.items():
        alike = waiting.get(identity, [])
        if len(alike) > 1 or len(places) > 1:
            # What Bronto has is more likely to be what it was sent last than what the shop has now.
            for known in reversed(range(side)):
                places = _pair_by_content(alike, known, side, places)
            places = _pair_by_position(alike, side, places)
        free = [row for row in alike if row.places[side] is None]
        for row, place in zip(free, places, strict=False):
            row.places[side] = place
        left += places[len(free) :]
    rows.extend(_Row([place if other == side else None for other in range(3)]) for place in sorted(left, key=_index))


def _index(place: _Place) -> int:
    return place[0]


def _identity(item: Document) -> Hashable:
    sku, name = item.get("sku"), item.get("name")
    return ("sku", str(sku)) if sku else ("name", str(name or ""))


def _pair_by_content(rows: Sequence[_Row], known: int, side: int, places: Sequence[_Place]) -> list[_Place]:
    """Give items to rows of equal content on a side that is known, in the order there. Returns those that are left."""
    free = [(place, row) for row in rows if (place := row.places[known]) and not row.places[side]]
    wanting: dict[Hashable, deque[_Row]] = {}
    for place, row in sorted(free, key=lambda pair: pair[0][0]):
        wanting.setdefault(_content(place[1]), deque()).append(row)
    left = []
    for place in places:
        found = wanting.get(_content(place[1]))
        if found:
            found.popleft().places[side] = place
        else:
            left.append(place)
    return left


def _pair_by_position(rows: Sequence[_Row], side: int, places: Sequence[_Place]) -> list[_Place]:
    """Give items to rows that are in the same place on a side before. Returns those that are left."""
    by_position = {place[0]: place for place in places}
    for row in rows:
        for position in (row.position(0), row.position(1)):
            if row.places[side] is None and position in by_position:
                row.places[side] = by_position.pop(position)
    return list(by_position.values())


def _content(item: Document) -> Hashable:
    """Return what is the same for items whose fields all mean the same."""
    content = tuple(normalise(item.get(name)) for name, normalise in ITEM_FIELDS.items())
    try:
        hash(content)
    except TypeError:  # an array or an object where a text or a number should be
        return repr(content)
    return content


def _moved(rows: Sequence[_Row], one: int, other: int) -> set[int]:
    """Return the indexes of the fewest rows whose move explains why two sides have what both have in another order.

    Those are the rows outside the longest run of rows that stand in the same order on both sides.
    """
    common = [index for index, row in enumerate(rows) if row.places[one] and row.places[other]]
    common.sort(key=lambda index: rows[index].position(one) or 0)
    ends: list[int] = []  # for each length of run, the least position in which one ends
    last: list[int] = []  # and the row that it ends with
    before: dict[int, int | None] = {}
    for index in common:
        position = rows[index].position(other) or 0
        length = bisect_left(ends, position)
        before[index] = last[length - 1] if length else None
        ends[length : length + 1] = [position]
        last[length : length + 1] = [index]
    moved = set(common)
    index_in_run = last[-1] if last else None
    while index_in_run is not None:
        moved.discard(index_in_run)
        index_in_run = before[index_in_run]
    return moved
