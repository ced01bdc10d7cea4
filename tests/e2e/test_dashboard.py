"""The admin's dashboard in a real browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.urls import reverse
from django.utils import timezone

from bronto_orders.models import AccountStatus, Order
from tests.factories import OrderFactory
from tests.services import need

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

OPTIONS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PATIENCE_MS = 20_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = need("chromium", "playwright")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE_MS)
    # Playwright's synchronous API runs an event loop in this thread, in which Django would not use the database.
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=OPTIONS)
        yield browser
        browser.close()
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def held() -> AccountStatus:
    cache.clear()
    User.objects.create_superuser("admin", password="admin")
    order = OrderFactory()
    Order.objects.filter(pk=order.pk).update(sync_state="rejected", sync_reason="refused", due_at=None)
    until = timezone.now() + timedelta(hours=1)
    return AccountStatus.objects.create(
        account="default", held_until=until, held_reason="outage", breaker_state="open", consecutive_failures=9
    )


def open_dashboard(browser: Any, live_server: Any, **options: Any) -> Any:
    context = browser.new_context(**options)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(f"{live_server.url}{reverse('admin:login')}?next={reverse('admin:bronto_orders_dashboard')}")
    page.fill("#id_username", "admin")
    page.fill("#id_password", "admin")
    page.click("[type=submit]")
    page.wait_for_selector("#bronto-live")
    return page


def test_it_refreshes_itself_and_nothing_moves(browser: Any, live_server: Any, held: AccountStatus) -> None:
    from playwright.sync_api import expect

    page = open_dashboard(browser, live_server, viewport={"width": 600, "height": 400})
    page.evaluate("window.title = document.querySelector('#bronto-account-1')")
    page.focus("button[value=pause]")
    page.evaluate("window.scrollTo(0, 250)")
    Order.objects.update(sync_reason="id_taken")
    AccountStatus.objects.update(held_reason="auth")
    expect(page.locator(".bronto-headline")).to_have_text("Bronto refuses the account's credentials.")
    assert page.evaluate("document.activeElement.value") == "pause"
    assert page.evaluate("scrollY") == 250
    assert page.evaluate("title.isConnected")
    expect(page.locator("#bronto-news")).to_have_text("default: Bronto refuses the account's credentials.")
    expect(page.locator(".bronto-reasons a")).to_have_text("order number taken")
    page.context.close()


def test_a_focused_button_that_goes_leaves_the_focus_near(browser: Any, live_server: Any, held: AccountStatus) -> None:
    from playwright.sync_api import expect

    page = open_dashboard(browser, live_server)
    page.focus("button[value=probe]")
    AccountStatus.objects.update(held_until=None, held_reason="", breaker_state="closed")
    expect(page.locator("button[value=probe]")).to_have_count(0)
    assert page.evaluate("document.activeElement.id") == "bronto-account-1"
    page.context.close()


def test_who_is_logged_out_is_told(browser: Any, live_server: Any, held: AccountStatus) -> None:
    from playwright.sync_api import expect

    page = open_dashboard(browser, live_server)
    page.context.clear_cookies()
    expect(page.locator("#bronto-refresh")).to_have_text("You have been logged out. Please reload the page.")
    page.context.close()


def test_updates_can_be_stopped(browser: Any, live_server: Any, held: AccountStatus) -> None:
    from playwright.sync_api import expect

    page = open_dashboard(browser, live_server)
    page.click("text=Stop updates")
    AccountStatus.objects.update(held_reason="auth")
    page.wait_for_timeout(11_000)
    expect(page.locator(".bronto-headline")).to_have_text("Bronto does not answer as it should.")
    page.click("text=Update again")
    expect(page.locator(".bronto-headline")).to_have_text("Bronto refuses the account's credentials.")
    page.context.close()


@pytest.mark.parametrize("scripts", [True, False])
def test_buttons_work_with_and_without_scripts(
    browser: Any, live_server: Any, held: AccountStatus, scripts: bool
) -> None:
    from playwright.sync_api import expect

    phone = {"width": 360, "height": 700}
    page = open_dashboard(browser, live_server, java_script_enabled=scripts, viewport=phone)
    page.click("button[value=probe]")
    expect(page.locator(".messagelist")).to_contain_text("is tried now")
    page.click("button[value=pause]")
    expect(page.locator(".bronto-headline")).to_have_text("Sending is paused.")
    page.click("button[value=resume]")
    expect(page.locator(".messagelist")).to_contain_text("goes on")
    if scripts:
        assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert not AccountStatus.objects.get().paused
    page.context.close()
