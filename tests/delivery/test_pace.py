"""RATE_LIMIT, counted in Django's cache for all workers."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.cache import cache
from django.test import override_settings

from bronto_orders.client.patience import PatientCache
from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import engine, pace
from bronto_orders.delivery.pace import Allowance, Pace
from bronto_orders.models import Order
from tests.client.caches import FrozenCache
from tests.factories import OrderFactory
from tests.fakes import FakeBronto


@pytest.fixture(autouse=True)
def counts(monkeypatch: pytest.MonkeyPatch) -> PatientCache:
    """As in a process that has just started."""
    cache.clear()
    counts = pace._Counts(patience=0.2)
    monkeypatch.setattr(pace, "_counts", counts)
    return counts


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    clock = [5000.0]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    return clock


def pace_of(rate: str) -> Pace:
    with override_settings(BRONTO_ORDERS={"ACCOUNTS": {"default": {"RATE_LIMIT": rate}}}):
        return Pace(bronto_settings.account("default"))


def test_no_more_counts_are_kept_than_a_small_cache_has_room_for() -> None:
    # Django's caches in files and in memory drop others' entries when there are 300.
    assert pace.CLOCK_SECONDS <= 100


@pytest.mark.parametrize("behind", [3, 30, 60])
def test_workers_whose_clocks_differ_share_each_window(
    clock: list[float], monkeypatch: pytest.MonkeyPatch, behind: int
) -> None:
    # The cache's clock is right, and so is that of one worker.
    late = [0]
    monkeypatch.setattr(pace, "time", SimpleNamespace(time=lambda: clock[0] - late[0]))
    limited = pace_of("10/s")
    taken: Counter[int] = Counter()
    for _ in range(behind + 5):
        clock[0] += 1
        for late[0] in (0, behind):
            taken[int(clock[0]) - late[0]] += limited.take(10).requests
    assert set(taken.values()) == {10}


@pytest.fixture
def frozen(settings: Any) -> Iterator[None]:
    settings.CACHES = {"default": {"BACKEND": "tests.client.caches.FrozenCache"}}
    FrozenCache.thawed.clear()
    yield
    FrozenCache.thawed.set()


@pytest.mark.django_db(transaction=True)
def test_a_frozen_cache_costs_its_patience_once(
    frozen: None, bronto: FakeBronto, caplog: pytest.LogCaptureFixture
) -> None:
    limited = {"ACCOUNTS": {"default": {"RATE_LIMIT": "2/s", "CONCURRENCY": 1}}}
    began = time.monotonic()
    with override_settings(BRONTO_ORDERS=limited), caplog.at_level(logging.WARNING, "bronto_orders"):
        for _ in range(3):
            Order.objects.bulk_create(OrderFactory.build_batch(5))
            assert engine.deliver("default").counts == {"accepted": 5}
    assert time.monotonic() - began < 2
    assert caplog.messages == ["RATE_LIMIT is not applied: the cache failed ('default': no answer in time)."]


def test_a_frozen_cache_limits_nothing(frozen: None) -> None:
    assert pace_of("2/s").take(24) == Allowance(24, 24)


def test_a_cache_that_fails_is_asked_again_later(settings: Any, counts: PatientCache) -> None:
    limited = pace_of("2/s")
    settings.CACHES = {"default": {"BACKEND": "tests.client.caches.BrokenCache"}}
    assert limited.take(24) == Allowance(24, 24)
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    assert limited.take(24) == Allowance(24, 24)
    counts._resting_until = 0.0
    assert limited.take(24) == Allowance(2, 1)


@pytest.mark.parametrize(
    ("rate", "now", "worth"), [("1/s", 0.0, True), ("10/m", 0.1, True), ("1/h", 10.0, False), ("1/h", 3595.0, True)]
)
def test_only_a_short_wait_is_worth_it(clock: list[float], rate: str, now: float, worth: bool) -> None:
    clock[0] = 36000.0 + now
    assert pace_of(rate).is_worth_waiting() is worth
