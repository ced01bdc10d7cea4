"""A customer is erased while Bronto is down, a worker dies and a backfill goes on: real processes, a real sandbox."""

from __future__ import annotations

import pytest

from bronto_orders.delivery.erasure import Outstanding, erase_customer, outstanding
from bronto_orders.models import AccountStatus, LineItem, Order, SyncState, Tombstone
from tests.delivery.contents import everything
from tests.factories import LineItemFactory, OrderFactory
from tests.workers.conftest import Stack, eventually

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

EMAIL = "jane.roe@example.com"
PERSONAL = {
    "email_address": EMAIL,
    "origin_ip": "203.0.113.77",
    "origin_user_agent": "Janes Browser/1.0",
    "shipping_details": "To Jane, second floor",
}


def of_jane(number: str) -> Order:
    order: Order = OrderFactory(customer_order_id=number, **PERSONAL)
    LineItemFactory(order=order, description="Engraved: Jane Roe")
    return order


def backfill(numbers: list[str]) -> None:
    """Load the orders once more, as an import that knows nothing of the erasure: in place, and after a deletion."""
    for place, number in enumerate(numbers):
        if place % 2:
            Order.objects.filter(customer_order_id=number).delete()
            of_jane(number)
        else:
            order, _created = Order.objects.update_or_create(
                account="default", customer_order_id=number, defaults=PERSONAL
            )
            LineItem.objects.filter(order=order).update(description="Engraved: Jane Roe")


def numbers_at_bronto(stack: Stack) -> set[str]:
    return {order["customerOrderId"] for order in stack.sandbox.orders}


def quiet() -> bool:
    return not Order.objects.owed().exists() and not Tombstone.objects.owed().exists()


def test_erasure_survives_an_outage_a_dead_worker_and_a_backfill(stack: Stack) -> None:
    sent, unsent = [f"jane-{number}" for number in range(6)], [f"jane-late-{number}" for number in range(4)]
    worker = stack.start_worker()
    others = {order.customer_order_id for order in OrderFactory.create_batch(6)}
    for number in sent:
        of_jane(number)
    eventually(quiet)
    assert numbers_at_bronto(stack) == {*others, *sent}

    # Bronto goes down with more of the customer's orders on their way.
    stack.sandbox.break_down()
    others |= {order.customer_order_id for order in OrderFactory.create_batch(4)}
    for number in unsent:
        of_jane(number)
    eventually(lambda: AccountStatus.objects.filter(breaker_state="open").exists())
    assert erase_customer(EMAIL).accounts == {"default": 10}
    assert outstanding().owed == 10
    backfill([*sent, *unsent])
    assert numbers_at_bronto(stack).isdisjoint(unsent)

    # It comes back, and deletes; but the worker is killed before it knows.
    stack.sandbox.set_faults({"match": {"path": "/orders", "method": "DELETE"}, "latency": 1.2, "apply": "after"})
    eventually(lambda: not numbers_at_bronto(stack) & set(sent[:1]), seconds=60, every=0.02)
    worker.kill()
    assert Tombstone.objects.filter(lease_token__isnull=False).exists()
    stack.sandbox.recover()
    backfill([*sent, *unsent])
    assert "jane roe" in everything()

    stack.start_worker()
    eventually(lambda: quiet() and outstanding() == Outstanding(owed=0, refused=0), seconds=60)
    assert numbers_at_bronto(stack) == others
    assert all(value.lower() not in everything() for value in [*PERSONAL.values(), "jane roe"])
    erased = Order.objects.filter(customer_order_id__in=[*sent, *unsent])
    assert set(erased.values_list("sync_state", "sync_reason")) == {(SyncState.SKIPPED, "erased")}
    assert Order.objects.filter(sync_state=SyncState.SYNCED).count() == len(others)
