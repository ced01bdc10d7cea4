"""A customer is erased: here at once, at Bronto by the engine, and for good, whoever brings the orders back."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from threading import Thread
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, connection, models
from django.test import override_settings

from bronto_orders import exceptions as errors
from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import claims, engine, erasure, explain, personal, tombstones
from bronto_orders.delivery.erasure import Outstanding, erase_customer, outstanding
from bronto_orders.delivery.resync import Options, plan
from bronto_orders.models import DbNow, LineItem, Order, SyncAttempt, SyncState, Tombstone
from bronto_orders.models.deliverable import DELIVERY_COLUMNS
from bronto_orders.testing import deliver_all
from tests.delivery.contents import everything
from tests.factories import LineItemFactory, OrderFactory
from tests.fakes import FakeBronto

pytestmark = pytest.mark.django_db(transaction=True)

EMAIL = "jane.roe@example.com"
#: What a customer's orders hold in these tests, each of it to be found nowhere afterwards.
PERSONAL: dict[str, Any] = {
    "email_address": EMAIL,
    "contact_id": "contact-of-jane",
    "origin_ip": "203.0.113.77",
    "origin_user_agent": "Janes Browser/1.0",
    "tid": "tid-of-jane",
    "tracking_cookie_name": "tid_jane",
    "tracking_cookie_value": "cookie-of-jane",
    "message_id": "message-to-jane",
    "delivery_id": "delivery-to-jane",
    "cart_id": "7255c31c-39ac-4611-a2b7-974b0ebfa555",
    "shipping_details": "To Jane, second floor",
    "shipping_tracking_url": "https://parcels.example.com/jane",
    "attribution_source": "janes_click",
    "attribution_seen_at": "2024-02-03 04:05:06+00:00",
    "attribution_note": "what_jane_said",
}
#: Columns of an order that stay: what accounting and statistics need, and none of it leads to a person.
KEPT = {
    "id", "account", "customer_order_id", "order_date", "currency", "grand_total", "subtotal", "discount_amount",
    "tax_amount", "shipping_amount", "shipping_date", "order_source", "processed", "shipped",
}  # fmt: skip


def of_jane(**columns: Any) -> Order:
    order: Order = OrderFactory(**{**PERSONAL, **columns})
    LineItemFactory(order=order, description="Engraved: Jane Roe", other="jane's birthday")
    return order


def assert_nothing_personal_is_left() -> None:
    left = everything()
    for value in [*PERSONAL.values(), PERSONAL["cart_id"].replace("-", ""), "2024-02-03", "jane"]:
        assert value.lower() not in left


def seconds_pass() -> None:
    Order.objects.filter(due_at__isnull=False, lease_token=None).update(due_at=DbNow(-1), settle_until=None)
    Tombstone.objects.owed().update(due_at=DbNow(-1))


class TestHere:
    def test_every_column_is_emptied_or_kept_for_a_reason(self) -> None:
        columns = {field.name for field in Order._meta.local_concrete_fields} - DELIVERY_COLUMNS
        emptied = {*personal.COLUMNS, *personal.TRACES}
        assert emptied | KEPT == columns
        assert not emptied & KEPT
        assert emptied == set(PERSONAL)

    def test_nothing_personal_is_left(self, bronto: FakeBronto) -> None:
        bronto.script.append(errors.BadRequestError(status=400, reason="Dear Jane, no"))
        order = of_jane()
        engine.deliver("default")
        order.save()
        engine.deliver("default")
        assert "jane" in everything()
        assert "2024-02-03" in everything()
        assert erase_customer(EMAIL).accounts == {"default": 1}
        assert_nothing_personal_is_left()
        order.refresh_from_db()
        assert (order.sync_state, order.sync_reason, order.due_at) == ("skipped", "erased", None)
        assert (order.grand_total, order.currency) == (OrderFactory.grand_total, "USD")
        assert "Never sent again" in explain.describe(order)

    def test_nobody_elses_orders_are_touched(self, bronto: FakeBronto) -> None:
        of_jane()
        other = OrderFactory(email_address="jane.roe@example.com.invalid")
        engine.deliver("default")
        before = Order.objects.filter(pk=other.pk).values().get()
        erase_customer(EMAIL)
        assert Order.objects.filter(pk=other.pk).values().get() == before

    @pytest.mark.parametrize("written", [" jane.roe@example.com ", "JANE.ROE@Example.COM"])
    def test_however_it_is_written(self, written: str, bronto: FakeBronto) -> None:
        of_jane()
        assert erase_customer(written).orders == 1
        of_jane(email_address=written)
        assert erase_customer(EMAIL).orders == 1

    def test_one_account_only(self, bronto: FakeBronto) -> None:
        of_jane()
        of_jane(account="eu")
        assert erase_customer(EMAIL, account="eu").accounts == {"eu": 1}
        assert erase_customer(EMAIL).accounts == {"default": 1}

    @pytest.mark.parametrize("empty", ["", "  "])
    def test_never_all_orders_without_an_address(self, empty: str) -> None:
        OrderFactory(email_address="")
        with pytest.raises(ValueError, match="must be given"):
            erase_customer(empty)

    def test_marks_nothing(self, bronto: FakeBronto) -> None:
        of_jane()
        engine.deliver("default")
        before = Order.objects.get().revision
        erase_customer(EMAIL)
        assert Order.objects.get().revision == before
        assert not Order.objects.owed().exists()

    def test_goes_on_after_a_crash(self, bronto: FakeBronto, monkeypatch: pytest.MonkeyPatch) -> None:
        for _ in range(3):
            of_jane()
        engine.deliver("default")
        scrub = personal.scrub

        def crash(orders: Any, pk: int, **columns: Any) -> bool:
            if pk == sorted(Order.objects.values_list("pk", flat=True))[1]:
                raise KeyboardInterrupt
            return scrub(orders, pk, **columns)

        monkeypatch.setattr(personal, "scrub", crash)
        with pytest.raises(KeyboardInterrupt):
            erase_customer(EMAIL)
        assert Tombstone.objects.count() == 1
        monkeypatch.undo()
        assert erase_customer(EMAIL).orders == 2
        assert erase_customer(EMAIL).orders == 0
        assert_nothing_personal_is_left()

    def test_an_order_that_becomes_somebody_elses_meanwhile(
        self, bronto: FakeBronto, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        order = of_jane()
        orders_of, calls = erasure.orders_of, []

        def and_then_change(*args: Any, **kwargs: Any) -> Any:
            calls.append(args)
            if len(calls) == 2:
                Order.objects.filter(pk=order.pk).update(email_address="john@example.com")
            return orders_of(*args, **kwargs)

        monkeypatch.setattr(erasure, "orders_of", and_then_change)
        assert erase_customer(EMAIL).orders == 0
        assert Order.objects.get().email_address == "john@example.com"

    @pytest.mark.skipif(connection.vendor != "sqlite", reason="other databases keep such numbers out")
    def test_a_row_that_cannot_be_read(self) -> None:
        of_jane()
        with connection.cursor() as cursor:
            cursor.execute("UPDATE bronto_orders_order SET grand_total = 1e300")
        assert erase_customer(EMAIL).orders == 1
        assert "jane" not in everything()


class TestAtBronto:
    def test_is_deleted(self, bronto: FakeBronto) -> None:
        of_jane()
        other = OrderFactory()
        engine.deliver("default")
        erase_customer(EMAIL, trigger="desk")
        assert Tombstone.objects.get().trigger == "desk"
        assert outstanding() == Outstanding(owed=1, refused=0)
        deliver_all()
        assert list(bronto.orders) == [other.customer_order_id]
        assert outstanding() == Outstanding(owed=0, refused=0)

    def test_also_one_that_was_not_sent_from_this_row(self, bronto: FakeBronto) -> None:
        """The row may have been deleted and brought back, with Bronto's copy kept."""
        number = of_jane().customer_order_id
        engine.deliver("default")
        Order.objects.all().delete()
        of_jane(customer_order_id=number)
        erase_customer(EMAIL)
        deliver_all()
        assert bronto.orders == {}

    def test_one_whose_push_is_in_flight(self, bronto: FakeBronto) -> None:
        def erase() -> None:
            erase_customer(EMAIL)
            connection.close()

        of_jane()
        bronto.script.append(erase)
        engine.deliver("default")
        # The worker has lost its lease; what it writes down brings nothing back.
        assert len(bronto.orders) == 1
        seconds_pass()
        engine.deliver("default")
        assert_nothing_personal_is_left()
        assert bronto.orders == {}
        assert bronto.operations == ["add", "delete_by_customer_order_id"]
        assert SyncAttempt.objects.get().outcome == "lease_lost"

    def test_a_deletion_by_the_shop_becomes_an_erasure(self, bronto: FakeBronto) -> None:
        number = of_jane().customer_order_id
        engine.deliver("default")
        with override_settings(BRONTO_ORDERS={"ACCOUNTS": {"default": {}}, "PRIVACY": {"ON_DELETE": "delete"}}):
            Order.objects.get().delete()
            of_jane(customer_order_id=number)
            erase_customer(EMAIL)
            Order.objects.get().delete()
        assert Tombstone.objects.get().kind == "erased"
        deliver_all()
        of_jane(customer_order_id=number)
        deliver_all()
        assert bronto.orders == {}

    def test_an_erased_order_that_is_deleted_stays_erased(self, bronto: FakeBronto) -> None:
        of_jane()
        engine.deliver("default")
        erase_customer(EMAIL)
        deliver_all()
        before = Tombstone.objects.values().get()
        with override_settings(BRONTO_ORDERS={"ACCOUNTS": {"default": {}}, "PRIVACY": {"ON_DELETE": "delete"}}):
            Order.objects.get().delete()
        assert Tombstone.objects.values().get() == before

    def test_a_resync_says_that_it_cannot_be_sent(self, bronto: FakeBronto) -> None:
        of_jane()
        erase_customer(EMAIL)
        planned = plan(Order.objects.all(), Options())
        assert (planned.changed, planned.invalid) == (0, {"erased": 1})


