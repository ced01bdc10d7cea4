"""The same workers with a Redis of their own that is taken away and given back, and with RabbitMQ."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kombu import Connection, Queue

from bronto_orders.models import Order, SyncAttempt, SyncState
from tests.factories import OrderFactory
from tests.services import free_port, need
from tests.workers.conftest import Process, Stack, eventually, running_stack

pytestmark = [pytest.mark.slow, pytest.mark.services, pytest.mark.django_db(transaction=True)]


class Redis:
    def __init__(self, folder: Path) -> None:
        self.program = need("redis-server", "redis")
        self.folder = folder
        self.port = free_port()
        self.start()

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        self.process = Process(self.program, *options, log=self.folder / "redis.log")
        eventually(self.listens)

    def listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    redis = Redis(tmp_path)
    yield redis
    redis.process.popen.send_signal(signal.SIGCONT)
    redis.process.kill()


@pytest.fixture
def stack(
    redis: Redis, tmp_path: Path, transactional_db: None, broker: object, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stack]:
    yield from running_stack(tmp_path, f"redis://127.0.0.1:{redis.port}/0", monkeypatch)


def synced() -> bool:
    return set(Order.objects.values_list("sync_state", flat=True)) == {SyncState.SYNCED}


def test_gone_and_back(stack: Stack, redis: Redis) -> None:
    stack.start_worker()
    OrderFactory()
    eventually(synced)
    redis.process.kill()
    started = time.perf_counter()
    OrderFactory.create_batch(20)
    assert time.perf_counter() - started < 2
    redis.start()
    eventually(synced, seconds=60)
    assert len(stack.sandbox.orders) == 21


def test_frozen(stack: Stack, redis: Redis) -> None:
    stack.start_worker()
    OrderFactory()
    eventually(synced)
    redis.process.popen.send_signal(signal.SIGSTOP)
    started = time.perf_counter()
    OrderFactory.create_batch(20)
    assert time.perf_counter() - started < 2
    redis.process.popen.send_signal(signal.SIGCONT)
    eventually(synced, seconds=60)
    assert len(stack.sandbox.orders) == 21


@pytest.fixture
def rabbitmq(
    tmp_path: Path, transactional_db: None, broker: object, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stack]:
    """Workers on a queue of this test's own."""
    need("rabbitmqctl", "amqp")
    address, name = "amqp://guest:guest@127.0.0.1:5672//", f"bronto_orders_workers_{os.getpid()}"
    yield from running_stack(tmp_path, address, monkeypatch, queue=name)
    with Connection(address) as connection:
        Queue(name, channel=connection.default_channel).delete()


def test_rabbitmq(rabbitmq: Stack) -> None:
    rabbitmq.start_worker()
    order = OrderFactory(items=2)
    eventually(synced)
    order.shipped = True
    order.save()
    eventually(synced)
    assert rabbitmq.sandbox.orders[0]["states"]["shipped"] is True
    assert "signal" in SyncAttempt.objects.values_list("trigger", flat=True)
