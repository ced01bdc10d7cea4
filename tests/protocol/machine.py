"""A world of two orders, two workers, the service and time, in which hypothesis draws what happens next."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import requests
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bronto_orders.client import BrontoClient
from bronto_orders.conf import DeliverySettings, bronto_settings
from bronto_orders.delivery import engine
from bronto_orders.delivery.sending import Job
from bronto_orders.models import AccountStatus, LineItem, Order, SyncAttempt
from bronto_orders.sandbox.messages import Answer, Request
from bronto_orders.sandbox.service import Service
from tests.factories import OrderFactory
from tests.protocol.actors import Clock, Flight, Worker
from tests.protocol.ledger import WRITES, Ledger

ACCOUNT = {
    "CLIENT_ID": "sandbox",
    "CLIENT_SECRET": "sandbox-secret",
    "API_URL": "https://bronto.test",
    "TOKEN_URL": "https://bronto.test/oauth2/token",
    "CREATE_CONTACT": True,
    "CONCURRENCY": 2,
}
#: How long after its client has given up a request may land: what is taken for granted of the service and the network.
#: The settings' own default, and not their present value.
LATE_SECONDS = DeliverySettings.settle_seconds


class Fate(NamedTuple):
    """When a request lands (``now``, ``late`` or ``never``), and what its client hears, or with which status."""

    lands: str
    heard: str | int = "nothing"


# In each of these the first is that of a world without faults.
TAKEN, GIVEN_UP, LOST, FAILED = Fate("now", "the answer"), Fate("late"), Fate("now"), Fate("now", 500)
UNTAKEN = [Fate("never", heard) for heard in ("that there is no connection", 400, 403, 429, 500, 503)]
FATES = [*[TAKEN, TAKEN, GIVEN_UP] * 2, LOST, FAILED, Fate("late", 504), *UNTAKEN]
TO_AND_FRO = ["saves shipping_details=by post", "takes its last write back"]
#: Each example has its own weather and its own habits: a few things again and again find more than all of them once.
WEATHERS = [FATES, [TAKEN, GIVEN_UP, GIVEN_UP], [TAKEN, FAILED, LOST]]
HABITS = [WRITES, TO_AND_FRO]
CLAIMS = [*[""] * 8, "reads later", "reads later", "is not told"]
RECORDS = [*[""] * 8, "is not told"]
TIMES = [1, 6, 16, 31, 61, 76, 101, 301]
MEDDLING = [
    "pauses the account",
    "deletes first",
    "deletes second",
    "makes a return of first",
    "makes a return of second",
]

COLUMNS = ["revision", "acked_revision", "sync_state", "sync_reason", "due_at", "lease_token"]


@dataclass(kw_only=True)
class World:
    """What outlives one example."""

    clock: Clock
    service: Service
    #: The service itself, without the door where requests wait.
    answer: Callable[[Request], Answer]
    client: BrontoClient = field(init=False)

    def reset(self) -> None:
        self.clock.passed = 0.0
        self.service.reset()
        # A new one, or an example would take another course when it is repeated: the token's age is random.
        self.client = BrontoClient(
            ACCOUNT["CLIENT_ID"],
            ACCOUNT["CLIENT_SECRET"],
            api_url=ACCOUNT["API_URL"],
            token_url=ACCOUNT["TOKEN_URL"],
            total_timeout=600,
        )
        for model in (SyncAttempt, LineItem, Order, AccountStatus):
            rows = model.objects.all()
            rows._raw_delete(rows.db)


@dataclass(frozen=True, kw_only=True)
class Stray:
    """A request that nobody waits for any more, and that may still land."""

    job: Job
    request: Request
    until: float

    def __str__(self) -> str:
        return f"{self.job.push.operation} of {self.job.order}"


@dataclass(frozen=True, kw_only=True)
class Step:
    """Something that may happen next, in one of some ways."""

    label: str
    take: Callable[[Any], None]
    ways: Sequence[Any] = ("",)
    weight: int = 24


class Delivery(RuleBasedStateMachine):
    """It has one rule.

    Of many, hypothesis would leave some out of every run, so as to repeat the others, and there is little that can go
    wrong here unless all are there.
    """

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world, self.clock = world, world.clock
        world.reset()
        self.workers: list[Worker | None] = [None, None]
        self.strays: list[Stray] = []
        self.ledgers: dict[int, Ledger] = {}
        self.claimed = 0
        #: Seconds until an order is due; None when none will be as things are.
        self.due_in: float | None = 0.0
        self.paused = False

    @initialize(
        count=st.integers(1, 2),
        synced=st.booleans(),
        fates=st.sampled_from(WEATHERS),
        writes=st.sampled_from(HABITS),
    )
    def orders(self, count: int, synced: bool, fates: list[Fate], writes: list[str]) -> None:
        self.fates, self.writes = fates, writes
        for number in ("first", "second")[:count]:
            order = OrderFactory(customer_order_id=number, items=1)
            self.ledgers[order.pk] = Ledger(Order.objects.get(pk=order.pk))
        if synced:
            self.finish()

    @rule(data=st.data())
    def happens(self, data: st.DataObject) -> None:
        steps = {step.label: step for step in self.steps()}
        step = steps[data.draw(st.sampled_from([label for label in steps for _ in range(steps[label].weight)]))]
        way = data.draw(st.sampled_from(step.ways)) if step.ways[1:] else step.ways[0]
        step.take(way)
        self.pass_time(0)

    def steps(self) -> Iterator[Step]:
        """Yield all that may happen next."""
        for who in range(len(self.workers)):
            yield from self.steps_of(who)
        if self.due_in:
            yield Step(label="time passes until an order is due", take=self.wait, weight=4 if any(self.workers) else 24)
        for ledger in self.ledgers.values():
            yield Step(label=f"shop, {ledger}:", take=ledger.write, ways=self.writes, weight=8)
        for stray in self.strays:
            yield Step(label=f"{stray} lands late", take=partial(self.land_late, stray), weight=4)
        yield Step(label="time passes, in seconds:", take=self.pass_time, ways=TIMES, weight=4)
        if self.paused:
            yield Step(label="somebody resumes the account", take=self.resume, weight=6)
        else:
            yield Step(label="somebody", take=self.meddle, ways=MEDDLING, weight=1)

    # The workers

    def steps_of(self, who: int) -> Iterator[Step]:
        """Yield all that a worker and its requests may do. Those that need nothing else come first."""
        worker, name = self.workers[who], "AB"[who]
        if worker is None:
            if self.due_in == 0:
                yield Step(label=f"{name} begins, and claims", take=partial(self.begin, who), ways=CLAIMS)
            return
        for flight in worker.flights:
            if flight.request:
                yield Step(label=f"{name}'s {flight}", take=partial(self.meet, flight), ways=self.fates)
            elif flight.place == "":
                yield Step(label=f"{name} sends {flight}", take=partial(self.send, flight))
        if doing := worker.next or ("claims" if self.due_in == 0 else ""):
            ways = {"claims": CLAIMS, "records": RECORDS}.get(doing, [""])
            yield Step(label=f"{name} {doing}", take=partial(self.move, who), ways=ways)
        yield Step(label=f"{name} is killed", take=partial(self.kill, who), weight=1)
        if not worker.stopping:
            yield Step(label=f"{name} is asked to stop", take=partial(self.ask_to_stop, worker), weight=1)

    def begin(self, who: int, cue: str = "") -> None:
        self.workers[who] = Worker()
        self.move(who, cue)

    def move(self, who: int, cue: str = "") -> None:
        """Let a worker go on; past its own waiting at once, if it can."""
        worker = self.workers[who]
        assert worker
        if worker.place in ("", "waits"):
            worker.go_on()
        if worker.place not in ("waits", None):
            self.claimed += worker.place == "claims"
            worker.go_on(cue)
        if worker.place is None:
            self.kill(who)

    def kill(self, who: int, _: str = "") -> None:
        """Kill a worker. What it has sent is under way all the same."""
        worker = self.workers[who]
        assert worker
        self.workers[who] = None
        for flight in worker.flights:
            if flight.request:
                self.strays.append(
                    Stray(job=flight.job, request=flight.request, until=flight.gives_up_at + LATE_SECONDS)
                )
            flight.kill()
        worker.kill()

    def ask_to_stop(self, worker: Worker, _: str) -> None:
        worker.stopping = True

    def send(self, flight: Flight, _: str) -> None:
        """Start a job: past the guard, and as far as the service's door."""
        flight.go_on()
        if not flight.request:
            return
        flight.gives_up_at = self.clock.passed + bronto_settings.account("default").total_timeout
        for other in self.under_way(flight.job.order.pk):
            if other is not flight:
                assert other.job.push.operation == "add", "an earlier update may still land"
                assert isinstance(other, Stray), "two requests at once"

    def flights(self) -> list[Flight]:
        """Return the requests whose clients wait for an answer."""
        return [flight for worker in self.workers if worker for flight in worker.flights if flight.request]

    def under_way(self, pk: int) -> list[Flight | Stray]:
        """Return the requests for an order that may still land."""
        return [each for each in (*self.strays, *self.flights()) if each.job.order.pk == pk]

    # The service

    def meet(self, flight: Flight, fate: Fate) -> None:
        """Let a request that has left have its fate, and its client hear of it."""
        ledger = self.ledgers[flight.job.order.pk]
        request, flight.request = flight.request, None
        assert request
        answer: Answer | Exception = requests.ReadTimeout()
        if fate.lands == "now":
            taken = self.land(ledger, request)
            if fate == TAKEN:
                answer = taken
        elif fate.lands == "late":
            until = min(self.clock.passed, flight.gives_up_at) + LATE_SECONDS
            self.strays.append(Stray(job=flight.job, request=request, until=until))
        elif isinstance(fate.heard, str):
            answer = requests.ConnectTimeout()
        if isinstance(fate.heard, int):
            answer = Answer.error(fate.heard, "a fault", {"Retry-After": "7"} if fate.heard == 429 else {})
            ledger.failures += fate.heard == 500
            if fate.heard == 400:
                ledger.refused.add(flight.job.order.lease_revision)
        flight.go_on(answer)

    def land(self, ledger: Ledger, request: Request) -> Answer:
        """Let the service take a request, and look what it has then."""
        answer = self.world.answer(request)
        if answer.status < 300:
            service, number = self.world.service, str(ledger)
            (order,) = [order for order in service.orders() if order["customerOrderId"] == number]
            ledger.see(order)
            fired = [event["kind"] for event in service.events() if event["customerOrderId"] == number]
            assert fired.count("orderAdded") <= 1 + ledger.deletions, "added twice"
        return answer

    def land_late(self, stray: Stray, _: str = "") -> None:
        self.strays.remove(stray)
        self.land(self.ledgers[stray.job.order.pk], stray.request)

    # Time and people

    def pass_time(self, seconds: float) -> None:
        """Clients give up at their deadline; what can no longer land is lost."""
        until = self.clock.passed + seconds
        for flight in sorted(self.flights(), key=lambda flight: flight.gives_up_at):
            if flight.gives_up_at <= until:
                self.clock.passed = max(self.clock.passed, flight.gives_up_at)
                self.meet(flight, GIVEN_UP)
        self.clock.passed = max(self.clock.passed, until)
        self.strays = [stray for stray in self.strays if stray.until > self.clock.passed]

    def wait(self, _: str) -> None:
        self.pass_time(self.due_in or 0)

    def resume(self, _: str = "") -> None:
        self.paused = False
        AccountStatus.objects.update(paused=False)

    def meddle(self, what: str) -> None:
        """Do what is done by others than the shop and the workers."""
        *_, number = what.split()
        ledger = next((ledger for ledger in self.ledgers.values() if str(ledger) == number), None)
        if ledger is None:
            self.paused = True
            AccountStatus.objects.update(paused=True)
        elif what.startswith("deletes") and ledger.remote and not self.is_being_added(ledger):
            self.world.client.delete_by_customer_order_id(number)
            ledger.remote = None
            ledger.deletions += 1
        elif what.startswith("makes a return of") and not ledger.remote:
            body = b'{"customerOrderId":"%s"}' % number.encode()
            headers = {"content-type": "application/json", "host": "127.0.0.1"}
            request = Request("POST", "/_sandbox/returns", headers=headers, body=body, remote_address="127.0.0.1")
            assert self.world.answer(request).status in (200, 201)
            ledger.returned = True

    def is_being_added(self, ledger: Ledger) -> bool:
        return any(each.job.push.operation == "add" for each in self.under_way(ledger.view.pk))

    # What is promised

    @invariant()
    def rows_tell_the_truth(self) -> None:
        rows = list(Order.objects.only(*COLUMNS))
        for row in rows:
            self.ledgers[row.pk].check(row, claimed=self.claimed)
        self.due_in = self.seconds_until_due([row.due_at for row in rows if row.due_at])

    def seconds_until_due(self, times: list[Any]) -> float | None:
        account = AccountStatus.objects.first()
        if not times or (account and account.paused):
            return None
        opens = [account.held_until] if account and account.held_until else []
        return max(0.0, (max([min(times), *opens]) - self.clock.now()).total_seconds())

    def finish(self) -> None:
        """Let everything land that can, and take all faults away: nothing is owed in the end."""
        self.resume()
        while self.strays:
            self.land_late(self.strays[-1])
        self.run_all()
        for _ in range(20):
            if not Order.objects.owed().exists():
                break
            self.pass_time(101)
            if engine.sweep():
                self.begin(0)
                self.run_all()
        self.rows_tell_the_truth()
        assert not Order.objects.owed().exists(), "still owed"

    def run_all(self) -> None:
        for who in range(len(self.workers)):
            for _ in range(200):
                if self.workers[who] is None:
                    break
                step = next(self.steps_of(who))
                step.take(step.ways[0])
            assert self.workers[who] is None, "a run without end"

    def teardown(self) -> None:
        try:
            if sys.exc_info()[1] is None:
                self.finish()
                for ledger in self.ledgers.values():
                    if ledger.is_deleted():
                        ledger.write("resyncs by force")
                self.finish()
        finally:
            for who, worker in enumerate(self.workers):
                if worker:
                    self.kill(who)
