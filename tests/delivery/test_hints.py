from __future__ import annotations

import asyncio
import logging
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import TypeVar

import celery
import pytest
from asgiref.sync import async_to_sync
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, override_settings
from django.urls import path

from bronto_orders.delivery import hints
from bronto_orders.models import Order
from tests.conftest import Broker
from tests.factories import OrderFactory

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

    def test_in_autocommit_mode_at_once(self, broker: Broker) -> None:
        OrderFactory()
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


def test_eager_tasks_run_on_the_callers_connection(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    # Another name than that of the task that other tests import.
    monkeypatch.setattr(hints, "TASK", "tests.deliver")
    ran: list[threading.Thread] = []

    @broker.app.task(name=hints.TASK, shared=False)
    def deliver(**kwargs: object) -> None:
        ran.append(threading.current_thread())

    broker.app.conf.update(task_always_eager=True, broker_url=None)
    OrderFactory()
    assert ran == [threading.current_thread()]


T = TypeVar("T")


def timed(call: Callable[[], T]) -> tuple[float, T]:
    """Return how many seconds the call took, and what it returned."""
    started = time.perf_counter()
    result = call()
    return time.perf_counter() - started, result


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


async def checkout(request: HttpRequest) -> HttpResponse:
    """A view of a shop that runs under ASGI."""
    order = OrderFactory.build()
    await order.asave()
    return HttpResponse(str(order.pk))


urlpatterns = [path("checkout/", checkout)]


class TestBrokenBroker:
    """Celery has its default settings here, with which it waits for a silent broker for ever."""

    #: What a wait may take longer because the machine has other things to do.
    SLACK = 0.5

    @pytest.fixture(params=["amqp", "redis"])
    def kind(self, request: pytest.FixtureRequest) -> str:
        kind = str(request.param)
        # Imported beforehand: what is measured is the broker, and not how long a busy machine takes to import.
        pytest.importorskip("redis" if kind == "redis" else "amqp")
        import_module(f"kombu.transport.{'redis' if kind == 'redis' else 'pyamqp'}")
        return kind

    def use(self, kind: str, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
        app = celery.Celery("broken", broker=f"{kind}://127.0.0.1:{port}", set_as_current=False)
        monkeypatch.setattr(hints, "current_app", app)
        monkeypatch.setattr(hints, "_publisher", hints._Publisher())

    def assert_bounded(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING, "bronto_orders"):
            first, order = timed(OrderFactory)
            later = [timed(lambda: hints.wake({"default"})) for _ in range(50)]
        assert order.pk
        assert first < hints.PUBLISH_SECONDS + self.SLACK
        assert not any(sent for _, sent in later)
        assert statistics.median(seconds for seconds, _ in later) < 0.001
        assert len(caplog.messages) == 1
        assert "sweep" in caplog.messages[0]

    def test_refusing(
        self,
        broker: Broker,
        kind: str,
        refusing_port: int,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        self.use(kind, refusing_port, monkeypatch)
        self.assert_bounded(caplog)

    def test_silent(
        self,
        broker: Broker,
        kind: str,
        silent_server: int,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        self.use(kind, silent_server, monkeypatch)
        self.assert_bounded(caplog)

    def test_a_thread_that_is_stuck_is_not_joined_by_others(
        self, broker: Broker, kind: str, silent_server: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.use(kind, silent_server, monkeypatch)
        assert hints.wake({"default"}) is False
        threads = set(threading.enumerate())
        hints._publisher._resume_at = 0.0
        seconds, sent = timed(lambda: hints.wake({"default"}))
        assert (sent, seconds < 0.1) == (False, True)
        assert set(threading.enumerate()) <= threads

    def test_saves_of_many_threads(
        self, broker: Broker, kind: str, silent_server: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.use(kind, silent_server, monkeypatch)
        threads = 4
        together = threading.Barrier(threads)

        def shop(number: int) -> tuple[float, float]:
            try:
                together.wait()
                first, _ = timed(lambda: hints.wake({"default"}))
                OrderFactory()
                return first, min(timed(lambda: hints.wake({"default"}))[0] for _ in range(50))
            finally:
                connection.close()

        with ThreadPoolExecutor(threads) as pool:
            seconds = list(pool.map(shop, range(threads)))
        assert max(first for first, _ in seconds) < hints.PUBLISH_SECONDS + self.SLACK
        assert max(later for _, later in seconds) < 0.001
        assert Order.objects.count() == threads

    def test_an_async_view_leaves_the_event_loop_free(
        self, broker: Broker, kind: str, silent_server: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.use(kind, silent_server, monkeypatch)
        gaps: list[float] = []

        async def beat() -> None:
            while True:
                started = time.perf_counter()
                await asyncio.sleep(0.01)
                gaps.append(time.perf_counter() - started)

        async def visit() -> float:
            beating = asyncio.create_task(beat())
            started = time.perf_counter()
            response = await AsyncClient().get("/checkout/")
            seconds = time.perf_counter() - started
            beating.cancel()
            assert response.status_code == 200
            return seconds

        with override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=[]):
            seconds = async_to_sync(visit)()
        assert seconds < hints.PUBLISH_SECONDS + self.SLACK
        assert len(gaps) > 10
        assert max(gaps) < hints.PUBLISH_SECONDS
        assert Order.objects.count() == 1

    def test_is_tried_again_after_a_rest(self, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
        publisher = hints._Publisher()
        monkeypatch.setattr(hints, "_publisher", publisher)
        errors = [OSError("gone"), None, None]
        monkeypatch.setattr(hints, "_send", lambda messages: errors.pop(0))
        assert [hints.wake({"default"}) for _ in range(2)] == [False, False]
        publisher._resume_at = 0.0
        assert [hints.wake({"default"}) for _ in range(2)] == [True, True]
