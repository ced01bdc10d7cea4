"""The real engine, driven through all that may happen in the orders that hypothesis thinks of.

``model.py`` tries every interleaving of a model; here some thousands are tried on the code itself: the models and
their SQL, ``engine.deliver``, the client, and the sandbox as the service. Which thread moves next is drawn by
hypothesis, so that a failure can be repeated, and made small.

Time is the test's: ``DbNow`` compiles to a literal of ``Clock``, and what the engine knows as ``time`` is the same
clock. So both pass together, as they do outside, by hours in no time and by nothing while a test is slow.

``BRONTO_FUZZ_TIMES=10`` tries ten times as many.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, nullcontext
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db.models import Q
from hypothesis import HealthCheck, Phase, seed
from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import run_state_machine_as_test
from requests.adapters import HTTPAdapter

from bronto_orders.delivery import claims, engine, gate, preparing, records, sending
from bronto_orders.delivery.sending import Job
from bronto_orders.delivery.statements import PreparedUpdate
from bronto_orders.models import DbNow, Order
from bronto_orders.sandbox.adapter import SandboxAdapter
from bronto_orders.sandbox.messages import Answer, Request
from bronto_orders.sandbox.service import Service
from tests.protocol.actors import Clock, Flight, Flights, actor, inbox
from tests.protocol.machine import ACCOUNT, LATE_SECONDS, Delivery, World

EXAMPLES = 30
#: By which the tests draw that are to find something.
SEED = 3
STEPS = 50
MULTIPLIER = float(os.environ.get("BRONTO_FUZZ_TIMES", "1"))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, settings: Any, transactional_db: None) -> Iterator[World]:
    settings.BRONTO_ORDERS = {"ACCOUNTS": {"default": ACCOUNT}}
    clock = Clock()
    for name in ("as_sql", "as_sqlite", "as_mysql"):
        monkeypatch.setattr(DbNow, name, lambda *args, **context: clock.db_now(*args, **context))
    monkeypatch.setattr(PreparedUpdate, "run", compiled_anew(PreparedUpdate.run))
    for module in (engine, gate, sending):
        monkeypatch.setattr(module, "time", clock)
    # The client's own deadline goes by the real clock; here clients give up when the test says so.
    monkeypatch.setattr(sending, "ending_by", nullcontext)
    monkeypatch.setattr(engine, "Threads", Flights)
    monkeypatch.setattr(engine, "SimpleQueue", inbox(clock))
    for module, name in ((claims, "claim"), (records, "record"), (records, "settle")):
        method = "claim" if module is claims else "record"
        monkeypatch.setattr(module, name, stopping_first(getattr(module, name), method))

    with closing(Service()) as service:
        answer = service.answer

        def receive(request: Request) -> Answer:
            flight = actor()
            if isinstance(flight, Flight) and request.method == "POST" and request.path.startswith("/orders"):
                flight.request = request
                return flight.stop("door")
            return answer(request)

        monkeypatch.setattr(service, "answer", receive)
        adapter = SandboxAdapter(service)
        monkeypatch.setattr(HTTPAdapter, "send", lambda _self, *args, **kwargs: adapter.send(*args, **kwargs))
        world = World(clock=clock, service=service, answer=answer)
        monkeypatch.setattr(engine, "client_for", lambda account: world.client)
        yield world


def stopping_first(real: Callable[..., Any], method: str) -> Callable[..., Any]:
    """Return what stands in for a function: a method of the worker that calls it."""
    return lambda *args, **kwargs: getattr(actor(), method)(real, *args, **kwargs)


def compiled_anew(real: Callable[..., int]) -> Callable[..., int]:
    """Return what stands in for ``PreparedUpdate.run``: its SQL must not hold the time of an earlier run."""

    def run(statement: PreparedUpdate, *args: Any, **kwargs: Any) -> int:
        statement._compiled.clear()
        try:
            return real(statement, *args, **kwargs)
        finally:
            statement._compiled.clear()

    return run


def explore(world: World, examples: int, number: int, phases: Sequence[Phase] = tuple(Phase)) -> None:
    # In runs of a few examples: after ten, hypothesis mostly tries variations of the last one.
    for part in range(max(1, round(examples / 10))):
        run_state_machine_as_test(
            seed(number + part)(lambda: Delivery(world)),
            settings=hypothesis_settings(
                max_examples=10,
                stateful_step_count=STEPS,
                deadline=None,
                database=None,
                phases=phases,
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
            ),
        )


# Besides the run, hypothesis takes up to five minutes to make a failure small.
@pytest.mark.timeout(360 + 120 * MULTIPLIER)
def test_nothing_goes_wrong(world: World) -> None:
    explore(world, round(EXAMPLES * MULTIPLIER), random.getrandbits(64))


def no_settle_time(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(django_settings.BRONTO_ORDERS, "DELIVERY", {"SETTLE_SECONDS": 0})


def no_deadline_guard(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(preparing, "Job", lambda **job: Job(**{**job, "start_before": math.inf}))


def leases_without_settle_time(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(django_settings.BRONTO_ORDERS, "DELIVERY", {"UPDATE_LEASE_SECONDS": 30})
    patch.setattr(preparing, "Job", lambda **job: Job(**{**job, "start_before": job["start_before"] + LATE_SECONDS}))


def no_fencing(patch: pytest.MonkeyPatch) -> None:
    real = claims.lock

    def lock(orders: Collection[Order], *, using: str) -> Any:
        for order in orders:
            row = Order.objects.using(using).get(pk=order.pk)
            order.lease_token = row.lease_token or order.lease_token
        return real(orders, using=using)

    patch.setattr(claims, "lock", lock)


def changes_since_the_claim_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(claims, "MOVED_ON", Q(pk=None))


@pytest.mark.parametrize(
    ("take_away", "finding"),
    [
        pytest.param(no_settle_time, "an earlier update may still land", id="no-settle-time"),
        pytest.param(
            leases_without_settle_time,
            "may still land|two requests at once|never so at the shop|an older state",
            id="short-update-leases",
        ),
        pytest.param(
            no_deadline_guard,
            "may still land|two requests at once|never so at the shop|an older state",
            id="no-deadline-guard",
        ),
        pytest.param(no_fencing, "wrongly at rest|may still land|never so at the shop|an older state", id="no-fencing"),
        pytest.param(changes_since_the_claim_forgotten, "wrongly at rest", id="changes-forgotten"),
    ],
)
def test_every_rule_is_needed(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    take_away: Callable[[pytest.MonkeyPatch], None],
    finding: str,
) -> None:
    """The machine sees it when a rule is taken away. It always draws the same, so that it always finds it."""
    take_away(monkeypatch)
    with pytest.raises(AssertionError, match=finding):
        explore(world, 250, SEED, [Phase.generate])
