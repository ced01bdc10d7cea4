"""Database columns that keep a value exactly as it came."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    TextColumn = models.CharField[Decimal, Decimal]
else:
    TextColumn = models.CharField


class AmountColumn(TextColumn):
    """A Decimal kept as text: SQLite's own decimal column is a float in disguise beyond 15 digits."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["max_length"] = 64
        kwargs.setdefault("default", Decimal(0))
        super().__init__(*args, **kwargs)

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> Decimal | None:
        return None if value is None else Decimal(value)

    def to_python(self, value: Any) -> Decimal:
        return value if isinstance(value, Decimal) else Decimal(value)

    def get_prep_value(self, value: Any) -> str:
        return format(Decimal(value), "f")
