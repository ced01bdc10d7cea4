from __future__ import annotations

import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, connections
from django.db.models import F
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bronto_orders import exceptions as errors
from bronto_orders import signals
from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import claims, engine, preparing, retention
from bronto_orders.exceptions import BrontoConfigurationError
from bronto_orders.models import AccountStatus, DbNow, Order, Presence, SyncAttempt, SyncState
from tests.factories import LineItemFactory, OrderFactory
from tests.fakes import FakeBronto

pytestmark = pytest.mark.django_db(transaction=True)


def deliver(**options: Any) -> dict[str, int]:
    return engine.deliver("default", **options).counts


def row(order: Order) -> Order:
    return Order.objects.get(pk=order.pk)


def make_due(order: Order) -> None:
    """Let the back-off, the lease, the settle time and the account's hold be over."""
    Order.objects.filter(pk=order.pk, due_at__isnull=False).update(due_at=DbNow(-1), settle_until=None)
    AccountStatus.objects.update(held_until=None)


@pytest.fixture
def synced(bronto: FakeBronto) -> Order:
    order = OrderFactory(items=2, tid="3.a")
    assert deliver() == {"accepted": 1}
    bronto.calls.clear()
    return row(order)


class TestAdd:
    def test_a_new_order_is_added(self, bronto: FakeBronto) -> None:
        order = OrderFactory(items=3, tid="3.a")
        assert deliver(trigger="signal") == {"accepted": 1}
        assert bronto.operations == ["add"]
        stored = bronto.orders[order.customer_order_id]
        assert stored["grandTotal"] == Decimal("4.27")
        assert len(stored["lineItems"]) == 3
        done = row(order)
        assert (done.sync_state, done.due_at, done.acked_revision) == (SyncState.SYNCED, None, done.revision)
        assert (done.lease_token, done.lease_revision, done.attempts) == (None, None, 0)
        assert (done.presence, done.bronto_order_id) == (Presence.PRESENT, stored["orderId"])
        assert (done.has_tracking, done.bronto_updated_at) == (True, datetime(2026, 1, 2, 3, 4, 5, 678000, UTC))
        assert done.last_sent["grandTotal"] == 4.27
        assert abs(done.synced_at - timezone.now()) < timedelta(seconds=60)

    def test_the_attempt_is_kept(self, bronto: FakeBronto) -> None:
        order = OrderFactory()
        deliver(trigger="signal")
        attempt = SyncAttempt.objects.get()
        assert (attempt.order, attempt.account, attempt.revision) == (order, "default", 1)
        assert (attempt.operation, attempt.outcome, attempt.http_status) == ("add", "accepted", 201)
        assert (attempt.trigger, attempt.differences) == ("signal", [])
        assert order.customer_order_id in attempt.request_excerpt
        assert order.email_address not in attempt.request_excerpt + attempt.answer_excerpt

    def test_account_options_are_sent(self, bronto: FakeBronto) -> None:
        OrderFactory()
        account = {"CREATE_CONTACT": True, "TRIGGER_EVENTS": False, "IGNORE_INVALID_TID": False}
        with override_settings(BRONTO_ORDERS={"ACCOUNTS": {"default": account}}):
            deliver()
        assert bronto.calls[0][3] == {
            "create_contact": True,
            "trigger_events": False,
            "force": False,
            "ignore_invalid_tid": False,
        }

    def test_oldest_first(self, bronto: FakeBronto) -> None:
        numbers = [OrderFactory().customer_order_id for _ in range(4)]
        Order.objects.filter(customer_order_id=numbers[2]).update(due_at=DbNow(-60))
        with override_settings(
            BRONTO_ORDERS={"ACCOUNTS": {"default": {"CONCURRENCY": 1}}, "DELIVERY": {"BATCH_SIZE": 1}}
        ):
            deliver()
        assert [key for _, key, *_ in bronto.calls] == [numbers[2], numbers[0], numbers[1], numbers[3]]

    def test_only_the_account_asked_for(self, bronto: FakeBronto) -> None:
        other = OrderFactory(account="other")
        OrderFactory()
        assert deliver() == {"accepted": 1}
        assert row(other).sync_state == SyncState.PENDING

    def test_only_the_orders_asked_for(self, bronto: FakeBronto) -> None:
        first, second = OrderFactory(), OrderFactory()
        assert deliver(pks=[second.pk]) == {"accepted": 1}
        assert (row(first).sync_state, row(second).sync_state) == (SyncState.PENDING, SyncState.SYNCED)

    def test_many(self, bronto: FakeBronto) -> None:
        Order.objects.bulk_create(OrderFactory.build_batch(150))
        assert deliver() == {"accepted": 150}
        assert len(bronto.orders) == len(bronto.calls) == 150

    def test_nothing_due(self, bronto: FakeBronto) -> None:
        report = engine.deliver("default")
        assert str(report) == "nothing due"


