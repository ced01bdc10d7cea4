from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.services import need, need_package
from tests.workers.conftest import Stack, running_stack

#: What a browser in a container needs, and what keeps it from calling home.
OPTIONS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PATIENCE_MS = 20_000
PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 900}
#: Parts of each page that are Django's alone; not all of them pass.
DJANGOS = [["#nav-sidebar"], [".breadcrumbs"], ["#changelist-search"], [".datetime"]]
#: What would tell of a script that should not have run, before any script of the page can.
WATCH = """
window.__xss = 0;
document.addEventListener('securitypolicyviolation',
    (event) => console.error('CSP', event.violatedDirective, event.blockedURI, event.sample));
"""


@pytest.fixture(scope="session")
def live_server(django_db_setup: None, live_server: Any) -> Any:
    """The server as pytest-django has it, started once the test database is there.

    Before, the database would pass for one in memory, and all requests that come at once would have one connection.
    """
    return live_server


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = need("chromium", "playwright")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE_MS)
    # Playwright's synchronous API runs an event loop in this thread, in which Django would not use the database.
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        browser = playwright.chromium.launch(executable_path=path, args=OPTIONS)
        yield browser
        browser.close()


class Staff:
    """Somebody at the admin, logged in, and whatever the browser complained about meanwhile."""

    def __init__(self, browser: Any, base_url: str, user: User, **options: Any) -> None:
        client = Client()
        client.force_login(user)
        self.base_url = base_url
        self.context = browser.new_context(base_url=base_url, **options)
        self.context.set_default_timeout(PATIENCE_MS)
        self.context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": base_url}])
        self.context.add_init_script(WATCH)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", lambda message: self._heard(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", self._refuse)

    def _heard(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(f"{self.page.url}: {text}")

    def _refuse(self, dialog: Any) -> None:
        self.complaints.append(f"{self.page.url}: a dialog: {dialog.message}")
        dialog.dismiss()

    def open(self, path: str) -> Any:
        """Go to a page, which must be there, and return it."""
        answer = self.page.goto(path)
        assert answer.status == 200, f"{path}: {answer.status}"
        return self.page

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def choose(self, action: str, *orders: Any) -> Any:
        """Have an action of the order list done with these orders."""
        page = self.open("/admin/bronto_orders/order/")
        for order in orders:
            page.locator(f"input[name=_selected_action][value='{order.pk}']").check()
        page.locator("select[name=action]").select_option(action)
        with page.expect_navigation():
            page.locator("button[name=index]").click()
        return page

    def shows(self, **options: Any) -> None:
        """Turn the browser's window into one that is light or dark, wide or narrow."""
        if "viewport" in options:
            self.page.set_viewport_size(options.pop("viewport"))
        self.page.emulate_media(**options)
        # Colours change by and by; what turns for ever is no transition.
        self.page.evaluate(
            """async () => { await Promise.allSettled(document.getAnimations()
                .filter((one) => one instanceof CSSTransition).map((one) => one.finished)) }"""
        )

    def unfold(self) -> None:
        """Open all that is folded."""
        self.page.evaluate("document.querySelectorAll('#content details').forEach((one) => { one.open = true; })")

    def overflow(self) -> list[str]:
        """Return what is wider than the window, the page itself first; nothing if nothing is."""
        found: list[str] = self.page.evaluate(
            """() => {
                const width = innerWidth;
                if (document.documentElement.scrollWidth <= width) return [];
                const wide = [...document.body.querySelectorAll('*')].filter((one) =>
                    one.getBoundingClientRect().right > width + 1 && !one.closest('.bronto-scroll, .results'));
                return [`${document.documentElement.scrollWidth} px`,
                    ...wide.slice(0, 8).map((one) => one.outerHTML.slice(0, 160))];
            }"""
        )
        return found

    def barriers(self) -> list[str]:
        """Return what axe finds serious or critical about the page, each with its places."""
        need_package("axe_playwright_python")
        from axe_playwright_python.sync_playwright import Axe

        # Preloading would put style sheets of axe's own into the page, which the policy refuses.
        options = {"preload": False, "resultTypes": ["violations"]}
        found = Axe().run(self.page, {"exclude": DJANGOS}, options).response["violations"]
        return [
            f"{one['id']}: {node['html'][:200]} {node['failureSummary']}"
            for one in found
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"][:5]
        ]


@pytest.fixture
def superuser(transactional_db: None) -> User:
    return User.objects.create_superuser("admin", password="admin")


@pytest.fixture
def staff(browser: Any, live_server: Any, superuser: User) -> Iterator[Staff]:
    """A superuser at a desk. Nothing may have been complained about in the end."""
    staff = Staff(browser, live_server.url, superuser, viewport=DESK)
    yield staff
    staff.context.close()
    assert staff.complaints == []


@pytest.fixture
def stack(tmp_path: Path, transactional_db: None, broker: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """The sandbox and a Celery worker with its beat, each a process of its own, with a broker that needs no server."""
    for stack in running_stack(tmp_path, "filesystem://", monkeypatch):
        stack.start_worker()
        yield stack
