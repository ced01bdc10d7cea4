"""The gate: who is to blame for a failure, which hold stands, and who is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.db import OperationalError, connection, transaction
from django.db.models import F
from django.utils import timezone

from bronto_orders import exceptions as errors
from bronto_orders import signals, wire
from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import engine, gate, policy
from bronto_orders.delivery.gate import Gate
from bronto_orders.delivery.policy import Decision, Outcome, Standing
from bronto_orders.models import AccountStatus, DbNow, Order, SyncAttempt, SyncState
from tests.factories import OrderFactory
from tests.fakes import FakeBronto, Step

pytestmark = pytest.mark.django_db(transaction=True)

FAILURE = errors.ServerError(status=500)
REFUSAL = errors.AuthenticationError(status=403, reason="blocked")
MAX_ATTEMPTS = 8


def deliver(*orders: Order) -> dict[str, int]:
    return engine.deliver("default", pks=[order.pk for order in orders] or None).counts


def row(order: Order) -> Order:
    return Order.objects.get(pk=order.pk)


def status() -> AccountStatus:
    return AccountStatus.objects.get(pk="default")


def seconds_left() -> float:
    held_until = status().held_until
    return 0.0 if held_until is None else (held_until - timezone.now()).total_seconds()


def end_waiting() -> None:
    """Let holds and back-offs be over."""
    AccountStatus.objects.exclude(held_until=None).update(held_until=DbNow(-1))
    Order.objects.owed().update(due_at=DbNow(-1))


def new_gate() -> Gate:
    return Gate(bronto_settings.account("default"), using="default")


def write(view: Gate, *decisions: Decision) -> None:
    """Take decisions in and write what follows from them in one batch, as the engine does."""
    changes: dict[str, Any] = {}
    for decision in decisions:
        changes |= view.take(decision)
    with transaction.atomic():
        view.write(changes)
    view.announce()


def no_database(*args: Any) -> Any:
    raise OperationalError


def decided(standing: Standing, retry_after: float = 0.0) -> Decision:
    state = SyncState.SYNCED if standing is Standing.WELL else SyncState.PENDING
    return Decision(outcome=Outcome.DEFERRED, state=state, standing=standing, message="words", retry_after=retry_after)


WELL = decided(Standing.WELL)
FAILING = decided(Standing.FAILING)
AUTH = decided(Standing.AUTH)


def throttled(seconds: float) -> Decision:
    return decided(Standing.THROTTLED, seconds)


@pytest.fixture
def one_thread(settings: Any) -> None:
    settings.BRONTO_ORDERS = {"ACCOUNTS": {"default": {"CONCURRENCY": 1}}}


@pytest.fixture
def works() -> AccountStatus:
    """An account that has taken an order a moment ago."""
    new_gate()
    AccountStatus.objects.update(last_success_at=timezone.now())
    return status()


@pytest.fixture
def told() -> Iterator[list[str]]:
    """What the signals say."""
    told: list[str] = []

    def held(reason: str, **kwargs: Any) -> None:
        told.append(reason)

    def released(**kwargs: Any) -> None:
        told.append("released")

    signals.account_held.connect(held)
    signals.account_released.connect(released)
    yield told
    signals.account_held.disconnect(held)
    signals.account_released.disconnect(released)


def fail_on(bronto: FakeBronto, monkeypatch: pytest.MonkeyPatch, order: Order, error: errors.BrontoError) -> None:
    """Have each add of the order fail at once, and all others wait a moment for that."""
    add, failed = bronto.add, threading.Event()

    def fail(body: bytes, **options: bool) -> dict[str, Any]:
        if wire.loads(body)["customerOrderId"] == order.customer_order_id:
            failed.set()
            raise error
        failed.wait(0.05)
        return add(body, **options)

    monkeypatch.setattr(bronto, "add", fail)


class TestPoison:
    @pytest.fixture
    def worn(self, works: AccountStatus) -> Order:
        """An order that the next failure gives up."""
        order = OrderFactory()
        Order.objects.filter(pk=order.pk).update(attempts=MAX_ATTEMPTS - 1)
        return order

    def attempt(self, order: Order, *, ago: float = 1.0, **columns: Any) -> None:
        SyncAttempt.objects.create(
            **{
                "order": order,
                "account": order.account,
                "revision": 1,
                "operation": "add",
                "trigger": "test",
                "started_at": timezone.now() - timedelta(seconds=ago),
                "duration_ms": 1,
                "http_status": 500,
                "outcome": "deferred",
                **columns,
            }
        )

    def test_is_given_up_when_it_alone_fails(self, bronto: FakeBronto, worn: Order) -> None:
        for status_code in (201, 403, 429, None):
            self.attempt(OrderFactory(), http_status=status_code)
        self.attempt(worn)
        self.attempt(OrderFactory(), ago=gate.RECENT_SECONDS + 60)
        self.attempt(OrderFactory(account="another"))
        bronto.script.append(FAILURE)
        deliver(worn)
        assert (row(worn).sync_state, row(worn).sync_reason) == (SyncState.REJECTED, "poison")

    @pytest.mark.parametrize("status_code", [500, 503, 504, 599])
    def test_is_not_while_the_service_fails_on_others(self, bronto: FakeBronto, worn: Order, status_code: int) -> None:
        self.attempt(OrderFactory(), ago=gate.RECENT_SECONDS - 60, http_status=status_code)
        bronto.always = FAILURE
        for _ in range(3):
            assert deliver(worn) == {"deferred": 1}
            assert (row(worn).sync_state, row(worn).attempts) == (SyncState.PENDING, MAX_ATTEMPTS - 1)
            AccountStatus.objects.update(consecutive_failures=0)
            end_waiting()

    def test_the_look_is_bounded(self, bronto: FakeBronto, worn: Order, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(gate, "LOOK_BACK", 3)
        self.attempt(OrderFactory())
        for _ in range(3):
            self.attempt(OrderFactory(), http_status=201)
        bronto.script.append(FAILURE)
        assert deliver(worn) == {"rejected": 1}

    def test_nobody_is_while_the_database_cannot_tell(self, worn: Order) -> None:
        view = new_gate()
        exchange = policy.Exchange(
            operation="add", presence="absent", attempts=MAX_ATTEMPTS, flips=0, contact_may_lack=False, error=FAILURE
        )
        with connection.execute_wrapper(no_database):
            decision = view.decide(exchange, worn, bronto_settings.delivery)
        assert (decision.state, decision.counts) == (SyncState.PENDING, False)
        assert view.decide(exchange, worn, bronto_settings.delivery).reason == "poison"

    def test_none_of_many_in_a_partial_outage(self, bronto: FakeBronto) -> None:
        orders = OrderFactory.create_batch(12)
        answers = [FAILURE, None]
        turns = iter(range(10_000))

        def every_other() -> None:
            answer = answers[next(turns) % 2]
            if answer:
                raise answer

        bronto.always = every_other
        Order.objects.update(attempts=MAX_ATTEMPTS - 1)
        self.attempt(orders[0])
        for _ in range(30):
            deliver()
            end_waiting()
        assert set(Order.objects.values_list("sync_state", flat=True)) == {SyncState.SYNCED}


class TestPauseAskedFor:
    @pytest.mark.parametrize("status_code", [408, 502, 503, 504, 524])
    def test_is_everybodys(self, bronto: FakeBronto, status_code: int) -> None:
        order = OrderFactory()
        bronto.script.append(errors.ServerError(status=status_code, retry_after=120))
        deliver()
        assert 115 < seconds_left() <= 150
        assert (status().held_reason, status().breaker_state) == ("throttled", "closed")
        assert "A pause of 1" in status().held_message
        assert (row(order).due_at - timezone.now()).total_seconds() > 115
        OrderFactory()
        assert deliver() == {}

    def test_outlives_the_breakers_hold(self) -> None:
        view = new_gate()
        write(view, *[decided(Standing.FAILING, 200)] * gate.THRESHOLD)
        assert (status().breaker_state, status().held_reason) == ("open", "throttled")
        assert seconds_left() > 190
        write(view, WELL)
        assert (status().breaker_state, status().held_reason) == ("closed", "throttled")
        assert seconds_left() > 190

    def test_does_not_shorten_the_breakers_hold(self) -> None:
        write(new_gate(), *[FAILING] * gate.THRESHOLD, decided(Standing.FAILING, 0.5))
        assert status().held_reason == "outage"
        assert seconds_left() > 3

    @pytest.mark.parametrize(
        "error",
        [FAILURE, errors.ServerError(status=503), errors.ServerError(status=500, retry_after=120)],
        ids=["none", "503 without", "one order's"],
    )
    def test_not_for_others(self, bronto: FakeBronto, error: errors.ServerError) -> None:
        OrderFactory()
        bronto.script.append(error)
        deliver()
        assert seconds_left() == 0


class TestWhichHoldStands:
    """Between workers: each ``Gate`` is one worker's view."""

    def test_what_another_was_told_outlives_a_success(self) -> None:
        first, second = new_gate(), new_gate()
        write(first, FAILING)
        write(second, throttled(3600))
        write(first, WELL)
        assert seconds_left() > 3500
        assert (status().held_reason, status().held_message, status().consecutive_failures) == ("throttled", "words", 0)

    def test_also_that_of_a_probe(self) -> None:
        write(new_gate(), *[FAILING] * gate.THRESHOLD)
        end_waiting()
        prober, other = new_gate(), new_gate()
        assert prober.claim_limit(1) == (1, True)
        write(other, throttled(3600))
        write(prober, WELL)
        prober.end_probe()
        assert seconds_left() > 3500
        assert (status().held_reason, status().breaker_state) == ("throttled", "closed")

    def test_also_a_short_one(self) -> None:
        write(new_gate(), *[FAILING] * gate.THRESHOLD)
        end_waiting()
        prober = new_gate()
        prober.claim_limit(1)
        AccountStatus.objects.update(held_until=DbNow(8), held_reason="throttled")
        write(prober, FAILING)
        prober.end_probe()
        assert seconds_left() > 6
        assert status().held_reason == "throttled"

    def test_a_probe_ends_with_what_it_was_told(self, settings: Any) -> None:
        settings.BRONTO_ORDERS = {
            "ACCOUNTS": {"default": {"TOTAL_TIMEOUT": 200.0}},
            "DELIVERY": {"ADD_LEASE_SECONDS": 300, "UPDATE_LEASE_SECONDS": 400},
        }
        write(new_gate(), *[FAILING] * gate.THRESHOLD)
        end_waiting()
        prober = new_gate()
        prober.claim_limit(1)
        write(prober, AUTH)
        assert seconds_left() > 190
        prober.end_probe()
        assert 55 < seconds_left() <= gate.REFUSED_HOLD
        assert status().held_reason == "auth"
        assert status().refused_settings

    def test_a_longer_one_keeps_its_reason(self) -> None:
        first, second = new_gate(), new_gate()
        write(first, throttled(3600))
        write(second, *[FAILING] * gate.THRESHOLD)
        assert seconds_left() > 3500
        assert status().held_reason == "throttled"

    @pytest.mark.parametrize("together", [True, False])
    def test_a_success_beside_a_pause_does_not_end_it(self, together: bool) -> None:
        view = new_gate()
        write(view, FAILING)
        if together:
            write(view, throttled(60), WELL)
        else:
            write(view, throttled(60))
            write(view, WELL)
        assert seconds_left() > 50
        assert status().held_reason == "throttled"

    def test_a_success_ends_the_breakers_own(self) -> None:
        view = new_gate()
        write(view, *[FAILING] * gate.THRESHOLD)
        write(view, WELL)
        assert (status().held_until, status().held_reason, status().breaker_state) == (None, "", "closed")

    @pytest.mark.parametrize("reason", ["throttled", "outage", "auth", "configuration"])
    def test_one_that_is_over_ends_with_the_next_success(self, reason: str) -> None:
        new_gate()
        AccountStatus.objects.update(
            held_until=DbNow(-1), held_reason=reason, held_message="words", last_success_at=DbNow()
        )
        write(new_gate(), WELL)
        left = status()
        assert (left.held_until, left.held_reason, left.held_message, left.refused_settings) == (None, "", "", "")

    def test_after_a_success_a_shorter_one_is_written(self) -> None:
        view = new_gate()
        write(view, *[FAILING] * (gate.THRESHOLD + 12))
        assert seconds_left() > 50
        write(view, WELL)
        write(view, throttled(9))
        assert 5 < seconds_left() <= 9


