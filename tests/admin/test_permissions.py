from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin import AdminSite, site
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.exceptions import PermissionDenied
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from bronto_orders.admin import OrderAdmin
from bronto_orders.models import AccountStatus, Order, SyncAttempt
from tests.admin.conftest import LIST, FakeBronto, staff, url
from tests.factories import OrderFactory

pytestmark = pytest.mark.django_db
SECRET = "nobody-may-see-this"

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


@pytest.mark.parametrize("who", PEOPLE)
def test_what_they_may_not_do_is_refused_by_the_server(bronto: FakeBronto, order: Order, who: str):
    permissions, _expected = PEOPLE[who]
    client, before = staff(*permissions), tables()
    for verb, page, data in [
        ("add", f"{LIST}add/", {"customer_order_id": "new", "account": "default", "line_items-TOTAL_FORMS": "0"}),
        ("change", url("change", order), {"email_address": "new@example.com"}),
        ("delete", url("delete", order), {"post": "yes"}),
    ]:
        if f"{verb}_order" not in permissions:
            assert client.post(page, data).status_code == 403, verb
    for verb, action in [("resync", "resync_selected"), ("delete", "delete_selected")]:
        if f"{verb}_order" not in permissions:
            data = {"action": action, "_selected_action": [order.pk], "post": "yes", "confirmed": "1", "mode": "force"}
            # The list once more, for who may see it, and no page that asks.
            assert b'name="confirmed"' not in client.post(LIST, data).content, action
    assert tables() == before


@pytest.mark.parametrize("who", PEOPLE)
def test_they_are_offered_only_what_they_may_do(bronto: FakeBronto, order: Order, who: str):
    permissions, (listed, shown, *_rest) = PEOPLE[who]
    client = staff(*permissions)
    if listed == 200:
        page = client.get(LIST).content.decode()
        assert ('value="resync_selected"' in page) is ("resync_order" in permissions)
        assert (url("diff", order) in page) is ("view_diff" in permissions)
    if shown == 200:
        page = client.get(url("change", order)).content.decode()
        assert (url("resync", order) in page) is ("resync_order" in permissions)
        assert (url("diff", order) in page) is ("view_diff" in permissions)
        assert ('name="_save"' in page) is ("change_order" in permissions)
        assert 'id="bronto-history"' in page
        assert "bronto-explanation" in page


def tables() -> dict[str, list[dict[str, Any]]]:
    """Return all that the database holds, but for sessions, which say when they end."""
    kept = [model for model in apps.get_models() if model is not Session]
    return {model._meta.label: list(model._default_manager.order_by("pk").values()) for model in kept}


def pages(order: Order) -> list[str]:
    """Return the address of each page that this app's admin has for lists and for these rows."""
    keys = {
        Order: order.pk,
        SyncAttempt: SyncAttempt.objects.get().pk,
        AccountStatus: AccountStatus.objects.get().pk,
    }
    found = ["/admin/", "/admin/bronto_orders/"]
    for model, model_admin in site._registry.items():
        for pattern in model_admin.urls if model._meta.app_label == "bronto_orders" else []:
            args = {"object_id": keys.get(model, 0)} if "object_id" in pattern.pattern.converters else {}
            if pattern.name and set(pattern.pattern.converters) <= set(args):
                found.append(reverse(f"admin:{pattern.name}", kwargs=args))
    return found


@pytest.fixture
def everywhere(bronto: FakeBronto, order: Order, settings: Any) -> list[str]:
    settings.BRONTO_ORDERS = {"ACCOUNTS": {"default": {"CLIENT_ID": "shop", "CLIENT_SECRET": SECRET}}}
    AccountStatus.objects.create(
        account="default", paused=True, environment="hash-of-place", credentials="hash-of-id",
        refused_settings="hash-of-secret", held_reason="auth", held_until=timezone.now() + timedelta(hours=1),
    )  # fmt: skip
    SyncAttempt.objects.create(
        order=order, account="default", revision=1, operation="add", trigger="signal", started_at=timezone.now(),
        duration_ms=1, outcome="rejected",
    )  # fmt: skip
    bronto.take(order)
    found = pages(order)
    assert {url(verb, order) for verb in ("change", "diff", "resync", "delete", "history")} < set(found)
    return found


def test_looking_changes_nothing(everywhere: list[str], order: Order, admin_client: Client):
    admin_client.get("/admin/")  # caches content types
    before = tables()
    for page in everywhere:
        for query in ("", "?all=1&attempts_before=9&post=yes&confirmed=1&action=resync_selected&mode=force"):
            admin_client.get(page + query)
            assert tables() == before, page + query


def test_secrets_are_nowhere(everywhere: list[str], admin_client: Client):
    for page in everywhere:
        content = admin_client.get(page, follow=True).content.decode()
        for secret in (SECRET, "hash-of-place", "hash-of-id", "hash-of-secret"):
            assert secret not in content, page


@pytest.mark.parametrize("who", ["nobody", "customer"])
def test_others_are_sent_to_the_login_page(bronto: FakeBronto, order: Order, client: Client, who: str):
    if who == "customer":
        client.force_login(User.objects.create_user("customer"))
    for page in [LIST, *(url(verb, order) for verb in ("change", "delete", "history", "diff", "resync"))]:
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
    for action in (choosy.resync_selected, choosy.mark_as_ignored):
        with pytest.raises(PermissionDenied):
            action(request, Order.objects.all())
    request.user = User.objects.create_user("other", is_staff=True)
    with pytest.raises(PermissionDenied):
        choosy.resync_selected(request, Order.objects.all())
    assert not bronto.calls
