"""While the breaker is open, one worker at a time tries a few orders."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.utils import timezone

from bronto_orders import exceptions as errors
from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import engine, gate
from bronto_orders.delivery.gate import Gate
from bronto_orders.models import AccountStatus, DbNow, Order, SyncState
from tests.factories import OrderFactory
from tests.fakes import FakeBronto

pytestmark = pytest.mark.django_db(transaction=True)


def deliver(**options: Any) -> dict[str, int]:
    return engine.deliver("default", **options).counts


def new_gate() -> Gate:
    return Gate(bronto_settings.account("default"), using="default")


def hold_left() -> float:
    held_until = AccountStatus.objects.get().held_until
    return 0.0 if held_until is None else (held_until - timezone.now()).total_seconds()


def end_hold() -> None:
    AccountStatus.objects.update(held_until=DbNow(-1))


@pytest.fixture
def outage() -> AccountStatus:
    """Open the breaker; its hold is over."""
    status = AccountStatus.objects.create(
        account="default",
        breaker_state="open",
        held_reason="outage",
        held_until=timezone.now() - timedelta(seconds=1),
        consecutive_failures=gate.THRESHOLD,
    )
    new_gate()
    return status


class TestRight:
    def test_is_one_workers(self, outage: AccountStatus) -> None:
        first, second = new_gate(), new_gate()
        assert first.claim_limit(10) == (gate.PROBES, True)
        assert second.claim_limit(10) == (0, False)
        assert first.claim_limit(10) == (0, False)

    def test_ends_with_its_holder(self, outage: AccountStatus) -> None:
        assert new_gate().claim_limit(1) == (1, True)
        assert 15 < hold_left() <= 20
        end_hold()
        assert new_gate().claim_limit(1) == (1, True)

    def test_is_given_back(self, outage: AccountStatus) -> None:
        first = new_gate()
        first.claim_limit(1)
        first.end_probe()
        assert new_gate().claim_limit(1) == (1, True)

    def test_is_only_given_back_by_its_holder(self, outage: AccountStatus) -> None:
        first, second = new_gate(), new_gate()
        first.claim_limit(1)
        second.end_probe()
        assert second.claim_limit(1) == (0, False)

    def test_is_nobodys_while_the_account_is_paused(self, outage: AccountStatus) -> None:
        AccountStatus.objects.update(paused=True)
        assert new_gate().claim_limit(1) == (0, False)

    def test_is_not_needed_when_the_breaker_is_closed(self) -> None:
        assert new_gate().claim_limit(10) == (10, False)


def test_a_success_lets_all_through(bronto: FakeBronto, outage: AccountStatus) -> None:
    OrderFactory.create_batch(10)
    assert deliver() == {"accepted": 10}
    status = AccountStatus.objects.get()
    assert (status.breaker_state, status.held_until, status.held_reason) == ("closed", None, "")


def test_no_more_than_three_in_flight(bronto: FakeBronto, outage: AccountStatus) -> None:
    OrderFactory.create_batch(10)
    bronto.always = errors.NotSentError()
    deliver()
    assert len(bronto.calls) <= gate.PROBES
    assert set(Order.objects.values_list("attempts", flat=True)) == {0}


@pytest.mark.parametrize("seconds", [15, 200])
def test_a_hold_lasts_no_longer_than_its_round(
    bronto: FakeBronto, outage: AccountStatus, settings: Any, seconds: float
) -> None:
    leases = {"ADD_LEASE_SECONDS": 300, "UPDATE_LEASE_SECONDS": 400}
    settings.BRONTO_ORDERS = {"ACCOUNTS": {"default": {"TOTAL_TIMEOUT": seconds}}, "DELIVERY": leases}
    OrderFactory()
    bronto.always = errors.NotSentError()
    deliver()
    assert gate.FIRST_HOLD - 2 < hold_left() <= gate.FIRST_HOLD


def test_a_longer_hold_that_another_worker_has_seen_stands(bronto: FakeBronto, outage: AccountStatus) -> None:
    OrderFactory()

    def throttle_meanwhile() -> None:
        AccountStatus.objects.update(held_until=DbNow(600), held_reason="throttled")
        connection.close()
        raise errors.NotSentError

    bronto.script.append(throttle_meanwhile)
    deliver()
    assert hold_left() > 500


@pytest.mark.parametrize("reload_seconds", [-1.0, 60.0])
def test_throttling_before_keeps_no_hold_after(
    bronto: FakeBronto, outage: AccountStatus, monkeypatch: pytest.MonkeyPatch, reload_seconds: float
) -> None:
    monkeypatch.setattr(gate, "RELOAD_SECONDS", reload_seconds)
    AccountStatus.objects.update(held_reason="throttled")
    OrderFactory.create_batch(10)
    assert deliver() == {"accepted": 10}
    assert hold_left() == 0


def test_throttling_meanwhile_does(bronto: FakeBronto, outage: AccountStatus) -> None:
    OrderFactory()
    bronto.script.append(errors.RateLimitedError(status=429, retry_after=40))
    deliver()
    assert hold_left() > 35
    assert AccountStatus.objects.get().held_reason == "throttled"


def test_with_nothing_to_try_the_account_is_not_held(bronto: FakeBronto, outage: AccountStatus) -> None:
    assert deliver() == {}
    assert hold_left() <= 0


def test_orders_that_need_no_request_use_up_no_probe(bronto: FakeBronto, outage: AccountStatus) -> None:
    OrderFactory.create_batch(10, currency="XXX")
    fine = OrderFactory()
    assert deliver() == {"skipped": 10, "accepted": 1}
    assert Order.objects.get(pk=fine.pk).sync_state == SyncState.SYNCED
    assert AccountStatus.objects.get().breaker_state == "closed"


def test_a_run_that_is_stopped_gives_the_right_back(bronto: FakeBronto, outage: AccountStatus) -> None:
    orders = OrderFactory.create_batch(3)
    answers = iter([False])
    deliver(stopping=lambda: next(answers, True))
    assert bronto.calls == []
    assert hold_left() <= 0
    assert Order.objects.due().count() == len(orders)


def test_an_order_that_kills_workers_may_be_the_probe(bronto: FakeBronto, outage: AccountStatus) -> None:
    order = OrderFactory()
    Order.objects.filter(pk=order.pk).update(crashes=3)
    assert deliver() == {"accepted": 1}
    assert AccountStatus.objects.get().breaker_state == "closed"


def test_a_bulk_backlog_alone_can_end_an_outage(bronto: FakeBronto, settings: Any) -> None:
    settings.BRONTO_ORDERS = {"ACCOUNTS": {"default": {"RATE_LIMIT": "10/s"}}}
    cache.clear()
    OrderFactory.create_batch(2)
    Order.objects.update(bulk=True)
    AccountStatus.objects.create(
        account="default", breaker_state="open", consecutive_failures=9, held_until=DbNow(-1), held_reason="outage"
    )
    assert engine.deliver("default").counts == {"accepted": 2}


def test_a_success_after_the_hold_lets_the_run_go_on(bronto: FakeBronto, settings: Any) -> None:
    settings.BRONTO_ORDERS = {"ACCOUNTS": {"default": {"CONCURRENCY": 6}}}
    OrderFactory.create_batch(20)
    together = threading.Barrier(6, timeout=10)

    def fail() -> None:
        together.wait()
        raise errors.NotSentError("away")

    def take_long() -> None:
        time.sleep(0.3)  # until the failures are recorded

    def succeed() -> None:
        together.wait()
        take_long()

    bronto.script.extend([*[fail] * 5, succeed, *[take_long] * 3])
    report = engine.deliver("default")
    assert report.counts == {"deferred": 5, "accepted": 15}
    assert AccountStatus.objects.get().breaker_state == "closed"
