"""One function for each kind of value an order can hold: it returns the value as the service keeps it, or objects.

Kept is what goes out again: texts, amounts as Decimal, dates as ``2015-01-01T00:00:00.000Z``.
"""

from __future__ import annotations

import ipaddress
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from bronto_orders.sandbox.clock import wire_moment
from bronto_orders.sandbox.switches import TEXT_LIMIT, SwitchBoard

ADDRESS_LIMIT: Final = 320
INTEGER_DIGITS: Final = 15
DECIMAL_PLACES: Final = 20
#: Rounding may make one digit more before the point; the default context would fail from 29 digits on.
_ROUNDING: Final = Context(prec=INTEGER_DIGITS + 1 + DECIMAL_PLACES, rounding=ROUND_HALF_EVEN)

_AMOUNT = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_MOMENT = re.compile(
    r"(?P<date>\d{4}-\d{2}-\d{2})"
    r"(?:[Tt ](?P<minute>\d{2}:\d{2})(?P<second>:\d{2}(?:[.,]\d{1,9})?)?"
    r"(?P<zone>[Zz]|[+-]\d{2}(?::?\d{2})?)?)?",
    re.ASCII,
)

Field = Callable[[Any, SwitchBoard], Any]


class Unfit(Exception):
    """A value that cannot be taken. ``reasons`` maps the place inside the value, often "", to what it must be."""

    def __init__(self, reasons: str | Mapping[str, str]) -> None:
        super().__init__(reasons)
        self.reasons = {"": reasons} if isinstance(reasons, str) else reasons


def parse_uuid(text: str) -> str | None:
    """Read a hyphenated UUID of either case; None when it is something else."""
    return str(uuid.UUID(text)) if _UUID.fullmatch(text) else None


def parse_moment(text: str, switches: SwitchBoard) -> str | None:
    """Read an ISO-8601 date or date and time as UTC, to the millisecond; None when it is something else.

    A bare date is midnight UTC (C:om); a time without an offset is taken as UTC (S4) unless a switch refuses it.
    """
    match = _MOMENT.fullmatch(text)
    if match is None:
        return None
    if match["minute"] and not match["zone"] and switches["dateWithoutOffset"] == "refuse":
        raise Unfit("must have an offset from UTC")
    second, _, fraction = (match["second"] or ":00").replace(",", ".").partition(".")
    zone = (match["zone"] or "Z").upper().replace("Z", "+00:00")
    text = f"{match['date']}T{match['minute'] or '00:00'}{second}.{fraction[:3]:0<3}{zone}"
    try:
        return wire_moment(datetime.fromisoformat(text).astimezone(UTC))
    except (ValueError, OverflowError):
        return None


def text(value: Any, switches: SwitchBoard) -> str | None:
    """Any text under 1 MB (S4); a NUL or half a surrogate pair cannot be kept and is refused."""
    if value is None:
        return None
    found = _text(value)
    if len(found.encode()) > switches["textBytes"]:
        raise Unfit(f"must not be longer than {switches['textBytes']} bytes")
    return found


def name(value: Any, switches: SwitchBoard) -> str:
    """A text that is not empty."""
    if value is None:
        raise Unfit("must not be null")
    found = _text(value)
    if not found:
        raise Unfit("must not be empty")
    return found


def customer_order_id(value: Any, switches: SwitchBoard) -> str | None:
    """The shop's own id; none where a switch makes orders without one possible."""
    if value is None and "customerOrderId" not in switches["requiredOnAdd"]:
        return None
    found = name(value, switches)
    if len(found) > switches["customerOrderIdLength"]:
        raise Unfit(f"must not be longer than {switches['customerOrderIdLength']} characters")
    return found


def address(value: Any, switches: SwitchBoard) -> str | None:
    """An e-mail address; none means an order without a contact (C:om)."""
    return _formed(value, "a valid e-mail address", lambda text: text if _is_address(text) else None)


def currency(value: Any, switches: SwitchBoard) -> str | None:
    """An ISO-4217 code by its form (H:obj)."""
    expected = "an ISO-4217 code of three capital letters"
    return _formed(value, expected, lambda text: text if _CURRENCY.fullmatch(text) else None)