def save() -> None:
    order = Order.objects.get()
    order.email_address = EMAIL
    order.origin_ip = PERSONAL["origin_ip"]
    order.save()


def update() -> None:
    Order.objects.update(**PERSONAL)


def update_or_create() -> None:
    number = Order.objects.get().customer_order_id
    order, created = Order.objects.update_or_create(
        account="default", customer_order_id=number, defaults={**PERSONAL, "grand_total": 7}
    )
    assert not created
    LineItem.objects.create(order=order, name="Mug", description="Engraved: Jane Roe")


def insert_anew() -> None:
    number = Order.objects.get().customer_order_id
    Order.objects.all().delete()
    of_jane(customer_order_id=number)


def load_in_bulk() -> None:
    number = Order.objects.get().customer_order_id
    Order.objects.all().delete()
    Order.objects.bulk_create([Order(customer_order_id=number, bulk=True, **PERSONAL)])


def resync() -> None:
    Order.objects.scrub(**PERSONAL)
    Order.objects.all().resync(options={}, force=True)


def mark() -> None:
    Order.objects.scrub(**PERSONAL)
    Order.objects.all().mark_changed()


def save_and_ignore() -> None:
    save()
    Order.objects.all().ignore("Nobody wants it.")


@pytest.mark.parametrize(
    "back", [save, update, update_or_create, insert_anew, load_in_bulk, resync, mark, save_and_ignore]
)
def test_whoever_brings_it_back(back: Callable[[], None], bronto: FakeBronto) -> None:
    of_jane()
    engine.deliver("default")
    erase_customer(EMAIL)
    deliver_all()
    back()
    assert "jane" in everything()
    for _ in range(2):
        deliver_all()
        assert_nothing_personal_is_left()
        assert bronto.orders == {}
        assert (Order.objects.get().sync_state, Order.objects.get().sync_reason) == (SyncState.SKIPPED, "erased")
    assert bronto.operations == ["add", "delete", "delete_by_customer_order_id"]


