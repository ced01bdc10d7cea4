"""A worker that is told to end hands back what it has not sent."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from celery.signals import worker_shutting_down

from bronto_orders import tasks
from bronto_orders.delivery import engine
from bronto_orders.models import Order, SyncState
from tests.factories import OrderFactory
from tests.fakes import FakeBronto

pytestmark = pytest.mark.django_db(transaction=True)

ONE_THREAD = {"ACCOUNTS": {"default": {"CONCURRENCY": 1}}}


@pytest.fixture
def ending(monkeypatch: pytest.MonkeyPatch) -> bytearray:
    """What the worker's processes share, for this test alone."""
    monkeypatch.setattr(tasks, "_ending", flag := bytearray(1))
    return flag


def test_what_is_not_sent_is_handed_back(bronto: FakeBronto, ending: bytearray, settings: Any) -> None:
    settings.BRONTO_ORDERS = ONE_THREAD
    OrderFactory.create_batch(5)
    columns = ["pk", "revision", "presence", "attempts", "crashes", "lease_token", "lease_revision"]
    before = set(Order.objects.values_list(*columns))

    def end() -> None:
        worker_shutting_down.send("worker@host", sig="SIGTERM", how="Warm", exitcode=0)

    bronto.script.append(end)
    tasks.deliver()
    assert bronto.operations == ["add"]
    left = Order.objects.due().filter(sync_state=SyncState.PENDING)
    assert len(left) == 4
    assert set(left.values_list(*columns)) < before


def test_others_are_woken_for_it(
    bronto: FakeBronto, ending: bytearray, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BRONTO_ORDERS = ONE_THREAD
    OrderFactory.create_batch(3)
    woken: list[Any] = []
    monkeypatch.setattr(engine.hints, "wake", lambda accounts, **options: woken.append(accounts))
    bronto.script.append(tasks.note_shutdown)
    tasks.deliver()
    assert woken == [{"default"}]


def test_a_task_that_comes_late_sends_nothing(bronto: FakeBronto, ending: bytearray) -> None:
    OrderFactory()
    tasks.note_shutdown()
    tasks.deliver()
    assert bronto.calls == []
    ending[0] = 0
    tasks.deliver()
    assert bronto.operations == ["add"]


def test_nor_does_it_wait_for_the_rate_limit(bronto: FakeBronto, settings: Any) -> None:
    settings.BRONTO_ORDERS = {"ACCOUNTS": {"default": {"RATE_LIMIT": "1/h"}}}
    OrderFactory.create_batch(2)
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    started = time.monotonic()
    engine.deliver("default", stopping=stop.is_set)
    assert time.monotonic() - started < 5
    assert len(bronto.calls) <= 1