class TestUpdate:
    def test_by_brontos_id_without_what_an_update_cannot_change(self, bronto: FakeBronto, synced: Order) -> None:
        synced.shipped = True
        synced.save()
        assert deliver() == {"accepted": 1}
        ((operation, key, body, _options),) = bronto.calls
        assert (operation, key) == ("update", synced.bronto_order_id)
        assert body["states"] == {"processed": True, "shipped": True}
        assert not {"customerOrderId", "cartId", "orderDate", "tid"} & body.keys()
        assert row(synced).last_sent["customerOrderId"] == synced.customer_order_id

    def test_order_date_if_the_account_says_so(self, bronto: FakeBronto, synced: Order) -> None:
        synced.save()
        synced.shipped = True
        synced.save()
        with override_settings(BRONTO_ORDERS={"ACCOUNTS": {"default": {"UPDATE_ORDER_DATE": True}}}):
            deliver()
        assert "orderDate" in bronto.calls[0][2]

    def test_tracking_until_bronto_has_taken_it(self, bronto: FakeBronto, synced: Order) -> None:
        Order.objects.filter(pk=synced.pk).update(has_tracking=False, shipped=True)
        deliver()
        assert bronto.calls[0][2]["tid"] == "3.a"

    def test_a_cleared_field_is_sent_as_null_once(self, bronto: FakeBronto, synced: Order) -> None:
        for details in ("by post", "", "by boat"):
            Order.objects.filter(pk=synced.pk).update(shipping_details=details)
            deliver()
        sent = [body["shippingDetails"] for _, _, body, _ in bronto.calls]
        assert sent == ["by post", None, "by boat"]

    def test_unchanged_content_is_not_sent(self, bronto: FakeBronto, synced: Order) -> None:
        synced.save()
        assert deliver() == {"unchanged": 1}
        assert bronto.calls == []
        done = row(synced)
        assert (done.sync_state, done.acked_revision) == (SyncState.SYNCED, done.revision)

    def test_items_alone(self, bronto: FakeBronto, synced: Order) -> None:
        LineItemFactory(order=synced, position=9, sku="late")
        deliver()
        assert [item["sku"] for item in bronto.calls[0][2]["lineItems"]][-1] == "late"

    def test_resync_is_quiet_for_its_revision_alone(self, bronto: FakeBronto, synced: Order) -> None:
        options = {"trigger": "admin:1", "trigger_events": False}
        Order.objects.filter(pk=synced.pk).resync(options=options, force=True)
        deliver(trigger="sweep")
        assert bronto.calls[0][3]["trigger_events"] is False
        assert SyncAttempt.objects.first().trigger == "admin:1"
        synced.shipped = True
        synced.save()
        deliver(trigger="sweep")
        assert bronto.calls[1][3]["trigger_events"] is True
        assert SyncAttempt.objects.first().trigger == "sweep"

    def test_resync_without_force_sends_nothing_new(self, bronto: FakeBronto, synced: Order) -> None:
        Order.objects.filter(pk=synced.pk).resync(options={}, force=False)
        assert deliver() == {"unchanged": 1}

    def test_what_bronto_took_differently_is_kept(self, bronto: FakeBronto, synced: Order) -> None:
        def alter() -> None:
            bronto.orders[synced.customer_order_id]["currency"] = "EUR"

        bronto.after_store = alter
        Order.objects.filter(pk=synced.pk).update(shipped=True)
        deliver()
        attempt = SyncAttempt.objects.first()
        assert attempt.differences == ["currency"]
        assert "currency" in attempt.decision


