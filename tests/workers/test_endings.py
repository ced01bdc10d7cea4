"""Workers that are told to end, and workers that die of an order."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from bronto_orders.delivery import claims
from bronto_orders.models import DbNow, Order, SyncAttempt, SyncState
from tests.factories import OrderFactory
from tests.workers.conftest import DELIVERY, TIMEOUTS, Stack, eventually

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


def in_state(state: SyncState) -> int:
    return Order.objects.filter(sync_state=state).count()


def adds(stack: Stack) -> Counter[str]:
    """Count the adds of each order that the sandbox has taken."""
    return Counter(event["customerOrderId"] for event in stack.sandbox.events if event["kind"] == "orderAdded")


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_sigterm_in_the_middle_of_a_backlog(stack: Stack) -> None:
    # 8 orders a second: 25 seconds of work.
    stack.settings["ACCOUNTS"]["default"]["CONCURRENCY"] = 4
    stack.sandbox.set_faults({"match": {"path": "/orders"}, "latency": 0.5})
    worker = stack.start_worker()
    orders = Order.objects.bulk_create(OrderFactory.build_batch(200))
    eventually(lambda: in_state(SyncState.SYNCED) >= 8, every=0.05)
    started = time.monotonic()
    worker.stop()
    assert time.monotonic() - started < TIMEOUTS["TOTAL_TIMEOUT"] + 5
    assert worker.popen.returncode == 0
    left = Order.objects.exclude(sync_state=SyncState.SYNCED)
    assert left.due().count() == left.count() > 100
    assert set(left.values_list("sync_state", "attempts", "crashes", "lease_token")) == {("pending", 0, 0, None)}

    stack.sandbox.recover()
    stack.start_worker()
    eventually(lambda: in_state(SyncState.SYNCED) == len(orders), seconds=DELIVERY["ADD_LEASE_SECONDS"])
    assert adds(stack) == Counter(order.customer_order_id for order in orders)
    assert set(SyncAttempt.objects.values_list("outcome", flat=True)) == {"accepted"}


def test_an_order_that_kills_its_worker(stack: Stack) -> None:
    deaths = stack.folder / "deaths"
    deaths.touch()
    stack.start_worker(BRONTO_TEST_POISON="poison", BRONTO_TEST_DEATHS=str(deaths))
    orders = Order.objects.bulk_create(
        OrderFactory.build(**({"customer_order_id": "poison"} if number == 15 else {})) for number in range(30)
    )
    poison = Order.objects.filter(customer_order_id="poison")

    def given_up() -> bool:
        state, token = poison.values_list("sync_state", "lease_token").get()
        if state == SyncState.SENDING:
            # Whoever holds it dies at once: its leases need not be waited for.
            Order.objects.filter(lease_token=token).update(due_at=DbNow(-1))
        return state == SyncState.REJECTED

    eventually(given_up, seconds=60, every=0.5)
    assert poison.get().sync_reason == "crash_loop"
    assert deaths.read_text().split() == [str(count) for count in range(claims.MAX_CRASHES)]
    eventually(lambda: in_state(SyncState.SYNCED) == len(orders) - 1)
    assert set(Order.objects.values_list("crashes", flat=True)) == {0}
    assert adds(stack) == Counter(order.customer_order_id for order in orders if order.customer_order_id != "poison")
