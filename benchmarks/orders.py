"""The orders that are delivered: seeded once, and made due anew before each run."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.db import connections

from bronto_orders.models import AccountStatus, DbNow, LineItem, Order, Presence, SyncAttempt, SyncState

ITEMS = 3


def new_order(number: int, model: type[Any] = Order) -> Any:
    """Return an unsaved order as a web shop would write it."""
    return model(
        customer_order_id=f"bench-{number:08}",
        email_address=f"shopper{number}@example.com",
        order_date=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        currency="USD",
        grand_total=Decimal("21.32"),
        subtotal=Decimal("15.97"),
        tax_amount=Decimal("1.35"),
        shipping_amount=Decimal("4.00"),
        discount_amount=Decimal("0.00"),
        origin_ip="127.0.0.1",
        origin_user_agent="Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        order_source="WEBSITE",
        processed=True,
    )


def new_items(order: Any, model: type[Any] = LineItem) -> list[Any]:
    """Return the order's three unsaved items."""
    return [
        model(
            order=order,
            position=position,
            name="Coffee Mug",
            description="A cool coffee mug",
            sku=f"{3105 + position:07}",
            category="Kitchen Stuffs",
            image_url=f"https://www.example.com/images/{3105 + position:07}.jpg",
            product_url=f"https://www.example.com/products/{3105 + position:07}",
            quantity=1,
            unit_price=Decimal("3.99"),
            sale_price=Decimal("3.99"),
            total_price=Decimal("3.99"),
        )
        for position in range(ITEMS)
    ]


def seed(alias: str, count: int, *, first: int = 0) -> list[int]:
    """Insert due orders with three items each. Returns their keys."""
    orders = [new_order(first + number) for number in range(count)]
    for start in range(0, count, 500):
        Order.objects.using(alias).bulk_create(orders[start : start + 500])
    items = [item for order in orders for item in new_items(order)]
    for start in range(0, len(items), 2000):
        LineItem.objects.using(alias).bulk_create(items[start : start + 2000])
    return [order.pk for order in orders]


def make_due(alias: str, keep: list[int] | None = None) -> None:
    """Put all orders back to never sent, those to keep or all of them due, and the tables to one without dead rows."""
    connection = connections[alias]
    with connection.cursor() as cursor:
        table = SyncAttempt._meta.db_table
        cursor.execute(f"DELETE FROM {table}" if connection.vendor == "sqlite" else f"TRUNCATE TABLE {table}")
    AccountStatus.objects.using(alias).all().delete()
    Order.objects.using(alias).all().update(
        presence=Presence.ABSENT,
        due_at=DbNow(),
        lease_token=None,
        lease_revision=None,
        attempts=0,
        revision=1,
        acked_revision=0,
        last_sent=None,
        last_sent_hash="",
        bronto_order_id="",
        has_tracking=None,
        settle_until=None,
        sync_state=SyncState.PENDING,
    )
    if keep is not None:
        Order.objects.using(alias).exclude(pk__in=keep).update(due_at=None, sync_state=SyncState.SKIPPED)
    tidy(alias)


def tidy(alias: str) -> None:
    """Give the planner fresh figures and take dead rows away, as autovacuum does in its own time."""
    connection = connections[alias]
    with connection.cursor() as cursor:
        for model in (Order, LineItem):
            if connection.vendor == "postgresql":
                cursor.execute(f"VACUUM ANALYZE {model._meta.db_table}")
            else:
                cursor.execute(f"ANALYZE {'TABLE ' if connection.vendor == 'mysql' else ''}{model._meta.db_table}")
                cursor.fetchall()
        if connection.vendor == "postgresql":
            cursor.execute("CHECKPOINT")
        elif connection.vendor == "sqlite":
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def synced(alias: str) -> int:
    """Return how many orders have come to rest as acknowledged."""
    return Order.objects.using(alias).filter(sync_state=SyncState.SYNCED, due_at=None).count()
