"""Orders in the database, created in requests: what they take over, once, and what they say of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from django.urls import include, path

from bronto_orders import payloads, tracking
from bronto_orders.conf import TrackingSettings
from bronto_orders.models import LineItem, Order
from bronto_orders.models.order import ATTRIBUTION_COLUMNS
from bronto_orders.tracking import Note, Source, Tracking
from tests.test_tracking import DOCS_COOKIE, DOCS_TID, LINK_TID

COOKIE = TrackingSettings.cookie_name
LANDING = f"?_bta_tid={DOCS_TID}"


def buy(request: HttpRequest) -> HttpResponse:
    with transaction.atomic():
        order = Order.objects.create(customer_order_id=request.GET.get("number", "1"))
        LineItem.objects.create(order=order, sku="a")
        if "fail" in request.GET:
            transaction.set_rollback(True)
    return HttpResponse()


def buy_in_bulk(request: HttpRequest) -> HttpResponse:
    Order.objects.bulk_create([Order(customer_order_id="1"), Order(customer_order_id="2", tid=LINK_TID)])
    return HttpResponse()


async def abuy(request: HttpRequest) -> HttpResponse:
    await Order.objects.acreate(customer_order_id="1")
    return HttpResponse()


def buy_and_commit_by_hand(request: HttpRequest) -> HttpResponse:
    transaction.set_autocommit(False)
    try:
        Order.objects.create(customer_order_id="1")
        transaction.commit()
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
    return HttpResponse()


def edit(request: HttpRequest) -> HttpResponse:
    order = Order.objects.get()
    order.grand_total = 7
    order.save()
    Order.objects.update_or_create(customer_order_id=order.customer_order_id, defaults={"grand_total": 8})
    Order.objects.bulk_update([order], ["grand_total"])
    return HttpResponse()


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


urlpatterns = [
    path("admin/", admin.site.urls),
    path("bronto/", include("bronto_orders.api.urls")),
    path("buy/", buy),
    path("buy-in-bulk/", buy_in_bulk),
    path("abuy/", abuy),
    path("buy-and-commit-by-hand/", buy_and_commit_by_hand),
    path("edit/", edit),
    path("", page),
]
pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db]


def configure(settings: Any, **given: Any) -> None:
    settings.BRONTO_ORDERS = {**settings.BRONTO_ORDERS, "TRACKING": given}


def shopper(**cookies: str) -> Client:
    client = Client()
    client.cookies.load(cookies)
    return client


def said(order: Order | None = None) -> tuple[str, str, str]:
    order = order or Order.objects.get()
    return order.tid or order.tracking_cookie_value, order.attribution_source, order.attribution_note


class TestCreation:
    @pytest.mark.parametrize("url", ["/buy/", "/buy-in-bulk/"])
    def test_in_a_request(self, url: str) -> None:
        shopper().get(url + LANDING, REMOTE_ADDR="192.0.2.7")
        order = Order.objects.get(customer_order_id="1")
        assert said(order) == (DOCS_TID, Source.QUERY, "")
        assert order.attribution_seen_at is not None
        assert order.origin_ip == "192.0.2.7"
        if other := Order.objects.filter(customer_order_id="2").first():
            assert said(other) == (LINK_TID, Source.EXPLICIT, "")

    @pytest.mark.django_db(transaction=True)
    def test_in_an_async_view(self) -> None:
        asyncio.run(AsyncClient().get("/abuy/" + LANDING))
        assert said() == (DOCS_TID, Source.QUERY, "")

    @pytest.mark.django_db(transaction=True)
    def test_where_the_shop_commits_by_hand(self) -> None:
        shopper().get("/buy-and-commit-by-hand/" + LANDING)
        assert said() == (DOCS_TID, Source.QUERY, "")

    def test_without_a_click_consent_or_request(self, settings: Any) -> None:
        shopper().get("/buy/?number=1")
        configure(settings, CONSENT=lambda request: False)
        shopper(**{DOCS_COOKIE: LINK_TID}).get("/buy/?number=2")
        Order.objects.create(customer_order_id="3")
        notes = dict(Order.objects.values_list("customer_order_id", "attribution_note"))
        assert notes == {"1": Note.NO_CLICK, "2": Note.NO_CONSENT, "3": ""}
        assert not Order.objects.exclude(attribution_source="", tid="", tracking_cookie_value="").exists()

    def test_costs_no_query(self) -> None:
        counts = []
        for client in (shopper(), shopper(**{DOCS_COOKIE: LINK_TID})):
            with CaptureQueriesContext(
                connection,
            ) as queries:
                client.get(f"/buy/?number={len(counts)}")
            counts.append(len(queries))
        with CaptureQueriesContext(connection) as queries, transaction.atomic():
            order = Order.objects.create(customer_order_id="outside")
            LineItem.objects.create(order=order, sku="a")
        assert counts == [len(queries), len(queries)]

    def test_nothing_of_it_is_sent(self) -> None:
        sent = {rule.attribute for rule in payloads.FIELDS}
        assert not sent.intersection(ATTRIBUTION_COLUMNS)

    def test_outside_a_request(self) -> None:
        with tracking.use(Tracking(cookie_name=DOCS_COOKIE, cookie_value=LINK_TID, source="erp_import")):
            Order.objects.create(customer_order_id="1")
        assert said() == (LINK_TID, "erp_import", "")


class TestStaff:
    @pytest.fixture
    def boss(self) -> Client:
        client = shopper(**{DOCS_COOKIE: LINK_TID})
        client.force_login(User.objects.create_superuser("boss"))
        return client

    def form(self, **given: Any) -> dict[str, Any]:
        items = {f"line_items-{name}": "0" for name in ("TOTAL_FORMS", "INITIAL_FORMS")}
        return {"customer_order_id": "1", "account": "default", **items, **given}

    def test_in_the_shop(self, boss: Client) -> None:
        boss.get("/buy/" + LANDING)
        assert said() == ("", "", Note.STAFF)
        assert Order.objects.get().origin_ip is None

    def test_in_the_admin(self, boss: Client) -> None:
        assert boss.post(f"/admin/bronto_orders/order/add/{LANDING}", self.form()).status_code == 302
        assert said() == ("", "", Note.STAFF)
        boss.post(f"/admin/bronto_orders/order/add/{LANDING}", self.form(customer_order_id="2", tid=DOCS_TID))
        assert said(Order.objects.get(customer_order_id="2")) == (DOCS_TID, Source.EXPLICIT, "")

    def test_acting_as_a_customer(self) -> None:
        client = shopper(**{DOCS_COOKIE: LINK_TID})
        client.force_login(User.objects.create_user("customer"))
        session = client.session
        session["loginas_from_user"] = "1"
        session.save()
        client.get("/buy/")
        assert said() == ("", "", Note.IMPERSONATED)

    @pytest.mark.parametrize("landing", ["", LANDING])
    def test_edits_never_attribute_again(self, boss: Client, landing: str) -> None:
        shopper().get("/buy/" + landing, REMOTE_ADDR="192.0.2.7")
        before = Order.objects.values("tid", "tracking_cookie_value", "origin_ip", *ATTRIBUTION_COLUMNS).get()
        order = Order.objects.get()
        change = f"/admin/bronto_orders/order/{order.pk}/change/?_bta_tid={LINK_TID}"
        data = self.form(tid=order.tid, origin_ip=order.origin_ip, grand_total="5")
        assert boss.post(change, data).status_code == 302
        boss.get(f"/edit/?_bta_tid={LINK_TID}")
        shopper(**{DOCS_COOKIE: LINK_TID}).get(f"/edit/?_bta_tid={LINK_TID}")
        after = Order.objects.values("tid", "tracking_cookie_value", "origin_ip", *ATTRIBUTION_COLUMNS).get()
        assert (after, Order.objects.get().grand_total) == (before, 7)

    def test_whoever_pushes_orders_through_the_api_is_no_shopper(self, boss: Client) -> None:
        url = "/bronto/orders/default/1/"
        boss.put(url, {"tid": DOCS_TID}, content_type="application/json")
        assert said() == (DOCS_TID, Source.EXPLICIT, "")
        boss.put(url.replace("1", "2"), {}, content_type="application/json")
        assert said(Order.objects.get(customer_order_id="2")) == ("", "", Note.WITHHELD)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("persist", ["session", "cookie"])
class TestClearAfterOrder:
    @pytest.fixture
    def client(self, settings: Any, persist: str) -> Client:
        configure(settings, PERSIST=persist, CLEAR_AFTER_ORDER=True)
        client = Client()
        client.get("/" + LANDING)
        return client

    def test_one_order_uses_the_click_up(self, client: Client) -> None:
        client.get("/buy/?number=1")
        client.get("/buy/?number=2")
        assert [said(order)[::2] for order in Order.objects.order_by("pk")] == [(DOCS_TID, ""), ("", Note.NO_CLICK)]

    def test_a_checkout_that_fails_does_not(self, client: Client) -> None:
        client.get("/buy/?fail")
        client.get("/buy/?number=2")
        assert said()[0] == DOCS_TID

    def test_orders_in_bulk_do(self, client: Client) -> None:
        client.get("/buy-in-bulk/")
        client.get("/buy/?number=3")
        assert said(Order.objects.get(customer_order_id="3"))[2] == Note.NO_CLICK

    def test_orders_of_somebody_else_do_not(self, client: Client) -> None:
        with tracking.use(tracking.NOTHING):
            Order.objects.create(customer_order_id="0")
        client.get("/buy/?number=1")
        assert said(Order.objects.get(customer_order_id="1"))[0] == DOCS_TID

    def test_off_by_default(self, client: Client, settings: Any, persist: str) -> None:
        configure(settings, PERSIST=persist)
        for number in "12":
            client.get(f"/buy/?number={number}")
        assert {order.tid for order in Order.objects.all()} == {DOCS_TID}
