"""The admin under the themes that shops use, in a real browser: each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from bronto_orders.testing import Sandbox
from tests.e2e.test_console import OPTIONS, PATIENCE_MS
from tests.services import free_port, need, need_package

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60
PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 900}


@dataclass
class Shop:
    """A shop's admin, logged in, and what the browser complained about meanwhile."""

    page: Any
    url: str
    complaints: list[str]

    def open(self, path: str) -> None:
        self.page.goto(f"{self.url}/admin/{path}")

    def click(self, selector: str) -> None:
        self.page.locator(selector).locator("visible=true").first.click()

    def width(self) -> int:
        """Return how wide the page is, whatever the screen is."""
        wide: int = self.page.evaluate("document.documentElement.scrollWidth")
        return wide


@pytest.fixture(params=["", "unfold", "jazzmin", "grappelli"], ids=lambda theme: theme or "default")
def address(request: pytest.FixtureRequest, tmp_path: Path, bronto_sandbox: Sandbox) -> Iterator[str]:
    """Start a shop with the theme and return where it is."""
    if request.param:
        need_package(request.param)
    need("chromium", "playwright")
    port = free_port()
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.e2e.theme_settings",
        "BRONTO_TEST_THEME": request.param,
        "BRONTO_TEST_DATABASE": "sqlite",
        "BRONTO_TEST_DATABASE_NAME": str(tmp_path / "shop.sqlite3"),
        "BRONTO_TEST_SETTINGS": json.dumps({"ACCOUNTS": {"default": bronto_sandbox.account}}),
    }
    with (tmp_path / "log").open("w+") as log:
        command = [sys.executable, "-m", "tests.e2e.theme_server", str(port)]
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT) as server:
            try:
                wait_for(f"http://127.0.0.1:{port}/admin/login/", server, tmp_path / "log")
                yield f"http://127.0.0.1:{port}"
            finally:
                server.terminate()


def wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            if requests.get(url, timeout=10).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.1)
    pytest.fail(f"The shop does not answer:\n{log.read_text()}")


@pytest.fixture
def shop(address: str) -> Iterator[Shop]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=need("chromium", "playwright"), args=OPTIONS)
        context = browser.new_context(viewport=DESK)
        context.set_default_timeout(PATIENCE_MS)
        # Fonts that a theme would fetch from elsewhere.
        context.route(lambda url: not url.startswith(address), lambda route: route.abort())
        shop = Shop(context.new_page(), address, [])
        shop.page.on("pageerror", lambda error: shop.complaints.append(str(error)))
        shop.page.on("response", lambda answer: answer.status >= 400 and shop.complaints.append(answer.url))
        shop.open("login/?next=/admin/bronto_orders/")
        shop.page.fill("[name=username]", "admin")
        shop.page.fill("[name=password]", "admin")
        shop.click("[type=submit]")
        shop.page.wait_for_selector("#bronto-dashboard-link")
        yield shop
        browser.close()
    assert shop.complaints == []


def test_everything_can_be_reached_and_pressed(shop: Shop) -> None:
    page = shop.page
    shop.click("#bronto-dashboard-link a")
    page.locator(".bronto-headline").wait_for()
    assert page.get_by_role("button", name="Pause").bounding_box()["width"] > 50
    shop.click(".bronto-count-rejected a")

    page.locator("input[name=_selected_action]").first.check()
    page.select_option("select[name=action]", "resync_selected")
    shop.click("[name=index]")
    page.get_by_text("You are about to send 1 order to Bronto again.").wait_for()
    shop.click(".bronto-form [type=submit]")
    page.wait_for_selector("#bronto-run")
    page.get_by_text("0 of 1 order is done.").wait_for()
    shop.click("#bronto-run a:has-text('refused-1')")

    page.locator(".bronto-explanation").wait_for()
    page.get_by_role("heading", name="Attempts").wait_for()
    shop.click("a[href$='/resync/']")
    shop.click(".bronto-form [type=submit]")
    page.wait_for_selector("#bronto-run")


def test_an_order_is_compared_and_sent_again(shop: Shop) -> None:
    page = shop.page
    shop.open("bronto_orders/order/")
    shop.click("th a:has-text('changed-1'), td a:has-text('changed-1')")
    page.wait_for_selector(".bronto-explanation")
    shop.click("a[href$='/diff/']")
    page.get_by_text("The shop and Bronto differ in 2 places.").wait_for()
    button = page.get_by_role("button", name="Resync these differences")
    assert button.bounding_box()["width"] > 100
    button.click()
    page.get_by_text("Queued. Look again in a moment.").wait_for()


def test_a_phone_scrolls_in_one_direction(shop: Shop) -> None:
    shop.page.set_viewport_size(PHONE)
    themes_own = shop.page.goto(f"{shop.url}/admin/") and shop.width()
    for path in ("dashboard/", "2/diff/", "2/resync/"):
        shop.open(f"bronto_orders/order/{path}")
        assert shop.width() == PHONE["width"], path
    if themes_own == PHONE["width"]:
        for path in ("order/", "order/2/change/", ""):
            shop.open(f"bronto_orders/{path}")
            assert shop.width() == PHONE["width"], path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(shop: Shop, scheme: str) -> None:
    shop.page.emulate_media(color_scheme=scheme)
    shop.page.evaluate(
        """dark => {
            localStorage.setItem("jazzmin-theme-mode", dark ? "dark" : "light");
            localStorage.setItem("adminTheme", JSON.stringify(dark ? "dark" : "light"));
            localStorage.setItem("theme", dark ? "dark" : "light");
        }""",
        scheme == "dark",
    )
    for path in ("dashboard/", "2/diff/", "3/resync/"):
        shop.open(f"bronto_orders/order/{path}")
        assert shop.page.evaluate(FAINT) == [], path


#: Returns our texts whose contrast is below 4.5, as sRGB has it.
FAINT = """() => {
    const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    const over = (color, below) => {
        canvas.fillStyle = `rgb(${below})`;
        canvas.fillRect(0, 0, 1, 1);
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const behind = element => {
        if (!element) return matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18] : [255, 255, 255];
        return over(getComputedStyle(element).backgroundColor, behind(element.parentElement));
    };
    const light = color => color.map(part => part / 255)
        .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
        .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
    const faint = [];
    const walker = document.createTreeWalker(document.querySelector(".bronto"), NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        const text = walker.currentNode.textContent.trim();
        if (!text || !element.checkVisibility() || element.closest(".bronto-hidden, svg, script")) continue;
        const ground = behind(element), ink = over(getComputedStyle(element).color, ground);
        const [low, high] = [light(ground), light(ink)].sort((a, b) => a - b);
        const contrast = (high + 0.05) / (low + 0.05);
        if (contrast < 4.5) faint.push(`${text}: ${contrast.toFixed(2)}`);
    }
    return faint;
}"""