def test_the_breakers_hold_grows() -> None:
    held = []
    write(new_gate(), *[FAILING] * gate.THRESHOLD)
    for _ in range(6):
        held.append(seconds_left())
        end_waiting()
        prober = new_gate()
        assert prober.claim_limit(10) == (gate.PROBES, True)
        for _ in range(gate.PROBES):
            write(prober, FAILING)
        prober.end_probe()
    for seconds, expected in zip(held, [5, 10, 20, 40, 60, 60], strict=True):
        assert expected - 2 < seconds <= expected


class TestRefusals:
    def another_is_taken(self) -> None:
        time.sleep(0.005)
        order = OrderFactory()
        assert deliver(order) == {"accepted": 1}

    def test_one_order_alone_holds_nobody_and_ends_as_poison(
        self, bronto: FakeBronto, works: AccountStatus, monkeypatch: pytest.MonkeyPatch, told: list[str]
    ) -> None:
        bad = OrderFactory()
        fail_on(bronto, monkeypatch, bad, REFUSAL)
        attempts = []
        for _ in range(MAX_ATTEMPTS):
            assert deliver() == {"deferred": 1}
            assert (row(bad).due_at - timezone.now()).total_seconds() > 50
            attempts.append(row(bad).attempts)
            self.another_is_taken()
            end_waiting()
        # The first time nobody knew whether it alone was refused.
        assert attempts == list(range(MAX_ATTEMPTS))
        assert row(bad).sync_reason == "refused"
        assert deliver() == {"rejected": 1}
        assert (row(bad).sync_state, row(bad).sync_reason) == (SyncState.REJECTED, "poison")
        assert told == []

    @pytest.mark.parametrize("account", [{"CONCURRENCY": 1}, {"CONCURRENCY": 16}, {"RATE_LIMIT": "1/s"}], ids=str)
    def test_nor_for_long_in_a_shop_that_was_quiet(
        self, bronto: FakeBronto, monkeypatch: pytest.MonkeyPatch, settings: Any, account: dict[str, Any]
    ) -> None:
        settings.BRONTO_ORDERS = {"ACCOUNTS": {"default": account}}
        cache.clear()
        bad = OrderFactory()
        fail_on(bronto, monkeypatch, bad, REFUSAL)
        assert deliver() == {"held": 1}
        others = OrderFactory.create_batch(2)
        # A minute passes.
        AccountStatus.objects.update(held_until=DbNow(-1))
        Order.objects.owed().update(due_at=F("due_at") - timedelta(seconds=gate.REFUSED_HOLD + 0.1))
        deliver()
        assert Order.objects.filter(sync_state=SyncState.SYNCED).count() == len(others)
        for _ in range(3):
            end_waiting()
            assert deliver() == {"deferred": 1}
            assert seconds_left() <= 0
            self.another_is_taken()
        assert row(bad).attempts >= 2

    @pytest.mark.parametrize("status_code", [401, 403])
    def test_revoked_in_mid_run(self, bronto: FakeBronto, settings: Any, status_code: int) -> None:
        settings.BRONTO_ORDERS = {"ACCOUNTS": {"default": {"CONCURRENCY": 32}}}
        Order.objects.bulk_create(OrderFactory.build_batch(100))
        bronto.script.extend([None] * 40)
        bronto.always = errors.AuthenticationError(status=status_code)
        counts = deliver()
        assert counts["accepted"] == 40
        assert status().held_reason == "auth"
        assert seconds_left() > 55
        calls = len(bronto.calls)
        assert deliver() == {}
        for _ in range(3):
            end_waiting()
            counts = deliver()
            assert counts["held"]
            assert counts.keys() <= {"held", "deferred"}
            assert seconds_left() > 55
        refused = Order.objects.exclude(sync_state=SyncState.SYNCED)
        assert set(refused.values_list("sync_state", "attempts")) == {(SyncState.PENDING, 0)}
        assert len(bronto.calls) < calls + 3 * 80
        bronto.always = None
        end_waiting()
        deliver()
        end_waiting()
        deliver()
        assert not refused.exists()

    def test_revoked_while_orders_come_one_by_one(self, bronto: FakeBronto, works: AccountStatus) -> None:
        bronto.always = REFUSAL
        outcomes = []
        for _ in range(gate.REFUSALS):
            OrderFactory()
            outcomes += deliver()
        assert outcomes == ["deferred", "deferred", "held"]
        assert seconds_left() > 55
        assert set(Order.objects.values_list("attempts", flat=True)) == {0}

    def test_refused_from_the_start(self, bronto: FakeBronto, one_thread: None) -> None:
        OrderFactory.create_batch(3)
        bronto.always = REFUSAL
        deliver()
        assert status().held_reason == "auth"
        assert set(Order.objects.values_list("sync_state", "attempts")) == {(SyncState.PENDING, 0)}

    @pytest.mark.parametrize("error", [errors.TokenRefusedError(), errors.UnexpectedAnswerError(status=301)], ids=str)
    def test_what_cannot_be_the_orders_fault_holds_at_once(
        self, bronto: FakeBronto, works: AccountStatus, error: errors.BrontoError
    ) -> None:
        OrderFactory()
        bronto.script.append(error)
        assert deliver() == {"held": 1}

    def test_a_success_from_before_the_refusal_proves_nothing(self, bronto: FakeBronto, works: AccountStatus) -> None:
        """Requests that were in flight when the credentials were revoked may still succeed."""
        refused, other = OrderFactory(), OrderFactory()
        bronto.script.append(REFUSAL)
        deliver(refused)
        deliver()
        now = timezone.now()
        SyncAttempt.objects.filter(order=refused).update(started_at=now - timedelta(seconds=30), duration_ms=5000)
        SyncAttempt.objects.filter(order=other).update(started_at=now - timedelta(seconds=28))
        end_waiting()
        bronto.script.append(REFUSAL)
        deliver()
        assert row(refused).attempts == 0

    def test_a_database_that_cannot_tell_blames_no_order(self, works: AccountStatus) -> None:
        order, view = OrderFactory(), new_gate()
        exchange = policy.Exchange(
            operation="add", presence="absent", attempts=MAX_ATTEMPTS, flips=0, contact_may_lack=False, error=REFUSAL
        )
        with connection.execute_wrapper(no_database):
            decision = view.decide(exchange, order, bronto_settings.delivery)
        assert (decision.state, decision.counts, decision.standing) == (SyncState.PENDING, False, Standing.DOUBTFUL)


