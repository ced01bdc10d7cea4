from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bronto_orders import wire
from bronto_orders.admin.rows import KEPT, SHORT, SHOWN, cells, mark, number_texts, pretty, shorten
from bronto_orders.diffing import Verdict, compare

optional_texts = st.none() | st.text(max_size=300)


def shown(*texts: str | None, verdict: Verdict = Verdict.CHANGED_HERE) -> list[Any]:
    return [
        None
        if parts is None
        else "".join(f"<{part.mark}>{part.text}" if part.mark else f"<>{part.text}" for part in parts)
        for parts in mark(texts, verdict)
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


def test_a_long_difference_is_cut_itself():
    [now, _sent, _remote] = shorten(["a" * 500, "b" * 500, None])
    assert now == [("a" * (SHOWN - 1) + "…", True)]


def test_text_that_was_appended_is_seen():
    base = "x" * 90
    assert shown(f"{base} and more", base, base)[0] == f"<>…{'x' * (KEPT - 1)}<ins> and more"


def test_equal_long_values_begin_at_the_beginning():
    assert shorten(["z" * 300, "z" * 300, None])[0] == [("z" * (SHOWN - 1) + "…", True)]


@given(texts=st.lists(optional_texts, min_size=3, max_size=3))
def test_shortened_texts_stay_short_and_tell_different_values_apart(texts):
    shortened = shorten(texts)
    assert [parts is None for parts in shortened] == [text is None for text in texts]
    for parts in shortened:
        assert sum(len(text) for text, _differs in parts or []) <= max(SHORT, SHOWN + 2 * KEPT)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([Decimal("4.90"), 4.9, 0], ["4.90", "4.90", "0.00"]),
        ([Decimal("49.0000"), 49, None], ["49", "49", None]),
        ([Decimal("1.234"), 1, 1.5], ["1.234", "1.000", "1.500"]),
        ([Decimal("4.9"), "4.90", True], ["4.90", "4.90", "yes"]),
        ([False, "", None], ["no", None, None]),
        ([10**30, Decimal("1E+500"), float("inf")], [str(10**30), "1E+500", "inf"]),
        ([float("nan"), Decimal("NaN"), Decimal("0E-40")], ["nan", "NaN", "0E-40"]),
        ([{"a": "é"}, [1, Decimal(2)], "\ud800"], ['{"a": "é"}', '[1, "2"]', "?"]),
    ],
)
def test_values_as_text(values, expected):
    assert number_texts(values) == expected


@given(values=st.lists(st.none() | st.booleans() | st.integers() | st.floats() | st.decimals() | st.text(), max_size=3))
def test_any_value_has_a_text_that_a_response_can_hold(values):
    for text in number_texts(values):
        assert text is None or text.encode()


def test_cells_of_a_change():
    [change] = compare({"grandTotal": Decimal("10.50")}, {"grandTotal": 10}, {"grandTotal": 10})
    assert [part.text for cell in cells(change) for part in cell or []] == ["10.50", "10.00", "10.00"]


def test_pretty_json():
    body = {"a": Decimal("10.50"), "b": None, "c": {"d": True}, "e": [], "f": [{"g": 'ü"<'}, 1], "h": {}}
    assert pretty(body) == (
        '{\n  "a": 10.5,\n  "b": null,\n  "c": {\n    "d": true\n  },\n  "e": [],\n'
        '  "f": [\n    {\n      "g": "ü\\"<"\n    },\n    1\n  ],\n  "h": {}\n}'
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(value=json_values)
def test_pretty_json_is_that_json(value):
    assert wire.loads(pretty(value)) == value
