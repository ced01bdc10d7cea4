"""How long attempts are kept, and how many of them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bronto_orders import tasks
from bronto_orders.delivery import retention
from bronto_orders.models import Order, SyncAttempt
from tests.factories import OrderFactory

pytestmark = pytest.mark.django_db(transaction=True)


def attempts(order: Order, count: int, *, days: int = 0) -> list[int]:
    """Record attempts and return their keys, the oldest first."""
    started_at = timezone.now() - timedelta(days=days)
    made = SyncAttempt.objects.bulk_create(
        SyncAttempt(order=order, account="default", revision=1, trigger="test", started_at=started_at, duration_ms=1)
        for _ in range(count)
    )
    return [attempt.pk for attempt in made]


def kept() -> list[int]:
    return sorted(SyncAttempt.objects.values_list("pk", flat=True))


def test_old_ones_go() -> None:
    order = OrderFactory()
    attempts(order, 5, days=91)
    young = attempts(order, 3, days=89)
    assert retention.prune(days=90, batch_size=2) == 5
    assert kept() == young


def test_each_order_keeps_its_newest() -> None:
    busy, calm = OrderFactory.create_batch(2)
    newest = attempts(busy, 7)[-3:]
    all_of_it = attempts(calm, 3)
    assert retention.prune(days=90, per_order=3, batch_size=2) == 4
    assert kept() == newest + all_of_it
    assert retention.prune(days=90, per_order=3) == 0


def test_in_batches() -> None:
    attempts(OrderFactory(), 5, days=91)
    with CaptureQueriesContext(connection) as queries:
        retention.prune(days=90, batch_size=2)
    assert len([query for query in queries if query["sql"].startswith("DELETE") and "attempt" in query["sql"]]) == 3


def test_none_may_be_kept() -> None:
    attempts(OrderFactory(), 3)
    assert retention.prune(days=90, per_order=0) == 3


def test_two_at_once_delete_no_more_than_one(monkeypatch: pytest.MonkeyPatch) -> None:
    newest = attempts(OrderFactory(), 7)[-3:]
    delete = retention._delete

    def delete_after_another(*args: object) -> int:
        monkeypatch.setattr(retention, "_delete", delete)
        retention.prune(days=90, per_order=3)
        return delete(*args)

    def let_the_first_pass(*args: object) -> int:
        monkeypatch.setattr(retention, "_delete", delete_after_another)
        return 0

    monkeypatch.setattr(retention, "_delete", let_the_first_pass)
    assert retention.prune(days=90, per_order=3) == 0
    assert kept() == newest


def test_the_task() -> None:
    order = OrderFactory()
    attempts(order, 120)
    tasks.prune()
    assert len(kept()) == 100
    tasks.prune(per_order=10)
    assert len(kept()) == 10
    tasks.prune(days=0)
    assert kept() == []
