"""What monitoring is told."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import override_settings
from django.utils import timezone

from bronto_orders.delivery import status
from bronto_orders.models import AccountStatus, DbNow, Order
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
