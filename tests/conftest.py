from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import celery
import pytest
from asgiref.sync import sync_to_async
from django.db import connection, connections
from kombu.transport.memory import Channel
from pytest_django import DjangoDbBlocker

from tests.fakes import FakeBronto

pytest_plugins = ["bronto_orders.testing"]

#: Seconds until a server must have noticed that connections are closed.
CLOSING = 20.0


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Let connections of threads and processes that have ended go first: PostgreSQL drops no database in use."""
    yield
    if connection.vendor == "postgresql":
        with django_db_blocker.unblock():
            # The thread in which all async views of this process have used the database stays.
            asyncio.run(sync_to_async(connections.close_all)())
            _wait_until_alone()


def _wait_until_alone() -> None:
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    gives_up_at = time.monotonic() + CLOSING
    with connection.cursor() as cursor:
        while True:
            cursor.execute(f"SELECT state, query {others}")
            if not (left := cursor.fetchall()):
                return
            if time.monotonic() > gives_up_at:
                raise RuntimeError(f"connections were left open, last used for: {left}")
            time.sleep(0.05)


class _InThisThread:
    """Stands in for the thread that publishes hints."""

    def get(self) -> _InThisThread:
        return self

    def publish(self, task: Any, messages: Any) -> None:
        from bronto_orders.delivery import hints

        hints._send(task, messages)


class _Nobody(_InThisThread):
    """Publishes nothing."""

    def publish(self, task: Any, messages: Any) -> None: ...


class Broker:
    """A Celery app whose messages stay in this process's memory until read."""

    def __init__(self) -> None:
        self.app = celery.Celery("tests", broker="memory://", set_as_current=False)

    def hints(self) -> list[dict[str, Any]]:
        """Return and forget the keyword arguments of the deliver tasks that were sent."""
        sent = []
        with self.app.connection_for_read() as connection, connection.SimpleQueue("celery") as queue:
            while queue.qsize():
                message = queue.get_nowait()
                message.ack()
                assert message.headers["task"] == "bronto_orders.deliver"
                sent.append(message.payload[1])
        return sent


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    """Hints go to a broker in memory, however long that takes on a busy machine."""
    from bronto_orders.delivery import hints

    broker = Broker()
    monkeypatch.setattr(hints, "current_app", broker.app)
    monkeypatch.setattr(hints, "_publishers", _InThisThread())
    yield broker
    broker.app.close()
    Channel.queues.clear()


@pytest.fixture(autouse=True)
def no_broker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests have no broker at all: nothing may depend on one."""
    if "broker" not in request.fixturenames:
        from bronto_orders.delivery import hints

        monkeypatch.setattr(hints, "_publishers", _Nobody())


@pytest.fixture
def bronto(monkeypatch: pytest.MonkeyPatch) -> FakeBronto:
    """The engine talks to this."""
    from bronto_orders.delivery import engine

    fake = FakeBronto()
    monkeypatch.setattr(engine, "client_for", lambda account: fake)
    return fake
