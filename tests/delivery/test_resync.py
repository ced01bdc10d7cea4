"""Runs: what they queue, in which pieces, whatever breaks in between, and what becomes of it."""

from __future__ import annotations

import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DataError, InterfaceError, OperationalError, connection, connections, transaction
from django.test import override_settings

from bronto_orders import exceptions as errors
from bronto_orders import tasks
from bronto_orders.delivery import engine, hints, resync, selections
from bronto_orders.delivery.resync import Options, cancel, plan, progress, start_run
from bronto_orders.models import AccountStatus, DbNow, Order, ResyncRun, SyncAttempt, SyncState
from bronto_orders.models.deliverable import IGNORED_BY_STAFF
from tests import transitions
from tests.conftest import Broker
from tests.factories import OrderFactory
from tests.fakes import FakeBronto

pytestmark = pytest.mark.django_db(transaction=True)

TID = "3.Ag.AQ.AQ.AQ.AQ.AQ.t..l.AQ.n.VO4AkA.VO4AkA.G89Jow"


class CrashError(Exception):
    pass


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of three orders."""
    monkeypatch.setattr(resync, "CHUNK", 3)
    monkeypatch.setattr(selections, "CHUNK", 3)


def synced(count: int, **fields: Any) -> list[Order]:
    orders = Order.objects.bulk_create(OrderFactory.build_batch(count, **fields))
    engine.deliver("default")
    return orders


def begin(*, orders: Any = None, token: uuid.UUID | None = None, **options: bool) -> ResyncRun:
    chosen = Order.objects.all() if orders is None else orders
    run, _new = start_run(chosen, trigger="test", options=Options(**options), token=token)
    return run


def finish(run: ResyncRun) -> ResyncRun:
    while not run.finished_at:
        resync.advance(run, budget_seconds=60)
    return run


def counts(run: ResyncRun) -> tuple[int, int, int, int]:
    run.refresh_from_db()
    return run.queued, run.already_queued, run.left_out, run.taken_back


def pending() -> int:
    return Order.objects.filter(sync_state="pending").count()


class TestExpansion:
    def test_few_orders_are_queued_at_once(self, bronto: FakeBronto) -> None:
        orders = synced(3)
        run = begin(orders=Order.objects.filter(pk__in=[orders[0].pk, orders[1].pk]))
        assert counts(run) == (2, 0, 0, 0)
        assert run.finished_at is not None
        assert pending() == 2

    @pytest.mark.usefixtures("small")
    def test_many_are_queued_in_chunks(self, bronto: FakeBronto) -> None:
        synced(10)
        run = begin()
        assert (run.total, *counts(run), pending()) == (10, 0, 0, 0, 0, 0)
        assert resync.advance(run)
        assert (*counts(run), pending()) == (3, 0, 0, 0, 3)
        later = synced(1)[0]
        finish(run)
        assert counts(run) == (10, 0, 0, 0)
        assert (run.finished_at is not None, run.heartbeat is not None, run.started_at is not None) == (True,) * 3
        later.refresh_from_db()
        assert later.resync_run_id is None

    @pytest.mark.usefixtures("small")
    def test_the_highest_keys_come_first(self, bronto: FakeBronto) -> None:
        orders = synced(7)
        resync.advance(begin())
        assert set(Order.objects.filter(sync_state="pending")) == set(orders[-3:])

    @pytest.mark.usefixtures("small")
    @pytest.mark.parametrize("line", ["before", "resync", "hasten", "counters"])
    @pytest.mark.parametrize("chunk", [1, 2, 4])
    def test_a_crash_repeats_nothing_and_loses_nothing(
        self, bronto: FakeBronto, monkeypatch: pytest.MonkeyPatch, line: str, chunk: int
    ) -> None:
        synced(10)
        waiting = OrderFactory()
        before = dict(Order.objects.values_list("pk", "revision"))
        run = begin()
        crash_at(monkeypatch, line, chunk)
        with pytest.raises(CrashError):
            finish(run)
        monkeypatch.undo()
        assert sum(counts(run)) in {(chunk - 1) * 3, 0}
        assert pending() - 1 == run.queued
        finish(run)
        assert counts(run) == (10, 1, 0, 0)
        for pk, revision in Order.objects.values_list("pk", "revision"):
            assert revision == before[pk] + (pk != waiting.pk)

    @pytest.mark.usefixtures("small")
    def test_workers_at_the_same_time_do_each_chunk_once(self, bronto: FakeBronto) -> None:
        synced(40)
        before = dict(Order.objects.values_list("pk", "revision"))
        pk = begin().pk
        failures: list[BaseException] = []
        start = threading.Barrier(4)

        def work() -> None:
            try:
                start.wait(10)
                finish(ResyncRun.objects.get(pk=pk))
            except BaseException as error:
                failures.append(error)
            finally:
                connections.close_all()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert failures == []
        assert counts(ResyncRun.objects.get(pk=pk)) == (40, 0, 0, 0)
        assert all(revision == before[pk] + 1 for pk, revision in Order.objects.values_list("pk", "revision"))

    @pytest.mark.usefixtures("small")
    def test_of_two_that_want_the_same_chunk_one_leaves(self, bronto: FakeBronto) -> None:
        synced(10)
        run = begin()
        other = ResyncRun.objects.get(pk=run.pk)

        keys = selections.keys
        with pytest.MonkeyPatch.context() as patch:

            def meanwhile(*args: Any, **kwargs: Any) -> list[int]:
                patch.undo()
                assert resync.advance(other)
                return keys(*args, **kwargs)

            patch.setattr(selections, "keys", meanwhile)
            assert not resync.advance(run)
        assert counts(run)[0] == 3

    @pytest.mark.usefixtures("small")
    def test_rows_that_the_shop_has_locked_come_last(self, bronto: FakeBronto) -> None:
        if not connection.features.has_select_for_update_skip_locked:
            pytest.skip("one writer at a time")
        orders = synced(7)
        run = begin()
        with locked_elsewhere(orders[-2].pk):
            while resync.advance(run):
                pass
            assert (run.postponed, run.finished_at, counts(run)[0]) == ([orders[-2].pk], None, 6)
            assert not resync.advance(run)
        finish(run)
        assert (run.postponed, counts(run)) == ([], (7, 0, 0, 0))

    def test_owed_and_ignored_orders_are_counted(self, bronto: FakeBronto) -> None:
        resting, waiting = synced(1)[0], OrderFactory()
        ignored = OrderFactory()
        Order.objects.filter(pk=ignored.pk).ignore("")
        Order.objects.filter(pk=waiting.pk).update(due_at=DbNow(3600))
        run = begin()
        assert counts(run) == (1, 1, 1, 0)
        assert set(Order.objects.due()) == {resting, waiting}
        assert counts(begin(orders=Order.objects.filter(pk=ignored.pk), include_ignored=True)) == (1, 0, 0, 0)

    def test_a_deleted_order_is_left_out(self, bronto: FakeBronto, small: None) -> None:
        synced(4)
        run = begin()
        run.filters = {"keys": [*Order.objects.order_by("-pk").values_list("pk", flat=True)]}
        run.save(update_fields=["filters"])
        Order.objects.order_by("pk")[0].delete()
        assert counts(finish(run)) == (3, 0, 1, 0)

    def test_filters_that_nobody_understands_end_the_run(self, bronto: FakeBronto, small: None) -> None:
        synced(4)
        run, other = begin(), begin()
        ResyncRun.objects.filter(pk=run.pk).update(filters={"where": ["gone", "exact", 1]})
        resync.advance_all(budget_seconds=60)
        run.refresh_from_db()
        assert (run.finished_at is not None, "FieldError" in run.error) == (True, True)
        assert counts(other)[0] == 4

    @pytest.mark.usefixtures("small")
    def test_conditions_are_forgotten_when_all_are_queued(self, bronto: FakeBronto) -> None:
        """An address may be among them, and erasing a customer looks at no runs."""
        synced(7, email_address="jane@example.com")
        run = begin(orders=Order.objects.filter(email_address="jane@example.com"))
        resync.advance(run)
        assert "jane@example.com" in str(run.filters)
        finish(run)
        assert (run.filters, counts(run)[0]) == ({}, 7)
        assert resync.cancel(run)
        finish(run)
        assert run.taken_back == 7

    def test_a_token_is_good_for_one_run(self, bronto: FakeBronto) -> None:
        synced(2)
        token = uuid.uuid4()
        run = begin(token=token)
        assert begin(token=token) == run
        assert (ResyncRun.objects.count(), counts(run)) == (1, (2, 0, 0, 0))

    def test_ten_thousand_orders(self) -> None:
        Order.objects.bulk_create(OrderFactory.build_batch(10_000), batch_size=500)
        Order.objects.update(sync_state="synced", due_at=None)
        run = finish(begin())
        assert counts(run) == (10_000, 0, 0, 0)
        assert run.step == 10_000 // resync.CHUNK + 1


def crash_at(monkeypatch: pytest.MonkeyPatch, line: str, chunk: int) -> None:
    """Have the given chunk's work break at a line of it."""
    names = {"before": "_lock", "resync": "for_push", "hasten": "wake_after_commit", "counters": "_queue"}
    target: Any = {"resync": Options, "hasten": hints}.get(line, resync)
    original: Callable[..., Any] = getattr(target, names[line])
    calls = []

    def crashing(*args: Any, **kwargs: Any) -> Any:
        calls.append(line)
        if len(calls) < chunk:
            return original(*args, **kwargs)
        if line == "counters":
            original(*args, **kwargs)
        raise CrashError

    monkeypatch.setattr(target, names[line], crashing)


