from __future__ import annotations

import json
import operator
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db.models import Exists, F, OuterRef, Q

from bronto_orders.delivery import selections
from bronto_orders.models import LineItem, Order
from bronto_orders.models.querysets import OrderQuerySet
from tests.factories import OrderFactory

pytestmark = pytest.mark.django_db

DAY = datetime(2026, 1, 2, tzinfo=UTC)
PLAIN = {
    "all": Q(),
    "state": Q(sync_state="pending"),
    "several states": Q(sync_state__in=["pending", "rejected"]),
    "a search": Q(customer_order_id__icontains="7") | Q(customer_order_id__istartswith="N-1"),
    "a negation": ~(Q(account="outlet") | Q(has_tracking=True)) & ~Q(tid="x"),
    "a null": Q(synced_at__isnull=True, has_tracking=None),
    "dates and amounts": Q(
        order_date__gte=DAY, order_date__lt=DAY + timedelta(microseconds=1, days=1), grand_total__gt=Decimal("4.2")
    ),
    "exclusive or": Q(account="outlet") ^ Q(customer_order_id__endswith="1"),
    "of a run": Q(resync_run=None) & ~Q(resync_run=7),
}
DEEP = {
    "other tables": Q(line_items__sku="a"),
    "a part of a date": Q(order_date__year=2026),
    "two columns": Q(revision__gt=F("acked_revision")),
    "a subquery": Exists(LineItem.objects.filter(order=OuterRef("pk"))),
}


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three orders are many."""
    monkeypatch.setattr(selections, "CHUNK", 2)


@pytest.fixture(autouse=True)
def orders(few: None) -> list[Order]:
    orders = [OrderFactory(customer_order_id=f"n-{n}", account="outlet" if n % 3 else "default") for n in range(20)]
    for order in orders[::2]:
        LineItem.objects.create(order=order, sku="a")
    return orders


def kept(orders: OrderQuerySet) -> dict[str, Any]:
    filters, total = selections.keep(orders)
    assert total == orders.count()
    stored: dict[str, Any] = json.loads(json.dumps(filters))
    return stored


def found(filters: dict[str, Any], limit: int = 100) -> list[int]:
    return selections.keys(filters, below=10**9, limit=limit, using="default")


@pytest.mark.parametrize("condition", PLAIN.values(), ids=PLAIN)
def test_plain_conditions_are_kept_as_such(condition: Q) -> None:
    orders = Order.objects.filter(condition).order_by("-pk")
    assert orders.count() > 2
    filters = kept(orders.defer("last_sent"))
    assert filters.keys() == {"where"}
    assert found(filters) == [order.pk for order in orders]


@pytest.mark.parametrize("condition", DEEP.values(), ids=DEEP)
def test_others_are_kept_as_keys(condition: Any) -> None:
    orders = Order.objects.filter(condition).order_by("-pk")
    assert orders.count() > 2
    assert kept(orders) == {"keys": [order.pk for order in orders]}


def test_few_orders_are_kept_as_keys(orders: list[Order]) -> None:
    assert kept(Order.objects.filter(pk__in=[orders[3].pk, orders[5].pk])) == {"keys": [orders[5].pk, orders[3].pk]}
    assert kept(Order.objects.none()) == {"keys": []}


@pytest.mark.parametrize("condition", [Q(sync_state="pending"), Q(line_items__sku="a")])
def test_they_come_in_parts_from_the_highest_key_down(condition: Q) -> None:
    filters = kept(Order.objects.filter(condition))
    every = found(filters)
    parts, below = [], 10**9
    while part := selections.keys(filters, below=below, limit=3, using="default"):
        assert len(part) <= 3
        parts += part
        below = part[-1]
    assert parts == every == sorted(every, reverse=True)


@pytest.mark.parametrize("filters", [{}, {"where": {}}, {"where": ["no_such_column", "exact", 1]}])
def test_what_nobody_wrote_is_an_error(filters: dict[str, Any]) -> None:
    with pytest.raises(selections.UNREADABLE):
        found(filters)


@pytest.mark.parametrize("operation", ["union", "intersection", "difference"])
def test_joined_queries_are_kept_as_keys(operation: str) -> None:
    outlet, others = Order.objects.filter(account="outlet"), Order.objects.filter(customer_order_id__contains="1")
    joined: Any = getattr(outlet, operation)(others)
    pks = sorted((order.pk for order in joined), reverse=True)
    assert found(selections.keep(joined)[0]) == pks


def test_an_order_that_a_join_finds_twice_is_kept_once(orders: list[Order]) -> None:
    LineItem.objects.create(order=orders[0], sku="a")
    filters, total = selections.keep(Order.objects.filter(line_items__sku="a"))
    assert filters == {"keys": [order.pk for order in reversed(orders[::2])]}
    assert total == 10


LEAVES = [
    *PLAIN.values(),
    Q(line_items__sku="a"),
    Q(revision__gt=F("acked_revision")),
    Q(order_date__gt=DAY),
    Q(shipping_date__isnull=True),
    Q(has_tracking=True),
    Q(bronto_order_id__in={"", "x"}),
    Q(sync_reason__startswith="invalid"),
    Q(email_address__iexact="jane@example.com"),
    Q(pk__in=[]),
    Q(pk__in=range(1, 100, 2)),
    Q(grand_total__range=(Decimal(0), Decimal(50))),
]


def _tree(chance: random.Random, depth: int) -> Q:
    node = chance.choice(LEAVES)
    if depth and chance.random() < 0.75:
        join = chance.choice([operator.and_, operator.or_, operator.xor])
        node = join(_tree(chance, depth - 1), _tree(chance, depth - 1))
    return ~node if chance.random() < 0.3 else node


def test_any_conditions_find_the_very_same_orders(orders: list[Order]) -> None:
    chance = random.Random(7)
    for order in orders:
        Order.objects.filter(pk=order.pk).update(
            has_tracking=chance.choice([None, True, False]), sync_reason=chance.choice(["", "refused", "invalid:tid"])
        )
        Order.objects.filter(pk=order.pk).update(
            order_date=chance.choice([None, DAY, DAY + timedelta(days=3)]), shipping_date=chance.choice([None, DAY])
        )
    plain = 0
    for _ in range(150):
        chosen = Order.objects.filter(_tree(chance, 2)).exclude(_tree(chance, 2))
        filters, _total = selections.keep(chosen)
        plain += "where" in filters
        assert found(json.loads(json.dumps(filters))) == list(
            chosen.order_by("-pk").values_list("pk", flat=True).distinct()
        ), str(chosen.query)
    assert plain > 10
