"""Selections of orders that another process can make again later, kept as JSON.

A filtered list of a million orders is kept as its conditions, a short one as its keys. Conditions are those of the
queryset itself, whatever made them: an admin's filters and search, a command's options. They are read from the
queryset's tree and only plain comparisons of an order's own columns are taken; a selection that needs more, such as one
that looks at other tables, is kept as its keys, however many.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.core.exceptions import FieldError
from django.db.models import Q
from django.db.models.expressions import Col
from django.db.models.lookups import Lookup
from django.db.models.sql.where import WhereNode

from bronto_orders.models import Order
from bronto_orders.models.querysets import CHUNK, OrderQuerySet

Filters = dict[str, Any]

#: What ``keys`` raises for filters that another version has written.
UNREADABLE = (FieldError, KeyError, TypeError, ValueError)


class _NotPlainError(Exception):
    """The conditions cannot be written as JSON."""


def keep(orders: OrderQuerySet) -> tuple[Filters, int]:
    """Return what ``keys`` needs to find these orders again, and how many they are now."""
    found = orders.order_by("-pk").values_list("pk", flat=True)
    # Of a slice, and of a union and the like, the conditions say only a part.
    is_whole = not orders.query.is_sliced and not orders.query.combinator
    if is_whole and len(found[: CHUNK + 1]) > CHUNK:
        with suppress(_NotPlainError):
            return {"where": _written(orders.query.where)}, orders.order_by().count()
    # A join yields an order once for each row that it finds.
    keys = list(dict.fromkeys(found))
    return {"keys": keys}, len(keys)


def keys(filters: Filters, *, below: int, limit: int, using: str) -> list[int]:
    """Return the highest keys of the selection below one, at most so many, the highest first.

    Raises one of ``UNREADABLE``.
    """
    if "keys" in filters:
        return [pk for pk in filters["keys"] if pk < below][:limit]
    orders = Order.objects.using(using).filter(_read(filters["where"]), pk__lt=below)
    return list(orders.order_by("-pk").values_list("pk", flat=True)[:limit])


def _written(node: Any) -> Any:
    if isinstance(node, WhereNode):
        parts = [_written(child) for child in node.children]
        return {"connector": node.connector, "negated": node.negated, "parts": parts}
    if not isinstance(node, Lookup) or node.bilateral_transforms or not isinstance(node.lhs, Col):
        raise _NotPlainError
    column = node.lhs
    if column.target.model is not Order or column.alias != Order._meta.db_table:
        raise _NotPlainError
    return [column.target.name, node.lookup_name, _plain(node.rhs)]


def _plain(value: object) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal | UUID):
        return str(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(part) for part in value]
    raise _NotPlainError


def _read(node: Any) -> Q:
    if isinstance(node, list):
        name, lookup, value = node
        return Q((f"{name}__{lookup}", value))
    parts = [_read(part) for part in node["parts"]]
    return Q(*parts, _connector=node["connector"], _negated=node["negated"])