@contextmanager
def locked_elsewhere(pk: int) -> Iterator[None]:
    """Hold the order's row in another connection's transaction."""
    locked, done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            Order.objects.select_for_update().get(pk=pk)
            locked.set()
            done.wait(30)
        connections.close_all()

    thread = threading.Thread(target=hold)
    thread.start()
    assert locked.wait(10)
    yield
    done.set()
    thread.join(10)


class TestCancel:
    @pytest.mark.usefixtures("small")
    def test_stops_queueing_and_takes_back(self, bronto: FakeBronto) -> None:
        synced(10)
        calls = len(bronto.calls)
        run = begin(force=True)
        resync.advance(run)
        resync.advance(run)
        assert cancel(run)
        finish(run)
        assert (counts(run), pending()) == ((6, 0, 0, 6), 0)
        engine.deliver("default")
        assert len(bronto.calls) == calls
        assert not cancel(run)
        assert progress(run).is_over

    def test_leaves_what_is_owed_anyway(self, bronto: FakeBronto) -> None:
        refused, changed, tried, plain = synced(4)
        bronto.always = errors.BadRequestError(status=400)
        Order.objects.filter(pk=refused.pk).update(shipped=True)
        engine.deliver("default")
        run = begin()
        Order.objects.filter(pk=changed.pk).update(shipped=True)
        Order.objects.filter(pk=tried.pk).update(attempts=1)
        assert cancel(run)
        assert counts(run)[3] == 1
        assert set(Order.objects.filter(sync_state="pending")) == {refused, changed, tried}
        plain.refresh_from_db()
        assert (plain.sync_state, plain.due_at, plain.resync_run_id) == ("synced", None, None)
        assert plain.acked_revision == plain.revision

    def test_a_run_that_is_over_stays_so(self, bronto: FakeBronto) -> None:
        synced(2)
        run = begin()
        engine.deliver("default")
        finished_at = run.finished_at
        assert not cancel(run)
        run.refresh_from_db()
        assert (run.cancelled_at, run.finished_at) == (None, finished_at)


