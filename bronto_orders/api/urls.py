"""``path("bronto/", include("bronto_orders.api.urls"))`` serves the API below that path."""

from __future__ import annotations

from django.urls import path

from bronto_orders.api import landing, views

app_name = "bronto_orders"

urlpatterns = [
    path("accounts/", views.Accounts.as_view(), name="accounts"),
    path("tracking/", landing.Landing.as_view(), name="tracking"),
    path("orders/", views.Orders.as_view(), name="orders"),
    # The longer ones first: a number may hold slashes.
    path("orders/<str:account>/<path:customer_order_id>/diff/", views.OrderDiff.as_view(), name="order-diff"),
    path("orders/<str:account>/<path:customer_order_id>/resync/", views.OrderResync.as_view(), name="order-resync"),
    path("orders/<str:account>/<path:customer_order_id>/", views.OrderDetail.as_view(), name="order"),
    # The same by query, for any account and any number whatever.
    path("order/", views.OrderDetailByQuery.as_view(), name="order-by-query"),
    path("order/diff/", views.OrderDiffByQuery.as_view(), name="order-diff-by-query"),
    path("order/resync/", views.OrderResyncByQuery.as_view(), name="order-resync-by-query"),
]
