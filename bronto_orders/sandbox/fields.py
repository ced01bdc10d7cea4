"""One class for each kind of value an order can hold, with the reasons for refusing one."""

from __future__ import annotations

import ipaddress
import re
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar

from django.core.exceptions import ValidationError as DjangoValidationError
from django.core.validators import validate_email
from rest_framework import serializers

TEXT_LIMIT = 1_000_000
ADDRESS_LIMIT = 320
INTEGER_DIGITS = 15
DECIMAL_PLACES = 20

_AMOUNT = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_MOMENT = re.compile(
    r"(?P<date>\d{4}-\d{2}-\d{2})"
    r"(?:[Tt ](?P<minute>\d{2}:\d{2})(?P<second>:\d{2}(?:[.,]\d{1,9})?)?"
    r"(?P<zone>[Zz]|[+-]\d{2}(?::?\d{2})?)?)?",
    re.ASCII,
)


def parse_uuid(text: str) -> uuid.UUID | None:
    """Read a hyphenated UUID of either case; None when it is something else."""
    return uuid.UUID(text) if _UUID.fullmatch(text) else None


def parse_moment(text: str) -> datetime | None:
    """Read an ISO-8601 date or date and time as UTC, to the millisecond; None when it is something else.

    A bare date is midnight UTC (C:om); a time without an offset is taken as UTC (S4).
    """
    match = _MOMENT.fullmatch(text)
    if match is None:
        return None
    second, _, fraction = (match["second"] or ":00").replace(",", ".").partition(".")
    zone = (match["zone"] or "Z").upper().replace("Z", "+00:00")
    text = f"{match['date']}T{match['minute'] or '00:00'}{second}.{fraction[:3]:0<3}{zone}"
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


class ValueField(serializers.Field[Any, Any, Any, Any]):
    """A value that may be null and may be left out; subclasses say what else it may be."""

    #: What the value must be, as the reason names it.
    expected: ClassVar[str]

    default_error_messages: ClassVar[dict[str, Any]] = {
        "required": "is required",
        "null": "must not be null",
    }

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("required", False)
        kwargs.setdefault("allow_null", True)
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> Any:
        value = self.parse(data)
        if value is None:
            raise serializers.ValidationError(f"must be {self.expected}")
        return value

    def parse(self, data: Any) -> Any:
        """Return the value meant, None when the data is not of this kind."""
        raise NotImplementedError


class TextField(ValueField):
    """Any text under 1 MB (S4); a NUL or half a surrogate pair cannot be kept and is refused."""

    expected = "a string"

    def __init__(self, *, max_length: int | None = None, allow_blank: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.max_length = max_length
        self.allow_blank = allow_blank

    def to_internal_value(self, data: Any) -> Any:
        value = super().to_internal_value(data)
        if not value and not self.allow_blank:
            raise serializers.ValidationError("must not be empty")
        if self.max_length is not None and len(value) > self.max_length:
            raise serializers.ValidationError(f"must not be longer than {self.max_length} characters")
        return value

    def parse(self, data: Any) -> str | None:
        if not isinstance(data, str):
            return None
        try:
            size = len(data.encode("utf-8"))
        except UnicodeEncodeError:
            raise serializers.ValidationError("must be text without lone surrogates") from None
        if "\x00" in data:
            raise serializers.ValidationError("must not contain a NUL character")
        if size >= TEXT_LIMIT:
            raise serializers.ValidationError("must be smaller than 1 MB")
        return data


class AddressField(TextField):
    expected = "a valid e-mail address"

    def parse(self, data: Any) -> str | None:
        text = super().parse(data)
        if text is None or len(text) > ADDRESS_LIMIT:
            return None
        try:
            validate_email(text)
        except DjangoValidationError:
            return None
        return text


class CurrencyField(TextField):
    expected = "an ISO-4217 code of three capital letters"

    def parse(self, data: Any) -> str | None:
        text = super().parse(data)
        return text if text is not None and _CURRENCY.fullmatch(text) else None


class IPField(TextField):
    expected = "an IPv4 or IPv6 address"

    def parse(self, data: Any) -> str | None:
        text = super().parse(data)
        if text is None or "%" in text:
            return None
        try:
            ipaddress.ip_address(text)
        except ValueError:
            return None
        return text


class UUIDField(TextField):
    expected = "a UUID"

    def parse(self, data: Any) -> Any:
        text = super().parse(data)
        return None if text is None else parse_uuid(text)


class MomentField(TextField):
    expected = "an ISO-8601 date or date and time"

    def parse(self, data: Any) -> Any:
        text = super().parse(data)
        return None if text is None else parse_moment(text)


class AmountField(ValueField):
    """A number, or a string that holds one (C:om); null is 0 (C:om)."""

    expected = "a number"

    def run_validation(self, data: Any = serializers.empty) -> Any:
        return Decimal(0) if data is None else super().run_validation(data)

    def parse(self, data: Any) -> Decimal | None:
        if isinstance(data, str) and _AMOUNT.fullmatch(data):
            data = Decimal(data)
        if not isinstance(data, Decimal):
            return None
        exponent = int(data.as_tuple().exponent)
        if data.adjusted() >= INTEGER_DIGITS or exponent < -DECIMAL_PLACES:
            raise serializers.ValidationError(
                f"must have at most {INTEGER_DIGITS} digits before the point and {DECIMAL_PLACES} after it"
            )
        if not data:
            data = data.copy_abs()
        return data if exponent <= 0 else Decimal(int(data))


class FlagField(ValueField):
    """A boolean, or its name as a string, which the official connector sends (C:m26)."""

    expected = "true or false"

    def parse(self, data: Any) -> bool | None:
        if isinstance(data, bool):
            return data
        return {"true": True, "false": False}.get(data) if isinstance(data, str) else None


class StatusField(ValueField):
    """The deprecated view of ``states.processed`` (S1, S2)."""

    expected = "PENDING or PROCESSED"

    def parse(self, data: Any) -> bool | None:
        return {"PENDING": False, "PROCESSED": True}.get(data) if isinstance(data, str) else None
