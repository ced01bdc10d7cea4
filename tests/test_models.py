from __future__ import annotations

import uuid
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction
from django.db.models import F
from django.db.models.signals import pre_save
from django.utils import timezone

from bronto_orders.models import DbNow, LineItem, Order, SyncState
from bronto_orders.models.deliverable import DELIVERY_COLUMNS, MARKS
from tests.factories import LineItemFactory, OrderFactory, acknowledge

pytestmark = pytest.mark.django_db


def delivery_columns(order: Order) -> dict[str, Any]:
    return Order.objects.values(*DELIVERY_COLUMNS).get(pk=order.pk)


@pytest.fixture
def synced() -> Order:
    order = OrderFactory(items=2)
    acknowledge(order)
    return Order.objects.get(pk=order.pk)


class TestBirth:
    def test_a_new_order_is_owed(self) -> None:
        order = OrderFactory()
        assert (order.sync_state, order.revision, order.acked_revision) == (SyncState.PENDING, 1, 0)
        assert abs(order.due_at - timezone.now()) < timedelta(seconds=60)
        assert Order.objects.due().get() == order

    def test_creating_an_order_with_items_costs_one_insert_each(self, django_assert_num_queries: Any) -> None:
        with transaction.atomic(), django_assert_num_queries(4) as queries:
            OrderFactory(items=3)
        assert all(query["sql"].startswith("INSERT") for query in queries)

    def test_number_is_unique_in_an_account(self) -> None:
        OrderFactory(customer_order_id="1")
        OrderFactory(customer_order_id="1", account="other")
        with pytest.raises(IntegrityError), transaction.atomic():
            OrderFactory(customer_order_id="1")

    def test_number_is_not_empty(self) -> None:
        with pytest.raises(IntegrityError), transaction.atomic():
            OrderFactory(customer_order_id="")

    def test_status_follows_processed(self) -> None:
        assert Order(processed=True).status == "PROCESSED"
        assert Order(processed=False).status == "PENDING"


class TestMarking:
    def test_save_marks_in_the_same_statement(self, synced: Order, django_assert_num_queries: Any) -> None:
        synced.grand_total = Decimal(5)
        with django_assert_num_queries(1):
            synced.save()
        row = delivery_columns(synced)
        assert (row["sync_state"], row["revision"], row["acked_revision"]) == (SyncState.PENDING, 2, 1)
        assert row["due_at"] is not None

    def test_a_stale_instance_changes_no_delivery_column(self) -> None:
        order = OrderFactory()
        stale = Order.objects.get(pk=order.pk)
        acknowledge(order)
        before = delivery_columns(order)
        stale.shipping_details = "by pigeon"
        stale.save()
        after = delivery_columns(order)
        unmarked = DELIVERY_COLUMNS - MARKS.keys()
        assert {name: after[name] for name in unmarked} == {name: before[name] for name in unmarked}
        assert (after["sync_state"], after["revision"]) == (SyncState.PENDING, before["revision"] + 1)
        assert Order.objects.get(pk=order.pk).shipping_details == "by pigeon"

    def test_assigned_delivery_columns_are_not_saved(self, synced: Order) -> None:
        before = delivery_columns(synced)
        synced.bronto_order_id = "forged"
        synced.last_sent = None
        synced.acked_revision = 0
        synced.save()
        after = delivery_columns(synced)
        assert after["bronto_order_id"] == before["bronto_order_id"]
        assert after["last_sent"] == before["last_sent"]
        assert after["acked_revision"] == 1

    def test_update_fields_of_delivery_columns_alone_write_nothing(
        self, synced: Order, django_assert_num_queries: Any
    ) -> None:
        before = delivery_columns(synced)
        with django_assert_num_queries(0):
            synced.save(update_fields=["sync_state", "last_sent", "resync_run", "resync_run_id"])
        assert delivery_columns(synced) == before

    def test_f_expression(self, synced: Order) -> None:
        synced.grand_total = F("grand_total") + 1
        synced.save()
        assert delivery_columns(synced)["revision"] == 2
        assert Order.objects.get(pk=synced.pk).grand_total == Decimal("5.27")

    def test_queryset_update_of_delivery_columns_marks_nothing(self, synced: Order) -> None:
        Order.objects.filter(pk=synced.pk).update(flips=1)
        assert delivery_columns(synced)["sync_state"] == SyncState.SYNCED

    def test_bulk_writes_of_all_fields_leave_the_delivery_columns_alone(self, synced: Order) -> None:
        names = [field.name for field in Order._meta.concrete_fields if not field.primary_key]
        stale = Order.objects.get(pk=synced.pk)
        Order.objects.filter(pk=synced.pk).update(bronto_order_id="newer")
        stale.shipped = True
        Order.objects.bulk_update([stale], names)
        row = delivery_columns(synced)
        assert (row["sync_state"], row["bronto_order_id"]) == (SyncState.PENDING, "newer")

    def test_a_mark_moves_neither_lease_nor_backoff(self, synced: Order) -> None:
        later = timezone.now() + timedelta(seconds=60)
        for lease in (
            {"sync_state": "sending", "lease_token": uuid.uuid4(), "lease_revision": 1},
            {"sync_state": "pending"},
        ):
            Order.objects.filter(pk=synced.pk).update(due_at=later, attempts=3, **lease)
            synced.save()
            row = delivery_columns(synced)
            assert (row["due_at"], row["attempts"], row["sync_state"]) == (later, 3, lease["sync_state"])
            Order.objects.filter(pk=synced.pk).update(lease_token=None, lease_revision=None)

    @pytest.mark.parametrize("state", [SyncState.REJECTED, SyncState.SKIPPED])
    def test_a_parked_order_begins_afresh(self, synced: Order, state: SyncState) -> None:
        Order.objects.filter(pk=synced.pk).update(
            sync_state=state, sync_reason="refused", sync_message="no", attempts=8, flips=2
        )
        synced.save()
        row = delivery_columns(synced)
        assert (row["sync_state"], row["sync_reason"], row["sync_message"]) == (SyncState.PENDING, "", "")
        assert (row["attempts"], row["flips"]) == (0, 0)
        assert row["due_at"] is not None


