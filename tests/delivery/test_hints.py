from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import statistics
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import TypeVar

import celery
import pytest
from amqp.exceptions import ChannelError
from asgiref.sync import async_to_sync
from django.db import connection, transaction
from django.forms.models import model_to_dict
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, override_settings
from django.test.utils import isolate_apps
from django.urls import path
from kombu import Connection

from bronto_orders.delivery import hints
from bronto_orders.models import Order
from bronto_orders.per_process import PerProcess
from tests.chaos.proxy import Proxies, Proxy, _Way
from tests.conftest import Broker
from tests.factories import OrderFactory
from tests.services import need

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


class TestSubclasses:
    """A shop may have models of its own that are orders."""

    def test_a_proxy_wakes(self, broker: Broker) -> None:
        with isolate_apps("bronto_orders"):

            class Purchase(Order):
                class Meta:
                    proxy = True
                    app_label = "bronto_orders"

        order = OrderFactory()
        broker.hints()
        Purchase.objects.get(pk=order.pk).save()
        assert broker.hints() == [HINT]

    def test_a_child_wakes(self, broker: Broker) -> None:
        with isolate_apps("bronto_orders"):

            class Subscription(Order):
                class Meta:
                    app_label = "bronto_orders"

        with connection.schema_editor() as editor:
            editor.create_model(Subscription)
        try:
            child = Subscription(**model_to_dict(OrderFactory.build(), exclude=["id"]))
            child.save()
            assert broker.hints() == [HINT]
            Subscription.objects.get(pk=child.pk).save()
            assert broker.hints() == [HINT]
        finally:
            with connection.schema_editor() as editor:
                editor.delete_model(Subscription)


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
    monkeypatch.setattr(hints, "_publishers", None)
    assert OrderFactory().pk


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


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Iterator[hints._Publisher]:
    """The real one, which other tests do without."""
    publishers = PerProcess(hints._Publisher)
    monkeypatch.setattr(hints, "_publishers", publishers)
    publisher = publishers.get()
    yield publisher
    # What it still has to say is not for the next test's log.
    for _ in range(60):
        if publisher._sending_since is not None:
            publisher.flush()
    assert publisher._sending_since is None


