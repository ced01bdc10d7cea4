"""From a campaign e-mail to the order in the sandbox, in a real browser, on the demo as its user has it."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
import requests

from tests.demo.test_project import SETTINGS, Run
from tests.e2e.conftest import PATIENCE_MS, browser
from tests.test_tracking import DOCS_COOKIE, LINK_TID

__all__ = ["browser"]  # the fixture

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(240)]


class Demo(Run):
    """A running demo, and what it knows of its orders."""

    def __init__(self, state: Path) -> None:
        inherited = {name: value for name, value in os.environ.items() if name not in SETTINGS}
        super().__init__({**inherited, "DEMO_STATE": str(state)}, state.with_name("output"))
        self.state = state

    def address(self, of: str) -> str:
        found = re.search(rf"{of} +(http://[^/ ]+)/", self.text)
        assert found, self.text
        return found[1]

    def remote(self, number: str) -> Any:
        """Return the order as the sandbox has it."""
        orders = requests.get(f"{self.address('Sandbox')}/_sandbox/orders", timeout=10).json()
        return next(order for order in orders if order["customerOrderId"] == number)

    def local(self, number: str) -> dict[str, Any]:
        """Return the order as the shop has it."""
        with closing(sqlite3.connect(self.state / "shop.sqlite3")) as database:
            database.row_factory = sqlite3.Row
            query = "SELECT * FROM bronto_orders_order WHERE customer_order_id = ?"
            return dict(database.execute(query, [number]).fetchone())


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, browser: Any) -> Iterator[Demo]:
    demo = Demo(tmp_path_factory.mktemp("demo") / "state")
    try:
        demo.wait_until_open()
        yield demo
    finally:
        demo.child.terminate()
        demo.child.wait(60)


class Visitor:
    """Somebody with a browser of their own."""

    def __init__(self, browser: Any, demo: Demo) -> None:
        self.demo = demo
        self.context = browser.new_context(base_url=demo.address("Shop"))
        self.context.set_default_timeout(PATIENCE_MS)
        self.page = self.context.new_page()

    def follow(self, campaign: int) -> str:
        """Follow the link of a campaign; return the tid that it carries."""
        self.page.goto("/inbox/")
        self.page.locator("a[href*='_bta_tid=']").nth(campaign).click()
        (tid,) = parse_qs(urlsplit(self.page.url).query)["_bta_tid"]
        return tid

    def buy(self) -> dict[str, Any]:
        """Look around, order something and wait until Bronto has it; return the order on both sides."""
        page = self.page
        page.goto("/")
        page.goto("/products/bronto-mug/")
        page.locator("form[action$='/add/'] button").click()
        page.goto("/checkout/")
        page.locator("input[name=name]").fill("Ada Lovelace")
        page.locator("input[name=email]").fill("ada@example.com")
        page.locator("main form button").last.click()
        page.locator("aside.sync[data-state=synced]").wait_for()
        number = page.locator("aside.sync").get_attribute("data-number")
        return {"remote": self.demo.remote(number), **self.demo.local(number)}


@pytest.fixture
def visitor(browser: Any, demo: Demo) -> Iterator[Callable[[], Visitor]]:
    """Makes visitors."""
    made: list[Visitor] = []

    def make() -> Visitor:
        made.append(Visitor(browser, demo))
        return made[-1]

    yield make
    for one in made:
        one.context.close()


def test_from_the_campaign_to_the_credited_order(visitor: Any) -> None:
    ada = visitor()
    tid = ada.follow(0)
    order = ada.buy()
    assert (order["tid"], order["attribution_source"]) == (tid, "session")
    assert (order["remote"]["hasTracking"], order["has_tracking"]) == (True, 1)
    assert ada.page.locator("aside.sync").get_attribute("data-tracking") == "yes"


def test_of_two_campaigns_the_later_wins(visitor: Any) -> None:
    for first, last in ((0, 1), (1, 0)):
        ada = visitor()
        ada.follow(first)
        tid = ada.follow(last)
        order = ada.buy()
        assert (order["tid"], order["remote"]["hasTracking"]) == (tid, True)


def test_without_a_campaign_none_is_credited(visitor: Any) -> None:
    order = visitor().buy()
    assert (order["tid"], order["tracking_cookie_value"], order["attribution_note"]) == ("", "", "no_click")
    assert order["remote"]["hasTracking"] is False
    assert order["origin_ip"] == "127.0.0.1"


@pytest.mark.parametrize("when", ["before", "after"])
def test_who_refuses_is_credited_to_none(visitor: Any, when: str) -> None:
    ada = visitor()
    if when == "after":
        ada.follow(0)
    ada.page.goto("/privacy/")
    ada.page.get_by_role("button", name="Do not track me").click()
    ada.page.get_by_role("button", name="You may").wait_for()
    if when == "before":
        ada.follow(0)
    order = ada.buy()
    assert (order["tid"], order["tracking_cookie_value"], order["attribution_note"]) == ("", "", "no_consent")
    assert (order["origin_ip"], order["origin_user_agent"]) == (None, "")
    remote = order["remote"]
    assert (remote["hasTracking"], remote.get("originIp"), remote.get("originUserAgent")) == (False, None, None)


def test_a_browser_that_asks_for_privacy_is_heard(visitor: Any) -> None:
    ada = visitor()
    ada.context.set_extra_http_headers({"Sec-GPC": "1"})
    ada.follow(0)
    order = ada.buy()
    assert (order["tid"], order["attribution_note"]) == ("", "privacy_control")
    assert order["remote"]["hasTracking"] is False


def test_staff_are_credited_to_none(visitor: Any) -> None:
    boss = visitor()
    boss.page.goto("/admin/login/?next=/")
    boss.page.locator("input[name=username]").fill("admin")
    boss.page.locator("input[name=password]").fill("admin")
    boss.page.locator("input[type=submit]").click()
    boss.follow(0)
    order = boss.buy()
    assert (order["tid"], order["attribution_note"], order["origin_ip"]) == ("", "staff", None)
    assert order["remote"]["hasTracking"] is False
    boss.page.goto(f"/admin/bronto_orders/order/{order['id']}/change/")
    boss.page.get_by_text("Staff placed the order").wait_for()


def test_a_cookie_as_brontos_script_sets_it(visitor: Any) -> None:
    ada = visitor()
    ada.page.goto("/")
    # As the script writes it: for years, on every path, and escaped.
    value = quote(LINK_TID, safe="")
    ada.page.evaluate(f"document.cookie = '{DOCS_COOKIE}={value}; path=/; max-age=630720000'")
    order = ada.buy()
    pair = (order["tracking_cookie_name"], order["tracking_cookie_value"])
    assert (order["tid"], pair, order["attribution_source"]) == ("", (DOCS_COOKIE, LINK_TID), "cookie")
    assert order["remote"]["hasTracking"] is True
    assert (order["remote"]["trackingCookieName"], order["remote"]["trackingCookieValue"]) == pair