class TestLineItems:
    def assert_marked(self, order: Order, revision: int = 2) -> None:
        row = delivery_columns(order)
        assert (row["sync_state"], row["revision"]) == (SyncState.PENDING, revision)

    def test_a_created_item_that_moves_marks_both(self, synced: Order) -> None:
        other = OrderFactory()
        item = LineItemFactory(order=other)
        acknowledge(other)
        acknowledge(synced)
        item.order = synced
        item.save()
        assert {delivery_columns(order)["sync_state"] for order in (synced, other)} == {SyncState.PENDING}

    def test_items_may_be_chosen_by_what_a_mark_changes(self, synced: Order) -> None:
        assert LineItem.objects.filter(order__sync_state="synced").update(sku="new") == 2
        assert set(synced.line_items.values_list("sku", flat=True)) == {"new"}
        self.assert_marked(synced)
        acknowledge(synced)
        items = LineItem.objects.filter(order__in=Order.objects.filter(due_at=None))
        assert items.delete() == (2, {"bronto_orders.LineItem": 2})
        self.assert_marked(synced, revision=3)

    def test_order_id_as_text(self, synced: Order) -> None:
        LineItem(order_id=str(synced.pk), sku="text").save()
        self.assert_marked(synced)

    def test_a_refusal_that_the_shop_catches_does_not_spoil_its_transaction(self, synced: Order) -> None:
        def refuse(**kwargs: Any) -> None:
            raise ValidationError("no")

        item = synced.line_items.first()
        pre_save.connect(refuse, sender=LineItem)
        try:
            with transaction.atomic():
                with pytest.raises(ValidationError):
                    item.save()
                assert Order.objects.exists()
        finally:
            pre_save.disconnect(refuse, sender=LineItem)

    def test_deleting_the_order_deletes_its_items(self, synced: Order) -> None:
        synced.delete()
        assert not LineItem.objects.exists()

    def test_positions_sort_then_keys(self) -> None:
        order = OrderFactory()
        second, first, third = (LineItemFactory(order=order, position=n) for n in (1, 0, 1))
        assert list(order.line_items.all()) == [first, second, third]

    def test_an_item_added_after_delivery_in_the_same_transaction_marks(self) -> None:
        order = OrderFactory()
        acknowledge(order)
        LineItemFactory(order=order)
        self.assert_marked(order)


@pytest.mark.django_db(transaction=True)
class TestTransactions:
    def test_order_of_a_rolled_back_savepoint_is_forgotten(self) -> None:
        with transaction.atomic():
            with pytest.raises(ValueError, match="no"), transaction.atomic():
                lost = OrderFactory()
                raise ValueError("no")
            order = OrderFactory(pk=lost.pk)
            acknowledge(order)
            LineItemFactory(order=order)
        assert delivery_columns(order)["sync_state"] == SyncState.PENDING


class TestConstraints:
    @pytest.mark.parametrize(
        "columns",
        [
            {"sync_state": "pending", "due_at": None},
            {"sync_state": "sending", "due_at": None},
            {"sync_state": "unheard of"},
            {"acked_revision": 7},
            {"acked_revision": -1},
            {"lease_revision": 1},
            {"lease_token": uuid.UUID(int=1)},
        ],
        ids=str,
    )
    def test_the_database_refuses(self, synced: Order, columns: dict[str, Any]) -> None:
        with pytest.raises(IntegrityError), transaction.atomic():
            Order.objects.filter(pk=synced.pk).update(**columns)


class TestDbNow:
    def test_is_the_time_in_utc(self) -> None:
        now = Order.objects.filter(pk=OrderFactory().pk).values_list(DbNow(), DbNow(90), DbNow(-0.5)).get()
        assert abs(now[0] - timezone.now()) < timedelta(seconds=5)
        assert timedelta(seconds=89.9) < now[1] - now[0] < timedelta(seconds=90.1)
        assert timedelta(seconds=0.4) < now[0] - now[2] < timedelta(seconds=0.6)

    def test_due_at_compares_with_what_django_writes(self) -> None:
        order = OrderFactory()
        for seconds, due in ((-1, True), (60, False)):
            Order.objects.filter(pk=order.pk).update(due_at=timezone.now() + timedelta(seconds=seconds))
            assert Order.objects.due().exists() is due


def test_engine_columns_migrate_as_plain_fields() -> None:
    for name in DELIVERY_COLUMNS:
        path = Order._meta.get_field(name).deconstruct()[1]
        assert getattr(models, path.rsplit(".", 1)[1])


def test_settling_orders_are_not_due(db: None) -> None:
    order = OrderFactory()
    Order.objects.filter(pk=order.pk).update(settle_until=DbNow(60))
    assert not Order.objects.due().exists()
    Order.objects.filter(pk=order.pk).update(settle_until=DbNow(-1))
    assert Order.objects.due().exists()
