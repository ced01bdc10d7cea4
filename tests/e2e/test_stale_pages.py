"""Pages that were opened a while ago, two tabs at once and hasty hands, in a real browser."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry

from bronto_orders.delivery.resync import Options, start_run
from bronto_orders.models import AccountStatus, Order, ResyncRun
from tests.e2e.conftest import Staff
from tests.factories import OrderFactory, acknowledge

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

HOME = "/admin/bronto_orders/"
LIST = f"{HOME}order/"


def expect(locator: Any) -> Any:
    from playwright.sync_api import expect

    return expect(locator)


@pytest.fixture
def order() -> Order:
    order: Order = OrderFactory(items=1)
    acknowledge(order)
    return order


def open_run() -> ResyncRun:
    return start_run(Order.objects.all(), trigger="command", options=Options())[0]


def test_a_double_click_starts_one_resync(staff: Staff, order: Order) -> None:
    page = staff.open(f"{LIST}{order.pk}/resync/")
    page.get_by_role("button", name="Send 1 order").dblclick()
    expect(page.locator("#bronto-run-sentence")).to_be_visible()
    assert ResyncRun.objects.count() == 1
    assert LogEntry.objects.count() == 2  # of the resync, and of its order


def test_two_tabs_start_two_resyncs_and_send_once(staff: Staff, order: Order) -> None:
    first, second = staff.open(f"{LIST}{order.pk}/resync/"), staff.context.new_page()
    second.goto(first.url)
    for page in (first, second):
        page.get_by_role("button", name="Send 1 order").click()
        expect(page.locator("#bronto-run-sentence")).to_be_visible()
    expect(second.locator("#bronto-run-counts")).to_contain_text("queued already")
    assert [run.queued for run in ResyncRun.objects.order_by("pk")] == [1, 0]


def test_a_form_that_the_shop_has_overtaken_is_not_saved(staff: Staff, order: Order) -> None:
    page = staff.open(f"{LIST}{order.pk}/change/")
    order.shipped = True
    order.save()
    page.locator("#id_email_address").fill("new@example.com")
    staff.press("Save and continue editing")
    expect(page.locator(".errorlist.nonfield")).to_contain_text("Nothing was saved")
    staff.open(f"{LIST}{order.pk}/change/")
    assert page.locator("#id_shipped").is_checked()
    page.locator("#id_email_address").fill("new@example.com")
    page.get_by_role("button", name="Save and continue editing").dblclick()
    expect(page.locator(".messagelist")).to_contain_text("was changed successfully")
    order.refresh_from_db()
    assert (order.shipped, order.email_address) == (True, "new@example.com")


def test_a_resync_is_cancelled_half_way_from_two_tabs(staff: Staff, order: Order) -> None:
    others = OrderFactory.create_batch(2)
    for one in others:
        acknowledge(one)
    run = open_run()
    first, second = staff.open(f"{HOME}resyncrun/{run.pk}/change/"), staff.context.new_page()
    # It does not find out by itself, so that its button stays.
    second.route("**/runs.js", lambda route: route.abort())
    second.goto(first.url)
    acknowledge(order)
    expect(first.locator("#bronto-run-sentence")).to_contain_text("1 of 3 orders are done.")
    for page in (first, second):
        page.get_by_role("button", name="Cancel this resync").click()
        expect(page.locator("#bronto-run-sentence")).to_contain_text("Cancelled. 2 orders were taken back")
        expect(page.get_by_role("button", name="Cancel this resync")).to_have_count(0)
    expect(second.locator(".messagelist")).to_contain_text("The resync was over already.")
    assert not Order.objects.owed().exists()


def test_who_is_logged_out_is_told_that_the_resync_goes_on_unseen(staff: Staff, order: Order) -> None:
    page = staff.open(f"{HOME}resyncrun/{open_run().pk}/change/")
    expect(page.locator("#bronto-run-sentence")).to_contain_text("0 of 1 order")
    staff.context.clear_cookies()
    expect(page.locator("#bronto-run-sentence")).to_contain_text("This page is not kept up to date any more.")


def test_an_order_that_is_gone_is_said_to_be(staff: Staff, order: Order) -> None:
    page = staff.open(f"{LIST}{order.pk}/resync/")
    order.delete()
    with page.expect_navigation() as answer:
        staff.press("Send 1 order")
    assert answer.value.status == 404
    staff.complaints.clear()  # of the 404
    assert not ResyncRun.objects.exists()


def test_a_button_that_somebody_else_has_pressed_already(staff: Staff, order: Order) -> None:
    page = staff.open(f"{LIST}dashboard/")
    page.get_by_role("button", name="Stop updates").click()
    AccountStatus.objects.update_or_create(account="default", defaults={"paused": True})
    staff.press("Pause default")
    expect(page.locator(".messagelist")).to_contain_text("“default” was paused already.")
    expect(page.get_by_role("button", name="Resume default")).to_be_visible()


def test_each_page_leads_back(staff: Staff, order: Order) -> None:
    page = staff.open(f"{LIST}{order.pk}/resync/")
    assert order.customer_order_id in page.title()
    path = page.get_by_role("navigation", name="Breadcrumbs")
    path.get_by_role("link", name=order.customer_order_id).click()
    expect(page.locator("#order_form")).to_be_visible()
    staff.open(f"{LIST}{order.pk}/resync/")
    path.get_by_role("link", name="Orders", exact=True).click()
    expect(page.locator("#result_list")).to_be_visible()
    staff.open(f"{HOME}resyncrun/{open_run().pk}/change/")
    path.get_by_role("link", name="Resyncs", exact=True).click()
    expect(page.locator("#result_list")).to_be_visible()


def test_from_the_list_to_a_resync_by_keyboard_alone(staff: Staff, order: Order) -> None:
    page = staff.open(LIST)
    page.locator("input[name=_selected_action]").focus()
    page.keyboard.press("Space")
    page.locator("select[name=action]").focus()
    page.keyboard.type("Send selected")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".bronto-lead")).to_contain_text("1 order")
    page.get_by_role("radio", name="Send only what changed").focus()
    page.keyboard.press("ArrowDown")
    assert page.get_by_role("radio", name="Send again even if unchanged.").is_checked()
    page.get_by_role("checkbox", name="Fire workflows").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#bronto-run-sentence")).to_be_visible()
    assert ResyncRun.objects.get().options["force"]