class TestIgnoring:
    def test_a_change_does_not_wake_an_ignored_order(self, bronto: FakeBronto) -> None:
        order = OrderFactory()
        assert Order.objects.all().ignore("Because.") == 1
        for change in (
            lambda: Order.objects.update(shipped=True),
            lambda: Order.objects.get().save(),
            lambda: Order.objects.mark_changed(),
            lambda: order.line_items.create(sku="a"),
        ):
            change()
            order.refresh_from_db()
            assert (order.sync_state, order.sync_reason, order.sync_message, order.due_at) == (
                "skipped", IGNORED_BY_STAFF, "Because.", None,
            )  # fmt: skip
        assert order.revision == 5
        assert engine.deliver("default").counts == {}
        begin(include_ignored=True)
        assert engine.deliver("default").counts == {"accepted": 1}

    def test_what_is_being_sent_or_is_synced_is_left_alone(self, bronto: FakeBronto) -> None:
        synced(1)
        OrderFactory()

        def ignore() -> None:
            assert Order.objects.all().ignore("") == 0
            connection.close()

        bronto.script.append(ignore)
        engine.deliver("default")
        assert bronto.script == deque()
        assert set(Order.objects.values_list("sync_state", flat=True)) == {"synced"}


class TestOnTheWire:
    def options_of(self, bronto: FakeBronto) -> dict[str, bool]:
        return bronto.calls[-1][3]

    def test_quiet_unless_told_otherwise(self, bronto: FakeBronto) -> None:
        synced(1)
        begin(force=True)
        engine.deliver("default")
        assert (self.options_of(bronto)["trigger_events"], self.options_of(bronto)["force"]) == (False, False)

    def test_events_are_forced_once(self, bronto: FakeBronto) -> None:
        synced(1)
        begin(force=True, trigger_events=True, force_events=True)
        bronto.script.append(errors.DeadlineError())
        engine.deliver("default")
        assert (self.options_of(bronto)["trigger_events"], self.options_of(bronto)["force"]) == (True, True)
        Order.objects.update(due_at=DbNow(-1), settle_until=DbNow(-1))
        engine.deliver("default")
        assert (self.options_of(bronto)["trigger_events"], self.options_of(bronto)["force"]) == (True, False)

    @pytest.mark.parametrize("error", [errors.DeadlineError(), errors.ServerError(status=500)])
    @pytest.mark.parametrize("state", ["rejected", "synced"])
    def test_events_are_forced_once_though_an_outage_counts_no_attempt(
        self, bronto: FakeBronto, error: errors.BrontoError, state: str
    ) -> None:
        if state == "rejected":  # it is added
            bronto.script.append(errors.BadRequestError(status=400))
        synced(1)
        assert Order.objects.get().sync_state == state
        AccountStatus.objects.update_or_create(pk="default", defaults={"breaker_state": AccountStatus.Breaker.OPEN})
        begin(force=True, trigger_events=True, force_events=True)
        forced = []
        for _ in range(2):
            bronto.script.append(error)
            AccountStatus.objects.update(held_until=None)
            Order.objects.update(due_at=DbNow(-1), settle_until=None)
            engine.deliver("default")
            assert Order.objects.get().attempts == 0
            forced.append((self.options_of(bronto)["trigger_events"], self.options_of(bronto)["force"]))
        assert forced == [(True, True), (True, False)]

    def test_a_change_of_the_shops_goes_by_the_settings(self, bronto: FakeBronto) -> None:
        synced(1)
        begin(force=True, trigger_events=True, force_events=True)
        Order.objects.update(shipped=True)
        engine.deliver("default")
        assert self.options_of(bronto)["force"] is False

    @pytest.mark.parametrize("again", [True, False])
    def test_tracking_goes_along_if_wanted(self, bronto: FakeBronto, again: bool) -> None:
        synced(1, tid=TID)
        begin(force=True, send_tracking=again)
        engine.deliver("default")
        operation, _, body, _ = bronto.calls[-1]
        assert operation == "update"
        assert ("tid" in body) is again


