from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator

import celery
import pytest
from django.db import transaction
from django.test import override_settings

from bronto_orders.delivery import hints
from bronto_orders.models import Order
from tests.conftest import Broker
from tests.factories import LineItemFactory, OrderFactory

pytestmark = pytest.mark.django_db(transaction=True)
HINT = {"account": "default", "trigger": "signal", "using": "default"}


class TestAfterCommit:
    def test_once_for_an_order_with_items(self, broker: Broker) -> None:
        with transaction.atomic():
            OrderFactory(items=3)
            assert broker.hints() == []
        assert broker.hints() == [HINT]

    def test_not_at_all_on_rollback(self, broker: Broker) -> None:
        with pytest.raises(ValueError, match="no"), transaction.atomic():
            OrderFactory(items=3)
            raise ValueError("no")
        assert broker.hints() == []
        OrderFactory()
        assert broker.hints() == [HINT]

    def test_once_for_many_writes(self, broker: Broker) -> None:
        with transaction.atomic():
            for order in OrderFactory.create_batch(3):
                order.save()
        assert broker.hints() == [HINT]

    @override_settings(BRONTO_ORDERS={"ACCOUNTS": {"default": {}, "eu": {}}})
    def test_one_for_each_account(self, broker: Broker) -> None:
        with transaction.atomic():
            OrderFactory()
            OrderFactory(account="eu")
        assert broker.hints() == [HINT, {**HINT, "account": "eu"}]

    def test_a_rolled_back_savepoint_takes_no_other_hint_with_it(self, broker: Broker) -> None:
        with transaction.atomic():
            with pytest.raises(ValueError, match="no"), transaction.atomic():
                OrderFactory()
                raise ValueError("no")
            OrderFactory()
        assert broker.hints() == [HINT]

    def test_in_autocommit_mode_at_once(self, broker: Broker) -> None:
        OrderFactory()
        assert broker.hints() == [HINT]

    def test_items_and_bulk_writes_wake_too(self, broker: Broker) -> None:
        order = OrderFactory()
        broker.hints()
        for write in (
            lambda: LineItemFactory(order=order),
            lambda: order.line_items.first().delete(),
            lambda: Order.objects.filter(pk=order.pk).update(shipped=True),
            lambda: Order.objects.bulk_create([OrderFactory.build()]),
            lambda: Order.objects.mark_changed(),
        ):
            write()
            assert broker.hints() == [HINT]

    def test_delivery_columns_wake_nobody(self, broker: Broker) -> None:
        order = OrderFactory()
        broker.hints()
        Order.objects.filter(pk=order.pk).update(attempts=3)
        assert broker.hints() == []


@pytest.mark.django_db(transaction=False)
def test_inside_a_test_transaction_each_capture_sees_its_own(
    broker: Broker, django_capture_on_commit_callbacks: object
) -> None:
    order = OrderFactory()
    for _ in range(2):
        with django_capture_on_commit_callbacks(execute=True) as callbacks:  # type: ignore[operator]
            order.save()
        assert len(callbacks) == 1
        assert broker.hints() == [HINT]


def test_switched_off(broker: Broker) -> None:
    with override_settings(BRONTO_ORDERS={"ACCOUNTS": {"default": {}}, "DELIVERY": {"ENABLED": False}}):
        OrderFactory()
    assert broker.hints() == []


@pytest.mark.parametrize("wrong", [None, {"ACCOUNTS": 5}, {"DELIVERY": {"ENABLED": "x"}}], ids=repr)
def test_wrong_settings_break_no_save(broker: Broker, wrong: object) -> None:
    with override_settings(BRONTO_ORDERS=wrong):
        assert OrderFactory().pk


def test_a_project_without_a_broker_is_asked_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints, "current_app", celery.Celery("none", set_as_current=False))
    # As in a process that has not imported the tasks; this one may have.
    monkeypatch.setattr(hints, "TASK", "bronto_orders.not_imported")
    monkeypatch.setattr(hints, "_publisher", None)
    assert OrderFactory().pk
    assert hints.wake({"default"}) is False


def test_hints_expire(broker: Broker) -> None:
    OrderFactory()
    with broker.app.connection_for_read() as connection, connection.SimpleQueue("celery") as queue:
        assert queue.get_nowait().headers["expires"]


def test_eager_tasks_run_on_the_callers_connection(broker: Broker) -> None:
    ran: list[threading.Thread] = []

    @broker.app.task(name="bronto_orders.deliver")
    def deliver(**kwargs: object) -> None:
        ran.append(threading.current_thread())

    broker.app.conf.update(task_always_eager=True, broker_url=None)
    OrderFactory()
    assert ran == [threading.current_thread()]


@pytest.fixture
def silent_server() -> Iterator[int]:
    """A port where connections are accepted and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def refusing_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


class TestBrokenBroker:
    def assert_bounded(self, port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        app = celery.Celery("broken", broker=f"amqp://guest:guest@127.0.0.1:{port}//", set_as_current=False)
        monkeypatch.setattr(hints, "current_app", app)
        monkeypatch.setattr(hints, "_publisher", hints._Publisher())
        with caplog.at_level(logging.WARNING, "bronto_orders"):
            started = time.perf_counter()
            order = OrderFactory()
            first = time.perf_counter() - started
            started = time.perf_counter()
            assert hints.wake({"default"}) is False
            later = time.perf_counter() - started
        assert order.pk
        assert first < hints.PUBLISH_SECONDS + 0.5
        assert later < 0.05
        assert len(caplog.messages) == 1
        assert "sweep" in caplog.messages[0]

    def test_refusing(
        self, broker: Broker, refusing_port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.assert_bounded(refusing_port, monkeypatch, caplog)

    def test_silent(
        self, broker: Broker, silent_server: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.assert_bounded(silent_server, monkeypatch, caplog)

    def test_is_tried_again_after_a_rest(self, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
        publisher = hints._Publisher()
        monkeypatch.setattr(hints, "_publisher", publisher)
        errors = [OSError("gone"), None, None]
        monkeypatch.setattr(hints, "_send", lambda messages: errors.pop(0))
        assert [hints.wake({"default"}) for _ in range(2)] == [False, False]
        publisher._resume_at = 0.0
        assert [hints.wake({"default"}) for _ in range(2)] == [True, True]
