"""What staff do all day, in a real browser, with a real worker that delivers to a sandbox of its own."""

from __future__ import annotations

from typing import Any

import pytest

from bronto_orders.conf import bronto_settings
from bronto_orders.delivery.clients import client_for
from bronto_orders.models import AccountStatus, Order, ResyncRun, SyncAttempt, SyncState
from tests.e2e.conftest import Staff
from tests.factories import OrderFactory
from tests.workers.conftest import Stack, eventually

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

LIST = "/admin/bronto_orders/order/"
DASHBOARD = f"{LIST}dashboard/"
#: For what a worker does by itself, holds of an account included.
LATER_MS = 60_000


def expect(locator: Any) -> Any:
    from playwright.sync_api import expect

    return expect(locator)


def becomes(order: Order, state: SyncState) -> None:
    eventually(lambda: Order.objects.get(pk=order.pk).sync_state == state, seconds=60)


def change_at_bronto(order: Order, **fields: Any) -> None:
    order.refresh_from_db()
    client_for(bronto_settings.account("default")).update(order.bronto_order_id, fields)


def verdict(staff: Staff, field: str) -> Any:
    return staff.page.get_by_role("row", name=field).get_by_role("cell").last


def test_a_rejected_order_is_resynced(stack: Stack, staff: Staff) -> None:
    stack.sandbox.fail_next(status=400, reason="The moon is full.")
    order = OrderFactory(items=2)
    becomes(order, SyncState.REJECTED)

    page = staff.open(f"{LIST}?sync_state__exact=rejected")
    page.get_by_role("link", name=order.customer_order_id, exact=True).click()
    expect(page.locator(".bronto-explanation")).to_contain_text("Bronto does not take the order as it is.")
    expect(page.locator(".field-sync_message")).to_contain_text("The moon is full.")
    expect(page.locator(".bronto-attempts tbody tr")).to_have_count(1)
    page.get_by_role("link", name="Resync", exact=True).click()
    expect(page.locator(".bronto-lead")).to_contain_text(order.customer_order_id)
    assert stack.sandbox.orders == []
    staff.press("Send 1 order")

    # The page of the resync finds out by itself.
    expect(page.locator("#bronto-run-sentence")).to_contain_text("Done", timeout=LATER_MS)
    expect(page.locator("#bronto-run-counts")).to_contain_text("synced")
    (remote,) = stack.sandbox.orders
    assert (remote["customerOrderId"], len(remote["lineItems"])) == (order.customer_order_id, 2)
    page.get_by_role("link", name=order.customer_order_id, exact=True).click()
    expect(page.locator(".field-state .bronto-badge")).to_have_text("synced")
    expect(page.locator(".bronto-attempts tbody tr").first).to_contain_text("admin")
    # Workflows fire for what the shop does, not for what staff send again.
    assert stack.sandbox.events == []
    assert ResyncRun.objects.count() == 1


def test_an_order_changed_on_both_sides_is_settled(stack: Stack, staff: Staff) -> None:
    order = OrderFactory(items=1, shipping_details="Ring once.")
    becomes(order, SyncState.SYNCED)
    staff.open(DASHBOARD)
    staff.press("Pause default")
    expect(staff.page.locator(".bronto-headline")).to_have_text("Sending is paused.")
    change_at_bronto(order, shippingDetails="Ring thrice.", currency="EUR")
    order.refresh_from_db()
    order.shipping_details, order.shipped = "Ring twice.", True
    order.save()

    page = staff.open(f"{LIST}{order.pk}/diff/")
    expect(verdict(staff, "Shipping details")).to_contain_text("conflict")
    expect(verdict(staff, "Currency")).to_contain_text("changed at Bronto")
    expect(verdict(staff, "Shipped")).to_contain_text("changed here")
    expect(page.get_by_role("row", name="Grand total")).to_have_count(0)
    staff.press("Resync these differences")
    expect(page.locator(".messagelist")).to_contain_text("queued")
    expect(page.locator("#content-main")).to_contain_text("paused")

    staff.open(DASHBOARD)
    staff.press("Resume default")
    becomes(order, SyncState.SYNCED)
    page = staff.open(f"{LIST}{order.pk}/diff/")
    expect(page.locator(".bronto-verdict")).to_have_text("Bronto has the order as the shop has it.")
    (remote,) = stack.sandbox.orders
    assert (remote["currency"], remote["shippingDetails"], remote["states"]["shipped"]) == ("USD", "Ring twice.", True)