class TestChangesMeanwhile:
    def test_a_save_during_the_request_is_sent_next(self, bronto: FakeBronto) -> None:
        order = OrderFactory()

        def save_meanwhile() -> None:
            bronto.script.clear()
            threading.Thread(target=self.ship, args=[order.pk]).run()

        bronto.script.append(save_meanwhile)
        assert deliver() == {"accepted": 2}
        assert bronto.operations == ["add", "update"]
        assert bronto.orders[order.customer_order_id]["states"]["shipped"] is True
        assert row(order).sync_state == SyncState.SYNCED

    @staticmethod
    def ship(pk: int) -> None:
        try:
            Order.objects.filter(pk=pk).update(shipped=True)
        finally:
            connection.close()

    def test_a_refused_revision_does_not_hold_back_a_newer_one(self, bronto: FakeBronto) -> None:
        order = OrderFactory()

        def refuse() -> None:
            self.ship(order.pk)
            raise errors.BadRequestError(status=400, reason="no")

        bronto.script.append(refuse)
        assert deliver() == {"rejected": 1, "accepted": 1}
        done = row(order)
        assert (done.sync_state, done.sync_reason) == (SyncState.SYNCED, "")

    def test_a_lost_lease_writes_nothing_and_is_repaired(self, bronto: FakeBronto, synced: Order) -> None:
        other = uuid.uuid4()

        def steal() -> None:
            try:
                Order.objects.filter(pk=synced.pk).update(lease_token=other, due_at=DbNow(100))
            finally:
                connection.close()

        bronto.script.append(steal)
        Order.objects.filter(pk=synced.pk).update(shipped=True)
        deliver()
        held = row(synced)
        assert (held.lease_token, held.acked_revision) == (other, synced.acked_revision)
        assert (held.revision, held.last_sent_hash) == (synced.revision + 2, "")
        assert held.settle_until > timezone.now() + timedelta(seconds=60)
        assert SyncAttempt.objects.first().outcome == "lease_lost"

    def test_an_order_deleted_during_the_request(self, bronto: FakeBronto) -> None:
        order, other = OrderFactory(), OrderFactory()

        def delete() -> None:
            try:
                Order.objects.filter(pk=order.pk).delete()
            finally:
                connection.close()

        bronto.script.append(delete)
        deliver()
        assert list(Order.objects.all()) == [other]
        assert row(other).sync_state == SyncState.SYNCED


