"""Serializer fields, strict where a mistake would be guessed away, and lenient where Bronto is."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError as DjangoValidationError
from django.core.validators import MaxLengthValidator
from django.db import models
from django.utils import timezone
from django.utils.ipv6 import clean_ipv6_address
from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from bronto_orders import payloads

_NUMBER = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?")
_MOMENT = re.compile(
    r"\d{4}-\d{2}-\d{2}(?P<time>[Tt ]\d{2}:\d{2}(:\d{2}([.,]\d{1,9})?)?(?P<zone>[Zz]|[+-]\d{2}(:?\d{2})?)?)?", re.ASCII
)


class TextField(serializers.CharField):
    """A text, kept as it is; a number is none. An empty one is shown as null."""

    def __init__(self, **options: Any) -> None:
        super().__init__(trim_whitespace=False, allow_blank=True, **options)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return data

    def to_representation(self, value: Any) -> Any:
        return str(value) or None


class AddressField(TextField):
    """An IP address, written as its column keeps it, so that the same address is the same text."""

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        try:
            return clean_ipv6_address(text) if ":" in text else text
        except DjangoValidationError:  # the column's validators say so
            return text


class NumberField(serializers.DecimalField):
    """A number, or a string that holds one; rounded to the decimals of its column, half away from zero.

    JavaScript's sums have decimals that nobody meant, so that they are not refused.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(coerce_to_string=False, **options)

    def validate_empty_values(self, data: Any) -> tuple[bool, Any]:
        # The inherited way takes empty text for null.
        return serializers.Field.validate_empty_values(self, data)

    def to_internal_value(self, data: Any) -> Decimal:
        if isinstance(data, str) and _NUMBER.fullmatch(data):
            data = Decimal(data)
        if isinstance(data, bool) or not isinstance(data, int | Decimal):
            self.fail("invalid")
        number = Decimal(data)
        assert self.max_digits is not None  # noqa: S101 - each column says
        assert self.decimal_places is not None  # noqa: S101
        whole_digits = self.max_digits - self.decimal_places
        if number.adjusted() < whole_digits:
            number = payloads.quantize(number, self.decimal_places)
        if number.adjusted() >= whole_digits:
            self.fail("max_whole_digits", max_whole_digits=whole_digits)
        return number if number else number.copy_abs()


class MomentField(serializers.DateTimeField):
    """An ISO 8601 date, midnight in UTC, or date and time with its offset from UTC."""

    default_error_messages = {
        "invalid": _("This is no date, nor a date and time, of ISO 8601, such as 2026-03-01T17:30:00+01:00."),
        "no_zone": _("The time lacks its offset from UTC, such as Z or +01:00."),
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(default_timezone=UTC, **options)

    def to_internal_value(self, value: Any) -> datetime:
        found = _MOMENT.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            self.fail("invalid")
        if found["time"] and not found["zone"]:
            self.fail("no_zone")
        try:
            moment = datetime.fromisoformat(value.upper())
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            self.fail("invalid")


class FlagField(serializers.BooleanField):
    """A boolean, or its name as a string, as Bronto's own connector writes it (C:m26)."""

    def to_internal_value(self, data: Any) -> bool:
        if isinstance(data, bool):
            return data
        if data not in ("true", "false"):
            self.fail("invalid", input="")
        return bool(data == "true")


class IdField(serializers.UUIDField):
    """A UUID as text."""

    def to_internal_value(self, data: Any) -> UUID:
        if not isinstance(data, str):
            self.fail("invalid", value="")
        return super().to_internal_value(data)


#: By the column's class; the first that fits.
_KINDS: tuple[tuple[type[models.Field[Any, Any]], type[serializers.Field[Any, Any, Any, Any]]], ...] = (
    (models.DecimalField, NumberField),
    (models.DateTimeField, MomentField),
    (models.BooleanField, FlagField),
    (models.UUIDField, IdField),
    (models.GenericIPAddressField, AddressField),
    (models.Field, TextField),
)


class Sendable:
    """Lets a value through that its column takes and that can be sent to Bronto."""

    def __init__(self, rule: payloads.WireField, column: models.Field[Any, Any]) -> None:
        self.rule = rule
        self.column_rules = [check for check in column.validators if not isinstance(check, MaxLengthValidator)]

    def __call__(self, value: Any) -> None:
        for check in self.column_rules:
            check(value)
        context = payloads.Context(exponent=payloads.DEFAULT_EXPONENT, now=timezone.now())
        try:
            self.rule.convert(context, self.rule.attribute, value)
        except payloads.InvalidOrderError as error:
            raise serializers.ValidationError(str(error.message), code="invalid") from None


def field_for(rule: payloads.WireField, column: models.Field[Any, Any]) -> serializers.Field[Any, Any, Any, Any]:
    """Return the serializer field for one row of the table of what is sent."""
    kind = next(kind for cls, kind in _KINDS if isinstance(column, cls))
    options: dict[str, Any] = {"required": False, "allow_null": True, "validators": [Sendable(rule, column)]}
    if rule.name != rule.attribute:
        options["source"] = rule.attribute
    if isinstance(column, models.DecimalField):
        options |= {"max_digits": column.max_digits, "decimal_places": column.decimal_places}
    elif kind is TextField and column.max_length:
        options["max_length"] = column.max_length
    return kind(**options)


def column_of(model: type[models.Model], name: str) -> models.Field[Any, Any]:
    """Return a column of the model's own."""
    column = model._meta.get_field(name)
    assert isinstance(column, models.Field)  # noqa: S101 - the table names no relations
    return column


def nothing(column: models.Field[Any, Any]) -> Any:
    """Return what the column holds when the shop says nothing."""
    return None if column.null else column.get_default()