def test_what_bronto_has_is_accepted(stack: Stack, staff: Staff) -> None:
    order = OrderFactory(items=1)
    becomes(order, SyncState.SYNCED)
    change_at_bronto(order, currency="EUR")
    sent = SyncAttempt.objects.count()

    page = staff.open(f"{LIST}{order.pk}/diff/")
    expect(verdict(staff, "Currency")).to_contain_text("changed at Bronto")
    staff.press("Accept Bronto's as is")
    expect(page.locator(".messagelist")).to_contain_text("Accepted as Bronto has it.")
    expect(page.locator(".bronto-verdict")).to_contain_text(
        "Bronto differs in 1 place, which has been accepted as it is."
    )
    assert SyncAttempt.objects.count() == sent
    assert stack.sandbox.orders[0]["currency"] == "EUR"

    order.refresh_from_db()
    order.shipped = True
    order.save()
    eventually(lambda: stack.sandbox.orders[0]["states"]["shipped"])
    assert stack.sandbox.orders[0]["currency"] == "USD"


def test_an_outage_is_told_and_ends(stack: Stack, staff: Staff) -> None:
    first = OrderFactory()
    becomes(first, SyncState.SYNCED)
    page = staff.open(DASHBOARD)
    expect(page.locator(".bronto-headline")).to_have_text("All is well. No order waits.")
    page.evaluate("window.isSamePage = true")

    stack.sandbox.break_down("outage")
    orders = OrderFactory.create_batch(7)
    expect(page.locator(".bronto-headline")).to_have_text("Bronto does not answer as it should.", timeout=LATER_MS)
    expect(page.locator(".bronto-answers")).to_contain_text("nothing is lost")
    expect(page.locator(".bronto-answers")).to_contain_text("There is nothing to do.")
    expect(page.locator("#bronto-news")).to_contain_text("Bronto does not answer as it should.")
    list_page = staff.context.new_page()
    list_page.goto(LIST)
    expect(list_page.locator(".bronto-note")).to_contain_text("Orders wait meanwhile; nothing is lost.")

    stack.sandbox.recover()
    expect(page.locator(".bronto-headline")).to_have_text("All is well. No order waits.", timeout=LATER_MS)
    assert page.evaluate("window.isSamePage")
    assert {one["customerOrderId"] for one in stack.sandbox.orders} == {
        one.customer_order_id for one in [first, *orders]
    }
    list_page.reload()
    expect(list_page.locator("#result_list")).to_be_visible()
    expect(list_page.locator(".bronto-note")).to_have_count(0)


def test_pause_and_resume(stack: Stack, staff: Staff) -> None:
    becomes(OrderFactory(), SyncState.SYNCED)
    page = staff.open(DASHBOARD)
    staff.press("Pause default")
    expect(page.locator(".messagelist")).to_contain_text("is paused")
    assert AccountStatus.objects.get().paused
    order = OrderFactory()
    # The worker's beat asks every second.
    page.wait_for_timeout(3_000)
    assert len(stack.sandbox.orders) == 1
    assert Order.objects.get(pk=order.pk).attempts == 0

    staff.press("Resume default")
    expect(page.locator(".messagelist")).to_contain_text("goes on")
    becomes(order, SyncState.SYNCED)
    expect(page.locator(".bronto-headline")).to_have_text("All is well. No order waits.")
