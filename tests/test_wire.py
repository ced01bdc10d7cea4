from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bronto_orders import wire

DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**15), max_value=10**15)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | DECIMALS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("4.27"), "4.27"),
        (Decimal("4.20"), "4.2"),
        (Decimal("4.00"), "4"),
        (Decimal("-0.00"), "0"),
        (Decimal("1E+3"), "1000"),
        (Decimal("123456789012345.6789"), "123456789012345.6789"),
        (0.1, "0.1"),
        (True, "true"),
        ("<é>", '"<\\u00e9>"'),
        ({"b": [1, None], "a": ()}, '{"a":[],"b":[1,null]}'),
    ],
    ids=repr,
)
def test_dumps(value: object, text: str) -> None:
    assert wire.dumps(value) == text


@given(JSON)
def test_what_is_written_is_read_back(value: Any) -> None:
    assert wire.loads(wire.dumps(value)) == value


@given(JSON)
def test_writes_json_that_others_read(value: Any) -> None:
    json.loads(wire.dumps(value))


@pytest.mark.parametrize("value", [object(), b"bytes", {1, 2}], ids=["object", "bytes", "set"])
def test_refuses_what_json_cannot_say(value: object) -> None:
    with pytest.raises(TypeError):
        wire.dumps(value)


@pytest.mark.parametrize("value", [float("nan"), Decimal("Infinity")], ids=repr)
def test_refuses_numbers_that_are_none(value: object) -> None:
    with pytest.raises(ValueError, match="cannot be written"):
        wire.dumps(value)


@pytest.mark.parametrize("text", ["1e99999999", "-1e-99999999", "1e401", "1e99999999999999999999"])
def test_loads_refuses_numbers_that_fill_the_memory(text: str) -> None:
    with pytest.raises(ValueError, match="out of range"):
        wire.loads(text)


def test_loads_keeps_decimals_and_refuses_nan() -> None:
    assert wire.loads('{"a": 123456789012345.6789}') == {"a": Decimal("123456789012345.6789")}
    with pytest.raises(ValueError, match="NaN"):
        wire.loads("[NaN]")


@given(JSON)
def test_storable_is_plain_json_of_the_same_value(value: Any) -> None:
    def same(stored: Any, original: Any) -> bool:
        if isinstance(original, Decimal):
            return Decimal(str(stored)) == original
        if isinstance(original, dict):
            return stored.keys() == original.keys() and all(same(stored[key], original[key]) for key in original)
        if isinstance(original, list):
            return all(map(same, stored, original)) and len(stored) == len(original)
        return stored == original

    assert same(json.loads(json.dumps(wire.storable(value))), value)
