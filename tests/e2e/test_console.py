"""The sandbox's console in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.sandbox.service import Process, Service
from tests.services import need

pytestmark = pytest.mark.browser

#: What a browser in a container needs, and what keeps it from calling home.
OPTIONS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PATIENCE_MS = 15_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = need("chromium", "playwright")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Process]:
    process = Process("--port", "0")
    yield process
    assert process.stop() == (0, "", "")


@pytest.fixture
def service(sandbox: Process) -> Iterator[Service]:
    service = Service(sandbox.base_url)
    service.reset()
    yield service
    service.close()


class Tab:
    """A page of the browser, and what it complained about."""

    def __init__(self, browser: Any, service: Service, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.context.set_default_timeout(PATIENCE_MS)
        self.context.add_init_script(
            "document.addEventListener('securitypolicyviolation', (e) => console.error('CSP', e.violatedDirective))"
        )
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(f"{service.base_url}/_sandbox/")

    def wait_for_a_refresh(self) -> None:
        with self.page.expect_response(lambda answer: answer.request.method == "GET" and answer.url.endswith("/")):
            pass
        # The answer is there; the script has laid it over the page by the next one.
        with self.page.expect_response(lambda answer: answer.request.method == "GET" and answer.url.endswith("/")):
            pass


@pytest.fixture
def tab(browser: Any, service: Service) -> Iterator[Tab]:
    tab = Tab(browser, service)
    yield tab
    tab.context.close()
    assert tab.complaints == []


@pytest.fixture
def plain_tab(browser: Any, service: Service) -> Iterator[Tab]:
    """Without JavaScript."""
    tab = Tab(browser, service, java_script_enabled=False)
    yield tab
    tab.context.close()
    assert tab.complaints == []


def expect(locator: Any) -> Any:
    from playwright.sync_api import expect

    return expect(locator)


def press(tab: Tab, name: str) -> None:
    tab.page.get_by_role("button", name=name, exact=True).click()


def test_an_order_arrives_without_a_reload(tab: Tab, service: Service):
    orders = tab.page.locator("#orders")
    expect(orders).to_contain_text("No orders yet")
    tab.page.evaluate("window.isSamePage = true")

    service.add({"customerOrderId": "FF-1001", "emailAddress": "a@example.com"}, createContact="true")

    expect(orders.locator("summary").first).to_contain_text("FF-1001")
    expect(orders.locator("summary").first).to_contain_text("Pending")
    expect(tab.page.locator("#news")).to_contain_text("1 new order")

    service.update_by_shop_id("FF-1001", {"states": {"processed": True}})

    expect(orders.locator("summary").first).to_contain_text("Processed")
    expect(tab.page.locator("#events")).to_contain_text("Order added")
    assert tab.page.evaluate("window.isSamePage")


def test_outage_and_recovery(tab: Tab, service: Service):
    headers = {"Authorization": f"Bearer {service.token}"}
    verdict = tab.page.get_by_role("status").filter(has_text="Answering normally")
    expect(verdict).to_be_visible()

    press(tab, "Outage")
    expect(tab.page.locator("#verdict")).to_contain_text("Every call answers 503")
    expect(tab.page).to_have_title("Outage · Bronto sandbox")
    assert service.call("GET", "/orders?customerOrderId=a", headers=headers).status_code == 503
    expect(tab.page.locator("#state")).to_contain_text("1 call struck")
    expect(tab.page.locator("#requests summary").first).to_contain_text("503 Service Unavailable")

    press(tab, "Clear faults")
    expect(verdict).to_be_visible()
    assert service.call("GET", "/orders?customerOrderId=a", headers=headers).status_code == 204


def test_open_details_focus_and_selection_stay(tab: Tab, service: Service):
    service.add({"customerOrderId": "first"})
    row = tab.page.locator("#orders li", has_text="first")
    row.locator("summary").click()
    text = row.locator("pre")
    expect(text).to_be_visible()
    text.evaluate("(element) => getSelection().selectAllChildren(element)")
    row.locator("summary").focus()

    for name in ("second", "third"):
        service.add({"customerOrderId": name})
        expect(tab.page.locator("#orders li").first).to_contain_text(name)

    expect(text).to_be_visible()
    expect(row.locator("summary")).to_be_focused()
    assert '"customerOrderId": "first"' in tab.page.evaluate("getSelection().toString()")

    service.update_by_shop_id("first", {"states": {"shipped": True}})
    expect(row.locator("summary")).to_contain_text("Shipped")
    expect(text).to_contain_text('"shipped": true')
    expect(row.locator("summary")).to_be_focused()


def test_what_is_being_typed_stays(tab: Tab, service: Service):
    field = tab.page.get_by_label("E-mail address")
    field.fill("half@")
    service.add({"customerOrderId": "a", "emailAddress": "other@example.com"}, createContact="true")
    expect(tab.page.locator("#contacts table")).to_contain_text("other@example.com")

    expect(field).to_have_value("half@")
    expect(field).to_be_focused()
    field.fill("whole@example.com")
    field.press("Enter")

    expect(tab.page.locator("#contacts table")).to_contain_text("whole@example.com")
    expect(field).to_have_value("")
    expect(field).to_be_focused()


def test_focus_has_a_place_when_its_button_goes(tab: Tab, service: Service):
    service.stage({"status": 500}, {"status": 502})
    expect(tab.page.locator("#faults tbody tr")).to_have_count(2)

    for left in (1, 0):
        tab.page.get_by_role("button", name=f"Remove fault {left + 1}").press("Enter")
        expect(tab.page.locator("#faults tbody tr")).to_have_count(left)

    expect(tab.page.get_by_role("heading", name="Make it fail")).to_be_focused()


def test_switches_by_keyboard(tab: Tab, service: Service):
    tab.page.locator("#switches summary").press("Enter")
    field = tab.page.get_by_label("orderDateOnUpdate")
    field.select_option("take")
    tab.wait_for_a_refresh()
    expect(field).to_have_value("take")

    tab.page.get_by_role("button", name="Set orderDateOnUpdate").press("Enter")

    expect(tab.page.locator("#sections")).to_contain_text("Switches 1 changed")
    assert service.control("GET", "switches")["orderDateOnUpdate"] == "take"
    expect(field).to_have_value("take")
    expect(tab.page.get_by_role("button", name="Set orderDateOnUpdate")).to_be_focused()


def test_reset_asks_first(tab: Tab, service: Service):
    service.add({"customerOrderId": "a"})
    expect(tab.page.get_by_role("button", name="Reset everything")).to_be_hidden()

    tab.page.locator(".confirm summary").click()
    press(tab, "Reset everything")

    expect(tab.page.locator("#orders")).to_contain_text("No orders yet")
    expect(tab.page.get_by_role("button", name="Reset everything")).to_be_hidden()
    assert service.orders() == []


def test_pause(tab: Tab, service: Service):
    press(tab, "Pause")
    expect(tab.page.locator("#link")).to_have_text("Paused")
    service.add({"customerOrderId": "a"})
    tab.page.wait_for_timeout(2_500)
    expect(tab.page.locator("#orders")).to_contain_text("No orders yet")

    press(tab, "Pause")

    expect(tab.page.locator("#orders")).to_contain_text("Pending")
    expect(tab.page.locator("#link")).to_have_text("Live")


def test_refusal_is_told(tab: Tab, service: Service):
    service.add({"customerOrderId": "taken"})
    tab.page.get_by_label("customerOrderId", exact=True).fill("taken")
    press(tab, "Add return")

    expect(tab.page.get_by_role("alert")).to_contain_text("already exists")
    expect(tab.page.get_by_label("customerOrderId", exact=True)).to_have_value("taken")
    # Chromium itself notes every answer of 400 and above.
    assert len(tab.complaints) == 1
    assert "409" in tab.complaints.pop()


def test_connection_is_lost_and_found(browser: Any, service: Service):
    tab = Tab(browser, service)
    tab.context.route("**/_sandbox/", lambda route: route.abort())
    expect(tab.page.locator("#link")).to_have_text("Connection lost, retrying")

    press(tab, "Outage")
    expect(tab.page.get_by_role("alert")).to_contain_text("That was not done")

    tab.context.unroute("**/_sandbox/")
    expect(tab.page.locator("#link")).to_have_text("Live")
    tab.context.close()


def test_hostile_order_does_nothing(tab: Tab, service: Service):
    hostile = "<script>document.title = 'x'</script><img src=x onerror=\"document.title = 'x'\">"
    service.add({"customerOrderId": hostile, "shippingDetails": "y" * 900_000})

    expect(tab.page.locator("#orders summary").first).to_contain_text(hostile)
    expect(tab.page).to_have_title("Answering normally · Bronto sandbox")
    expect(tab.page.locator("main img")).to_have_count(0)


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_screen(browser: Any, service: Service, width: int, scheme: Any):
    service.add({"customerOrderId": "w" * 255, "emailAddress": f"{'a' * 60}@{'b' * 60}.com"}, createContact="true")
    service.update_by_shop_id("w" * 255, {"status": "PROCESSED"}, note="x" * 500)
    service.stage({"match": {"path": "/" + "y" * 90}, "status": 503, "reason": "z" * 90})
    tab = Tab(browser, service, viewport={"width": width, "height": 800}, color_scheme=scheme)
    for summary in tab.page.locator("summary").all():
        summary.click()

    assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
    tab.context.close()
    assert tab.complaints == []


def test_without_javascript(plain_tab: Tab, service: Service):
    page = plain_tab.page
    expect(page.get_by_role("button", name="Pause")).to_be_hidden()
    expect(page.get_by_role("button", name="Copy the base URL")).to_be_hidden()
    service.add({"customerOrderId": "FF-1", "emailAddress": "a@example.com"}, createContact="true")
    page.get_by_role("link", name="Reload").click()
    page.locator("#orders summary").first.click()
    expect(page.locator("#orders pre")).to_contain_text('"customerOrderId": "FF-1"')

    press(plain_tab, "Outage")
    expect(page.locator("#verdict")).to_contain_text("Every call answers 503")
    assert service.search(customerOrderId="FF-1").status_code == 503
    press(plain_tab, "Clear faults")
    expect(page.locator("#verdict")).to_contain_text("Answering normally")

    page.get_by_label("customerOrderId", exact=True).fill("FF-1")
    press(plain_tab, "Add return")
    expect(page.get_by_role("alert")).to_contain_text("already exists")
    assert "409" in plain_tab.complaints.pop()

    page.locator(".confirm summary").click()
    press(plain_tab, "Reset everything")
    expect(page.locator("#orders")).to_contain_text("No orders yet")
    assert page.url == f"{service.base_url}/_sandbox/"