class TestProgress:
    def test_outcomes(self, bronto: FakeBronto) -> None:
        fine, refused, later, gone = synced(4)
        run = begin()
        begin(orders=Order.objects.filter(pk=later.pk))
        Order.objects.filter(pk=later.pk).update(due_at=None, sync_state="synced")
        begin(orders=Order.objects.filter(pk=later.pk))
        gone.delete()
        known = progress(run)
        assert (known.waiting, known.elsewhere, known.is_over, known.done, known.total) == (2, 2, False, 2, 4)
        Order.objects.filter(pk=refused.pk).update(
            sync_state="rejected", sync_reason="refused", due_at=None, last_sent_hash=""
        )
        engine.deliver("default")
        Order.objects.filter(pk=fine.pk).update(shipped=True)
        known = progress(run)
        assert known.outcomes == {("synced", ""): 1, ("rejected", "refused"): 1}
        assert (known.done, known.failed, known.is_over) == (4, 1, True)
        transitions.forget()

    def test_deleting_a_run_marks_no_order(self, bronto: FakeBronto) -> None:
        [order] = synced(1)
        run = begin()
        engine.deliver("default")
        revision = Order.objects.get().revision
        run.delete()
        order.refresh_from_db()
        assert (order.resync_run_id, order.revision, order.sync_state) == (None, revision, "synced")


