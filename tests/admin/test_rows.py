from __future__ import annotations

from decimal import Decimal
from typing import Any

from bronto_orders.admin.rows import LONGEST, SYMBOLS, cells, item_changes, mark
from bronto_orders.delivery.texts import KEPT, SHOWN
from bronto_orders.diffing import Verdict, compare


def shown(*texts: str | None, verdict: Verdict = Verdict.CHANGED_HERE) -> list[Any]:
    return [
        None
        if cell is None
        else "".join(f"<{part.mark}>{part.text}" if part.mark else f"<>{part.text}" for part in cell.parts)
        for cell in mark(texts, verdict)
    ]


def test_short_values_are_marked_whole():
    assert shown("GBP", "USD", "USD") == ["<ins>GBP", "<del>USD", "<del>USD"]
    assert shown("a", None, "b", verdict=Verdict.NOT_SENT) == ["<ins>a", None, "<del>b"]
    assert shown("a", "a", "b", verdict=Verdict.CHANGED_THERE) == ["<>a", "<>a", "<ins>b"]
    assert shown("a", "b", "c", verdict=Verdict.CONFLICT) == ["<ins>a", "<del>b", "<ins>c"]
    assert shown("a", "b", "b", verdict=Verdict.CANNOT_CHANGE) == ["<ins>a", "<>b", "<>b"]
    assert shown("a", "a", "a", verdict=Verdict.SAME) == ["<>a", "<>a", "<>a"]


def test_long_values_are_cut_around_the_difference():
    before, after = "x" * 100, "y" * 100
    now, sent = f"{before}14{after}", f"{before}2{after}"
    head, tail = "…" + "x" * (KEPT - 1), "y" * (KEPT - 1) + "…"
    assert shown(now, sent, None) == [f"<>{head}<ins>14<>{tail}", f"<>{head}<del>2<>{tail}", None]


def test_what_is_cut_can_be_opened():
    [now, sent, remote] = mark(["a" * 500, "b" * (LONGEST + 5), "short"], Verdict.CONFLICT)
    assert now is not None
    assert sent is not None
    assert remote is not None
    assert [part.text for part in now.parts] == ["a" * (SHOWN - 1) + "…"]
    assert now.whole == "a" * 500
    assert sent.whole == "b" * LONGEST + "…"
    assert remote.whole == ""


def test_each_verdict_has_a_symbol_of_its_own():
    assert SYMBOLS.keys() == set(Verdict)
    assert len(set(SYMBOLS.values())) == len(SYMBOLS)


def test_unchanged_items_are_left_out_unless_asked_for():
    items = [{"sku": str(number), "quantity": number} for number in range(1000)]
    changed = [*items[:500], {"sku": "500", "quantity": 7}, *items[501:]]
    changes = compare({"lineItems": changed}, {"lineItems": items}, None)
    [only] = item_changes(changes, show_all=False)
    assert [change.field for change in only.shown] == ["quantity"]
    assert only.rows().whole.label == "500"
    assert len(item_changes(changes, show_all=True)) == 1000


def test_text_that_was_appended_is_seen():
    base = "x" * 90
    assert shown(f"{base} and more", base, base)[0] == f"<>…{'x' * (KEPT - 1)}<ins> and more"


def test_cells_of_a_change():
    [change] = compare({"grandTotal": Decimal("10.50")}, {"grandTotal": 10}, {"grandTotal": 10})
    assert [part.text for cell in cells(change) if cell for part in cell.parts] == ["10.50", "10.00", "10.00"]
