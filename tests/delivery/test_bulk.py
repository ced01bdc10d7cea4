"""Live orders before those that a resync or a history load has queued, and a share for these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import cache
from django.db import OperationalError, transaction
from django.test import override_settings

from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import claims, engine
from bronto_orders.delivery.pace import Allowance, Pace
from bronto_orders.models import DbNow, Order, SyncState
from tests.factories import LineItemFactory, OrderFactory
from tests.fakes import FakeBronto

pytestmark = pytest.mark.django_db(transaction=True)


def settings(**account: Any) -> override_settings:
    return override_settings(BRONTO_ORDERS={"ACCOUNTS": {"default": account}, "DELIVERY": {"BATCH_SIZE": 1}})


def deliver() -> dict[str, int]:
    return engine.deliver("default").counts


def make(count: int, *, bulk: bool = False) -> list[str]:
    """Make orders and return their numbers; those of the bulk have been due for longer."""
    orders = Order.objects.bulk_create(OrderFactory.build_batch(count, bulk=bulk))
    if bulk:
        Order.objects.filter(bulk=True).update(due_at=DbNow(-60))
    return [order.customer_order_id for order in orders]


def is_bulk(order: Order) -> bool:
    return Order.objects.get(pk=order.pk).bulk


class TestMark:
    def test_a_resync_is_bulk_and_a_change_is_not(self, bronto: FakeBronto) -> None:
        order = OrderFactory()
        assert not is_bulk(order)
        changes: list[Callable[[], Any]] = [
            order.save,
            lambda: Order.objects.filter(pk=order.pk).update(shipped=True),
            lambda: LineItemFactory(order=order),
            lambda: Order.objects.filter(pk=order.pk).mark_changed(),
        ]
        for change in changes:
            deliver()
            Order.objects.filter(pk=order.pk).resync(options={}, force=False)
            assert is_bulk(order)
            change()
            assert not is_bulk(order)

    def test_orders_may_be_born_so(self) -> None:
        with transaction.atomic():
            order = OrderFactory(bulk=True, items=2)
        assert is_bulk(order)


class TestTurns:
    def test_live_orders_come_first(self, bronto: FakeBronto) -> None:
        bulk, live = make(3, bulk=True), make(3)
        with settings(CONCURRENCY=1):
            assert deliver() == {"accepted": 6}
        assert [number for _, number, *_ in bronto.calls] == [*live, bulk[0], *bulk[1:]]

    def test_bulk_orders_have_every_fifth(self, bronto: FakeBronto) -> None:
        bulk = make(2, bulk=True)
        make(10)
        with settings(CONCURRENCY=1):
            deliver()
        numbers = [number for _, number, *_ in bronto.calls]
        assert [numbers.index(number) for number in bulk] == [engine.BULK_TURN - 1, 2 * engine.BULK_TURN - 1]

    @pytest.mark.parametrize(
        ("turn", "expected"),
        [(claims.Turn.ANY, [True, False]), (claims.Turn.LIVE, [False]), (claims.Turn.BULK, [True])],
    )
    def test_a_claim_takes_what_it_is_for(self, turn: claims.Turn, expected: list[bool]) -> None:
        make(1, bulk=True)
        make(1)
        claimed = claims.claim("default", 9, bronto_settings.delivery, using="default", turn=turn)
        assert [order.bulk for order in claimed] == expected


class TestRateLimit:
    @pytest.fixture(autouse=True)
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        """Time stands still but for naps."""
        cache.clear()
        clock = [5000.0]

        def nap(seconds: float) -> None:
            clock[0] += seconds

        monkeypatch.setattr("bronto_orders.delivery.pace.time.time", lambda: clock[0])
        monkeypatch.setattr(engine.time, "sleep", nap)
        return clock

    @pytest.fixture
    def sent(self, bronto: FakeBronto, clock: list[float]) -> dict[int, int]:
        """Count the requests of each second."""
        sent: dict[int, int] = {}

        def count() -> None:
            sent[int(clock[0])] = sent.get(int(clock[0]), 0) + 1

        bronto.always = count
        return sent

    def test_a_fifth_is_kept_for_live_orders(self) -> None:
        with settings(RATE_LIMIT="10/s"):
            pace = Pace(bronto_settings.account("default"))
        assert pace.take(24) == Allowance(10, 8)
        pace.give_back(2)
        assert pace.take(5) == Allowance(2, 0)
        assert pace.take(1) == Allowance(0, 0)

    def test_a_look_that_finds_nothing_uses_nothing_up(self, clock: list[float]) -> None:
        with settings(RATE_LIMIT="10/s"):
            pace = Pace(bronto_settings.account("default"))
        for _ in range(3):
            pace.give_back(pace.take(24).requests)
        assert pace.take(24) == Allowance(10, 8)
        clock[0] += 1
        pace.give_back(10)
        assert pace.take(24) == Allowance(10, 8)

    @pytest.mark.parametrize("concurrency", [1, 2, 16])
    def test_bulk_orders_alone_use_their_share_to_the_end(
        self, sent: dict[int, int], clock: list[float], concurrency: int
    ) -> None:
        make(30, bulk=True)
        with settings(RATE_LIMIT="10/s", CONCURRENCY=concurrency):
            assert deliver() == {"accepted": 30}
        assert max(sent.values()) <= 8
        assert clock[0] < 5006

    def test_live_orders_use_all(self, sent: dict[int, int]) -> None:
        make(20)
        with settings(RATE_LIMIT="10/s"):
            assert deliver() == {"accepted": 20}
        assert sent == {5000: 10, 5001: 10}

    def test_a_live_order_finds_room(self, sent: dict[int, int], bronto: FakeBronto) -> None:
        make(3, bulk=True)
        (live,) = make(1)
        with settings(RATE_LIMIT="10/s", CONCURRENCY=1):
            Pace(bronto_settings.account("default")).take(8)
            assert deliver() == {"accepted": 4}
        assert sent == {5000: 1, 5001: 3}
        assert bronto.calls[0][1] == live

    def test_a_database_that_fails_between_two_claims_leaves_nothing_behind(
        self, sent: dict[int, int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make(2, bulk=True)
        make(1)
        claim, failures = claims.claim, [OperationalError("gone")]

        def fail_once(*args: Any, turn: claims.Turn, **kwargs: Any) -> list[Order]:
            if turn is claims.Turn.BULK and failures:
                raise failures.pop()
            return claim(*args, turn=turn, **kwargs)

        monkeypatch.setattr(claims, "claim", fail_once)
        with override_settings(BRONTO_ORDERS={"ACCOUNTS": {"default": {"RATE_LIMIT": "10/s"}}}):
            assert deliver() == {"accepted": 3}
        assert set(Order.objects.values_list("sync_state", flat=True)) == {SyncState.SYNCED}
