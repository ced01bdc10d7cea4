"""What docs/admin.md says of a subclass of OrderAdmin."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin import site
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import QuerySet
from django.http import Http404, HttpRequest
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext

from bronto_orders.admin import OrderAdmin
from bronto_orders.models import Order
from tests.factories import OrderFactory

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_bronto")]


class ShopOrderAdmin(OrderAdmin):
    list_display = [*OrderAdmin.list_display, "order_source", "shipping_details"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Order]:
        return super().get_queryset(request).filter(account="outlet")


@pytest.fixture
def shop_admin() -> ShopOrderAdmin:
    return ShopOrderAdmin(Order, site)


@pytest.fixture
def superusers(rf: RequestFactory) -> HttpRequest:
    request: Any = rf.get("/")
    request.user = User(pk=1, is_active=True, is_staff=True, is_superuser=True)
    return request


def test_a_long_column_that_the_list_shows_is_read_with_it(shop_admin: ShopOrderAdmin, superusers: HttpRequest):
    OrderFactory.create_batch(3, account="outlet", shipping_details="by hand")
    rows = list(shop_admin.get_changelist_instance(superusers).result_list)
    with CaptureQueriesContext(connection) as queries:
        assert [order.shipping_details for order in rows] == ["by hand"] * 3
    assert not queries
    assert "origin_user_agent" in rows[0].get_deferred_fields()


def test_orders_that_the_queryset_leaves_out_are_nowhere(shop_admin: ShopOrderAdmin, superusers: HttpRequest):
    shown, hidden = OrderFactory(account="outlet"), OrderFactory(account="default")
    assert [order.pk for order in shop_admin.get_changelist_instance(superusers).result_list] == [shown.pk]
    assert shop_admin.resync_view(superusers, str(shown.pk)).status_code == 200
    for view in (shop_admin.diff_view, shop_admin.resync_view):
        with pytest.raises(Http404):
            view(superusers, str(hidden.pk))
