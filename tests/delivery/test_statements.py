from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import DataError, connection
from django.db.models import F
from django.utils import timezone

from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import claims
from bronto_orders.delivery.statements import Parameter, PreparedUpdate, insert
from bronto_orders.models import Order, SyncAttempt
from tests.factories import OrderFactory

pytestmark = pytest.mark.django_db(transaction=True)

COLUMNS = ("has_tracking", "bronto_updated_at", "last_sent", "bronto_order_id")


@pytest.fixture
def statement() -> PreparedUpdate:
    return PreparedUpdate(
        Order,
        ("id", "lease_token"),
        lambda: {**{name: Parameter(Order, name) for name in COLUMNS}, "acked_revision": F("revision")},
    )


def row(order: Order, **values: Any) -> dict[str, Any]:
    empty = {"has_tracking": None, "bronto_updated_at": None, "last_sent": None, "bronto_order_id": ""}
    return {"id": order.pk, "lease_token": order.lease_token, **empty, **values}


def leased(count: int) -> list[Order]:
    OrderFactory.create_batch(count)
    return claims.claim("default", count, bronto_settings.delivery, using="default")


def test_each_row_gets_its_own_values_however_many_there_are(statement: PreparedUpdate) -> None:
    # More than SQLite's limit of parameters lets through at once.
    orders = leased(220)
    rows = [row(order, bronto_order_id=f"id {order.pk} 'quoted' %s", last_sent={"n": order.pk}) for order in orders]
    assert statement.run(rows, using="default") == 220
    for order in Order.objects.all():
        assert order.bronto_order_id == f"id {order.pk} 'quoted' %s"
        assert order.last_sent == {"n": order.pk}
        assert order.acked_revision == order.revision


def test_a_column_may_be_null_in_every_row(statement: PreparedUpdate) -> None:
    orders = leased(2)
    Order.objects.update(has_tracking=True)
    assert statement.run([row(order) for order in orders], using="default") == 2
    assert set(Order.objects.values_list("has_tracking", "bronto_updated_at")) == {(None, None)}


def test_a_row_whose_guard_does_not_hold_is_left_alone(statement: PreparedUpdate) -> None:
    kept, lost = leased(2)
    rows = [row(kept, bronto_order_id="kept"), {**row(lost, bronto_order_id="lost"), "lease_token": uuid.uuid4()}]
    assert statement.run(rows, using="default") == 1
    assert [order.bronto_order_id for order in (kept, lost) if order.refresh_from_db() is None] == ["kept", ""]


@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="SQLite's columns have no length")
def test_a_text_too_long_for_its_column_is_refused_and_not_cut(statement: PreparedUpdate) -> None:
    (order,) = leased(1)
    with pytest.raises(DataError):
        statement.run([row(order, bronto_order_id="x" * 65)], using="default")


def test_insert_keeps_every_row_in_order() -> None:
    order = OrderFactory.create()
    attempts = [
        SyncAttempt(
            order=order,
            account="default",
            revision=1,
            operation="add",
            outcome="accepted",
            trigger=f"no {n}",
            started_at=timezone.now(),
            duration_ms=1,
        )
        for n in range(150)
    ]
    insert(attempts, using=connection.alias)
    assert list(SyncAttempt.objects.order_by("pk").values_list("trigger", flat=True)) == [f"no {n}" for n in range(150)]
    insert([], using=connection.alias)