class TestTrouble:
    def test_refused(self, bronto: FakeBronto) -> None:
        order = OrderFactory()
        bronto.always = errors.BadRequestError(status=400, reason="currency: unknown")
        assert deliver() == {"rejected": 1}
        done = row(order)
        assert (done.sync_state, done.sync_reason, done.due_at) == (SyncState.REJECTED, "refused", None)
        assert "currency: unknown" in done.sync_message
        bronto.always = None
        order.currency = "EUR"
        order.save()
        assert deliver() == {"accepted": 1}

    def test_invalid_orders_are_skipped_without_a_request(self, bronto: FakeBronto) -> None:
        old, fine = OrderFactory(order_date=datetime(1999, 1, 1, tzinfo=UTC)), OrderFactory()
        assert deliver() == {"skipped": 1, "accepted": 1}
        done = row(old)
        assert (done.sync_state, done.sync_reason) == (SyncState.SKIPPED, "invalid:order_date")
        assert "2000" in done.sync_message
        assert row(fine).sync_state == SyncState.SYNCED

    def test_an_order_that_cannot_be_built_stops_no_other(
        self, bronto: FakeBronto, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        bad, fine = OrderFactory(), OrderFactory()
        build = preparing.build_document

        def fail_once(order: Order, *args: Any, **kwargs: Any) -> Any:
            if order.pk == bad.pk:
                raise RuntimeError("boom")
            return build(order, *args, **kwargs)

        monkeypatch.setattr(preparing, "build_document", fail_once)
        assert deliver() == {"skipped": 1, "accepted": 1}
        assert row(bad).sync_reason == "invalid:order"
        assert row(fine).sync_state == SyncState.SYNCED

    def test_duplicate_number_becomes_an_update(self, bronto: FakeBronto) -> None:
        order = OrderFactory()
        number = order.customer_order_id
        bronto.orders[number] = {"orderId": "b-1", "customerOrderId": number, "hasTracking": False}
        assert deliver() == {"redirected": 1, "accepted": 1}
        assert bronto.operations == ["add", "update_by_customer_order_id"]
        assert row(order).bronto_order_id == "b-1"

    def test_unreadable_conflict_is_looked_up(self, bronto: FakeBronto) -> None:
        order = OrderFactory()
        number = order.customer_order_id
        bronto.orders[number] = {"orderId": "b-1", "customerOrderId": number, "hasTracking": False}
        bronto.script.append(errors.ConflictError(status=409))
        assert deliver() == {"redirected": 1, "accepted": 1}
        assert bronto.operations == ["add", "search", "update"]

    def test_unreadable_conflict_of_an_unknown_contact(self, bronto: FakeBronto) -> None:
        order = OrderFactory()
        bronto.always = errors.ConflictError(status=409)
        assert deliver() == {"skipped": 1}
        assert row(order).sync_reason == "no_contact"

    def test_an_order_deleted_there_is_added_again(self, bronto: FakeBronto, synced: Order) -> None:
        bronto.orders.clear()
        Order.objects.filter(pk=synced.pk).update(shipped=True)
        assert deliver() == {"redirected": 1, "accepted": 1}
        assert bronto.operations == ["update", "add"]
        done = row(synced)
        assert done.bronto_order_id == bronto.orders[synced.customer_order_id]["orderId"] != synced.bronto_order_id
        assert done.flips == 0
        assert bronto.calls[1][2]["tid"] == "3.a"

    def test_a_number_held_by_a_return_ends(self, bronto: FakeBronto) -> None:
        order = OrderFactory()

        def add(body: bytes, **options: bool) -> None:
            bronto.calls.append(("add", "", {}, {}))
            raise errors.DuplicateOrderError(status=409)

        bronto.add = add  # type: ignore[method-assign]
        deliver()
        done = row(order)
        assert (done.sync_state, done.sync_reason) == (SyncState.REJECTED, "id_taken")
        assert bronto.operations == ["add", "update_by_customer_order_id"] * 2

    def test_add_of_unknown_fate_is_followed_by_an_update(self, bronto: FakeBronto) -> None:
        landed, lost = OrderFactory(customer_order_id="landed"), OrderFactory(customer_order_id="lost")

        def time_out_after_storing() -> None:
            raise errors.DeadlineError

        bronto.after_store = time_out_after_storing
        deliver(pks=[landed.pk])
        bronto.after_store = None
        bronto.script.append(errors.DeadlineError())
        deliver(pks=[lost.pk])
        for order in (landed, lost):
            waiting = row(order)
            assert (waiting.sync_state, waiting.presence) == (SyncState.PENDING, Presence.UNSURE)
            assert waiting.due_at > timezone.now() + timedelta(seconds=3)
            make_due(order)
        bronto.calls.clear()
        assert deliver() == {"accepted": 2, "redirected": 1}
        assert sorted(bronto.operations) == ["add", "update_by_customer_order_id", "update_by_customer_order_id"]
        assert bronto.orders.keys() == {"landed", "lost"}

    def test_update_of_unknown_fate_settles(self, bronto: FakeBronto, synced: Order) -> None:
        bronto.script.append(errors.FateUnknownError())
        Order.objects.filter(pk=synced.pk).update(shipped=True)
        assert deliver() == {"unknown": 1}
        waiting = row(synced)
        assert timedelta(seconds=70) < waiting.settle_until - timezone.now() < timedelta(seconds=80)
        Order.objects.filter(pk=synced.pk).update(due_at=DbNow(-1), shipping_details="newer")
        assert deliver() == {}
        make_due(synced)
        assert deliver() == {"accepted": 1}

    def test_unchanged_content_is_sent_again_after_an_unknown_fate(self, bronto: FakeBronto, synced: Order) -> None:
        bronto.script.append(errors.FateUnknownError())
        Order.objects.filter(pk=synced.pk).update(shipped=True)
        deliver()
        Order.objects.filter(pk=synced.pk).update(shipped=False)
        Order.objects.filter(pk=synced.pk).update(due_at=DbNow(-1), settle_until=DbNow(-1))
        bronto.calls.clear()
        assert deliver() == {"accepted": 1}
        assert bronto.calls[0][2]["states"]["shipped"] is False

    def test_server_errors_wait_and_count(self, bronto: FakeBronto) -> None:
        order = OrderFactory()
        bronto.always = errors.ServerError(status=500)
        for attempts in (1, 2):
            assert deliver() == {"deferred": 1}
            waiting = row(order)
            assert (waiting.sync_state, waiting.sync_reason) == (SyncState.PENDING, "server_error")
            assert waiting.attempts == attempts
            assert waiting.due_at > timezone.now()
            make_due(order)

    def test_poison_is_rejected_while_others_succeed(self, bronto: FakeBronto) -> None:
        poison = OrderFactory()
        AccountStatus.objects.create(account="default", last_success_at=timezone.now())
        Order.objects.filter(pk=poison.pk).update(attempts=7)
        bronto.script.append(errors.ServerError(status=500))
        assert deliver() == {"rejected": 1}
        assert row(poison).sync_reason == "poison"

    def test_a_bug_in_a_thread_loses_nothing(self, bronto: FakeBronto) -> None:
        order = OrderFactory()

        def bug() -> None:
            raise RuntimeError(order.email_address)

        bronto.script.append(bug)
        assert deliver() == {"unknown": 1}
        attempt = SyncAttempt.objects.get()
        assert "RuntimeError" in attempt.reason
        assert order.email_address not in attempt.reason


class TestOutage:
    def test_holds_the_account_and_burns_no_attempt(self, bronto: FakeBronto) -> None:
        Order.objects.bulk_create(OrderFactory.build_batch(40))
        bronto.always = errors.NotSentError()
        held: list[str] = []

        def on_held(sender: Any, reason: str, **kwargs: Any) -> None:
            held.append(reason)

        signals.account_held.connect(on_held)
        try:
            deliver()
        finally:
            signals.account_held.disconnect(on_held)
        assert len(bronto.calls) < 40
        status = AccountStatus.objects.get(account="default")
        assert (status.breaker_state, status.held_reason, held[0]) == ("open", "outage", "outage")
        assert status.held_until > timezone.now()
        assert set(Order.objects.values_list("sync_state", "attempts")) == {("pending", 0)}
        calls = len(bronto.calls)
        assert deliver() == {}
        assert len(bronto.calls) == calls

    def test_probes_then_recovers(self, bronto: FakeBronto) -> None:
        Order.objects.bulk_create(OrderFactory.build_batch(40))
        bronto.always = errors.NotSentError()
        deliver()
        bronto.calls.clear()
        for _ in range(2):
            Order.objects.update(due_at=DbNow(-1))
            AccountStatus.objects.update(held_until=DbNow(-1))
            deliver()
        assert len(bronto.calls) <= 6
        released: list[str] = []

        def on_released(sender: Any, account: str, **kwargs: Any) -> None:
            released.append(account)

        signals.account_released.connect(on_released)
        bronto.always = None
        Order.objects.update(due_at=DbNow(-1))
        AccountStatus.objects.update(held_until=DbNow(-1))
        try:
            assert deliver() == {"accepted": 40}
        finally:
            signals.account_released.disconnect(on_released)
        status = AccountStatus.objects.get(account="default")
        assert (status.breaker_state, status.consecutive_failures, status.held_until) == ("closed", 0, None)
        assert released == ["default"]

    def test_refused_credentials_hold_the_account(self, bronto: FakeBronto) -> None:
        orders = OrderFactory.create_batch(3)
        bronto.always = errors.AuthenticationError(status=403, reason="scope")
        deliver()
        status = AccountStatus.objects.get(account="default")
        assert status.held_reason == "auth"
        assert {(row(order).sync_state, row(order).attempts) for order in orders} == {("pending", 0)}

    def test_throttling_pauses_for_as_long_as_asked(self, bronto: FakeBronto) -> None:
        OrderFactory()
        bronto.script.append(errors.RateLimitedError(status=429, retry_after=40))
        deliver()
        status = AccountStatus.objects.get(account="default")
        assert status.held_reason == "throttled"
        assert timedelta(seconds=35) < status.held_until - timezone.now() < timedelta(seconds=55)

    def test_paused_by_a_person(self, bronto: FakeBronto) -> None:
        OrderFactory()
        AccountStatus.objects.create(account="default", paused=True)
        assert deliver() == {}

    def test_a_hold_is_never_shortened(self, bronto: FakeBronto) -> None:
        OrderFactory()
        until = timezone.now() + timedelta(hours=2)

        def hold_meanwhile() -> None:
            AccountStatus.objects.filter(account="default").update(held_until=until, held_reason="throttled")
            connection.close()
            raise errors.RateLimitedError(status=429, retry_after=1)

        bronto.script.append(hold_meanwhile)
        deliver()
        assert AccountStatus.objects.get().held_until == until


class TestLeases:
    def claim(self) -> list[Order]:
        return claims.claim("default", 10, bronto_settings.delivery, using="default")

    def test_a_claimed_order_is_nobody_elses(self, bronto: FakeBronto) -> None:
        order = OrderFactory()
        (claimed,) = self.claim()
        assert (claimed.sync_state, claimed.attempts, claimed.lease_revision) == (SyncState.SENDING, 1, 1)
        assert timedelta(seconds=25) < row(order).due_at - timezone.now() <= timedelta(seconds=30)
        assert self.claim() == []
        assert deliver() == {}

    def test_updates_are_leased_for_longer(self, synced: Order) -> None:
        Order.objects.filter(pk=synced.pk).update(shipped=True)
        (claimed,) = self.claim()
        assert claimed.due_at - timezone.now() > timedelta(seconds=95)

    def test_a_dead_workers_add_is_looked_into(self, bronto: FakeBronto) -> None:
        order = OrderFactory()
        self.claim()
        number = order.customer_order_id
        bronto.orders[number] = {"orderId": "b-1", "customerOrderId": number, "hasTracking": False}
        make_due(order)
        assert deliver() == {"accepted": 1}
        assert bronto.operations == ["update_by_customer_order_id"]
        assert len(bronto.orders) == 1

    def test_nothing_is_sent_under_a_lease_that_is_too_short(
        self, bronto: FakeBronto, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        order = OrderFactory()
        claim = claims.claim

        def claim_slowly(*args: Any, **kwargs: Any) -> list[Order]:
            # As if the query had taken eleven seconds.
            monkeypatch.setattr(preparing, "GUARD_SECONDS", 16)
            monkeypatch.setattr(claims, "claim", lambda *args, **kwargs: [])
            return claim(*args, **kwargs)

        monkeypatch.setattr(claims, "claim", claim_slowly)
        deliver()
        assert bronto.calls == []
        given_back = row(order)
        assert (given_back.sync_state, given_back.attempts, given_back.lease_token) == (SyncState.PENDING, 0, None)
        assert Order.objects.due().get() == order

    def test_an_update_leaves_time_to_settle_in(
        self, bronto: FakeBronto, synced: Order, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Late enough in the lease that the call would end in time, and what it sent might land after the lease."""
        Order.objects.filter(pk=synced.pk).update(shipped=True)
        claim, monotonic = claims.claim, time.monotonic

        def claim_slowly(*args: Any, **kwargs: Any) -> list[Order]:
            monkeypatch.setattr(time, "monotonic", lambda: monotonic() + 30)
            monkeypatch.setattr(claims, "claim", lambda *args, **kwargs: [])
            return claim(*args, **kwargs)

        monkeypatch.setattr(claims, "claim", claim_slowly)
        deliver()
        assert bronto.calls == []
        given_back = row(synced)
        assert (given_back.sync_state, given_back.attempts, given_back.lease_token) == (SyncState.PENDING, 0, None)

    def test_query_counts_do_not_grow_with_the_batch(self) -> None:
        counts = []
        for size in (2, 20):
            Order.objects.bulk_create(OrderFactory.build_batch(size))
            for order in Order.objects.owed():
                LineItemFactory(order=order)
            with CaptureQueriesContext(connection) as queries:
                assert len(claims.claim("default", 50, bronto_settings.delivery, using="default")) == size
            counts.append(len(queries))
            Order.objects.all().delete()
        assert counts[0] == counts[1] <= 6


class TestRun:
    def test_disabled(self, bronto: FakeBronto) -> None:
        OrderFactory()
        with override_settings(BRONTO_ORDERS={"ACCOUNTS": {"default": {}}, "DELIVERY": {"ENABLED": False}}):
            assert deliver() == {}

    def test_unknown_account(self) -> None:
        with pytest.raises(BrontoConfigurationError, match="'nobody'"):
            engine.deliver("nobody")

    def test_stops_claiming_when_told(self, bronto: FakeBronto) -> None:
        OrderFactory.create_batch(3)
        assert deliver(stopping=lambda: True) == {}

    def test_a_budget_leaves_the_rest(self, bronto: FakeBronto) -> None:
        OrderFactory.create_batch(3)
        assert deliver(budget_seconds=-1) == {}
        assert Order.objects.due().count() == 3

    def test_rate_limit(self, bronto: FakeBronto, monkeypatch: pytest.MonkeyPatch) -> None:
        OrderFactory.create_batch(5)
        naps: list[float] = []
        clock = [1000.0]
        monkeypatch.setattr("bronto_orders.delivery.pace.time.time", lambda: clock[0])

        def nap(seconds: float) -> None:
            naps.append(seconds)
            clock[0] += seconds

        monkeypatch.setattr(engine.time, "sleep", nap)
        with override_settings(BRONTO_ORDERS={"ACCOUNTS": {"default": {"RATE_LIMIT": "2/s"}}}):
            assert deliver() == {"accepted": 5}
        assert len(naps) >= 2

    def test_threads_touch_no_database(self, bronto: FakeBronto) -> None:
        OrderFactory.create_batch(5)
        opened: list[bool] = []
        bronto.always = lambda: opened.append(connections["default"].connection is not None)
        deliver()
        assert opened == [False] * 5

    def test_signals(self, bronto: FakeBronto) -> None:
        seen: list[tuple[str, int, str]] = []

        def receiver(name: str) -> Any:
            def receive(*, order_id: int, reason: str = "", **kwargs: Any) -> None:
                seen.append((name, order_id, reason))
                raise RuntimeError("a receiver that fails hurts nobody")

            return receive

        receivers = {name: receiver(name) for name in ("order_synced", "order_rejected", "order_skipped")}
        for name, receive in receivers.items():
            getattr(signals, name).connect(receive)
        try:
            good, invalid, bad = OrderFactory(), OrderFactory(currency="XXX"), OrderFactory()
            bronto.script.extend([None, errors.BadRequestError(status=400)])
            with override_settings(BRONTO_ORDERS={"ACCOUNTS": {"default": {"CONCURRENCY": 1}}}):
                deliver()
        finally:
            for name, receive in receivers.items():
                getattr(signals, name).disconnect(receive)
        assert sorted(seen) == [
            ("order_rejected", bad.pk, "refused"),
            ("order_skipped", invalid.pk, "invalid:currency"),
            ("order_synced", good.pk, ""),
        ]


class TestSweepAndPrune:
    def test_sweep_wakes_accounts_with_due_orders(self, monkeypatch: pytest.MonkeyPatch) -> None:
        woken: list[Any] = []
        OrderFactory(account="unknown")
        OrderFactory()
        monkeypatch.setattr(engine.hints, "wake", lambda accounts, **options: woken.append((accounts, options)))
        assert engine.sweep() == ["default"]
        assert woken == [({"default"}, {"using": "default", "trigger": "sweep"})]

    def test_prune(self, bronto: FakeBronto) -> None:
        OrderFactory.create_batch(5)
        deliver()
        SyncAttempt.objects.filter(pk__in=SyncAttempt.objects.values("pk")[:3]).update(
            started_at=timezone.now() - timedelta(days=91)
        ) if connection.vendor != "mysql" else SyncAttempt.objects.filter(
            pk__in=list(SyncAttempt.objects.values_list("pk", flat=True)[:3])
        ).update(started_at=timezone.now() - timedelta(days=91))
        assert retention.prune(days=90, batch_size=2) == 3
        assert SyncAttempt.objects.count() == 2


def test_a_database_that_goes_away_is_waited_for(bronto: FakeBronto, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import OperationalError

    order = OrderFactory()
    record, failures = engine.records.record, [1, 2]

    def fail_twice(*args: Any, **kwargs: Any) -> Any:
        if failures:
            failures.pop()
            raise OperationalError("gone")
        return record(*args, **kwargs)

    monkeypatch.setattr(engine.records, "record", fail_twice)
    monkeypatch.setattr(engine.time, "sleep", lambda seconds: None)
    assert deliver() == {"accepted": 1}
    assert bronto.operations == ["add"]
    assert row(order).sync_state == SyncState.SYNCED


def test_revisions_only_grow(bronto: FakeBronto, synced: Order) -> None:
    Order.objects.filter(pk=synced.pk).update(revision=F("revision") + 5, due_at=DbNow(), sync_state="pending")
    deliver()
    assert row(synced).acked_revision == row(synced).revision == synced.revision + 5
