"""The page that compares an order with Bronto, in a real browser, with the sandbox behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import engine
from bronto_orders.delivery.clients import client_for
from bronto_orders.models import Order
from bronto_orders.testing import OrderFactory, Sandbox
from tests.e2e.test_console import OPTIONS, PATIENCE_MS
from tests.services import need

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def order(bronto_sandbox: Sandbox, settings: Any) -> Order:
    """Changed here and, in other places, at Bronto."""
    settings.BRONTO_ORDERS = {"ACCOUNTS": {"default": bronto_sandbox.account}}
    order: Order = OrderFactory(customer_order_id="abc-1", items=30, shipping_details="Ring twice. " * 30)
    engine.deliver("default")
    order.refresh_from_db()
    long_link = "https://example.com/" + "x" * 300
    client_for(bronto_settings.account("default")).update(
        order.bronto_order_id, {"currency": "EUR", "shippingTrackingUrl": long_link, "lineItems": []}
    )
    return order


@pytest.fixture
def page(live_server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A browser in which a superuser is logged in; nothing may be complained about in its console."""
    path = need("chromium", "playwright")
    from playwright.sync_api import sync_playwright

    client = Client()
    client.force_login(User.objects.create_superuser("admin"))
    session = {"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}
    # Playwright's loop runs in this thread, and Django would not let the test look into the database.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=OPTIONS)
        context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
        context.set_default_timeout(PATIENCE_MS)
        context.add_cookies([session])
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        yield page
        browser.close()
    assert complaints == []


def open_page(page: Any, live_server: Any, order: Order, query: str = "") -> None:
    page.goto(f"{live_server.url}/admin/bronto_orders/order/{order.pk}/diff/{query}")


@pytest.mark.parametrize("query", ["", "?all=1"])
def test_a_phone_scrolls_in_one_direction(page: Any, live_server: Any, order: Order, query: str):
    page.set_viewport_size({"width": 360, "height": 700})
    open_page(page, live_server, order, query)
    for summary in page.locator("summary:visible").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    cell = page.get_by_role("row", name="Currency").get_by_role("cell").nth(2)
    assert cell.bounding_box()["width"] > 200


def test_accept_then_copy_then_resync(page: Any, live_server: Any, order: Order, bronto_sandbox: Sandbox):
    open_page(page, live_server, order)
    page.get_by_role("button", name="Accept Bronto's as is").click()
    page.get_by_text("which have been accepted as they are").wait_for()
    assert Order.objects.get().sync_state == "synced"

    page.get_by_text("What a resync would send").click()
    page.get_by_role("button", name="Copy as cURL").click()
    page.get_by_role("button", name="Copied.").wait_for()
    assert page.evaluate("navigator.clipboard.readText()").startswith("curl --request POST")

    page.get_by_role("button", name="Resync all").click()
    page.get_by_text("Queued. Look again in a moment.").wait_for()
    engine.deliver("default")
    page.get_by_role("link", name="Read again").click()
    page.get_by_text("Bronto has the order as the shop has it.").wait_for()
    assert bronto_sandbox.orders[0]["currency"] == "USD"
