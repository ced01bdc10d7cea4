"""A landing page from a cache, whose script tells the shop of the click."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.test import Client
from django.urls import include, path
from django.views.decorators.cache import cache_page

from bronto_orders.models import Order
from tests.e2e.conftest import PATIENCE_MS, WATCH
from tests.test_tracking import DOCS_TID, LINK_TID

pytestmark = [pytest.mark.browser, pytest.mark.urls(__name__), pytest.mark.django_db(transaction=True)]

PAGE = """{% load static %}<!doctype html><html lang="en"><title>Landing</title>
<script src="{% static 'bronto_orders/tracking.js' %}" data-url="{% url 'bronto_orders:tracking' %}" defer></script>"""
rendered = 0


@cache_page(60)
def landing(request: HttpRequest) -> HttpResponse:
    global rendered
    rendered += 1
    return HttpResponse(engines["django"].from_string(PAGE).render({}))


def buy(request: HttpRequest) -> HttpResponse:
    Order.objects.create(customer_order_id=request.GET["number"])
    return HttpResponse("Thank you")


urlpatterns = [
    path("", landing),
    path("buy/", buy),
    path("bronto/", include("bronto_orders.api.urls")),
    path("favicon.ico", lambda request: HttpResponse(status=204)),
]


class Shopper:
    """Somebody with a browser of their own, in which nothing may be complained about."""

    def __init__(self, browser: Any, url: str) -> None:
        self.url = url
        self.context = browser.new_context(base_url=url)
        self.context.set_default_timeout(PATIENCE_MS)
        self.context.add_init_script(WATCH)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def land(self, query: str) -> int:
        """Open the landing page; return the answer that the script got."""
        with self.page.expect_response("**/bronto/tracking/") as answer:
            self.page.goto(f"/{query}")
        return int(answer.value.status)

    def buy(self, number: str) -> Order:
        self.page.goto(f"/buy/?number={number}")
        return Order.objects.get(customer_order_id=number)


@pytest.fixture
def shopper(browser: Any, live_server: Any) -> Iterator[Shopper]:
    global rendered
    cache.clear()
    rendered = 0
    made = Shopper(browser, live_server.url)
    page = Client().get("/")
    assert (page.has_header("Vary"), dict(page.cookies)) == (False, {})
    # As a cache in front of the shop does that takes no notice of queries: the shop sees nothing of the landing.
    made.context.route(
        re.compile(rf"{re.escape(live_server.url)}/\?"),
        lambda route: route.fulfill(body=page.content, headers=dict(page.headers)),
    )
    yield made
    made.context.close()
    assert made.complaints == []
    cache.clear()


def configure(settings: Any, **given: Any) -> None:
    settings.BRONTO_ORDERS = {**settings.BRONTO_ORDERS, "TRACKING": given}


@pytest.mark.parametrize("persist", ["session", "cookie"])
def test_the_click_reaches_the_order_though_the_page_was_cached(shopper: Shopper, settings: Any, persist: str) -> None:
    configure(settings, PERSIST=persist)
    assert rendered == 1
    assert shopper.land(f"?_bta_tid={DOCS_TID}") == 204
    first = shopper.buy("1")
    assert shopper.land(f"?_bta_tid={DOCS_TID}&utm_source=x&_bta_tid={LINK_TID}#top") == 204
    second = shopper.buy("2")
    assert [first.tid, second.tid] == [DOCS_TID, LINK_TID]
    assert {first.attribution_source, second.attribution_source} == {
        "session" if persist == "session" else "signed_cookie"
    }


def test_a_page_without_a_click_sends_nothing(shopper: Shopper, settings: Any) -> None:
    configure(settings, PERSIST="cookie")
    calls: list[str] = []
    shopper.page.on("request", lambda request: calls.append(request.url.removeprefix(shopper.url)))
    shopper.page.goto("/?utm_source=newsletter")
    shopper.page.wait_for_load_state("networkidle")
    assert [call for call in calls if call.startswith("/bronto/")] == []
    assert shopper.context.cookies() == []


def test_signed_in_customers_send_their_token(shopper: Shopper, settings: Any) -> None:
    configure(settings, PERSIST="session")
    client = Client()
    client.force_login(User.objects.create_user("customer"))
    session = client.cookies["sessionid"].value
    shopper.context.add_cookies(
        [
            {"name": name, "value": value, "url": shopper.url}
            for name, value in {"sessionid": session, "csrftoken": "t" * 32}.items()
        ]
    )
    assert shopper.land(f"?_bta_tid={DOCS_TID}") == 204
    assert shopper.buy("1").tid == DOCS_TID
