"""Workers' clocks may differ, and the database's session may be in any time zone: one clock counts, and in UTC."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import connection

from bronto_orders import exceptions as errors
from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import claims, engine
from bronto_orders.models import AccountStatus, DbNow, Order, SyncState
from tests.factories import OrderFactory
from tests.fakes import FakeBronto

pytestmark = pytest.mark.django_db(transaction=True)

HOURS = [-1, 1]


def seconds_away(moment: datetime | None) -> float:
    """Return how far ahead of the database's clock the moment is."""
    now: datetime = Order.objects.values_list(DbNow(), flat=True)[0]
    assert moment is not None
    return (moment - now).total_seconds()


def claim() -> list[Order]:
    return claims.claim("default", 9, bronto_settings.delivery, using="default")


def deliver() -> dict[str, int]:
    return engine.deliver("default").counts


def row(order: Order) -> Order:
    return Order.objects.get(pk=order.pk)


@pytest.fixture(params=HOURS, ids="{:+} h".format)
def wrong_clock(request: pytest.FixtureRequest) -> Iterator[None]:
    """This process's clock is an hour wrong, and the database's is not."""
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=request.param)):
        yield


@pytest.mark.usefixtures("wrong_clock")
class TestWorkers:
    def test_a_new_order_is_due_at_once(self) -> None:
        order = OrderFactory()
        assert -10 < seconds_away(row(order).due_at) <= 0
        assert Order.objects.due().get() == order

    def test_a_claim(self) -> None:
        OrderFactory()
        (order,) = claim()
        assert 20 < seconds_away(order.due_at) <= 30
        assert claim() == []

    def test_a_deferral(self, bronto: FakeBronto) -> None:
        order = OrderFactory()
        bronto.script.append(errors.ServerError(status=500))
        assert deliver() == {"deferred": 1}
        assert -10 < seconds_away(row(order).due_at) <= 2

    def test_a_pause_that_bronto_asks_for(self, bronto: FakeBronto) -> None:
        OrderFactory()
        bronto.script.append(errors.RateLimitedError(status=429, retry_after=40))
        deliver()
        assert 30 < seconds_away(AccountStatus.objects.get().held_until) <= 51

    def test_a_success_and_an_update_that_settles(self, bronto: FakeBronto) -> None:
        order = OrderFactory()
        bronto.script.extend([None, errors.DeadlineError()])
        deliver()
        assert -10 < seconds_away(row(order).synced_at) <= 0
        Order.objects.update(shipped=True)
        assert -10 < seconds_away(row(order).due_at) <= 0
        deliver()
        assert 65 < seconds_away(row(order).settle_until) <= 75
        assert 65 < seconds_away(row(order).due_at) <= 76

    def test_a_resync(self, bronto: FakeBronto) -> None:
        order = OrderFactory()
        deliver()
        Order.objects.all().resync(options={}, force=True)
        assert -10 < seconds_away(row(order).due_at) <= 0


class TestTimeZone:
    @pytest.fixture(autouse=True)
    def off_utc(self) -> Iterator[None]:
        """The session has another time zone, as on a server that follows its country's."""
        zone = {"mysql": "SET time_zone = '+03:00'", "postgresql": "SET TIME ZONE '+03:00'"}
        if connection.vendor not in zone:
            pytest.skip("SQLite knows no time zones")
        with connection.cursor() as cursor:
            cursor.execute(zone[connection.vendor])
        yield
        # The next one has the server's own.
        connection.close()

    def test_what_the_database_writes_is_utc(self, bronto: FakeBronto) -> None:
        order = OrderFactory()
        assert abs(row(order).due_at - datetime.now(UTC)) < timedelta(seconds=10)
        (claimed,) = claim()
        assert timedelta(seconds=20) < claimed.due_at - datetime.now(UTC) <= timedelta(seconds=31)
        claims.hand_back([claimed], using="default")
        assert deliver() == {"accepted": 1}
        assert abs(row(order).synced_at - datetime.now(UTC)) < timedelta(seconds=10)

    def test_what_django_writes_is_compared_with_it(self, bronto: FakeBronto) -> None:
        order = OrderFactory()
        Order.objects.update(due_at=datetime.now(UTC) + timedelta(hours=1))
        assert deliver() == {}
        Order.objects.update(due_at=datetime.now(UTC) - timedelta(seconds=5))
        assert deliver() == {"accepted": 1}
        assert row(order).sync_state == SyncState.SYNCED
