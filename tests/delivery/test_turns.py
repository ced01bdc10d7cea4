"""Accounts take turns, so that the backlog of one keeps no other waiting."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.cache import cache
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from bronto_orders import tasks
from bronto_orders.delivery import engine, pace, turns
from bronto_orders.exceptions import BrontoConfigurationError
from bronto_orders.models import AccountStatus, DbNow, Order, SyncState
from tests.conftest import Broker
from tests.factories import OrderFactory
from tests.fakes import FakeBronto

pytestmark = pytest.mark.django_db(transaction=True)
ALL = ["default", "eu", "us"]


@pytest.fixture(autouse=True)
def accounts(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TURN_SECONDS", 0.2)
    monkeypatch.setattr(engine, "AHEAD_SECONDS", 0.0)
    settings.BRONTO_ORDERS = {"ACCOUNTS": {name: {"CONCURRENCY": 1} for name in ALL}}


@pytest.fixture
def slow(bronto: FakeBronto) -> FakeBronto:
    """A turn is enough for about four orders."""
    bronto.always = lambda: time.sleep(0.05)
    return bronto


def make(account: str, count: int) -> None:
    Order.objects.bulk_create(OrderFactory.build_batch(count, account=account))


def take(*first: str, **options: Any) -> list[str]:
    """Return which accounts had a turn."""
    return [turn.account for turn in turns.take(first, ALL, **options)]


def left(account: str) -> int:
    return Order.objects.due().filter(account=account).count()


def test_others_have_their_turn_before_the_rest(slow: FakeBronto) -> None:
    make("default", 12)
    make("eu", 1)
    taken = take("default")
    assert taken[:3] == ["default", "eu", "default"]
    assert set(taken[2:]) == {"default"}
    assert [left(account) for account in ALL] == [0, 0, 0]


def test_all_that_have_many_take_turns(slow: FakeBronto) -> None:
    for account in ALL:
        make(account, 12)
    assert take("eu")[:5] == ["eu", "default", "us", "eu", "default"]
    assert Order.objects.due().count() == 0


def test_an_account_with_little_to_send_asks_for_no_others(bronto: FakeBronto) -> None:
    make("default", 2)
    make("eu", 1)
    assert take("default") == ["default"]
    assert left("eu") == 1
    with CaptureQueriesContext(connection) as alone:
        engine.deliver("default")
    with CaptureQueriesContext(connection) as in_turns:
        take("default")
    assert len(in_turns) == len(alone)


def test_time_is_limited(slow: FakeBronto) -> None:
    make("default", 50)
    began = time.monotonic()
    take("default", seconds=0.5)
    assert 0.4 < time.monotonic() - began < 2
    assert left("default") > 20


def test_one_hint_is_left_for_the_rest(slow: FakeBronto, broker: Broker) -> None:
    make("default", 50)
    make("eu", 50)
    broker.hints()
    take("default", seconds=0.7)
    assert sorted(hint["account"] for hint in broker.hints()) == ["default", "eu"]


def test_nobody_is_woken_when_all_is_done(slow: FakeBronto, broker: Broker) -> None:
    make("default", 8)
    broker.hints()
    take("default")
    assert broker.hints() == []


@pytest.mark.parametrize("due", [0, 3])
def test_a_rate_limit_that_lasts_is_not_waited_for(
    bronto: FakeBronto, broker: Broker, settings: Any, due: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BRONTO_ORDERS["ACCOUNTS"]["default"] = {"RATE_LIMIT": "1/h"}
    cache.clear()
    make("default", 1 + due)
    broker.hints()
    # Ten past, with 50 minutes to wait.
    monkeypatch.setattr(pace, "time", SimpleNamespace(time=lambda: 36600.0))
    began = time.monotonic()
    assert [turn.report.counts for turn in turns.take(["default"], ALL)] == [{"accepted": 1}]
    assert [turn.report.counts for turn in turns.take(["default"], ALL)] == [{}]
    assert time.monotonic() - began < 2
    assert broker.hints() == []
    assert left("default") == due


def test_an_account_that_is_held_is_not_run_in_circles(slow: FakeBronto) -> None:
    AccountStatus.objects.create(account="eu", held_until=DbNow(60))
    make("default", 8)
    make("eu", 1)
    taken = take("default")
    assert taken.count("eu") <= taken.count("default")
    assert left("eu") == 1


def test_none_begins_once_told_to_stop(slow: FakeBronto) -> None:
    make("default", 12)
    make("eu", 1)
    ends_at = time.monotonic() + 0.19
    assert take("default", stopping=lambda: time.monotonic() > ends_at) == ["default"]
    assert left("eu") == 1


def test_a_wrong_account_stops_no_other(slow: FakeBronto, settings: Any) -> None:
    settings.BRONTO_ORDERS["ACCOUNTS"]["eu"] = {"CONCURRENCY": 0}
    make("default", 6)
    make("eu", 1)
    taken = list(turns.take(["default"], ALL))
    assert {turn.account for turn in taken if turn.error} == {"eu"}
    assert left("default") == 0


def test_all_have_their_turn_when_the_database_is_away() -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise OperationalError("gone")

    with connection.execute_wrapper(fail):
        assert turns.due_accounts(ALL, using="default") == ALL


class TestTask:
    def test_takes_turns(self, slow: FakeBronto) -> None:
        make("default", 8)
        make("eu", 1)
        tasks.deliver("default")
        assert set(Order.objects.values_list("sync_state", flat=True)) == {SyncState.SYNCED}

    def test_those_asked_for_alone(self, slow: FakeBronto) -> None:
        make("default", 8)
        make("eu", 1)
        pks = list(Order.objects.filter(account="default").values_list("pk", flat=True)[:6])
        tasks.deliver("default", pks=pks)
        assert (left("default"), left("eu")) == (2, 1)

    def test_fails_for_its_own_account_alone(self, slow: FakeBronto, settings: Any) -> None:
        settings.BRONTO_ORDERS["ACCOUNTS"]["eu"] = {"CONCURRENCY": 0}
        make("default", 6)
        make("eu", 1)
        tasks.deliver("default")
        with pytest.raises(BrontoConfigurationError, match="CONCURRENCY"):
            tasks.deliver("eu")
