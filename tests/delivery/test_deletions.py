"""Orders that are to be gone at Bronto: who asks for it, when the DELETE may start, and what becomes of its answer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bronto_orders import exceptions as errors
from bronto_orders import signals
from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import claims, deletions, engine, retention
from bronto_orders.delivery.erasure import erase_customer
from bronto_orders.models import AccountStatus, DbNow, LineItem, Order, Presence, SyncAttempt, Tombstone
from bronto_orders.testing import deliver_all
from tests.conftest import Broker
from tests.factories import OrderFactory, acknowledge
from tests.fakes import FakeBronto

pytestmark = pytest.mark.django_db(transaction=True)

DELETE = {"ACCOUNTS": {"default": {}}, "PRIVACY": {"ON_DELETE": "delete"}}


@pytest.fixture(autouse=True)
def delete_there_too() -> Iterator[None]:
    with override_settings(BRONTO_ORDERS=DELETE):
        yield


def deliver() -> dict[str, int]:
    return engine.deliver("default").counts


def due() -> None:
    AccountStatus.objects.update(held_until=None, breaker_state="closed", consecutive_failures=0)
    Tombstone.objects.owed().update(due_at=DbNow(-1))


def sent(**columns: Any) -> Order:
    """An order that Bronto has had for an hour."""
    order: Order = OrderFactory(**columns)
    deliver()
    Order.objects.filter(pk=order.pk).update(synced_at=DbNow(-3600))
    order.refresh_from_db()
    return order


def tombstone() -> Tombstone:
    return Tombstone.objects.get()


def seconds_until(moment: datetime | None) -> float:
    assert moment is not None
    return (moment - timezone.now()).total_seconds()


class TestOfDeletedOrders:
    def test_is_gone_at_bronto(self, bronto: FakeBronto, broker: Broker) -> None:
        order, other = sent(), sent()
        broker.hints()
        order.delete()
        assert [hint["account"] for hint in broker.hints()] == ["default"]
        assert deliver() == {"deleted": 1}
        assert list(bronto.orders) == [other.customer_order_id]
        by_id, by_number = bronto.calls[-2:]
        assert by_id[:2] == ("delete", order.bronto_order_id)
        assert by_number[:2] == ("delete_by_customer_order_id", order.customer_order_id)
        assert tombstone().done_at is not None
        assert tombstone().bronto_order_id == ""
        assert deliver() == {}

    def test_of_many(self, bronto: FakeBronto) -> None:
        for _ in range(3):
            sent()
        with CaptureQueriesContext(connection) as queries:
            Order.objects.all().delete()
        assert not [query for query in queries if "SAVEPOINT" in query["sql"]]
        assert deliver() == {"deleted": 3}
        assert bronto.orders == {}

    def test_in_the_same_transaction(self, bronto: FakeBronto) -> None:
        order = sent()
        with transaction.atomic():
            order.delete()
            transaction.set_rollback(True)
        assert not Tombstone.objects.exists()

    def test_by_the_row_and_not_by_the_instance(self, bronto: FakeBronto) -> None:
        stale = OrderFactory()
        deliver()
        stale.delete()
        assert tombstone().bronto_order_id != ""

    def test_through_a_proxy(self, bronto: FakeBronto) -> None:
        from bronto_orders import receivers

        sent()
        proxy = type("ShopOrder", (Order,), {"Meta": type("Meta", (), {"proxy": True}), "__module__": "bronto_orders"})
        try:
            receivers.connect()
            proxy.objects.get().delete()
        finally:
            Order._meta.apps.all_models["bronto_orders"].pop("shoporder")
            Order._meta.apps.clear_cache()
        assert Tombstone.objects.exists()

    def test_one_that_was_never_sent_leaves_nothing(self, bronto: FakeBronto) -> None:
        OrderFactory().delete()
        assert not Tombstone.objects.exists()

    def test_one_that_was_refused_may_be_there_all_the_same(self, bronto: FakeBronto) -> None:
        bronto.script.append(errors.BadRequestError(status=400))
        order = OrderFactory()
        deliver()
        order.delete()
        assert tombstone().bronto_order_id == ""

    def test_kept_unless_told_otherwise(self, bronto: FakeBronto, django_assert_num_queries: Any) -> None:
        order = sent()
        with override_settings(BRONTO_ORDERS={"ACCOUNTS": {"default": {}}}), CaptureQueriesContext(connection) as kept:
            order.delete()
        assert not Tombstone.objects.exists()
        assert not [query for query in kept if "tombstone" in query["sql"] or "FOR UPDATE" in query["sql"]]


class TestWhenItMayStart:
    """Not before the last request about the order can no longer land: an add that does so later would bring it back."""

    def claimed(self) -> Order:
        (order,) = claims.claim("default", 1, bronto_settings.delivery, using="default")
        return order

    def test_at_once_when_all_was_answered_long_ago(self, bronto: FakeBronto) -> None:
        sent().delete()
        assert seconds_until(tombstone().due_at) < 0

    def test_after_an_answer_an_earlier_add_may_still_be_under_way(self, bronto: FakeBronto) -> None:
        OrderFactory()
        deliver()
        Order.objects.get().delete()
        assert 70 < seconds_until(tombstone().due_at) < 76

    def test_while_an_add_is_in_flight(self, bronto: FakeBronto) -> None:
        OrderFactory()
        self.claimed()
        Order.objects.get().delete()
        assert 100 < seconds_until(tombstone().due_at) < 106

    def test_while_an_update_is_in_flight(self, bronto: FakeBronto) -> None:
        sent().save()
        self.claimed()
        Order.objects.get().delete()
        assert 95 < seconds_until(tombstone().due_at) < 101

    def test_after_an_add_of_unknown_fate(self, bronto: FakeBronto) -> None:
        bronto.script.append(errors.DeadlineError())
        OrderFactory()
        deliver()
        assert Order.objects.get().presence == Presence.UNSURE
        Order.objects.get().delete()
        assert 70 < seconds_until(tombstone().due_at) < 76

    def test_after_an_update_of_unknown_fate(self, bronto: FakeBronto) -> None:
        sent().save()
        Order.objects.update(shipped=True)
        bronto.script.append(errors.DeadlineError())
        deliver()
        Order.objects.get().delete()
        assert 70 < seconds_until(tombstone().due_at) < 76

    def test_nothing_is_sent_before(self, bronto: FakeBronto) -> None:
        OrderFactory()
        deliver()
        Order.objects.get().delete()
        assert deliver() == {}
        assert "delete" not in bronto.operations


class TestWhatTheAnswerMeans:
    def answered(self, bronto: FakeBronto, error: errors.BrontoError) -> Tombstone:
        sent().delete()
        bronto.script.append(error)
        deliver()
        return tombstone()

    def test_an_outage_defers_and_counts_nothing(self, bronto: FakeBronto) -> None:
        waiting = self.answered(bronto, errors.NotSentError())
        assert waiting.attempts == 0
        assert waiting.due_at is not None
        assert waiting.done_at is None
        due()
        assert deliver() == {"deleted": 1}

    def test_no_answer_may_still_land(self, bronto: FakeBronto) -> None:
        waiting = self.answered(bronto, errors.DeadlineError())
        assert seconds_until(waiting.due_at) > 70
        assert "still land" in waiting.message
        due()
        assert deliver() == {"deleted": 1}
        assert tombstone().message == ""

    def test_a_refusal_waits_for_a_person(self, bronto: FakeBronto) -> None:
        refused = self.answered(bronto, errors.BadRequestError(status=400, reason="not now"))
        assert refused.due_at is None
        assert refused.done_at is None
        assert "not now" in refused.message
        assert deliver() == {}
        assert Tombstone.objects.all().retry() == 1
        assert deliver() == {"deleted": 1}

    def test_is_never_given_up(self, bronto: FakeBronto) -> None:
        AccountStatus.objects.update_or_create(pk="default", defaults={"last_success_at": timezone.now()})
        sent().delete()
        Tombstone.objects.update(attempts=bronto_settings.delivery.max_attempts + 5)
        bronto.script.append(errors.ServerError(status=500))
        deliver()
        assert tombstone().due_at is not None

    def test_pauses_and_holds_the_account_as_an_order_does(self, bronto: FakeBronto) -> None:
        self.answered(bronto, errors.RateLimitedError(status=429, retry_after=60))
        status = AccountStatus.objects.get()
        assert (status.held_reason, seconds_until(status.held_until) > 50) == ("throttled", True)
        Tombstone.objects.update(due_at=DbNow(-1))
        assert deliver() == {}

    def test_a_404_proves_nothing_by_itself(self, bronto: FakeBronto, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bronto, "search", lambda **_: (_ for _ in ()).throw(errors.NotFoundError(status=404)))
        waiting = self.answered(bronto, errors.NotFoundError(status=404))
        assert waiting.done_at is None
        assert AccountStatus.objects.get().held_reason == "configuration"

    def test_a_404_and_a_search_without_result_do(self, bronto: FakeBronto) -> None:
        sent().delete()
        bronto.orders.clear()
        bronto.script.append(errors.NotFoundError(status=404))
        assert deliver() == {"deleted": 1}

    def test_a_404_and_a_search_that_fails_mean_what_the_search_says(
        self, bronto: FakeBronto, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bronto, "search", lambda **_: (_ for _ in ()).throw(errors.NotSentError()))
        waiting = self.answered(bronto, errors.NotFoundError(status=404))
        assert waiting.due_at is not None
        assert AccountStatus.objects.get().held_reason == ""

    def test_refusals_do_not_hold_an_account_that_takes_orders(self, bronto: FakeBronto) -> None:
        for _ in range(4):
            sent()
        Order.objects.all().delete()
        bronto.always = errors.AuthenticationError(status=403)
        assert deliver() == {"deferred": 4}
        assert AccountStatus.objects.get().held_reason == ""
        bronto.always = None
        due()
        assert deliver() == {"deleted": 4}

    def test_one_that_came_back_by_another_road_is_gone_as_well(self, bronto: FakeBronto) -> None:
        """Bronto says 204 to an ID that it does not know."""
        sent().delete()
        for stored in bronto.orders.values():
            stored["orderId"] = "after-an-import"
        assert deliver() == {"deleted": 1}
        assert bronto.orders == {}

    def test_one_that_is_there_under_another_id_goes_by_its_number(self, bronto: FakeBronto) -> None:
        waiting = self.answered(bronto, errors.NotFoundError(status=404))
        assert waiting.bronto_order_id == ""
        assert waiting.done_at is None
        due()
        assert deliver() == {"deleted": 1}
        assert bronto.orders == {}

    def test_listeners_are_told_once_it_is_done(self, bronto: FakeBronto) -> None:
        heard: list[dict[str, Any]] = []

        def listen(sender: Any, *, signal: Any, **arguments: Any) -> None:
            heard.append(arguments)

        signals.order_deleted.connect(listen)
        try:
            self.answered(bronto, errors.NotSentError())
            assert heard == []
            due()
            deliver()
        finally:
            signals.order_deleted.disconnect(listen)
        number = tombstone().customer_order_id
        assert heard == [{"account": "default", "customer_order_id": number, "kind": "deleted", "using": "default"}]


class TestTurns:
    def test_live_orders_do_not_keep_deletions_waiting(self, bronto: FakeBronto) -> None:
        sent().delete()
        OrderFactory.create_batch(12)
        with override_settings(BRONTO_ORDERS={**DELETE, "DELIVERY": {"BATCH_SIZE": 1}}):
            deliver()
        # The first call was the add of the order that is deleted.
        assert bronto.operations[1:].index("delete") < 12

    def test_deletions_do_not_keep_live_orders_waiting(self, bronto: FakeBronto) -> None:
        for _ in range(12):
            sent()
        Order.objects.all().delete()
        OrderFactory()
        with override_settings(BRONTO_ORDERS={**DELETE, "DELIVERY": {"BATCH_SIZE": 1}}):
            deliver()
        assert bronto.operations[12:].index("add") < 12

    def test_the_sweep_wakes_workers_for_deletions_alone(self, bronto: FakeBronto, broker: Broker) -> None:
        sent().delete()
        broker.hints()
        assert engine.sweep() == ["default"]

    def test_a_run_for_certain_orders_leaves_deletions_alone(self, bronto: FakeBronto) -> None:
        sent().delete()
        assert engine.deliver("default", pks=[17]).counts == {}

    def test_what_is_not_sent_is_handed_back_uncounted(self, bronto: FakeBronto) -> None:
        sent().delete()
        told = iter([False])
        engine.deliver("default", stopping=lambda: next(told, True))
        assert tombstone().attempts == 0
        assert tombstone().lease_token is None
        assert deliver() == {"deleted": 1}

    def test_a_paused_account_deletes_nothing(self, bronto: FakeBronto) -> None:
        sent().delete()
        AccountStatus.objects.update_or_create(pk="default", defaults={"paused": True})
        assert deliver() == {}


class TestANumberThatComesBack:
    def test_waits_for_the_deletion(self, bronto: FakeBronto) -> None:
        number = sent().customer_order_id
        Order.objects.get().delete()
        bronto.script.append(errors.DeadlineError())
        deliver()
        OrderFactory(customer_order_id=number)
        assert deliver() == {"deferred": 1}
        waiting = Order.objects.get()
        assert (waiting.sync_state, waiting.sync_reason, waiting.attempts) == ("pending", "deletion", 0)
        due()
        assert deliver() == {"deleted": 1, "accepted": 1}
        assert list(bronto.orders) == [number]
        assert bronto.operations == ["add", "delete", "delete", "delete_by_customer_order_id", "add"]

    def test_a_refused_deletion_does_not_keep_it_waiting(self, bronto: FakeBronto) -> None:
        number = sent().customer_order_id
        Order.objects.get().delete()
        bronto.script.append(errors.BadRequestError(status=400))
        deliver()
        OrderFactory(customer_order_id=number)
        deliver_all()
        assert bronto.operations[-2:] == ["add", "update_by_customer_order_id"]

    def test_a_refused_deletion_is_not_tried_again_once_it_is_back(self, bronto: FakeBronto) -> None:
        number = sent().customer_order_id
        Order.objects.get().delete()
        bronto.script.append(errors.BadRequestError(status=400))
        deliver()
        OrderFactory(customer_order_id=number)
        deliver_all()
        assert Tombstone.objects.all().retry() == 0
        deliver_all()
        assert list(bronto.orders) == [number]
        erase_customer(Order.objects.get().email_address)
        Tombstone.objects.owed().update(due_at=None)
        assert Tombstone.objects.all().retry() == 1

    def test_may_be_deleted_again(self, bronto: FakeBronto) -> None:
        number = sent().customer_order_id
        Order.objects.get().delete()
        deliver()
        first = tombstone().done_at
        Tombstone.objects.update(created_at=DbNow(-3600))
        sent(customer_order_id=number).delete()
        assert tombstone().done_at is None
        assert seconds_until(tombstone().created_at) > -60
        assert deliver() == {"deleted": 1}
        assert tombstone().done_at != first

    def test_another_account_may_have_it(self, bronto: FakeBronto) -> None:
        number = sent().customer_order_id
        Order.objects.get().delete()
        OrderFactory(customer_order_id=number, account="eu")
        with override_settings(BRONTO_ORDERS={"ACCOUNTS": {"default": {}, "eu": {}}}):
            assert engine.deliver("eu").counts["accepted"] == 1


class TestTheLease:
    def claim(self) -> list[Tombstone]:
        return deletions.claim("default", 10, bronto_settings.delivery, using="default", probing=False)

    def test_one_worker_at_a_time(self, bronto: FakeBronto) -> None:
        sent().delete()
        assert len(self.claim()) == 1
        assert self.claim() == []

    def test_a_killed_worker_is_followed_by_another(self, bronto: FakeBronto) -> None:
        sent().delete()
        self.claim()
        assert deliver() == {}
        # Its lease outlives what it may have sent.
        assert seconds_until(tombstone().due_at) > 75
        due()
        assert deliver() == {"deleted": 1}

    def test_a_lost_lease_writes_nothing(self, bronto: FakeBronto) -> None:
        sent().delete()

        def be_overtaken() -> None:
            Tombstone.objects.update(lease_token="7255c31c39ac4611a2b7974b0ebfa555")
            connection.close()

        bronto.script.append(be_overtaken)
        deliver()
        assert tombstone().done_at is None


def test_done_ones_are_pruned_but_for_the_erased(bronto: FakeBronto) -> None:
    sent().delete()
    erased = sent()
    erase_customer(erased.email_address)
    deliver_all()
    retention.prune(days=0)
    assert [(row.customer_order_id, row.kind) for row in Tombstone.objects.all()] == [
        (erased.customer_order_id, Tombstone.Kind.ERASED)
    ]


def test_acknowledged_by_hand_is_sent_enough(bronto: FakeBronto) -> None:
    """Orders that came by ``loaddata`` have no attempts."""
    order = OrderFactory()
    acknowledge(order)
    order.delete()
    assert tombstone().bronto_order_id == "0ad24370-96de-4922-9a53-954530fcbb64"
    assert not SyncAttempt.objects.exists()
    assert not LineItem.objects.exists()
