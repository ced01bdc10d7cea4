"""The order calls (S1, S2, H:get, H:search, H:del, H:delc, C:m26)."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from bronto_orders.sandbox.access import BearerAuthentication, HasScope
from bronto_orders.sandbox.endpoint import Endpoint
from bronto_orders.sandbox.lookup import Lookup, read_lookup
from bronto_orders.sandbox.orders import Options, add_order, delete_order, get_order, search_orders, update_order
from bronto_orders.sandbox.refusals import Refusal
from bronto_orders.sandbox.representation import wire_order
from bronto_orders.sandbox.wire import error_response, read_object


class OrderEndpoint(Endpoint):
    """A call that needs a token with the right scope."""

    authentication_classes = (BearerAuthentication,)
    permission_classes = (HasScope,)


class OrdersView(OrderEndpoint):
    """``/orders``: add and search."""

    def post(self, request: Request) -> Response:
        """Add an order: 201 and the whole order (S2)."""
        options = Options.read(_parameters(request, "createContact", "triggerEvents", "force", "ignoreInvalidTid"))
        order = add_order(read_object(request._request), options)
        return Response(wire_order(order), status=201)

    def get(self, request: Request) -> Response:
        """Search: an array, or 204 without a body when nothing matches (H:search)."""
        found = search_orders(_parameters(request, "cartId", "customerOrderId", "startDate", "endDate"))
        return Response([wire_order(order) for order in found]) if found else Response(status=204)


class OrderView(OrderEndpoint):
    """``/orders/{orderId}`` and ``/orders/customerOrderId/{customerOrderId}``: get, update, delete."""

    def get(self, request: Request, lookup: Lookup) -> Response:
        """Return the order; the documented parameters have no known effect and are ignored (H:get)."""
        return Response(wire_order(get_order(lookup)))

    def post(self, request: Request, lookup: Lookup) -> Response:
        """Update: 200 and the whole order (S1)."""
        options = Options.read(_parameters(request, "createContact", "triggerEvents", "force", "ignoreInvalidTid"))
        order = update_order(lookup, read_object(request._request), options)
        return Response(wire_order(order))

    def delete(self, request: Request, lookup: Lookup) -> Response:
        """Delete: 204, found or not (H:del, H:delc)."""
        delete_order(lookup)
        return Response(status=204)


def _parameters(request: Request, *names: str) -> dict[str, str]:
    query = request._request.GET.dict()
    return {name: query[name] for name in names if name in query}


_orders = OrdersView.as_view()
_order = OrderView.as_view()


def route_order_call(request: HttpRequest, rest: str | None = None) -> HttpResponse:
    """Choose the view by the path as it was sent, see ``lookup``."""
    try:
        lookup = read_lookup(request, rest)
    except Refusal as refusal:
        return error_response(refusal.status_code, refusal.reason)
    return _orders(request) if lookup is None else _order(request, lookup=lookup)
