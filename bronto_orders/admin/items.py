"""The lines of an order, in its form."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from bronto_orders.admin.stale import LineItemFormSet
from bronto_orders.models import LineItem, Order
from bronto_orders.models.order import AMOUNT

if TYPE_CHECKING:
    LineItemStack = admin.StackedInline[LineItem, Order]
else:
    LineItemStack = admin.StackedInline

#: Lines that a form edits. With more, it would have more fields than Django takes (``DATA_UPLOAD_MAX_NUMBER_FIELDS``).
EDITABLE = 50


class NumberField(forms.DecimalField):
    """A number without the zeros that fill up its column."""

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, Decimal) or not value.is_finite():
            return value
        shown = 2 if self.decimal_places == AMOUNT["decimal_places"] else 0
        whole, _point, decimals = format(value, "f").partition(".")
        return f"{whole}.{decimals.rstrip('0').ljust(shown, '0')}".rstrip(".")


def form_options(db_field: Any) -> dict[str, Any]:
    """Return how a column is edited, where that is not the admin's way."""
    if isinstance(db_field, models.DecimalField):
        return {"form_class": NumberField}
    if isinstance(db_field, models.DateTimeField):
        # Else it counts as changed by what the page showed, and not by what the order has.
        return {"show_hidden_initial": False}
    if isinstance(db_field, models.URLField):
        return {"assume_scheme": "https"}
    if isinstance(db_field, models.TextField):
        return {"widget": forms.Textarea({"rows": 2, "class": "vLargeTextField"})}
    return {}


def has_many_items(order: Order | None) -> bool:
    """Tell whether the order has more lines than a form edits. Asks once for each order that has been read."""
    if order is None or order.pk is None:
        return False
    if not hasattr(order, "has_many_items"):
        order.has_many_items = order.line_items.count() > EDITABLE  # type: ignore[attr-defined]
    return order.has_many_items  # type: ignore[attr-defined,no-any-return]


class FirstLineItems(LineItemFormSet):
    """The lines that a form shows: of many, the first."""

    def get_queryset(self) -> Any:
        # Kept where Django keeps it, or each line would be read by a query of its own.
        if not hasattr(self, "_queryset") and has_many_items(self.instance):
            self._queryset = super().get_queryset()[:EDITABLE]
        return super().get_queryset()


class LineItemInline(LineItemStack):
    """The lines of an order, in its form."""

    model = LineItem
    formset = FirstLineItems
    extra = 0
    max_num = EDITABLE
    classes = ["bronto-compact"]
    fieldsets = [
        (None, {"fields": [
            ("position", "sku", "name"),
            ("quantity", "unit_price", "sale_price", "total_price"),
        ]}),
        (_("Details"), {"classes": ["collapse"], "fields": [
            "category", "description", "other", "image_url", "product_url",
        ]}),
    ]  # fmt: skip

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        return super().formfield_for_dbfield(db_field, request, **form_options(db_field), **kwargs)

    def has_add_permission(self, request: HttpRequest, obj: Order | None) -> bool:  # type: ignore[override]
        return super().has_add_permission(request, obj) and not has_many_items(obj)

    def has_change_permission(self, request: HttpRequest, obj: Order | None = None) -> bool:
        return super().has_change_permission(request, obj) and not has_many_items(obj)

    def has_delete_permission(self, request: HttpRequest, obj: Order | None = None) -> bool:
        return super().has_delete_permission(request, obj) and not has_many_items(obj)