def ip_address(value: Any, switches: SwitchBoard) -> str | None:
    """An IPv4 or IPv6 address, kept as it was written."""
    return _formed(value, "an IPv4 or IPv6 address", lambda text: text if _is_ip_address(text) else None)


def uuid_text(value: Any, switches: SwitchBoard) -> str | None:
    """A UUID in its usual form, kept in lower case (C:om)."""
    return _formed(value, "a UUID", parse_uuid)


def moment(value: Any, switches: SwitchBoard) -> str | None:
    """A date, or a date and time."""
    return _formed(value, "an ISO-8601 date or date and time", lambda text: parse_moment(text, switches))


def amount(value: Any, switches: SwitchBoard) -> Decimal:
    """A number, or a string that holds one; null is 0 (C:om)."""
    if value is None:
        return Decimal(0)
    if isinstance(value, str) and _AMOUNT.fullmatch(value):
        value = Decimal(value)
    if not isinstance(value, Decimal):
        raise Unfit("must be a number")
    exponent = int(value.as_tuple().exponent)
    if value.adjusted() >= INTEGER_DIGITS or exponent < -DECIMAL_PLACES:
        raise Unfit(f"must have at most {INTEGER_DIGITS} digits before the point and {DECIMAL_PLACES} after it")
    if value < 0 and switches["negativeAmounts"] == "refuse":
        raise Unfit("must not be negative")
    if -exponent > switches["decimalPlaces"]:
        value = value.quantize(Decimal(1).scaleb(-switches["decimalPlaces"]), context=_ROUNDING)
    if not value:
        value = value.copy_abs()
    return value if exponent <= 0 else Decimal(int(value))


def flag(value: Any, switches: SwitchBoard) -> bool | None:
    """A boolean, or its name as a string, which the official connector sends (C:m26); null says nothing."""
    if value is None or isinstance(value, bool):
        return value
    if switches["stringFlags"] == "take" and value in ("true", "false"):
        return bool(value == "true")
    raise Unfit("must be true or false")


def parameter(value: Any, switches: SwitchBoard) -> bool | None:
    """A boolean in a query: the word itself and nothing else (S2, C:m26), which a switch has say nothing."""
    if value in ("true", "false"):
        return bool(value == "true")
    if switches["malformedParameters"] == "ignore":
        return None
    raise Unfit("must be true or false")


def status(value: Any, switches: SwitchBoard) -> bool | None:
    """The deprecated view of ``states.processed`` (S1, S2); null says nothing."""
    if value is None:
        return None
    if value == "PROCESSED" or value == "PENDING":
        return bool(value == "PROCESSED")
    raise Unfit("must be PENDING or PROCESSED")


def one_of(*choices: str) -> Field:
    """A text out of a few."""

    def choose(value: Any, switches: SwitchBoard) -> str:
        if value in choices:
            return str(value)
        raise Unfit(f"must be one of {', '.join(choices)}")

    return choose


def _formed(value: Any, expected: str, parse: Callable[[str], str | None]) -> str | None:
    if value is None:
        return None
    found = parse(_text(value, expected))
    if found is None:
        raise Unfit(f"must be {expected}")
    return found


def _text(value: Any, expected: str = "a string") -> str:
    if not isinstance(value, str):
        raise Unfit(f"must be {expected}")
    try:
        size = len(value) if value.isascii() else len(value.encode("utf-8"))
    except UnicodeEncodeError:
        raise Unfit("must be text without lone surrogates") from None
    if "\x00" in value:
        raise Unfit("must not contain a NUL character")
    if size >= TEXT_LIMIT:
        raise Unfit("must be smaller than 1 MB")
    return value


def _is_address(value: str) -> bool:
    if len(value) > ADDRESS_LIMIT:
        return False
    try:
        validate_email(value)
    except ValidationError:
        return False
    return True


def _is_ip_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    # A zone belongs to one machine and means nothing to another.
    return "%" not in value
