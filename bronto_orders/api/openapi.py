"""Descriptions for drf-spectacular, where it is installed (the extra ``openapi``); nothing where it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

extend_schema: Any
try:
    from drf_spectacular.utils import OpenApiParameter, extend_schema
except ImportError:  # pragma: no cover - tested in a process of its own
    extend_schema = None

if TYPE_CHECKING:
    from bronto_orders.api.parameters import Parameter

Described = TypeVar("Described", bound=Callable[..., Any])


def describe(*, parameters: Iterable[Parameter] = (), **annotations: Any) -> Callable[[Described], Described]:
    """Describe a view or one of its methods, in the words of ``extend_schema``."""
    if extend_schema is None:
        return lambda described: described
    shown = [
        OpenApiParameter(
            each.name, str, OpenApiParameter.QUERY, description=each.meaning, required=each.required, enum=each.choices
        )
        for each in parameters
    ]
    described: Callable[[Described], Described] = extend_schema(parameters=shown or None, **annotations)
    return described
