"""The baseline of a checkout: plain Django models with the shop's own columns, and nothing of this app."""

from __future__ import annotations

from typing import Any

from django.db import models

from bronto_orders.models import LineItem, Order
from bronto_orders.models.deliverable import DELIVERY_COLUMNS


def _columns(model: type[models.Model]) -> dict[str, models.Field[Any, Any]]:
    """Return copies of the columns that say what the shop says."""
    own = [field for field in model._meta.local_fields if not field.primary_key and not field.is_relation]
    return {field.name: field.clone() for field in own if field.name not in DELIVERY_COLUMNS}


class _Meta:
    app_label = "benchmarks"


class _OrderMeta(_Meta):
    unique_together = [("account", "customer_order_id")]


PlainOrder = type("PlainOrder", (models.Model,), {"__module__": __name__, "Meta": _OrderMeta, **_columns(Order)})
PlainItem = type(
    "PlainItem",
    (models.Model,),
    {
        "__module__": __name__,
        "Meta": _Meta,
        "order": models.ForeignKey(PlainOrder, on_delete=models.CASCADE, related_name="line_items"),
        **_columns(LineItem),
    },
)
