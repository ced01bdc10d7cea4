"""Every page of the admin in a real browser: under a strict Content-Security-Policy, on a telephone, and by axe."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import engine
from bronto_orders.delivery.clients import client_for
from bronto_orders.delivery.resync import Options, start_run
from bronto_orders.models import AccountStatus, Order, ResyncRun, SyncAttempt
from bronto_orders.testing import Sandbox
from tests.e2e.conftest import DESK, PHONE, Staff
from tests.factories import OrderFactory

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

HOME = "/admin/bronto_orders/"
LIST = f"{HOME}order/"


class World:
    """A busy day: each kind of order, a resync that goes on, one that is over, and an account that is held."""

    def __init__(self, sandbox: Sandbox, person: User) -> None:
        self.changed = OrderFactory(items=3, shipping_details="Ring twice. " * 30, shipped=True, tid="a" * 64)
        self.synced = OrderFactory(items=1, processed=False)
        engine.deliver("default")
        self.changed.refresh_from_db()
        remote = client_for(bronto_settings.account("default"))
        remote.update(
            self.changed.bronto_order_id,
            {"currency": "EUR", "shippingTrackingUrl": "https://example.com/" + "x" * 300, "lineItems": []},
        )
        self.changed.shipping_details = "Ring thrice."
        self.changed.save()
        sandbox.fail_next(2, status=400, reason="The moon is full.")
        self.rejected = OrderFactory(email_address="a" * 60 + "@" + "b" * 60 + ".example.com")
        trigger = f"admin:{person.pk}"
        self.over, _new = start_run(Order.objects.filter(pk=self.rejected.pk), trigger=trigger, options=Options())
        engine.deliver("default")
        self.running, _new = start_run(Order.objects.all(), trigger=trigger, options=Options(force=True))
        ResyncRun.objects.filter(pk=self.running.pk).update(finished_at=None, started_at=timezone.now())
        self.waiting = OrderFactory()
        AccountStatus.objects.update_or_create(
            account="default",
            defaults={
                "held_until": timezone.now() + timedelta(hours=1),
                "held_reason": "outage",
                "held_message": "Bronto answered 503 five times.",
                "breaker_state": "open",
            },
        )
        self.attempt = SyncAttempt.objects.filter(order=self.rejected).first() or SyncAttempt.objects.latest("pk")


@pytest.fixture
def world(bronto_sandbox: Sandbox, settings: Any, superuser: User) -> World:
    settings.BRONTO_ORDERS = {"ACCOUNTS": {"default": bronto_sandbox.account}}
    return World(bronto_sandbox, superuser)


#: How each page is come to.
PAGES: dict[str, Callable[[Staff, World], Any]] = {
    "home": lambda staff, world: staff.open(HOME),
    "dashboard": lambda staff, world: staff.open(f"{LIST}dashboard/"),
    "list": lambda staff, world: staff.open(LIST),
    "filtered list": lambda staff, world: staff.open(f"{LIST}?sync_state__exact=rejected&reason=refused"),
    "list without results": lambda staff, world: staff.open(f"{LIST}?q=nothing&last_sent=never"),
    "add": lambda staff, world: staff.open(f"{LIST}add/"),
    "change": lambda staff, world: staff.open(f"{LIST}{world.changed.pk}/change/"),
    "history": lambda staff, world: staff.open(f"{LIST}{world.changed.pk}/history/"),
    "diff": lambda staff, world: staff.open(f"{LIST}{world.changed.pk}/diff/"),
    "diff of all": lambda staff, world: staff.open(f"{LIST}{world.changed.pk}/diff/?all=1"),
    "resync of one": lambda staff, world: staff.open(f"{LIST}{world.rejected.pk}/resync/"),
    "resync of many": lambda staff, world: staff.choose("resync_selected", world.changed, world.rejected),
    "ignore": lambda staff, world: staff.choose("mark_as_ignored", world.waiting, world.rejected),
    "delete": lambda staff, world: staff.open(f"{LIST}{world.rejected.pk}/delete/"),
    "delete of many": lambda staff, world: staff.choose("delete_selected", world.rejected, world.changed),
    "runs": lambda staff, world: staff.open(f"{HOME}resyncrun/"),
    "running": lambda staff, world: staff.open(f"{HOME}resyncrun/{world.running.pk}/change/"),
    "run that is over": lambda staff, world: staff.open(f"{HOME}resyncrun/{world.over.pk}/change/"),
    "attempts": lambda staff, world: staff.open(f"{HOME}syncattempt/"),
    "attempt": lambda staff, world: staff.open(f"{HOME}syncattempt/{world.attempt.pk}/change/"),
    "accounts": lambda staff, world: staff.open(f"{HOME}accountstatus/"),
    "account": lambda staff, world: staff.open(f"{HOME}accountstatus/default/change/"),
}


@pytest.mark.parametrize("name", PAGES)
def test_page(name: str, staff: Staff, world: World) -> None:
    """Of the fixture ``staff``: no error, no warning and no violation of the policy in the console."""
    page = PAGES[name](staff, world)
    staff.unfold()
    found = []
    for scheme in ("light", "dark"):
        for viewport in (DESK, PHONE):
            staff.shows(color_scheme=scheme, viewport=viewport)
            faults = staff.barriers() + staff.overflow()
            found += [f"{scheme}, {viewport['width']} px: {fault}" for fault in faults]
    if found:
        pytest.fail("\n".join(found))
    assert page.locator("#content h1").is_visible()


def test_the_policy_is_in_force(staff: Staff, world: World) -> None:
    page = staff.open(LIST)
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">x</p>')")
    page.wait_for_timeout(100)
    assert any("style-src" in complaint for complaint in staff.complaints)
    staff.complaints.clear()
