"""Real Celery workers, a real broker, a real sandbox, each in its own process."""

from __future__ import annotations

import time

import pytest
from celery import Celery

from bronto_orders.delivery import hints
from bronto_orders.models import AccountStatus, Order, SyncAttempt, SyncState
from tests.factories import OrderFactory
from tests.services import free_port
from tests.workers.conftest import Stack, eventually

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


def synced(*orders: Order) -> bool:
    return set(Order.objects.filter(pk__in=[order.pk for order in orders]).values_list("sync_state", flat=True)) == {
        SyncState.SYNCED
    }


@pytest.mark.parametrize("pool", ["prefork", "threads", pytest.param("gevent", marks=pytest.mark.services)])
def test_a_saved_order_arrives_and_so_does_its_change(stack: Stack) -> None:
    stack.start_worker()
    order = OrderFactory(items=3)
    eventually(lambda: synced(order))
    (remote,) = stack.sandbox.orders
    assert (remote["customerOrderId"], len(remote["lineItems"])) == (order.customer_order_id, 3)
    order.shipped = True
    order.save()
    eventually(lambda: synced(order))
    assert stack.sandbox.orders[0]["states"]["shipped"] is True
    assert set(SyncAttempt.objects.values_list("trigger", flat=True)) <= {"signal", "sweep"}


def test_worker_killed_with_a_request_in_flight(stack: Stack) -> None:
    worker = stack.start_worker()
    # The add takes effect, and its answer is on the way for longer than the worker lives.
    stack.sandbox.set_faults({"match": {"path": "/orders"}, "latency": 1.2, "apply": "after", "count": 1})
    order = OrderFactory(items=1)
    eventually(lambda: Order.objects.get(pk=order.pk).sync_state == SyncState.SENDING, every=0.02)
    time.sleep(0.4)
    worker.kill()
    assert Order.objects.get(pk=order.pk).sync_state == SyncState.SENDING
    stack.start_worker()
    eventually(lambda: synced(order), seconds=40)
    adds = [call for call in stack.sandbox.requests if (call["method"], call["path"]) == ("POST", "/orders")]
    assert [call["status"] for call in adds if call["status"] == 201] in ([201], [])
    assert len(stack.sandbox.orders) == 1
    assert len([event for event in stack.sandbox.events if event["kind"] == "orderAdded"]) <= 1
    assert Order.objects.get(pk=order.pk).bronto_order_id == stack.sandbox.orders[0]["orderId"]


def test_the_backlog_of_one_account_keeps_no_other_waiting(stack: Stack) -> None:
    accounts = stack.settings["ACCOUNTS"]
    accounts["eu"] = {**accounts["default"]}
    accounts["default"]["CONCURRENCY"] = 1
    stack.sandbox.set_faults({"match": {"path": "/orders"}, "latency": 0.5})
    stack.start_worker()
    # 4 orders a second at most, by both processes of the pool: a minute and a half of work.
    Order.objects.bulk_create(OrderFactory.build_batch(350))

    def busy() -> bool:
        OrderFactory()
        return Order.objects.filter(sync_state=SyncState.SYNCED).count() >= 8

    eventually(busy, every=0.2)
    order = OrderFactory(account="eu")

    def arrived() -> bool:
        OrderFactory()
        return synced(order)

    eventually(arrived, seconds=15, every=0.2)
    assert Order.objects.due().filter(account="default").count() > 200


def test_broker_gone_while_saving(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Celery("shop", broker=f"amqp://guest:guest@127.0.0.1:{free_port()}//", set_as_current=False)
    monkeypatch.setattr(hints, "current_app", gone)
    started = time.perf_counter()
    orders = OrderFactory.create_batch(5)
    assert time.perf_counter() - started < 2
    stack.start_worker()
    eventually(lambda: synced(*orders))
    assert set(SyncAttempt.objects.values_list("trigger", flat=True)) == {"sweep"}


def test_sandbox_down_then_up(stack: Stack) -> None:
    stack.start_worker()
    stack.stop_sandbox()
    orders = OrderFactory.create_batch(8)
    eventually(lambda: AccountStatus.objects.filter(breaker_state="open").exists() or SyncAttempt.objects.count() >= 3)
    stack.start_sandbox()
    eventually(lambda: synced(*orders), seconds=60)
    assert sorted(order["customerOrderId"] for order in stack.sandbox.orders) == sorted(
        order.customer_order_id for order in orders
    )
    attempts = SyncAttempt.objects.exclude(outcome="accepted")
    assert attempts.exists()
    assert not attempts.filter(outcome="rejected").exists()
    assert all(attempt.reason and attempt.decision for attempt in attempts)
