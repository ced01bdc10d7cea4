"""What identifies, locates or follows a shopper, and how it looks to staff who may not see it.

One permission decides, ``bronto_orders.view_personal_data``. Without it, values are recognisable at best: enough to
tell two orders apart on the telephone, not enough to write to anybody.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from bronto_orders import payloads
from bronto_orders.client.redaction import PERSONAL
from bronto_orders.models import Order

HIDDEN = "•••"

#: The columns of an order that are personal: those that no record of a request keeps either.
FIELDS = tuple(field.attribute for field in payloads.FIELDS if field.name in PERSONAL)


def sees_personal_data(request: HttpRequest) -> bool:
    """Whether the user may see personal data in full."""
    return request.user.has_perm("bronto_orders.view_personal_data")


def masked(name: str, value: Any) -> Any:
    """Return a value of an order as it is shown without the permission. ``name`` is a column or a wire name."""
    if value in (None, ""):
        return value
    match name:
        case "email_address" | "emailAddress":
            return _email(str(value))
        case "origin_ip" | "originIp":
            return _address(str(value))
    return HIDDEN if name in FIELDS or name in PERSONAL else value


def masked_document(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return an order in wire names, personal values masked."""
    return {name: masked(name, value) for name, value in document.items()}


def _email(value: str) -> str:
    local, at, domain = value.rpartition("@")
    return f"{local[:1]}…@{domain}" if at else HIDDEN


def _address(value: str) -> str:
    """Keep the network of an IPv4 address or, as much as that tells, of an IPv6 address."""
    if re.fullmatch(r"\d+\.\d+\.\d+\.\d+", value):
        return f"{value.rpartition('.')[0]}.…"
    parts = value.split(":")
    return f"{parts[0]}:{parts[1]}:…" if len(parts) > 2 else HIDDEN


def _column(name: str) -> Callable[[Order], Any]:
    def column(order: Order) -> Any:
        return masked(name, getattr(order, name))

    column.__name__ = name
    return admin.display(description=Order._meta.get_field(name).verbose_name)(column)  # type: ignore[union-attr]


#: In the form in place of the column itself. Not being a field of the form, it cannot be saved.
COLUMNS = {name: _column(name) for name in FIELDS}
