"""What is believed of Bronto's copy when requests end without a clear answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from bronto_orders import exceptions as errors
from bronto_orders import wire
from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import claims, engine
from bronto_orders.models import AccountStatus, DbNow, Order, SyncAttempt, SyncState
from tests.factories import OrderFactory
from tests.fakes import FakeBronto

pytestmark = pytest.mark.django_db(transaction=True)

SERVER_ERROR = errors.ServerError(status=500)


def deliver() -> dict[str, int]:
    return engine.deliver("default").counts


def converge(order: Order) -> Order:
    """Let time pass and deliver until nothing is owed."""
    for _ in range(6):
        AccountStatus.objects.update(held_until=None)
        Order.objects.filter(due_at__isnull=False).update(due_at=DbNow(-1))
        Order.objects.filter(settle_until__isnull=False).update(settle_until=DbNow(-1))
        deliver()
    order = Order.objects.get(pk=order.pk)
    assert order.due_at is None
    return order


@pytest.fixture
def synced(bronto: FakeBronto) -> Iterator[Order]:
    order = OrderFactory()
    deliver()
    bronto.calls.clear()
    yield Order.objects.get(pk=order.pk)
    bronto.after_store = bronto.always = None


def raise_after_storing(bronto: FakeBronto, error: errors.BrontoError) -> None:
    def step() -> None:
        bronto.after_store = None
        raise error

    bronto.after_store = step


@pytest.mark.parametrize("error", [SERVER_ERROR, errors.ServerError(status=503), errors.DeadlineError()], ids=str)
def test_a_change_that_may_have_landed_is_taken_back(
    bronto: FakeBronto, synced: Order, error: errors.BrontoError
) -> None:
    raise_after_storing(bronto, error)
    Order.objects.filter(pk=synced.pk).update(grand_total=Decimal(99))
    deliver()
    assert bronto.orders[synced.customer_order_id]["grandTotal"] == 99
    Order.objects.filter(pk=synced.pk).update(grand_total=synced.grand_total)
    assert converge(synced).sync_state == SyncState.SYNCED
    assert bronto.orders[synced.customer_order_id]["grandTotal"] == synced.grand_total


def test_so_is_one_whose_worker_died(bronto: FakeBronto, synced: Order) -> None:
    Order.objects.filter(pk=synced.pk).update(grand_total=Decimal(99))
    claims.claim("default", 1, bronto_settings.delivery, using="default")
    bronto.orders[synced.customer_order_id]["grandTotal"] = Decimal(99)
    Order.objects.filter(pk=synced.pk).update(grand_total=synced.grand_total)
    converge(synced)
    assert bronto.orders[synced.customer_order_id]["grandTotal"] == synced.grand_total


def test_a_field_that_may_have_landed_is_cleared(bronto: FakeBronto, synced: Order) -> None:
    raise_after_storing(bronto, errors.DeadlineError())
    Order.objects.filter(pk=synced.pk).update(shipping_details="by post")
    deliver()
    Order.objects.filter(pk=synced.pk).update(shipping_details="")
    converge(synced)
    assert bronto.orders[synced.customer_order_id]["shippingDetails"] is None


def test_so_is_one_of_an_add(bronto: FakeBronto) -> None:
    order = OrderFactory(shipping_details="by post")
    raise_after_storing(bronto, errors.DeadlineError())
    deliver()
    Order.objects.filter(pk=order.pk).update(shipping_details="")
    converge(order)
    assert bronto.orders[order.customer_order_id]["shippingDetails"] is None


@pytest.mark.parametrize("field", ["contact_id", "message_id", "delivery_id"])
def test_so_is_one_that_bronto_fills_as_well(bronto: FakeBronto, field: str) -> None:
    order = OrderFactory(**{field: "mine"})
    raise_after_storing(bronto, errors.DeadlineError())
    deliver()
    Order.objects.filter(pk=order.pk).update(**{field: ""})
    converge(order)
    name = field.replace("_id", "Id")
    assert bronto.orders[order.customer_order_id][name] is None


def test_what_bronto_filled_in_stays(bronto: FakeBronto) -> None:
    order = OrderFactory()
    raise_after_storing(bronto, errors.DeadlineError())
    deliver()
    bronto.orders[order.customer_order_id]["contactId"] = "theirs"
    converge(order)
    assert bronto.orders[order.customer_order_id]["contactId"] == "theirs"


def test_an_order_moved_to_another_account_is_sent_there(bronto: FakeBronto, synced: Order, settings: Any) -> None:
    settings.BRONTO_ORDERS = {"ACCOUNTS": {"default": {}, "eu": {}}}
    Order.objects.filter(pk=synced.pk).update(account="eu")
    bronto.orders.clear()
    assert engine.deliver("eu").counts == {"redirected": 1, "accepted": 1}
    assert synced.customer_order_id in bronto.orders


def test_a_number_that_changed_is_said(bronto: FakeBronto, synced: Order) -> None:
    Order.objects.filter(pk=synced.pk).update(customer_order_id="other")
    assert deliver() == {"skipped": 1}
    order = Order.objects.get(pk=synced.pk)
    assert order.sync_reason == "invalid:customer_order_id"
    assert synced.customer_order_id in order.sync_message


def test_a_repair_outlives_the_new_holders_success(bronto: FakeBronto, synced: Order) -> None:
    Order.objects.filter(pk=synced.pk).update(shipped=True)
    (first,) = claims.claim("default", 1, bronto_settings.delivery, using="default")
    Order.objects.filter(pk=synced.pk).update(due_at=DbNow(-1))

    def first_worker_finds_its_lease_lost() -> None:
        try:
            claims.repair(first, sent={}, settle_seconds=75, using="default")
        finally:
            connection.close()

    bronto.script.append(first_worker_finds_its_lease_lost)
    deliver()
    order = Order.objects.get(pk=synced.pk)
    assert (order.last_sent_hash, order.sync_state) == ("", SyncState.PENDING)
    assert order.settle_until > timezone.now()
    converge(synced)
    assert len(bronto.calls) == 2


@pytest.mark.parametrize("meanwhile", [True, False], ids=["while another sends", "after that"])
@pytest.mark.parametrize("field", ["contact_id", "message_id", "delivery_id"])
def test_what_a_lost_lease_has_brought_is_cleared(bronto: FakeBronto, field: str, meanwhile: bool) -> None:
    name = field.replace("_id", "Id")
    order = OrderFactory(**{field: "mine"})
    (first,) = claims.claim("default", 1, bronto_settings.delivery, using="default")
    sent = {"customerOrderId": order.customer_order_id, name: "mine"}
    bronto.add(wire.dumps(sent).encode())
    Order.objects.filter(pk=order.pk).update(due_at=DbNow(-1), **{field: ""})

    def first_worker_finds_its_lease_lost() -> None:
        try:
            claims.repair(first, sent=sent, settle_seconds=0, using="default")
        finally:
            connection.close()

    if meanwhile:
        bronto.script.append(first_worker_finds_its_lease_lost)
    assert deliver()["accepted"]
    if not meanwhile:
        claims.repair(first, sent=sent, settle_seconds=0, using="default")
    converge(order)
    assert bronto.orders[order.customer_order_id][name] is None


def test_the_look_up_takes_no_other_order(bronto: FakeBronto, synced: Order) -> None:
    order = OrderFactory()
    bronto.script.append(errors.ConflictError(status=409))
    bronto.search = lambda **criteria: list(bronto.orders.values())  # type: ignore[method-assign]
    deliver()
    assert bronto.operations == ["add"]
    assert Order.objects.get(pk=order.pk).sync_reason == "no_contact"


class TestOneBadAnswer:
    @pytest.mark.parametrize(
        "answer",
        [
            {"orderId": "half \ud83d and \0"},
            {"updatedDate": "0001-01-01T00:00:00+01:00"},
            {"updatedDate": "9999-12-31T23:59:59-01:00"},
            {"hasTracking": "perhaps"},
        ],
        ids=ascii,
    )
    def test_is_recorded_without_what_cannot_be_stored(
        self, bronto: FakeBronto, monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any]
    ) -> None:
        orders = OrderFactory.create_batch(3)
        usual = bronto._answer
        monkeypatch.setattr(bronto, "_answer", lambda stored: {**usual(stored), **answer})
        assert deliver() == {"accepted": 3}
        assert set(Order.objects.values_list("sync_state", flat=True)) == {"synced"}
        assert SyncAttempt.objects.filter(order__in=orders).count() == 3

    def test_stops_no_other(self, bronto: FakeBronto, monkeypatch: pytest.MonkeyPatch) -> None:
        bad, good = OrderFactory(), OrderFactory()
        attempt = engine.records._attempt

        def refuse(item: Any, outcome: str) -> SyncAttempt:
            if item.order.pk == bad.pk and item.result.answer:
                raise RecursionError
            return attempt(item, outcome)

        monkeypatch.setattr(engine.records, "_attempt", refuse)
        deliver()
        assert Order.objects.get(pk=good.pk).sync_state == SyncState.SYNCED
        waiting = Order.objects.get(pk=bad.pk)
        assert (waiting.sync_state, waiting.sync_reason, waiting.presence) == ("pending", "fate_unknown", "unsure")

    def test_a_status_that_http_does_not_know(self, bronto: FakeBronto) -> None:
        OrderFactory()
        bronto.script.append(errors.ServerError(status=999, reason="\ud83d\0"))
        deliver()
        assert SyncAttempt.objects.get().http_status is None


def test_an_order_that_cannot_be_read_stops_no_other(bronto: FakeBronto) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("only SQLite stores numbers that its columns cannot hold")
    bad, good = OrderFactory(), OrderFactory()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE bronto_orders_order SET grand_total = 1e20 WHERE id = %s", [bad.pk])
    assert deliver() == {"accepted": 1}
    assert Order.objects.get(pk=good.pk).sync_state == SyncState.SYNCED
    state = Order.objects.filter(pk=bad.pk).values_list("sync_state", "sync_reason").get()
    assert state == (SyncState.SKIPPED, "invalid:order")


def test_a_row_that_the_shop_has_locked_holds_up_no_other(bronto: FakeBronto, settings: Any) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    locked, other = OrderFactory(), OrderFactory()
    has_lock, may_end = threading.Event(), threading.Event()

    def long_transaction() -> None:
        try:
            with transaction.atomic():
                Order.objects.filter(pk=locked.pk).update(shipped=True)
                has_lock.set()
                may_end.wait(20)
        finally:
            connections.close_all()

    shop = threading.Thread(target=long_transaction)

    def while_the_shop_locks_the_row() -> None:
        shop.start()
        assert has_lock.wait(10)

    def work() -> None:
        try:
            deliver()
        finally:
            connections.close_all()

    settings.BRONTO_ORDERS = {"ACCOUNTS": {"default": {"CONCURRENCY": 1}}}
    bronto.script.append(while_the_shop_locks_the_row)
    worker = threading.Thread(target=work)
    worker.start()
    ends_at = time.monotonic() + 10
    while Order.objects.get(pk=other.pk).sync_state != SyncState.SYNCED and time.monotonic() < ends_at:
        time.sleep(0.05)
    try:
        assert Order.objects.get(pk=other.pk).sync_state == SyncState.SYNCED
        assert worker.is_alive()
    finally:
        may_end.set()
        shop.join()
        worker.join()
    done = Order.objects.get(pk=locked.pk)
    assert (done.sync_state, done.shipped) == (SyncState.SYNCED, True)
    assert bronto.operations.count("add") == 2


def test_the_longest_hold_stands(bronto: FakeBronto) -> None:
    OrderFactory.create_batch(2)
    for seconds in (600, 2):
        bronto.script.append(errors.RateLimitedError(status=429, retry_after=seconds))
    deliver()
    assert (AccountStatus.objects.get().held_until - timezone.now()).total_seconds() > 500
