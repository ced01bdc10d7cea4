"""Takes the pictures of the documentation: the admin of a demo shop with a day of history, in a headless browser."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings

from demo_project.supervisor import ADMIN_LOGIN, ADMIN_PASSWORD, Demo, DemoError, has_succeeded

#: What a browser in a container needs, and what keeps it from calling home.
OPTIONS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PATIENCE_MS = 30_000
DESK = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 800}
#: The orders that have pictures of their own, as demo_project.shop.history places them.
TROUBLED, CHANGED = "error at Bronto", 3


class Studio(Demo):
    """The demo with a day of history, and with nothing running that would go on delivering."""

    def __init__(self, state: Path, *, port: int, sandbox_port: int) -> None:
        super().__init__(state, port=port, sandbox_port=sandbox_port)
        manage = str(settings.BASE_DIR / "manage.py")
        self.history = self._process("history", [sys.executable, manage, "demo_history"], has_succeeded)
        self.services = [self.sandbox, self.web]

    def start(self) -> None:
        self._clear()
        self._bring_up([self.sandbox, self.preparation])
        self._bring_up([self.history])
        self._bring_up([self.web])


def photograph(url: str, folder: Path) -> Iterator[Path]:
    """Write the pictures into the folder and yield each file. Raises DemoError without a browser."""
    folder.mkdir(parents=True, exist_ok=True)
    with browser() as chromium:
        shots: list[tuple[str, Callable[[Any], None], dict[str, Any]]] = [
            ("list", show_list, {"viewport": DESK}),
            ("form", show_form, {"viewport": DESK}),
            ("diff", show_diff, {"viewport": DESK}),
            ("dashboard", show_dashboard, {"viewport": DESK}),
            ("confirm", show_confirm, {"viewport": DESK}),
            ("run", show_run, {"viewport": DESK}),
            ("dashboard-dark", show_dashboard, {"viewport": DESK, "color_scheme": "dark"}),
            ("diff-phone", show_diff, {"viewport": PHONE}),
        ]
        for name, show, how in shots:
            context = chromium.new_context(device_scale_factor=1, reduced_motion="reduce", locale="en-US", **how)
            context.set_default_timeout(PATIENCE_MS)
            context.add_init_script("localStorage.setItem('django.admin.navSidebarIsOpen', 'false')")
            page = context.new_page()
            log_in(page, url)
            show(page)
            file = folder / f"{name}.png"
            page.screenshot(path=file, animations="disabled", caret="hide")
            context.close()
            yield file


@contextmanager
def browser() -> Iterator[Any]:
    """Start the machine's own Chromium."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        raise DemoError("Chromium is needed for the pictures. On Debian and Ubuntu: apt install chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        raise DemoError("Playwright is needed for the pictures: pip install --group browser") from None
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=OPTIONS)
        yield chromium
        chromium.close()


def log_in(page: Any, url: str) -> None:
    page.goto(f"{url}/admin/login/?next=/admin/bronto_orders/order/")
    page.fill("#id_username", ADMIN_LOGIN)
    page.fill("#id_password", ADMIN_PASSWORD)
    page.click("[type=submit]")
    page.wait_for_selector("#result_list")


def show_list(page: Any) -> None:
    """The orders, as the list shows them to whoever opens it."""


def show_form(page: Any) -> None:
    page.locator("#result_list tbody tr", has_text=TROUBLED).locator("th a").first.click()
    page.wait_for_selector("#order_form")


def show_diff(page: Any) -> None:
    page.locator("#result_list tbody tr").nth(CHANGED).locator(".field-diff a").click()
    page.wait_for_selector(".bronto-diff")


def show_dashboard(page: Any) -> None:
    page.get_by_role("link", name="Dashboard").first.click()
    page.wait_for_selector("#bronto-live")


def show_confirm(page: Any) -> None:
    page.locator("#changelist-filter").get_by_role("link", name="rejected").click()
    page.check("#action-toggle")
    page.select_option("select[name=action]", "resync_selected")
    page.click("button[name=index]")
    page.wait_for_selector(".bronto-form")


def show_run(page: Any) -> None:
    show_dashboard(page)
    page.locator(".bronto-runs a").first.click()
    page.wait_for_selector("#bronto-run")
