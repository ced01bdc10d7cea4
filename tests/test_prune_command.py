from __future__ import annotations

import io
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings
from django.utils import timezone

from bronto_orders.delivery import engine
from bronto_orders.models import Order, SyncAttempt
from tests.factories import OrderFactory
from tests.fakes import FakeBronto

pytestmark = pytest.mark.django_db(transaction=True)


def run(*args: str) -> str:
    out = io.StringIO()
    call_command("bronto_prune", *args, stdout=out)
    return out.getvalue()


@pytest.fixture
def old(bronto: FakeBronto) -> Order:
    """An order of a hundred days ago, and the attempt to send it."""
    placed = timezone.now() - timedelta(days=100)
    order: Order = OrderFactory(order_date=placed, origin_ip="203.0.113.7")
    engine.deliver("default")
    SyncAttempt.objects.update(started_at=placed)
    return order


@override_settings(BRONTO_ORDERS={"ACCOUNTS": {"default": {}}, "PRIVACY": {"IP_DAYS": 30}})
def test_deletes_attempts_and_empties_what_has_had_its_time(old: Order) -> None:
    assert run() == "Attempts deleted: 1. Columns of orders emptied: 1.\n"
    old.refresh_from_db()
    assert old.origin_ip is None
    assert old.due_at is None
    assert run() == "Attempts deleted: 0. Columns of orders emptied: 0.\n"


def test_keeps_what_it_is_told_to_keep(old: Order) -> None:
    assert run("--days", "101") == "Attempts deleted: 0. Columns of orders emptied: 0.\n"
    old.refresh_from_db()
    assert old.origin_ip == "203.0.113.7"


def test_is_silent_if_asked(old: Order) -> None:
    assert run("--verbosity", "0") == ""
    assert not SyncAttempt.objects.exists()


@pytest.mark.parametrize("option", ["--days", "--per-order"])
def test_a_negative_number_is_refused(old: Order, option: str) -> None:
    with pytest.raises(CommandError, match=f"{option} must not be negative"):
        run(option, "-1")
    assert SyncAttempt.objects.exists()
