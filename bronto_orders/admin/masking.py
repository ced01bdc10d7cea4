"""Columns of the order's form for staff who may not see personal data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin

from bronto_orders.delivery import personal
from bronto_orders.models import Order


def _column(name: str) -> Callable[[Order], Any]:
    def column(order: Order) -> Any:
        return personal.masked(name, getattr(order, name))

    column.__name__ = name
    return admin.display(description=Order._meta.get_field(name).verbose_name)(column)  # type: ignore[union-attr]


#: In the form in place of the column itself. Not being a field of the form, it cannot be saved.
COLUMNS = {name: _column(name) for name in personal.COLUMNS}
