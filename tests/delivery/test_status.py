"""What monitoring is told."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import override_settings
from django.utils import timezone

from bronto_orders.delivery import status
from bronto_orders.models import AccountStatus, DbNow, Order, Tombstone
from tests.factories import OrderFactory

pytestmark = pytest.mark.django_db(transaction=True)


def test_all_is_well() -> None:
    OrderFactory()
    assert status.health() == []


def test_an_order_that_waits_for_too_long() -> None:
    OrderFactory()
    Order.objects.update(due_at=DbNow(-700))
    assert status.health(max_age=800) == []
    (complaint,) = status.health()
    assert "is a worker running?" in complaint


def test_all_that_is_wrong_at_once() -> None:
    until = timezone.now() + timedelta(hours=1)
    AccountStatus.objects.create(account="default", paused=True, held_until=until, held_reason="auth")
    OrderFactory(account="uk")
    assert status.health() == [
        "Account 'default' is paused.",
        "Account 'default' is held: auth.",
        "Orders belong to the account 'uk', which BRONTO_ORDERS does not have.",
    ]


@override_settings(BRONTO_ORDERS={"ACCOUNTS": {"bad": {"CONCURRENCY": 0}, "default": {}}})
def test_one_wrong_account_hides_no_other() -> None:
    OrderFactory()
    bad, default = status.accounts()
    assert str(bad).endswith("; not configured properly")
    assert default.counts == {"pending": 1}
    (complaint,) = status.health()
    assert "['bad']['CONCURRENCY'] must be" in complaint


def test_deletions_that_wait_or_were_refused() -> None:
    made = {"account": "default", "kind": Tombstone.Kind.ERASED, "trigger": "test"}
    Tombstone.objects.create(customer_order_id="waits", due_at=timezone.now() + timedelta(hours=1), **made)
    Tombstone.objects.create(customer_order_id="done", done_at=timezone.now(), **made)
    (account,) = status.accounts()
    assert str(account).endswith("0 skipped; 1 to be deleted")
    assert status.health() == []
    Tombstone.objects.create(customer_order_id="refused", **made)
    Tombstone.objects.filter(customer_order_id="waits").update(due_at=DbNow(-700))
    overdue, refused = status.health()
    assert "has a deletion that has been due for 70" in overdue
    assert "refused to delete orders of the account 'default' (1)" in refused


def test_deletions_that_are_tried_in_vain() -> None:
    made = {"account": "default", "kind": Tombstone.Kind.ERASED, "trigger": "test", "due_at": DbNow(3600)}
    Tombstone.objects.create(customer_order_id="new", **made)
    Tombstone.objects.create(customer_order_id="old", created_at=timezone.now() - timedelta(days=2), **made)
    (complaint,) = status.health()
    assert "not confirmed deletions of the account 'default' within a day (1)" in complaint