def test_a_change_within_the_claim_is_emptied_too(bronto: FakeBronto, monkeypatch: pytest.MonkeyPatch) -> None:
    of_jane()
    engine.deliver("default")
    erase_customer(EMAIL)
    deliver_all()
    save()
    claim = claims.claim

    def and_then_save(*args: Any, **kwargs: Any) -> Any:
        claimed = claim(*args, **kwargs)
        if claimed:
            monkeypatch.undo()
            save()
        return claimed

    monkeypatch.setattr(claims, "claim", and_then_save)
    engine.deliver("default")
    assert_nothing_personal_is_left()
    assert not Order.objects.owed().exists()


def test_a_claim_asks_once_for_all_orders(bronto: FakeBronto, django_assert_num_queries: Any) -> None:
    OrderFactory.create_batch(5)
    queries = 6 if connection.vendor != "sqlite" else 4
    with django_assert_num_queries(queries):
        claims.claim("default", 10, bronto_settings.delivery, using="default")


def test_personal_text_columns_of_items_are_known() -> None:
    texts = {field.name for field in LineItem._meta.fields if isinstance(field, models.TextField)}
    assert texts == set(personal.ITEM_TRACES)


def test_beside_workers_saves_and_an_import(bronto: FakeBronto, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever order they come in, nothing of the customer's is left, and all of the others' is there."""
    monkeypatch.setattr(tombstones, "_when_all_has_landed", lambda *_: DbNow())
    bronto.always = lambda: time.sleep(0.01)
    mine = [of_jane().customer_order_id for _ in range(12)]
    others = sorted(order.customer_order_id for order in OrderFactory.create_batch(12))
    ends_at = time.monotonic() + 2
    failed: list[BaseException] = []

    def again(step: Callable[[int], object]) -> Callable[[], None]:
        def run() -> None:
            try:
                for turn in count():
                    if time.monotonic() > ends_at:
                        return
                    step(turn)
            except BaseException as error:
                failed.append(error)
                raise
            finally:
                connection.close()

        return run

    def bring_back(turn: int) -> None:
        number = mine[turn % len(mine)]
        if turn % 3 == 0:
            # While a worker writes down what became of it, a database may refuse that.
            with suppress(OperationalError, IntegrityError):
                Order.objects.filter(customer_order_id=number).delete()
        Order.objects.update_or_create(account="default", customer_order_id=number, defaults=PERSONAL)

    steps: list[Callable[[int], object]] = [
        lambda _: engine.deliver("default"),
        lambda _: engine.deliver("default"),
        bring_back,
        lambda _: Order.objects.filter(customer_order_id__in=others).update(shipped=True),
        lambda _: erase_customer(EMAIL),
    ]
    threads = [Thread(target=again(step)) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    bronto.always = None
    erase_customer(EMAIL)
    deliver_all()
    assert_nothing_personal_is_left()
    assert sorted(bronto.orders) == others
    assert outstanding() == Outstanding(owed=0, refused=0)
