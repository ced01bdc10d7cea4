"""The middleware that lets orders created in a request know where the shopper came from.

Requests pay only for what they ask; see ``visitor``. The exceptions are a landing (``_bta_tid`` in the query) with
PERSIST set, and an order with CLEAR_AFTER_ORDER.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.functional import SimpleLazyObject

from bronto_orders.tracking import QUERY_PARAMETER, active
from bronto_orders.visitor import Visitor


class TrackingMiddleware:
    """Set ``request.bronto``, and make the request's origin known to orders that are created while it is handled.

    Belongs after SessionMiddleware and AuthenticationMiddleware. What a streaming response, or a task that nobody waits
    for, does after the response was returned is no longer part of the request.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self.__acall__(request)
        visitor = attach(request)
        token = active.set(visitor)
        try:
            response: HttpResponseBase = self.get_response(request)
        finally:
            active.reset(token)
            visitor.is_over = True
        if visitor.has_ordered or QUERY_PARAMETER in request.META.get("QUERY_STRING", ""):
            visitor.settle(response)
        return response

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        visitor = attach(request)
        token = active.set(visitor)
        try:
            response: HttpResponseBase = await self.get_response(request)
        finally:
            active.reset(token)
            visitor.is_over = True
        if visitor.has_ordered or QUERY_PARAMETER in request.META.get("QUERY_STRING", ""):
            await visitor.asettle(response)
        return response


def attach(request: HttpRequest) -> Visitor:
    """Set ``request.bronto`` (lazy) and ``request.abronto`` (the same, awaited) and return what stands behind them."""
    visitor = Visitor(request)
    request.bronto = SimpleLazyObject(visitor.read)  # type: ignore[attr-defined]
    request.abronto = visitor.aread  # type: ignore[attr-defined]
    return visitor