class TestPlan:
    def test_counts_by_what_would_happen(self, bronto: FakeBronto) -> None:
        _same, changed, invalid, refused, ignored = synced(5)
        OrderFactory()
        Order.objects.filter(pk=changed.pk).update(shipped=True)
        Order.objects.filter(pk=invalid.pk).update(currency="QQQ")
        Order.objects.filter(pk=refused.pk).update(grand_total=7)
        ends: dict[Order, tuple[SyncState, str]] = {
            changed: (SyncState.SYNCED, ""),
            invalid: (SyncState.SKIPPED, "invalid:currency"),
            refused: (SyncState.REJECTED, "refused"),
            ignored: (SyncState.SKIPPED, IGNORED_BY_STAFF),
        }
        for order, (state, reason) in ends.items():
            Order.objects.filter(pk=order.pk).update(sync_state=state, sync_reason=reason, due_at=None)
        before = list(Order.objects.order_by("pk").values())
        planned = plan(Order.objects.all(), Options())
        assert (planned.total, planned.changed, planned.unchanged, planned.already_queued, planned.left_out) == (
            6, 2, 1, 1, 1,
        )  # fmt: skip
        assert planned.invalid == {"invalid:currency": 1}
        assert planned.exact
        assert planned.reasons["rejected", "refused"] == 1
        assert (planned.requests(force=False), planned.requests(force=True)) == (2, 3)
        assert plan(Order.objects.all(), Options(include_ignored=True)).unchanged == 2
        assert list(Order.objects.order_by("pk").values()) == before
        transitions.forget()

    def test_many_orders_are_sampled(self, bronto: FakeBronto, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(resync, "SAMPLE", 16)
        orders = synced(80)
        Order.objects.filter(pk__in=[order.pk for order in orders[::2]]).update(last_sent_hash="other")
        planned = plan(Order.objects.all(), Options())
        assert not planned.exact
        assert planned.changed + planned.unchanged == 80
        assert 30 <= planned.changed <= 50

    def test_duration_by_what_was_measured_and_by_the_limit(self, bronto: FakeBronto) -> None:
        synced(10)
        SyncAttempt.objects.update(duration_ms=800)
        accounts: dict[str, Any] = {"default": {"CONCURRENCY": 4}}
        with override_settings(BRONTO_ORDERS={"ACCOUNTS": accounts}):
            planned = plan(Order.objects.all(), Options())
            assert (planned.seconds(force=True), planned.seconds(force=False)) == (pytest.approx(2), 0)
        accounts["default"]["RATE_LIMIT"] = "1/s"
        with override_settings(BRONTO_ORDERS={"ACCOUNTS": accounts}):
            assert plan(Order.objects.all(), Options()).seconds(force=True) == pytest.approx(12.5)
        SyncAttempt.objects.all().delete()
        accounts["default"]["RATE_LIMIT"] = None
        with override_settings(BRONTO_ORDERS={"ACCOUNTS": accounts}):
            assert plan(Order.objects.all(), Options()).seconds(force=True) is None


class TestWaking:
    @pytest.fixture
    def woken(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        calls: list[str] = []
        monkeypatch.setattr(hints, "wake_resync", lambda using: calls.append(using))
        return calls

    @pytest.mark.usefixtures("small")
    def test_workers_are_woken_after_commit(self, bronto: FakeBronto, woken: list[str]) -> None:
        synced(5)
        with transaction.atomic():
            begin()
            assert woken == []
        assert woken == ["default"]

    @pytest.mark.usefixtures("small")
    def test_the_hint_is_the_task(self, bronto: FakeBronto, broker: Broker) -> None:
        synced(5)
        broker.hints()
        begin()
        with broker.app.connection_for_read() as line, line.SimpleQueue("celery") as queue:
            message = queue.get_nowait()
            message.ack()
        assert (message.headers["task"], message.payload[1]) == (tasks.resync.name, {"using": "default"})

    @pytest.mark.usefixtures("small")
    def test_the_sweep_wakes_for_what_is_unfinished(self, bronto: FakeBronto, woken: list[str]) -> None:
        synced(5)
        run = begin()
        woken.clear()
        tasks.sweep()
        assert woken == ["default"]
        finish(run)
        tasks.sweep()
        assert woken == ["default"]

    @pytest.mark.usefixtures("small")
    def test_the_task_queues_all(self, bronto: FakeBronto, woken: list[str]) -> None:
        synced(10)
        run, other = begin(), begin(force=True)
        tasks.resync()
        assert (counts(run), counts(other)) == ((10, 0, 0, 0), (0, 10, 0, 0))
        assert len(woken) == 2

    @pytest.mark.usefixtures("small")
    def test_the_task_leaves_the_rest_to_the_next(
        self, bronto: FakeBronto, woken: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        synced(10)
        run = begin()
        monkeypatch.setattr(engine, "TASK_SECONDS", 0.0)
        woken.clear()
        tasks.resync()
        assert woken == ["default"]
        assert counts(run)[0] in {0, 3}


def test_a_run_that_another_version_has_made_ends_and_stops_no_other(small: None) -> None:
    Order.objects.bulk_create(OrderFactory.build_batch(5))
    Order.objects.update(sync_state=SyncState.SKIPPED, due_at=None)
    strange, plain = begin(), begin()
    ResyncRun.objects.filter(pk=strange.pk).update(options={"no_such_option": True})
    assert not resync.advance_all(budget_seconds=60)
    strange.refresh_from_db()
    plain.refresh_from_db()
    assert strange.finished_at
    assert "TypeError" in strange.error
    assert (plain.queued, plain.error) == (5, "")


@pytest.mark.parametrize("failing", ["unfinished", "_next_keys"])
@pytest.mark.parametrize("error", [OperationalError(), DataError(), InterfaceError()])
def test_a_database_that_fails_stops_no_delivery(
    bronto: FakeBronto, monkeypatch: pytest.MonkeyPatch, failing: str, error: Exception
) -> None:
    (order,) = synced(1)
    run = begin()
    ResyncRun.objects.filter(pk=run.pk).update(finished_at=None)
    Order.objects.filter(pk=order.pk).update(shipped=True)

    def fail(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.setattr(resync, failing, fail)
    call_command("bronto_deliver", verbosity=0)
    assert bronto.orders[order.customer_order_id]["states"]["shipped"] is True
