"""How many orders there are, and how much was sent when."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext

from bronto_orders.client.tokens import CacheTokenStore, Token, store_key
from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import environment, figures, tokens
from bronto_orders.delivery.figures import Reason, Traffic
from bronto_orders.models import DbNow, Order, SyncAttempt
from tests.factories import OrderFactory

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 5, 4, 15, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def empty_cache() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def worth_keeping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep whatever was counted, as if it was much."""
    monkeypatch.setattr(figures, "WORTH_KEEPING", 1)


def make(count: int, account: str = "default", **delivery: object) -> list[Order]:
    made = OrderFactory.create_batch(count, account=account)
    orders = Order.objects.filter(pk__in=[order.pk for order in made])
    if "sync_state" in delivery:
        orders.update(sync_state="sending")
    orders.update(**delivery)
    return made


def attempt(order: Order, at: datetime, outcome: str = "accepted", account: str = "default", count: int = 1) -> None:
    SyncAttempt.objects.bulk_create(
        SyncAttempt(
            order=order, account=account, revision=1, operation="add", trigger="signal", started_at=at,
            duration_ms=1, outcome=outcome,
        )
        for _ in range(count)
    )  # fmt: skip


def hours() -> dict[int, dict[str, Traffic] | None]:
    """Return the traffic by the hours since it was, 0 being the current one; without hours in which nothing was."""
    found = figures.hours(using="default")
    assert [hour.start for hour in found] == [NOW.replace(minute=0) - timedelta(hours=ago) for ago in range(23, -1, -1)]
    ago = {23 - at: hour.traffic for at, hour in enumerate(found)}
    return {at: None if traffic is None else dict(traffic) for at, traffic in ago.items() if traffic != {}}


