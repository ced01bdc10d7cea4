"""Exact JSON: money leaves as the decimal that it is and comes back as the same decimal.

``json`` can write a Decimal only by way of a float, which loses digits beyond the fifteenth, so writing is done here.
Reading is ``json``'s own with numbers kept as Decimal.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from json.encoder import encode_basestring_ascii
from typing import Any

#: The decimal exponents that are read, those of a double and somewhat more.
GREATEST_EXPONENT = 400


def dumps(value: object) -> str:
    """Write JSON text with sorted keys and no spaces, so that equal values give equal text.

    Decimals are written in full, without exponent and without trailing zeros (``Decimal("3.90")`` gives ``3.9``).
    Raises TypeError for a type that JSON has no word for and ValueError for NaN and infinities.
    """
    write = _WRITERS.get(type(value))
    if write is None:
        write = next((write for cls, write in _WRITERS.items() if isinstance(value, cls)), None)
    if write is not None:
        return write(value)
    if isinstance(value, Mapping):
        return _object(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _object(value: Mapping[str, object]) -> str:
    return "{" + ",".join([encode_basestring_ascii(key) + ":" + dumps(value[key]) for key in sorted(value)]) + "}"


def _array(value: Sequence[object]) -> str:
    return "[" + ",".join([dumps(member) for member in value]) + "]"


def _number(value: Decimal) -> str:
    if not value.is_finite():
        raise ValueError("NaN and infinities cannot be written as JSON numbers")
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


#: By type; a subclass's values are written by the first that fits.
_WRITERS: dict[type, Callable[[Any], str]] = {
    type(None): lambda value: "null",
    bool: lambda value: "true" if value else "false",
    str: encode_basestring_ascii,
    int: int.__repr__,
    Decimal: _number,
    float: lambda value: _number(Decimal(repr(value))),
    dict: _object,
    list: _array,
    tuple: _array,
}


def loads(text: str | bytes) -> Any:
    """Read JSON text, numbers with a fraction or an exponent as Decimal.

    Raises ValueError for anything that is not JSON, NaN and infinities included, and for numbers with exponents so
    great that writing them out in full would fill the memory.
    """
    return json.loads(text, parse_float=_read_number, parse_constant=_refuse_constant)


def _read_number(text: str) -> Decimal:
    with suppress(InvalidOperation):  # an exponent that not even a Decimal can hold
        number = Decimal(text)
        if abs(number.adjusted()) <= GREATEST_EXPONENT:
            return number
    raise ValueError("a number's exponent is out of range")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def storable(value: object) -> Any:
    """Return the same value with each Decimal as an int, a float or, where a float would lose digits, a string.

    For JSON columns, whose encoders know no Decimal.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Decimal):
        if value == value.to_integral_value():
            return int(value)
        return float(value) if Decimal(repr(float(value))) == value else str(value)
    if isinstance(value, dict | Mapping):
        return {key: storable(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [storable(member) for member in value]
    return value
