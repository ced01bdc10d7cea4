from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bronto_orders import wire
from bronto_orders.delivery.texts import KEPT, SHORT, SHOWN, number_texts, pretty, shorten, value_texts, visible
from bronto_orders.diffing import compare

optional_texts = st.none() | st.text(max_size=300)


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
        ([{"a": "é"}, [1, Decimal(2)], "\ud800"], ['{"a": "é"}', '[1, "2"]', "⟨U+D800⟩"]),
    ],
)
def test_values_as_text(values, expected):
    assert number_texts(values) == expected


@given(values=st.lists(st.none() | st.booleans() | st.integers() | st.floats() | st.decimals() | st.text(), max_size=3))
def test_any_value_has_a_text_that_a_response_can_hold(values):
    for text in number_texts(values):
        assert text is None or text.encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Zoë, 東京, line\nbreak", "Zoë, 東京, line\nbreak"),
        ("safe\u202egnp.exe", "safe⟨U+202E⟩gnp.exe"),
        ("a\tb\0c\x1b[31m", "a⟨U+0009⟩b⟨U+0000⟩c⟨U+001B⟩[31m"),
        ("12\u00a0€\u200b\u2028\ufeff", "12⟨U+00A0⟩€⟨U+200B⟩⟨U+2028⟩⟨U+FEFF⟩"),
        ("\ud83d", "⟨U+D83D⟩"),
    ],
)
def test_what_cannot_be_seen_is_shown_by_its_code(text, shown):
    assert visible(text) == shown
    body = pretty({"a": text})
    assert visible(body) == body
    assert wire.loads(body) == {"a": text}


def test_masked_values_differ_without_being_shown():
    [change] = compare({"emailAddress": "a@example.com"}, {"emailAddress": "b@example.com"}, None)
    assert value_texts(change, masked=True) == ["a…@example.com", "b…@example.com", None]
    assert value_texts(change) == ["a@example.com", "b@example.com", None]


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