class Wire:
    """Stands in for what hands messages to Celery: each waits until it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.batches: list[list[hints.Message]] = []
        self.outcomes: list[Exception | None] = []

    def send(self, task: object, messages: Iterable[hints.Message], line: object) -> Exception | None:
        self.batches.append(list(messages))
        self.begun.release()
        assert self.go_on.acquire(timeout=10)
        return self.outcomes.pop(0) if self.outcomes else None


@pytest.mark.django_db(transaction=False)
class TestPublisher:
    @pytest.fixture
    def wire(self, publisher: hints._Publisher, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
        wire = Wire()
        monkeypatch.setattr(hints, "_send", wire.send)
        monkeypatch.setattr(hints, "SPACING_SECONDS", 0.0)
        app = celery.Celery("shop", broker="memory://", set_as_current=False)
        monkeypatch.setattr(hints, "current_app", app)
        yield wire
        wire.go_on.release(100)
        publisher.flush()

    def test_nobody_waits_for_the_broker(self, wire: Wire) -> None:
        hints.wake({"default"})
        assert wire.begun.acquire(timeout=10)

    def test_what_is_asked_for_meanwhile_is_one_hint_each_and_goes_out_after_it(
        self, wire: Wire, publisher: hints._Publisher
    ) -> None:
        eu, us = (hints.Message(account, "default", "signal") for account in ("eu", "us"))
        publisher.publish(None, [eu])
        assert wire.begun.acquire(timeout=10)
        for message in (eu, us, us, eu):
            publisher.publish(None, [message])
        wire.go_on.release(3)
        publisher.flush()
        assert wire.batches == [[eu], [eu], [us]]

    def test_of_two_databases_each_has_its_own(self, wire: Wire, publisher: hints._Publisher) -> None:
        hints.wake({"default"})
        assert wire.begun.acquire(timeout=10)
        hints.wake({"default"}, using="other")
        hints.wake({"default"}, using="third")
        wire.go_on.release(3)
        publisher.flush()
        assert [message.using for (message,) in wire.batches] == ["default", "other", "third"]

    def test_flush_waits_for_what_is_under_way(self, wire: Wire, publisher: hints._Publisher) -> None:
        hints.wake({"default"})
        assert wire.begun.acquire(timeout=10)
        seconds, _ = timed(publisher.flush)
        assert seconds >= hints.PATIENCE_SECONDS
        wire.go_on.release()
        seconds, _ = timed(publisher.flush)
        assert seconds < hints.PATIENCE_SECONDS

    def test_after_a_failure_it_rests(
        self, wire: Wire, publisher: hints._Publisher, caplog: pytest.LogCaptureFixture
    ) -> None:
        wire.outcomes = [OSError("gone")]
        wire.go_on.release(3)
        hints.wake({"default"})
        publisher.flush()
        hints.wake({"default"})
        publisher.flush()
        assert len(wire.batches) == 1
        assert "(OSError)" in caplog.text
        publisher._resume_at = 0.0
        hints.wake({"default"})
        publisher.flush()
        assert len(wire.batches) == 2

    def test_a_thread_that_hangs_is_left_behind(
        self, wire: Wire, publisher: hints._Publisher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hints, "PATIENCE_SECONDS", 0.05)
        monkeypatch.setattr(hints, "REST_SECONDS", 0.2)
        threads = set(threading.enumerate())
        began = time.monotonic()
        while len(wire.batches) < 2:
            publisher.publish(None, [hints.Message("eu", "default", "signal")])
            assert time.monotonic() < began + 10
            time.sleep(0.01)
        assert time.monotonic() - began >= hints.REST_SECONDS
        left, new = sorted(set(threading.enumerate()) - threads, key=lambda thread: thread is publisher._thread)
        wire.outcomes = [OSError("what the old one finds out is no news")]
        wire.go_on.release()
        left.join(10)
        assert not left.is_alive()
        assert new.is_alive()
        assert publisher._resume_at < time.monotonic()

    def test_only_so_many_are_left_behind(
        self, wire: Wire, publisher: hints._Publisher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hints, "PATIENCE_SECONDS", 0.01)
        monkeypatch.setattr(hints, "REST_SECONDS", 0.05)
        threads = threading.active_count()
        began, hanging = time.monotonic(), hints.MOST_LEFT_BEHIND + 1
        while time.monotonic() < began + 1.0 or len(wire.batches) < hanging:
            publisher.publish(None, [hints.Message("eu", "default", "signal")])
            assert time.monotonic() < began + 10
            time.sleep(0.01)
        assert len(wire.batches) == hanging
        assert threading.active_count() == threads + hanging
        # Whichever of them ends makes room, even before the latest does.
        wire.go_on.release()
        while len(wire.batches) == hanging:
            publisher.publish(None, [hints.Message("eu", "default", "signal")])
            assert time.monotonic() < began + 20
            time.sleep(0.01)

    def test_no_thread_to_be_had(
        self,
        wire: Wire,
        publisher: hints._Publisher,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        def refuse(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", refuse)
        hints.wake({"default"})
        assert "can't start new thread" in caplog.text
        monkeypatch.undo()
        publisher._resume_at = 0.0


@pytest.mark.django_db(transaction=False)
def test_a_script_that_saves_and_ends_has_its_hint_published(tmp_path: Path) -> None:
    script = """
        import django
        django.setup()
        from celery import Celery
        folders = dict.fromkeys(["data_folder_in", "data_folder_out", "control_folder"], FOLDER)
        Celery("shop", broker="filesystem://").conf.broker_transport_options = folders
        from bronto_orders.delivery import hints
        hints.wake({"default"})
    """
    script = textwrap.dedent(script).replace("FOLDER", repr(str(tmp_path)))
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=60)
    (message,) = tmp_path.glob("*.msg")
    assert json.loads(message.read_text())["headers"]["task"] == hints.TASK


def test_the_promise() -> None:
    # As docs/reliability.md has it.
    assert hints.PATIENCE_SECONDS == 0.5


class BlackHole(Proxy):
    """Loses what comes on connections that there are, as a firewall does that has forgotten them; new ones are well."""

    def forget(self) -> None:
        self.swallow("up", "down")
        self._call(lambda: setattr(self, "_ways", {"up": _Way(), "down": _Way()}))


@pytest.mark.services
class TestBlackHole:
    """The connection that the last hint went over gives no sign of life any more, nor does it end."""

    PATIENT = {
        "redis": {"socket_timeout": None, "socket_connect_timeout": None},
        "amqp": {"confirm_publish": True, "read_timeout": None, "write_timeout": None},
    }

    @pytest.fixture(params=["redis", "amqp"])
    def kind(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def proxy(self, kind: str) -> Iterator[BlackHole]:
        need("redis-server", "redis") if kind == "redis" else need("rabbitmqctl", "amqp")
        with Proxies() as proxies:
            proxy = BlackHole(proxies._loop, 6379 if kind == "redis" else 5672)
            proxies._proxies.append(proxy)
            yield proxy

    @pytest.fixture
    def queue(self, kind: str) -> Iterator[Callable[[], int]]:
        """A queue of this test's own. Tells how many messages have come, by another way than the proxy."""
        self.name = f"bronto_orders_tests_{os.getpid()}"
        address = "redis://127.0.0.1:6379/13" if kind == "redis" else "amqp://guest:guest@127.0.0.1:5672//"
        with Connection(address) as connection, connection.SimpleQueue(self.name) as queue:

            def size() -> int:
                try:
                    return queue.qsize()
                except ChannelError:  # Redis has no empty lists
                    return 0

            try:
                yield size
            finally:
                queue.queue.delete()

    @pytest.fixture
    def app(
        self, kind: str, proxy: BlackHole, queue: Callable[[], int], monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[celery.Celery]:
        address = (
            f"redis://127.0.0.1:{proxy.port}/13" if kind == "redis" else f"amqp://guest:guest@127.0.0.1:{proxy.port}//"
        )
        app = celery.Celery("shop", broker=address, set_as_current=False)
        app.conf.task_default_queue = self.name
        app.conf.broker_connection_timeout = 1
        monkeypatch.setattr(hints, "current_app", app)
        monkeypatch.setattr(hints, "REST_SECONDS", 2.0)
        yield app
        app.close()

    @pytest.mark.parametrize("timeouts", ["ours", "none"])
    @pytest.mark.parametrize("heals", ["for new connections", "entirely"])
    def test_hints_come_back(
        self,
        kind: str,
        timeouts: str,
        heals: str,
        app: celery.Celery,
        proxy: BlackHole,
        queue: Callable[[], int],
        publisher: hints._Publisher,
    ) -> None:
        if timeouts == "none":
            app.conf.broker_transport_options = self.PATIENT[kind]
        saves: list[float] = []

        def save_until(came: int, seconds: float) -> bool:
            ends_at = time.monotonic() + seconds
            while queue() < came:
                saves.append(timed(OrderFactory)[0])
                time.sleep(0.05)
                if time.monotonic() > ends_at:
                    return False
            return True

        OrderFactory()
        assert save_until(1, 10)
        saves.clear()
        proxy.swallow("up", "down")
        assert not save_until(queue() + 1000, hints.PATIENCE_SECONDS * 2)
        if heals == "entirely":
            proxy.heal()
        else:
            proxy.forget()
        assert save_until(queue() + 1, 2 * hints.REST_SECONDS + 2)
        assert statistics.median(saves) < 0.05
        assert max(saves) < 0.05 + TestBrokenBroker.SLACK
        proxy.heal()


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

    @pytest.fixture
    def use(self, kind: str, publisher: hints._Publisher, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
        def use(port: int) -> None:
            app = celery.Celery("broken", broker=f"{kind}://127.0.0.1:{port}", set_as_current=False)
            monkeypatch.setattr(hints, "current_app", app)

        return use

    def assert_nobody_waits(self, publisher: hints._Publisher, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING, "bronto_orders"):
            first, order = timed(OrderFactory)
            # Twice: on a busy machine the thread begins late.
            publisher.flush()
            publisher.flush()
            later = [timed(lambda: hints.wake({"default"}))[0] for _ in range(50)]
        assert order.pk
        assert first < self.SLACK
        assert statistics.median(later) < 0.001
        assert len(caplog.messages) == 1
        assert "sweep" in caplog.messages[0]

    def test_refusing(
        self,
        broker: Broker,
        use: Callable[[int], None],
        refusing_port: int,
        publisher: hints._Publisher,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        use(refusing_port)
        # Celery tries to connect for some seconds before it gives up.
        self.assert_nobody_waits(publisher, caplog)

    def test_silent(
        self,
        broker: Broker,
        use: Callable[[int], None],
        silent_server: int,
        publisher: hints._Publisher,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        use(silent_server)
        self.assert_nobody_waits(publisher, caplog)

    def test_no_further_thread_joins_one_that_is_stuck(
        self, broker: Broker, use: Callable[[int], None], silent_server: int, publisher: hints._Publisher
    ) -> None:
        use(silent_server)
        hints.wake({"default"})
        publisher.flush()
        threads = set(threading.enumerate())
        for _ in range(3):
            publisher._resume_at = 0.0
            hints.wake({"default"})
        assert set(threading.enumerate()) <= threads

    def test_saves_of_many_threads(
        self, broker: Broker, use: Callable[[int], None], silent_server: int, publisher: hints._Publisher
    ) -> None:
        use(silent_server)
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
        assert max(first for first, _ in seconds) < self.SLACK
        assert max(later for _, later in seconds) < 0.001
        assert Order.objects.count() == threads

    def test_an_async_view_leaves_the_event_loop_free(
        self, broker: Broker, use: Callable[[int], None], silent_server: int
    ) -> None:
        use(silent_server)
        gaps: list[float] = []

        async def beat() -> None:
            while True:
                started = time.perf_counter()
                await asyncio.sleep(0.01)
                gaps.append(time.perf_counter() - started)

        async def visit() -> None:
            beating = asyncio.create_task(beat())
            for _ in range(10):
                response = await AsyncClient().get("/checkout/")
                assert response.status_code == 200
            beating.cancel()

        with override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=[]):
            seconds, _ = timed(async_to_sync(visit))
        assert seconds < 10 * self.SLACK
        assert max(gaps) < self.SLACK
        assert Order.objects.count() == 10