class TestUntaken:
    def untaken(self) -> dict[str, int]:
        return figures.untaken(using="default")

    def test_by_account_those_alone_of_which_tracking_was_sent(self) -> None:
        assert self.untaken() == {}
        make(3, tid="3.a", has_tracking=False)
        make(1, "outlet", tracking_cookie_value="3.a", has_tracking=False)
        for tid, taken in {("", False), ("3.a", None), ("3.a", True)}:
            make(1, tid=tid, has_tracking=taken)
        assert self.untaken() == {"default": 3, "outlet": 1}

    def test_among_the_newest(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(figures, "NEWEST", 3)
        make(2, tid="3.a", has_tracking=False)
        assert self.untaken() == {"default": 2}
        make(2, has_tracking=True)
        assert self.untaken() == {"default": 1}
        make(1)
        assert self.untaken() == {}


class TestOrders:
    def test_by_account_and_state(self) -> None:
        make(3, sync_state="synced", due_at=None)
        make(2)
        make(1, sync_state="sending", due_at=DbNow(30))
        make(4, "outlet", sync_state="rejected", due_at=None, sync_reason="refused")
        found = figures.orders(using="default")
        assert {account: one.by_state for account, one in found.items()} == {
            "default": {"synced": 3, "pending": 2, "sending": 1},
            "outlet": {"rejected": 4},
        }

    def test_reasons_by_how_many(self) -> None:
        make(1, sync_state="rejected", due_at=None, sync_reason="refused")
        make(3, sync_state="skipped", due_at=None, sync_reason="no_contact")
        make(2, sync_state="rejected", due_at=None, sync_reason="id_taken")
        found = figures.orders(using="default")["default"]
        assert found.reasons == [
            Reason(3, "skipped", "no_contact"), Reason(2, "rejected", "id_taken"), Reason(1, "rejected", "refused"),
        ]  # fmt: skip

    def test_the_oldest_due_of_all_states(self) -> None:
        make(1, due_at=DbNow(-60))
        make(1, sync_state="sending", due_at=DbNow(-120))
        make(1, "outlet", due_at=DbNow(60))
        found = figures.orders(using="default")
        assert found["default"].oldest_due_seconds == pytest.approx(120, abs=10)
        assert found["outlet"].oldest_due_seconds is None

    def test_an_order_whose_worker_died_waits(self) -> None:
        make(1, sync_state="sending", due_at=DbNow(-1))
        make(2, sync_state="sending", due_at=DbNow(30))
        assert figures.orders(using="default")["default"].by_state == {"pending": 1, "sending": 2}

    def test_few_are_counted_anew_each_time(self) -> None:
        _kept, deleted = make(2, sync_state="synced", due_at=None)
        assert figures.orders(using="default")["default"].by_state == {"synced": 2}
        deleted.delete()
        assert figures.orders(using="default")["default"].by_state == {"synced": 1}

    @pytest.mark.usefixtures("worth_keeping")
    def test_of_many_only_what_came_later_is_counted(self) -> None:
        first, *_others = make(3, sync_state="synced", due_at=None)
        figures.orders(using="default")
        make(1)
        make(2, "outlet")
        first.delete()
        with CaptureQueriesContext(connection) as queries:
            found = figures.orders(using="default")
        # The deleted one is still in it, for some minutes.
        assert found["default"].by_state == {"synced": 3, "pending": 1}
        assert found["outlet"].by_state == {"pending": 2}
        assert '"id" > ' in queries[0]["sql"].replace("`", '"')
        cache.clear()
        assert figures.orders(using="default")["default"].by_state == {"synced": 2, "pending": 1}

    @pytest.mark.usefixtures("worth_keeping")
    def test_what_was_kept_is_kept_for_no_longer_than_it_should(self) -> None:
        make(1, sync_state="synced", due_at=None)
        with time_machine.travel(NOW) as clock:
            figures.orders(using="default")
            clock.shift(figures.KEEP_ORDERS - 1)
            make(1, sync_state="synced", due_at=None)
            figures.orders(using="default")
            Order.objects.all()[0].delete()
            assert figures.orders(using="default")["default"].by_state == {"synced": 2}
            clock.shift(2)
            assert figures.orders(using="default")["default"].by_state == {"synced": 1}

    @pytest.mark.usefixtures("worth_keeping")
    def test_more_gone_than_kept(self) -> None:
        orders = make(3, sync_state="synced", due_at=None)
        figures.orders(using="default")
        Order.objects.filter(pk__in=[order.pk for order in orders]).delete()
        make(1)
        # Never less than none.
        assert figures.orders(using="default")["default"].by_state == {"pending": 1, "synced": 3}

    def test_four_queries_however_many(self, django_assert_num_queries) -> None:
        make(5, sync_state="rejected", due_at=None, sync_reason="refused")
        make(5, "outlet")
        environment.environment("default")  # which a process asks once
        with django_assert_num_queries(4):
            figures.orders(using="default")

    def test_no_orders(self) -> None:
        assert figures.orders(using="default") == {}


@pytest.fixture
def order() -> Order:
    return OrderFactory()


class TestHours:
    @pytest.fixture(autouse=True)
    def at_half_past_three(self) -> Iterator[None]:
        with time_machine.travel(NOW, tick=False):
            yield

    def test_by_hour_and_account(self, order: Order) -> None:
        attempt(order, NOW)
        attempt(order, NOW.replace(minute=0), count=2)
        attempt(order, NOW.replace(minute=0) - timedelta(microseconds=1), "deferred")
        attempt(order, NOW - timedelta(hours=5), account="outlet")
        attempt(order, NOW - timedelta(hours=24))
        assert hours() == {
            0: {"default": Traffic(3, 0)}, 1: {"default": Traffic(0, 1)}, 5: {"outlet": Traffic(1, 0)},
        }  # fmt: skip

    def test_what_counts_as_what(self, order: Order) -> None:
        for outcome in SyncAttempt.Outcome.values:
            attempt(order, NOW, outcome)
        # Redirected: another call followed. Skipped: as it should be.
        assert hours() == {0: {"default": Traffic(1, 5)}}

    @pytest.mark.usefixtures("worth_keeping")
    def test_hours_that_are_over_are_counted_once(self, order: Order, django_assert_num_queries) -> None:
        attempt(order, NOW - timedelta(hours=2), count=3)
        hours()
        attempt(order, NOW - timedelta(hours=2))
        attempt(order, NOW)
        with django_assert_num_queries(1):
            assert hours() == {0: {"default": Traffic(1, 0)}, 2: {"default": Traffic(3, 0)}}

    def test_few_are_counted_each_time(self, order: Order) -> None:
        attempt(order, NOW - timedelta(hours=2))
        hours()
        attempt(order, NOW - timedelta(hours=2))
        assert hours() == {2: {"default": Traffic(2, 0)}}

    @pytest.mark.usefixtures("worth_keeping")
    def test_an_hour_that_has_just_ended_may_still_grow(self, order: Order) -> None:
        just_now = NOW.replace(minute=1)
        with time_machine.travel(just_now, tick=False):
            attempt(order, just_now - timedelta(hours=1))
            hours()
            attempt(order, just_now - timedelta(hours=1))
            assert hours() == {1: {"default": Traffic(2, 0)}}

    @pytest.mark.usefixtures("worth_keeping")
    def test_kept_hours_grow_old(self, order: Order) -> None:
        attempt(order, NOW - timedelta(hours=23))
        assert hours() == {23: {"default": Traffic(1, 0)}}
        with time_machine.travel(NOW + timedelta(hours=1), tick=False):
            assert all(hour.traffic == {} for hour in figures.hours(using="default"))

    @pytest.mark.usefixtures("worth_keeping")
    def test_of_very_many_each_look_counts_some(self, order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(figures, "MOST_ATTEMPTS", 3)
        for ago in range(1, 24):
            attempt(order, NOW - timedelta(hours=ago))
        attempt(order, NOW - timedelta(hours=4), count=9)
        counted = []
        for _look in range(20):
            found = hours()
            counted.append(sum(traffic is not None for traffic in found.values()))
        assert counted[:3] == [3, 4, 7]
        assert counted == sorted(counted)
        assert counted[-1] == 23
        assert found[4] == {"default": Traffic(10, 0)}
        assert found[23] == {"default": Traffic(1, 0)}

    def test_without_a_cache(self, order: Order, settings) -> None:
        settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
        attempt(order, NOW - timedelta(hours=2))
        assert hours() == {2: {"default": Traffic(1, 0)}}


class TestTokens:
    def test_how_long_the_stored_token_is_good(self) -> None:
        account = bronto_settings.account("default")
        assert tokens.seconds_left(account) is None
        key = store_key(account.token_url, account.client_id, account.client_secret)
        with time_machine.travel(NOW, tick=False) as clock:
            CacheTokenStore().save(key, Token("access", None, int(NOW.timestamp()), 3600.0))
            clock.shift(600)
            assert tokens.seconds_left(account) == 3000


@pytest.mark.django_db(databases=["default", "other"])
@pytest.mark.parametrize("name", [None, "production"])
def test_databases_and_projects_do_not_share_what_was_counted(settings: Any, worth_keeping: None, name: str) -> None:
    settings.BRONTO_ORDERS = {**settings.BRONTO_ORDERS, "DELIVERY": {"ENVIRONMENT": name}}
    make(2)
    assert figures.orders(using="default")["default"].by_state == {"pending": 2}
    assert figures.orders(using="other") == {}
    settings.SECRET_KEY = "another project's"
    Order.objects.all().delete()
    assert figures.orders(using="default") == {}