class TestTold:
    def test_an_outage_once(self, bronto: FakeBronto, told: list[str]) -> None:
        Order.objects.bulk_create(OrderFactory.build_batch(40))
        bronto.always = errors.NotSentError()
        for _ in range(3):
            deliver()
            end_waiting()
        assert told == ["outage"]
        bronto.always = None
        deliver()
        assert told == ["outage", "released"]

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (errors.RateLimitedError(status=429, retry_after=40), "throttled"),
            (errors.ServerError(status=503, retry_after=40), "throttled"),
            (REFUSAL, "auth"),
            (errors.UnexpectedAnswerError(status=301), "configuration"),
        ],
        ids=["429", "503", "403", "301"],
    )
    def test_a_hold_and_its_end_once(
        self, bronto: FakeBronto, told: list[str], answer: errors.BrontoError, reason: str
    ) -> None:
        OrderFactory()
        bronto.always = answer
        for _ in range(2):
            deliver()
            assert told == [reason]
            end_waiting()
        bronto.always = None
        deliver()
        OrderFactory()
        deliver()
        assert told == [reason, "released"]

    def test_another_reason(self, told: list[str]) -> None:
        view = new_gate()
        write(view, *[FAILING] * gate.THRESHOLD)
        write(view, throttled(600))
        assert told == ["outage", "throttled"]

    def test_not_what_a_longer_hold_hides(self, told: list[str]) -> None:
        first, second = new_gate(), new_gate()
        write(first, throttled(600))
        write(second, AUTH)
        write(second, WELL)
        assert told == ["throttled"]

    def test_only_what_is_committed(self, told: list[str]) -> None:
        view = new_gate()
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            view.write(view.take(throttled(600)))
            raise ZeroDivisionError
        assert told == []

    def test_a_probe_after_a_person_ended_the_hold(self, told: list[str]) -> None:
        write(new_gate(), *[FAILING] * gate.THRESHOLD)
        AccountStatus.objects.update(held_until=None, held_reason="")
        told.clear()
        for _ in range(2):
            prober = new_gate()
            prober.claim_limit(1)
            prober.end_probe()
        assert (told, status().held_reason) == ([], "")
        prober.claim_limit(1)
        write(prober, FAILING)
        write(prober, FAILING)
        assert told == ["outage"]

    def test_a_long_outage_that_asks_for_pauses_once(self, bronto: FakeBronto, told: list[str]) -> None:
        OrderFactory.create_batch(10)
        bronto.always = errors.ServerError(status=503, retry_after=120)
        for _ in range(4):
            deliver()
            assert seconds_left() > 100
            end_waiting()
        assert status().breaker_state == "open"
        bronto.always = None
        deliver()
        assert told == ["throttled", "released"]

    def test_receivers_that_raise_hurt_nobody(self, bronto: FakeBronto, caplog: pytest.LogCaptureFixture) -> None:
        seen = []

        def fail(signal: Any, **kwargs: Any) -> None:
            seen.append(signal)
            raise RuntimeError

        order = OrderFactory()
        both = (signals.account_held, signals.account_released)
        for signal in both:
            signal.connect(fail)
        try:
            bronto.script.append(errors.RateLimitedError(status=429, retry_after=40))
            assert deliver() == {"deferred": 1}
            assert (row(order).sync_state, row(order).lease_token) == (SyncState.PENDING, None)
            end_waiting()
            assert deliver() == {"accepted": 1}
        finally:
            for signal in both:
                signal.disconnect(fail)
        assert seen == list(both)
        assert row(order).sync_state == SyncState.SYNCED
        assert (status().held_reason, SyncAttempt.objects.count()) == ("", 2)


