"""Pausing an account, going on, and ending a hold by hand."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

from bronto_orders import exceptions as errors
from bronto_orders import signals
from bronto_orders.delivery import accounts, engine
from bronto_orders.models import AccountStatus, DbNow, Order
from tests.conftest import Broker
from tests.factories import OrderFactory
from tests.fakes import FakeBronto

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def told() -> Iterator[list[tuple[str, str]]]:
    """What the signals say."""
    told: list[tuple[str, str]] = []

    def held(account: str, reason: str, **kwargs: Any) -> None:
        told.append((account, reason))

    def released(account: str, **kwargs: Any) -> None:
        told.append((account, "released"))

    signals.account_held.connect(held)
    signals.account_released.connect(released)
    yield told
    signals.account_held.disconnect(held)
    signals.account_released.disconnect(released)


def hold(**columns: Any) -> None:
    AccountStatus.objects.update_or_create(
        pk="default", defaults={"held_until": DbNow(600), "held_reason": "auth", "refused_settings": "x", **columns}
    )


def test_a_paused_account_sends_nothing_until_it_goes_on(
    bronto: FakeBronto, told: list[tuple[str, str]], broker: Broker
) -> None:
    OrderFactory()
    assert accounts.pause("default") is True
    assert engine.deliver("default").counts == {}
    broker.hints()
    assert accounts.resume("default") is True
    assert [hint["account"] for hint in broker.hints()] == ["default"]
    assert engine.deliver("default").counts == {"accepted": 1}
    assert told == [("default", "paused"), ("default", "released")]


def test_what_is_so_already_is_told_nobody(told: list[tuple[str, str]]) -> None:
    assert accounts.resume("default") is False
    assert accounts.try_now("default") is False
    accounts.pause("default")
    told.clear()
    assert accounts.pause("default") is False
    assert told == []


def test_going_on_ends_a_hold_as_well(bronto: FakeBronto) -> None:
    OrderFactory()
    hold(paused=True)
    assert accounts.resume("default") is True
    row = AccountStatus.objects.get()
    assert (row.held_until, row.held_reason, row.refused_settings, row.paused) == (None, "", "", False)
    assert engine.deliver("default").counts == {"accepted": 1}


def test_trying_now_ends_a_hold_and_no_pause(told: list[tuple[str, str]]) -> None:
    hold(paused=True)
    assert accounts.try_now("default") is True
    row = AccountStatus.objects.get()
    assert (row.held_until, row.paused) == (None, True)
    assert told == [("default", "released")]


def test_trying_now_tries_what_was_refused(bronto: FakeBronto) -> None:
    OrderFactory()
    bronto.script.append(errors.AuthenticationError(status=403))
    assert engine.deliver("default").counts == {"held": 1}
    accounts.try_now("default")
    assert engine.deliver("default").counts == {"accepted": 1}


def test_trying_now_cuts_no_other_wait_short(bronto: FakeBronto) -> None:
    order = OrderFactory()
    Order.objects.filter(pk=order.pk).update(due_at=DbNow(50), sync_reason="server_error")
    hold()
    accounts.try_now("default")
    assert engine.deliver("default").counts == {}


def test_a_hold_that_is_over_is_none(told: list[tuple[str, str]]) -> None:
    hold(held_until=DbNow(-1))
    assert accounts.try_now("default") is False
    assert accounts.resume("default") is False
    assert told == []


def test_nobody_is_told_before_the_commit(told: list[tuple[str, str]], broker: Broker) -> None:
    hold(paused=True)
    with transaction.atomic():
        accounts.resume("default")
        assert (told, broker.hints()) == ([], [])
    assert told == [("default", "released")]
    assert len(broker.hints()) == 1
    with pytest.raises(ValueError, match="no"), transaction.atomic():
        accounts.pause("default")
        raise ValueError("no")
    assert told == [("default", "released")]


def test_an_open_breaker_probes_then(bronto: FakeBronto) -> None:
    OrderFactory.create_batch(10)
    hold(held_reason="outage", breaker_state="open", consecutive_failures=9, refused_settings="")
    accounts.try_now("default")
    bronto.always = errors.NotSentError("still away")
    engine.deliver("default")
    assert len(bronto.calls) == 3
    assert AccountStatus.objects.get().breaker_state == "open"
    assert Order.objects.filter(sync_state="synced").count() == 0


def test_holds_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "bronto_orders"):
        accounts.pause("default")
        accounts.resume("default")
    records = [record for record in caplog.records if record.name == "bronto_orders.delivery.accounts"]
    assert [record.levelname for record in records] == ["WARNING", "INFO"]
    assert {record.account for record in records} == {"default"}  # type: ignore[attr-defined]


class TestCommand:
    def run(self, *args: str) -> str:
        out = io.StringIO()
        call_command("bronto_pause", *args, stdout=out)
        return out.getvalue()

    def test_pauses_and_goes_on(self) -> None:
        assert self.run() == "default: paused.\n"
        assert self.run("--account", "default") == "default: was paused already.\n"
        assert AccountStatus.objects.get().paused
        assert self.run("--end") == "default: goes on.\n"
        assert self.run("--end") == "default: was not stopped.\n"
        assert not AccountStatus.objects.get().paused

    def test_unknown_account(self) -> None:
        with pytest.raises(CommandError, match="'nobody'"):
            self.run("--account", "nobody")
        assert not AccountStatus.objects.exists()
