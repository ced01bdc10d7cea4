from __future__ import annotations

import pytest
from django.contrib.admin import AdminSite
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.test import Client

from bronto_orders.admin import OrderAdmin
from bronto_orders.models import Order
from tests.admin.conftest import FakeBronto, staff, url
from tests.factories import OrderFactory

pytestmark = pytest.mark.django_db

#: Who is there, with which permissions (None: no staff), and what they get: list, form, diff, resync, resync by POST.
PEOPLE = {
    "staff without permissions": ([], (403, 403, 403, 403, 403)),
    "viewer": (["view_order"], (200, 200, 403, 403, 403)),
    "editor": (["view_order", "change_order", "add_order", "delete_order"], (200, 200, 403, 403, 403)),
    "comparer": (["view_order", "view_diff"], (200, 200, 200, 403, 403)),
    "resyncer": (["view_order", "resync_order"], (200, 200, 403, 200, 302)),
    "resyncer who may change": (["change_order", "resync_order", "view_diff"], (200, 200, 200, 200, 302)),
    "resyncer who may not look": (["resync_order", "view_diff"], (403, 403, 403, 403, 403)),
}


def answers(client: Client, order: Order) -> tuple[int, ...]:
    pages = ["/admin/bronto_orders/order/", url("change", order), url("diff", order), url("resync", order)]
    posted = client.post(url("resync", order), {"mode": "changed"})
    return (*(client.get(page).status_code for page in pages), posted.status_code)


@pytest.fixture
def order() -> Order:
    order = OrderFactory()
    Order.objects.filter(pk=order.pk).update(sync_state="synced", due_at=None)
    return order


@pytest.mark.parametrize("who", PEOPLE)
def test_staff_get_what_their_permissions_say(bronto: FakeBronto, order: Order, who: str):
    permissions, expected = PEOPLE[who]
    assert answers(staff(*permissions), order) == expected
    order.refresh_from_db()
    assert (order.sync_state == "pending") is (expected[-1] == 302)
    assert bool(bronto.calls) is (expected[2] == 200)


def test_superusers_get_everything(bronto: FakeBronto, order: Order, admin_client: Client):
    assert answers(admin_client, order) == (200, 200, 200, 200, 302)


@pytest.mark.parametrize("who", ["nobody", "customer"])
def test_others_are_sent_to_the_login_page(bronto: FakeBronto, order: Order, client: Client, who: str):
    if who == "customer":
        client.force_login(User.objects.create_user("customer"))
    for page in [url("diff", order), url("resync", order)]:
        for response in (client.get(page), client.post(page, {"mode": "changed"})):
            assert response.status_code == 302
            assert response["Location"].startswith("/admin/login/")
    order.refresh_from_db()
    assert order.sync_state == "synced"
    assert not bronto.calls


def test_a_shop_may_hide_orders_from_some(bronto: FakeBronto, order: Order, rf):
    class Choosy(OrderAdmin):
        def has_view_permission(self, request, obj=None):
            return obj is None or obj.account == "outlet"

    choosy = Choosy(Order, AdminSite())
    request = rf.get("/")
    request.user = User(is_superuser=True, is_active=True, is_staff=True)
    for view in (choosy.diff_view, choosy.resync_view):
        with pytest.raises(PermissionDenied):
            view(request, str(order.pk))
    request.user = User.objects.create_user("other", is_staff=True)
    with pytest.raises(PermissionDenied):
        choosy.resync_selected(request, Order.objects.all())
    assert not bronto.calls