def test_a_hold_stops_what_is_queued(bronto: FakeBronto, one_thread: None, monkeypatch: pytest.MonkeyPatch) -> None:
    orders = OrderFactory.create_batch(3)
    waited: list[bool] = []
    send = engine.send

    def send_when_held(client: Any, job: Any, halted: Any) -> Any:
        if bronto.calls:
            until = time.monotonic() + 5
            while not halted() and time.monotonic() < until:
                time.sleep(0.005)
            waited.append(halted())
        return send(client, job, halted=halted)

    monkeypatch.setattr(engine, "send", send_when_held)
    bronto.script.append(errors.RateLimitedError(status=429, retry_after=60))
    assert deliver() == {"deferred": 1}
    assert waited[0] is True
    assert len(bronto.calls) == 1
    for order in orders:
        back = row(order)
        assert (back.sync_state, back.attempts, back.lease_token) == (SyncState.PENDING, 0, None)
    assert Order.objects.due().count() == 2
    assert SyncAttempt.objects.count() == 1


def test_a_hold_of_another_worker_in_mid_run(bronto: FakeBronto, one_thread: None) -> None:
    """End to end: one failure, then another worker's pause, then a success of this run."""
    OrderFactory.create_batch(2)

    def another_is_throttled() -> None:
        try:
            AccountStatus.objects.update(held_until=DbNow(3600), held_reason="throttled")
        finally:
            connection.close()

    steps: list[Step] = [FAILURE, another_is_throttled]
    bronto.script.extend(steps)
    assert deliver() == {"deferred": 1, "accepted": 1}
    assert seconds_left() > 3500
