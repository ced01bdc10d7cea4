"""Orders under which workers die: counted, then tried alone, then given up."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any

import pytest
from django.core.cache import cache
from django.utils import timezone

from bronto_orders import exceptions as errors
from bronto_orders import signals
from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import claims, engine
from bronto_orders.models import AccountStatus, DbNow, Order, SyncState
from tests.factories import OrderFactory
from tests.fakes import FakeBronto

pytestmark = pytest.mark.django_db(transaction=True)


def deliver(**options: Any) -> dict[str, int]:
    return engine.deliver("default", **options).counts


def row(order: Order) -> Order:
    return Order.objects.get(pk=order.pk)


def claim(turn: claims.Turn = claims.Turn.ANY) -> list[Order]:
    return claims.claim("default", 10, bronto_settings.delivery, using="default", turn=turn)


def end_leases() -> None:
    Order.objects.filter(lease_token__isnull=False).update(due_at=DbNow(-1))


def die(times: int = 1) -> None:
    """Have workers claim all that is due and die."""
    for _ in range(times):
        assert claim() or claim(claims.Turn.SUSPECT)
        end_leases()


class TestCount:
    def test_leases_that_run_out_are_counted(self) -> None:
        order = OrderFactory()
        claim()
        assert row(order).crashes == 0
        end_leases()
        claim()
        assert row(order).crashes == 1

    @pytest.mark.parametrize(
        "answer", [None, errors.BadRequestError(status=400), errors.ServerError(status=500)], ids=str
    )
    def test_any_result_begins_anew(self, bronto: FakeBronto, answer: errors.BrontoError | None) -> None:
        order = OrderFactory()
        die(2)
        bronto.script.append(answer)
        deliver()
        assert row(order).crashes == 0

    def test_one_that_is_handed_back_keeps_its_count(self, bronto: FakeBronto) -> None:
        order = OrderFactory()
        die(4)
        (held,) = claim(claims.Turn.SUSPECT)
        claims.hand_back([held], using="default")
        assert (row(order).crashes, row(order).lease_token) == (4, None)
        assert claim() == []

    def test_a_save_does_not_forget(self) -> None:
        order = OrderFactory()
        die(3)
        order.save()
        assert claim() == []


class TestAlone:
    def test_from_the_third_death_on(self) -> None:
        order = OrderFactory()
        die(2)
        assert claim(claims.Turn.SUSPECT) == []
        die()
        OrderFactory()
        assert order not in claim()
        assert claim(claims.Turn.SUSPECT) == [order]

    def test_nothing_is_in_flight_beside_it(self, bronto: FakeBronto) -> None:
        suspects = {order.customer_order_id for order in OrderFactory.create_batch(3)}
        die(3)
        OrderFactory.create_batch(20)
        active, together, lock = [0], [0], threading.Lock()

        def look() -> None:
            with lock:
                active[0] += 1
                together[0] = max(together[0], active[0])
            time.sleep(0.01)
            with lock:
                active[0] -= 1

        bronto.always = look
        assert deliver(budget_seconds=-1) == {"redirected": 3}
        assert together == [1]
        assert {key for _, key, *_ in bronto.calls} == suspects
        assert deliver() == {"accepted": 23}

    def test_they_come_last(self, bronto: FakeBronto) -> None:
        suspect = OrderFactory()
        die(3)
        others = OrderFactory.create_batch(3)
        assert deliver() == {"accepted": 4, "redirected": 1}
        numbers = [key for _, key, *_ in bronto.calls]
        assert numbers[3] == suspect.customer_order_id
        assert set(numbers[:3]) == {order.customer_order_id for order in others}

    def test_one_at_a_time_for_all_workers(self) -> None:
        OrderFactory.create_batch(2)
        die(3)
        (first,) = claim(claims.Turn.SUSPECT)
        assert claim(claims.Turn.SUSPECT) == []
        Order.objects.filter(pk=first.pk).update(**claims.at_rest(SyncState.SYNCED))
        assert len(claim(claims.Turn.SUSPECT)) == 1

    def test_one_that_kills_again_is_behind_the_others(self) -> None:
        OrderFactory(bulk=True)
        OrderFactory()
        die(3)
        (killer,) = claim(claims.Turn.SUSPECT)
        Order.objects.filter(pk=killer.pk).update(due_at=DbNow(-0.5))
        (other,) = claim(claims.Turn.SUSPECT)
        assert other != killer

    def test_not_while_the_account_is_held(self, bronto: FakeBronto) -> None:
        OrderFactory()
        die(3)
        AccountStatus.objects.create(account="default", paused=True)
        assert deliver() == {}

    def test_not_once_the_run_is_to_stop(self, bronto: FakeBronto) -> None:
        OrderFactory()
        die(3)
        assert deliver(stopping=lambda: True) == {}

    def test_within_the_rate_limit(self, bronto: FakeBronto, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        OrderFactory.create_batch(5)
        die(3)
        settings.BRONTO_ORDERS = {"ACCOUNTS": {"default": {"RATE_LIMIT": "2/s"}}}
        cache.clear()
        clock, sent = [7000.0], Counter[int]()

        def nap(seconds: float) -> None:
            clock[0] += seconds

        def count() -> None:
            sent[int(clock[0])] += 1
            raise errors.BadRequestError(status=400)

        monkeypatch.setattr("bronto_orders.delivery.pace.time.time", lambda: clock[0])
        monkeypatch.setattr(engine.time, "sleep", nap)
        bronto.always = count
        assert deliver() == {"rejected": 5}
        assert sent == {7000: 2, 7001: 2, 7002: 1}


class TestGivenUp:
    def test_after_six(self, bronto: FakeBronto) -> None:
        poison = OrderFactory()
        die(claims.MAX_CRASHES)
        others = OrderFactory.create_batch(2)
        told: list[tuple[int, str]] = []

        def tell(order_id: int, reason: str, **kwargs: Any) -> None:
            told.append((order_id, reason))

        signals.order_rejected.connect(tell)
        try:
            assert deliver() == {"accepted": 2, "rejected": 1}
        finally:
            signals.order_rejected.disconnect(tell)
        done = row(poison)
        assert (done.sync_state, done.sync_reason, done.due_at) == (SyncState.REJECTED, "crash_loop", None)
        assert "6 times" in done.sync_message
        assert told == [(poison.pk, "crash_loop")]
        assert {row(order).sync_state for order in others} == {SyncState.SYNCED}
        assert poison.customer_order_id not in bronto.orders

    def test_not_before(self, bronto: FakeBronto) -> None:
        order = OrderFactory()
        die(claims.MAX_CRASHES - 1)
        deliver()
        deliver()
        assert row(order).sync_state == SyncState.SYNCED

    def test_a_change_begins_afresh(self, bronto: FakeBronto) -> None:
        poison = OrderFactory()
        die(claims.MAX_CRASHES)
        deliver()
        poison.shipped = True
        poison.save()
        assert (row(poison).crashes, row(poison).sync_state) == (0, SyncState.PENDING)
        deliver()
        assert row(poison).sync_state == SyncState.SYNCED

    def test_so_does_a_resync(self, bronto: FakeBronto) -> None:
        poison = OrderFactory()
        die(claims.MAX_CRASHES)
        deliver()
        Order.objects.filter(pk=poison.pk).resync(options={}, force=False)
        deliver()
        assert row(poison).sync_state == SyncState.SYNCED

    def test_what_it_may_have_left_at_bronto_is_found(self, bronto: FakeBronto) -> None:
        poison = OrderFactory()
        number = poison.customer_order_id
        bronto.orders[number] = {"orderId": "b-1", "customerOrderId": number, "hasTracking": False}
        die(claims.MAX_CRASHES)
        deliver()
        poison.save()
        deliver()
        assert bronto.operations == ["update_by_customer_order_id"]
        assert row(poison).synced_at <= timezone.now()
