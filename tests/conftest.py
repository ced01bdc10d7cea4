from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import celery
import pytest
from kombu.transport.memory import Channel

from tests.fakes import FakeBronto

pytest_plugins = ["bronto_orders.testing"]


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
