"""``include("bronto_orders.sandbox.urls")`` serves the whole sandbox below the path it is mounted at."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import path, re_path

from bronto_orders.sandbox import control
from bronto_orders.sandbox.exchange import ORDERS_PATH, TOKEN_PATH, observed
from bronto_orders.sandbox.oauth import TokenView
from bronto_orders.sandbox.views import route_order_call
from bronto_orders.sandbox.wire import error_response

app_name = "bronto_sandbox"

urlpatterns = [
    # One community sample ends the token's path in a slash; no call here is ever redirected.
    re_path(r"^oauth2/token/?\Z", observed(TOKEN_PATH, TokenView.as_view()), name="token"),
    re_path(r"^orders(?P<rest>/[\s\S]*)?\Z", observed(ORDERS_PATH, route_order_call), name="orders"),
    path("_sandbox/orders", control.OrdersView.as_view(), name="control-orders"),
    path("_sandbox/contacts", control.ContactsView.as_view(), name="control-contacts"),
    path("_sandbox/returns", control.ReturnsView.as_view(), name="control-returns"),
    path("_sandbox/events", control.EventsView.as_view(), name="control-events"),
    path("_sandbox/requests", control.RequestsView.as_view(), name="control-requests"),
    path("_sandbox/clients", control.ClientsView.as_view(), name="control-clients"),
    path("_sandbox/tokens/revoke", control.RevokeView.as_view(), name="control-revoke"),
    path("_sandbox/faults", control.FaultsView.as_view(), name="control-faults"),
    path("_sandbox/switches", control.SwitchesView.as_view(), name="control-switches"),
    path("_sandbox/reset", control.ResetView.as_view(), name="control-reset"),
]


# For the pages outside the views, where the sandbox is a whole site; a host project has its own.
def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return error_response(404, "no such path")


def server_error(request: HttpRequest, *args: Any) -> HttpResponse:
    return error_response(500, "internal error of the sandbox")


handler404 = not_found
handler500 = server_error
