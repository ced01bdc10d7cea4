"""Every way in which a shop writes orders and their items: what each marks, and whom it wakes."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models import F
from django.test import Client, override_settings
from django.utils import timezone

from bronto_orders import signals
from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import claims, engine
from bronto_orders.models import LineItem, Order, SyncAttempt, SyncState
from bronto_orders.models.deliverable import DELIVERY_COLUMNS, MARKS
from tests.admin.conftest import fields_of, url
from tests.conftest import Broker
from tests.factories import LineItemFactory, OrderFactory, acknowledge
from tests.fakes import FakeBronto

pytestmark = pytest.mark.django_db(transaction=True)

HINT = {"account": "default", "trigger": "signal", "using": "default"}
Write = Callable[[Order, Order], object]


class RolledBackError(Exception):
    pass


def conflicting(*names: str) -> dict[str, Any]:
    """Name the columns of a conflict, as each database wants it."""
    return {"update_conflicts": True} | ({} if connection.vendor == "mysql" else {"unique_fields": list(names)})


def twin(order: Order, **fields: Any) -> Order:
    """Return an order of the same number that is not saved."""
    return OrderFactory.build(customer_order_id=order.customer_order_id, **fields)


def save(instance: Any, *, columns: list[str] | None = None, **fields: Any) -> None:
    for name, value in fields.items():
        setattr(instance, name, value)
    instance.save(update_fields=columns)


def awaited(method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    async def wait() -> Any:
        return await method(*args, **kwargs)

    return async_to_sync(wait)()


def item(order: Order) -> LineItem:
    return order.line_items.all()[0]


def same(order: Order) -> Any:
    return Order.objects.filter(pk=order.pk)


def only(order: Order, *names: str) -> Order:
    return Order.objects.only(*names).get(pk=order.pk)


def copy(order: Order) -> Order:
    """Make the instance one of another order, as Django's documents say."""
    order.pk = None
    order._state.adding = True
    order.customer_order_id += ", copied"
    return order


def in_flight(order: Order) -> Order:
    """Return the order as a worker holds it. Its row is let alone."""
    order.sync_state, order.lease_token, order.lease_revision = SyncState.SENDING, uuid.uuid4(), order.revision
    order.due_at = timezone.now() + timedelta(seconds=100)
    return order


def deleted() -> Order:
    """Return an order that was synced, as somebody still has it who does not know that its row is gone."""
    order = OrderFactory()
    acknowledge(order)
    stale = Order.objects.get(pk=order.pk)
    Order.objects.filter(pk=order.pk).delete()
    return stale


def number(order: Order) -> dict[str, str]:
    return {"customer_order_id": order.customer_order_id}


#: Each marks its first order, once.
CHANGES: dict[str, Write] = {
    "save": lambda order, _: save(order, shipped=True),
    "save, update_fields": lambda order, _: save(order, shipped=True, columns=["shipped"]),
    "save, update_fields with delivery columns": lambda order, _: save(order, columns=["shipped", "sync_state"]),
    "save, F()": lambda order, _: save(order, grand_total=F("grand_total") + 1),
    "save, F(), update_fields": lambda order, _: save(order, tax_amount=F("tax_amount") * 2, columns=["tax_amount"]),
    "save, deferred": lambda order, _: save(only(order, "email_address"), email_address="new@example.com"),
    "save, made up in memory": lambda order, _: Order(pk=order.pk, **number(order)).save(),
    "asave": lambda order, _: awaited(order.asave),
    "asave, update_fields": lambda order, _: awaited(order.asave, update_fields=["shipped"]),
    "update": lambda order, _: same(order).update(shipped=True),
    "update, F()": lambda order, _: same(order).update(grand_total=F("grand_total") + 1),
    "update, with delivery columns": lambda order, _: same(order).update(shipped=True, synced_at=timezone.now()),
    "update, through a join": lambda order, _: Order.objects.filter(line_items__order=order).update(shipped=True),
    "update, by state": lambda order, _: same(order).filter(sync_state=SyncState.SYNCED).update(shipped=True),
    "update, base manager": lambda order, _: Order._base_manager.filter(pk=order.pk).update(shipped=True),
    "aupdate": lambda order, _: awaited(same(order).aupdate, shipped=True),
    "bulk_update": lambda order, _: Order.objects.bulk_update([order], ["shipped", "shipping_details"]),
    "bulk_update, all columns": lambda order, _: Order.objects.bulk_update([order], ["shipped", *DELIVERY_COLUMNS]),
    "abulk_update": lambda order, _: awaited(Order.objects.abulk_update, [order], ["shipped"]),
    "update_or_create": lambda order, _: Order.objects.update_or_create(**number(order), defaults={"shipped": True}),
    "aupdate_or_create": lambda order, _: awaited(
        Order.objects.aupdate_or_create, **number(order), defaults={"shipped": True}
    ),
    # Django writes the order's dates along.
    "update_or_create without values": lambda order, _: Order.objects.update_or_create(**number(order)),
    "bulk_create, conflict of numbers": lambda order, _: Order.objects.bulk_create(
        [twin(order), OrderFactory.build()], update_fields=["shipped"], **conflicting("account", "customer_order_id")
    ),
    "bulk_create, conflict of numbers, by position": lambda order, _: Order.objects.bulk_create(
        [twin(order)],
        *(None, False, True, ["shipped", "sync_state"]),
        conflicting("account", "customer_order_id").get("unique_fields"),
    ),
    "bulk_create, conflict of keys": lambda order, _: Order.objects.bulk_create(
        [OrderFactory.build(pk=order.pk)], update_fields=["shipped"], **conflicting("pk")
    ),
    "abulk_create, conflict": lambda order, _: awaited(
        Order.objects.abulk_create,
        [twin(order)],
        update_fields=["shipped"],
        **conflicting("account", "customer_order_id"),
    ),
    "mark_changed": lambda order, _: Order.objects.mark_changed(same(order)),
    "mark_changed of a queryset": lambda order, _: same(order).mark_changed(),
    "item: save": lambda order, _: save(item(order), quantity=2),
    "item: save, update_fields": lambda order, _: save(item(order), quantity=2, columns=["quantity"]),
    "item: save, F()": lambda order, _: save(item(order), quantity=F("quantity") + 1),
    "item: save, deferred": lambda order, _: save(order.line_items.only("sku")[0], sku="new"),
    "item: save of a new one": lambda order, _: LineItem(order=order, sku="new").save(),
    "item: asave": lambda order, _: awaited(item(order).asave),
    "item: create": lambda order, _: LineItem.objects.create(order=order),
    "item: acreate": lambda order, _: awaited(LineItem.objects.acreate, order=order),
    "item: get_or_create, created": lambda order, _: LineItem.objects.get_or_create(order=order, sku="new"),
    "item: update_or_create, found": lambda order, _: LineItem.objects.update_or_create(
        pk=item(order).pk, defaults={"quantity": 2}
    ),
    "item: update_or_create, created": lambda order, _: LineItem.objects.update_or_create(order=order, sku="new"),
    "item: bulk_create": lambda order, _: LineItem.objects.bulk_create(LineItemFactory.build_batch(2, order=order)),
    "item: bulk_create, ignoring conflicts": lambda order, _: LineItem.objects.bulk_create(
        [item(order), LineItem(order=order)], ignore_conflicts=True
    ),
    "item: bulk_create, conflict": lambda order, _: LineItem.objects.bulk_create(
        [item(order)], update_fields=["quantity"], **conflicting("pk")
    ),
    "item: abulk_create": lambda order, _: awaited(LineItem.objects.abulk_create, [LineItem(order=order)]),
    "item: bulk_update": lambda order, _: LineItem.objects.bulk_update(order.line_items.all(), ["quantity"]),
    "item: update": lambda order, _: LineItem.objects.filter(order=order).update(quantity=2),
    "item: update, F()": lambda order, _: LineItem.objects.filter(order=order).update(quantity=F("quantity") + 1),
    "item: aupdate": lambda order, _: awaited(LineItem.objects.filter(order=order).aupdate, quantity=2),
    "item: delete": lambda order, _: item(order).delete(),
    "item: adelete": lambda order, _: awaited(item(order).adelete),
    "item: delete of a queryset": lambda order, _: LineItem.objects.filter(order=order).delete(),
    "item: adelete of a queryset": lambda order, _: awaited(LineItem.objects.filter(order=order).adelete),
    "related: create": lambda order, _: order.line_items.create(sku="new"),
    "related: acreate": lambda order, _: awaited(order.line_items.acreate, sku="new"),
    "related: bulk_create": lambda order, _: order.line_items.bulk_create([LineItem(order=order, sku="new")]),
    "related: get_or_create, created": lambda order, _: order.line_items.get_or_create(sku="new"),
    "related: update_or_create, found": lambda order, _: order.line_items.update_or_create(
        sku=item(order).sku, defaults={"quantity": 2}
    ),
    "related: update": lambda order, _: order.line_items.update(quantity=2),
    "related: delete": lambda order, _: order.line_items.all().delete(),
    "related: add of its own": lambda order, _: order.line_items.add(item(order)),
    "related: add of a new one": lambda order, _: order.line_items.add(LineItem(sku="new"), bulk=False),
    "related: set of its own": lambda order, _: order.line_items.set(order.line_items.all()),
}
#: Each marks both orders, once.
MOVES: dict[str, Write] = {
    "both: bulk_update": lambda *orders: Order.objects.bulk_update(orders, ["shipped"], batch_size=1),
    "both: update": lambda *orders: Order.objects.filter(pk__in=[order.pk for order in orders]).update(shipped=True),
    "both: mark_changed": lambda *orders: Order.objects.mark_changed(),
    "both: update of items by state": lambda *orders: LineItem.objects.filter(order__sync_state="synced").update(sku=1),
    "both: delete of items by state": lambda *orders: LineItem.objects.filter(
        order__in=Order.objects.filter(due_at=None)
    ).delete(),
    "item moved by save": lambda order, other: save(item(order), order=other),
    "item moved by update": lambda order, other: order.line_items.update(order=other),
    "item moved by bulk_update": lambda order, other: LineItem.objects.bulk_update(
        [LineItem(pk=item(order).pk, order=other)], ["order"]
    ),
    "item moved by bulk_create": lambda order, other: LineItem.objects.bulk_create(
        [LineItem(pk=item(order).pk, order=other)], update_fields=["order"], **conflicting("pk")
    ),
    "related: add": lambda order, other: order.line_items.add(item(other)),
    "related: add, one by one": lambda order, other: order.line_items.add(item(other), bulk=False),
    "related: aadd": lambda order, other: awaited(order.line_items.aadd, item(other)),
    "related: set": lambda order, other: order.line_items.set([item(other)]),
}
#: None marks anything.
NOTHING: dict[str, Write] = {
    "save of delivery columns": lambda order, _: save(order, attempts=3, columns=["attempts", "sync_state"]),
    "save of no columns": lambda order, _: save(order, columns=[]),
    "save of an item's no columns": lambda order, _: save(item(order), columns=[]),
    "bulk_update of delivery columns": lambda order, _: Order.objects.bulk_update([order], ["attempts", "sync_state"]),
    "update of nothing": lambda order, _: Order.objects.filter(pk=0).update(shipped=True),
    "update of no items": lambda order, _: LineItem.objects.filter(pk=0).update(quantity=2),
    "delete of no items": lambda order, _: LineItem.objects.filter(pk=0).delete(),
    "bulk_create of nothing": lambda order, _: (Order.objects.bulk_create([]), LineItem.objects.bulk_create([])),
    "mark_changed of nothing": lambda order, _: Order.objects.mark_changed(Order.objects.none()),
    "get_or_create, found": lambda order, _: Order.objects.get_or_create(**number(order)),
    "item: get_or_create, found": lambda order, _: order.line_items.get_or_create(sku=item(order).sku),
    "related: set to nothing": lambda order, _: order.line_items.set([]),
    "related: set to nothing, cleared": lambda order, _: order.line_items.set([], clear=True),
    "an attempt": lambda order, _: SyncAttempt.objects.create(
        order=order, account="default", revision=1, started_at=timezone.now(), duration_ms=1
    ),
    "reading": lambda order, _: (order.refresh_from_db(), list(order.line_items.all())),
}
#: Each inserts one order.
BIRTHS: dict[str, Write] = {
    "save": lambda *_: OrderFactory.build().save(),
    "save, forced": lambda *_: OrderFactory.build().save(force_insert=True),
    "asave": lambda *_: awaited(OrderFactory.build().asave),
    "create": lambda *_: Order.objects.create(customer_order_id="new"),
    "acreate": lambda *_: awaited(Order.objects.acreate, customer_order_id="new"),
    "get_or_create": lambda *_: Order.objects.get_or_create(customer_order_id="new"),
    "update_or_create": lambda *_: Order.objects.update_or_create(customer_order_id="new", defaults={"shipped": True}),
    "bulk_create": lambda *_: Order.objects.bulk_create([OrderFactory.build()]),
    "bulk_create, ignoring conflicts": lambda order, _: Order.objects.bulk_create(
        [twin(order), OrderFactory.build()], ignore_conflicts=True
    ),
    "bulk_create, conflicts updated": lambda *_: Order.objects.bulk_create(
        [OrderFactory.build()], update_fields=["shipped"], **conflicting("account", "customer_order_id")
    ),
    "abulk_create": lambda *_: awaited(Order.objects.abulk_create, [OrderFactory.build()]),
    "copied": lambda order, _: copy(order).save(),
    "copied, forced": lambda order, _: copy(order).save(force_insert=True),
    "copied by bulk_create": lambda order, _: Order.objects.bulk_create([copy(order)]),
    "copied by bulk_create, ignoring conflicts": lambda order, _: Order.objects.bulk_create(
        [twin(order), copy(order)], ignore_conflicts=True
    ),
    "copied in flight": lambda order, _: copy(in_flight(order)).save(),
    "saved after deletion": lambda *_: deleted().save(),
    "created as synced": lambda *_: Order.objects.create(
        customer_order_id="new", sync_state=SyncState.SYNCED, due_at=None, acked_revision=1, presence="present"
    ),
}


#: What every order is born with, beside its ``due_at``, and its ``revision``, which a write in bulk may mark once more.
AT_BIRTH = {name: Order._meta.get_field(name).get_default() for name in DELIVERY_COLUMNS - {"due_at", "revision"}}


def table(**counts: int) -> list[Any]:
    rows = {"CHANGES": CHANGES, "MOVES": MOVES, "NOTHING": NOTHING}
    return [
        pytest.param(write, counts[name] > 0, counts[name] > 1, id=f"{name.lower()}: {what}")
        for name, writes in rows.items()
        for what, write in writes.items()
    ]


def acknowledged_orders(broker: Broker) -> list[int]:
    """Make two orders that are at rest."""
    with transaction.atomic():
        orders = OrderFactory.create_batch(2, items=2)
        for order in orders:
            acknowledge(order)
    broker.hints()
    return [order.pk for order in orders]


def columns(pk: int) -> dict[str, Any]:
    return Order.objects.values(*DELIVERY_COLUMNS).get(pk=pk)


def perform(write: Write, pks: list[int]) -> None:
    write(*(Order.objects.get(pk=pk) for pk in pks))


def marks(before: dict[str, Any], after: dict[str, Any]) -> int:
    """Return how often an order at rest was marked, and see that it was done properly."""
    if after == before:
        return 0
    assert (after["sync_state"], after["bulk"]) == (SyncState.PENDING, False)
    assert after["due_at"] <= timezone.now() + timedelta(seconds=5)
    unmarked = DELIVERY_COLUMNS - MARKS.keys() - {"synced_at"}
    assert {name: after[name] for name in unmarked} == {name: before[name] for name in unmarked}
    return after["revision"] - before["revision"]


def marked(before: list[dict[str, Any]], pks: list[int]) -> list[int]:
    """Return how often each order was marked."""
    return [marks(*pair) for pair in zip(before, map(columns, pks), strict=True)]


@pytest.mark.parametrize(("write", "first", "second"), table(CHANGES=1, MOVES=2, NOTHING=0))
def test_marks_what_it_changes_and_wakes_once(broker: Broker, write: Write, first: bool, second: bool) -> None:
    pks = acknowledged_orders(broker)
    before = [columns(pk) for pk in pks]
    with pytest.raises(RolledBackError), transaction.atomic():
        perform(write, pks)
        assert marked(before, pks) == [first, second]
        raise RolledBackError
    assert [columns(pk) for pk in pks] == before
    assert broker.hints() == []
    with transaction.atomic():
        perform(write, pks)
        assert broker.hints() == []
    assert marked(before, pks) == [first, second]
    assert broker.hints() == [HINT] * first

    pks = acknowledged_orders(broker)
    before = [columns(pk) for pk in pks]
    # By itself, in autocommit mode.
    perform(write, pks)
    assert marked(before, pks) == [first, second]
    assert broker.hints() == [HINT] * first


@pytest.mark.parametrize("write", BIRTHS.values(), ids=BIRTHS)
def test_new_orders_are_owed(broker: Broker, write: Write) -> None:
    pks = acknowledged_orders(broker)
    before = [columns(pk) for pk in pks]
    with pytest.raises(RolledBackError), transaction.atomic():
        perform(write, pks)
        raise RolledBackError
    assert (Order.objects.count(), broker.hints()) == (2, [])
    with transaction.atomic():
        perform(write, pks)
        assert broker.hints() == []
    new = Order.objects.due().get()
    born = columns(new.pk)
    assert {name: born[name] for name in AT_BIRTH} == AT_BIRTH
    assert [columns(pk) for pk in pks] == before
    assert broker.hints() == [HINT]


def test_a_copy_is_sent_and_shares_no_lease(bronto: FakeBronto) -> None:
    order = OrderFactory()
    (held,) = claims.claim("default", 1, bronto_settings.delivery, using="default")
    twin = copy(held)
    twin.save()
    assert (twin.sync_state, twin.lease_token, twin.attempts, twin.presence) == ("pending", None, 0, "absent")
    assert engine.deliver("default").counts == {"accepted": 1}
    assert bronto.orders.keys() == {twin.customer_order_id}
    assert Order.objects.get(pk=order.pk).sync_state == SyncState.SENDING


def test_bulk_is_the_shops_to_choose_at_birth() -> None:
    (loaded,) = Order.objects.bulk_create([OrderFactory.build(bulk=True)])
    saved = OrderFactory(bulk=True)
    assert all(columns(order.pk)["bulk"] for order in (loaded, saved))


def test_a_receiver_of_the_mark_that_fails_breaks_no_write(broker: Broker) -> None:
    told: list[str] = []

    def fail(using: str, **kwargs: Any) -> None:
        told.append(using)
        raise RuntimeError

    pks = acknowledged_orders(broker)
    writes: list[Write] = [
        lambda order, _: same(order).update(shipped=True),
        lambda order, _: same(order).mark_changed(),
        lambda order, _: item(order).save(),
        lambda order, _: order.line_items.update(quantity=2),
        lambda order, _: Order.objects.bulk_create([copy(order)]),
    ]
    before = columns(pks[0])
    signals.orders_marked.connect(fail)
    try:
        for write in writes:
            with transaction.atomic():
                perform(write, pks)
    finally:
        signals.orders_marked.disconnect(fail)
    assert told == ["default"] * len(writes)
    assert (marks(before, columns(pks[0])), Order.objects.count()) == (4, 3)


def test_items_cannot_be_taken_from_their_order() -> None:
    manager = OrderFactory().line_items
    assert not hasattr(manager, "remove")
    assert not hasattr(manager, "clear")


def test_deleted_orders_wake_nobody(broker: Broker) -> None:
    pks = acknowledged_orders(broker)
    before = columns(pks[1])
    Order.objects.get(pk=pks[0]).delete()
    assert (columns(pks[1]), LineItem.objects.count()) == (before, 2)
    Order.objects.all().delete()
    assert (LineItem.objects.count(), broker.hints()) == (0, [])


class TestTransactions:
    @override_settings(BRONTO_ORDERS={"ACCOUNTS": {"default": {}, "eu": {}, "us": {}}})
    def test_one_hint_for_each_account_whatever_is_written(self, broker: Broker) -> None:
        orders = [OrderFactory(items=1), OrderFactory(items=1, account="eu")]
        broker.hints()
        with transaction.atomic():
            for order in orders:
                order.save()
            Order.objects.update(shipped=True)
            LineItem.objects.update(quantity=2)
            for order in orders:
                item(order).save()
        assert sorted(hint["account"] for hint in broker.hints()) == ["default", "eu", "us"]

    @pytest.mark.parametrize("after", [True, False])
    @pytest.mark.parametrize("inside", [True, False])
    @pytest.mark.parametrize("before", [True, False])
    def test_part_of_it_rolled_back(self, broker: Broker, before: bool, inside: bool, after: bool) -> None:
        pk = acknowledged_orders(broker)[0]
        order, rest = Order.objects.get(pk=pk), columns(pk)
        with transaction.atomic():
            if before:
                order.save()
            with pytest.raises(RolledBackError), transaction.atomic():
                item(order).save()
                with transaction.atomic():
                    order.line_items.update(quantity=5)
                raise RolledBackError
            with transaction.atomic():
                if inside:
                    item(order).delete()
            if after:
                order.save()
            assert broker.hints() == []
        assert marks(rest, columns(pk)) == before + inside + after
        assert broker.hints() == [HINT] * (before or inside or after)

    def test_all_of_it_rolled_back_but_one_savepoint(self, broker: Broker) -> None:
        with pytest.raises(RolledBackError), transaction.atomic():
            with transaction.atomic():
                OrderFactory(items=1)
            raise RolledBackError
        assert (Order.objects.count(), broker.hints()) == (0, [])

    def test_an_error_in_a_bulk_write_leaves_nothing(self, broker: Broker) -> None:
        pk = acknowledged_orders(broker)[0]
        before = columns(pk)
        stolen = LineItem(order_id=pk, pk=LineItem.objects.exclude(order=pk)[0].pk)
        with pytest.raises(Exception, match=r"(?i)unique|duplicate"):
            LineItem.objects.bulk_create([LineItem(order_id=pk), stolen])
        assert (columns(pk), broker.hints()) == (before, [])

    def test_many_writers_lose_no_mark_and_come_to_no_deadlock(self) -> None:
        with transaction.atomic():
            pks = [OrderFactory(items=2).pk for _ in range(3)]
        writes: list[Callable[[int], object]] = [
            lambda pk: Order.objects.get(pk=pk).save(),
            lambda pk: LineItem.objects.update(quantity=F("quantity") + 1),
            lambda pk: LineItem.objects.filter(order=pk)[0].save(),
            lambda pk: LineItem.objects.create(order_id=pk),
        ]
        marks_of_each = 3 + 3 * len(pks)

        def work(write: Callable[[int], object]) -> None:
            try:
                for pk in pks * 3:
                    write(pk)
            finally:
                connection.close()

        with ThreadPoolExecutor(len(writes)) as pool:
            list(pool.map(work, writes))
        before = 1
        assert set(Order.objects.values_list("revision", flat=True)) == {before + 3 * 3 + marks_of_each - 3}


class TestAdmin:
    def test_inline_items(self, broker: Broker, admin_client: Client) -> None:
        pks = acknowledged_orders(broker)
        order, before = Order.objects.get(pk=pks[0]), [columns(pk) for pk in pks]
        changed = item(order)
        data = fields_of(admin_client.get(url("change", order)))
        data |= {"line_items-0-quantity": "2.5", "line_items-1-DELETE": "on", "line_items-TOTAL_FORMS": "3"}
        data |= {"line_items-2-position": "2", "line_items-2-quantity": "1", "line_items-2-sku": "new"}
        assert admin_client.post(url("change", order), data).status_code == 302
        assert list(order.line_items.values_list("sku", "quantity")) == [(changed.sku, Decimal("2.5")), ("new", 1)]
        # The order's form, and each of the three items.
        assert marked(before, pks) == [4, 0]
        assert broker.hints() == [HINT]

    def test_a_refused_form_marks_nothing(self, broker: Broker, admin_client: Client) -> None:
        pk = acknowledged_orders(broker)[0]
        order, before = Order.objects.get(pk=pk), columns(pk)
        data = fields_of(admin_client.get(url("change", order)))
        response = admin_client.post(url("change", order), {**data, "line_items-0-quantity": "many"})
        assert (response.status_code, columns(pk), broker.hints()) == (200, before, [])


class TestFixtures:
    def dump(self, path: Path) -> str:
        with path.open("w") as file:
            call_command("dumpdata", "bronto_orders.order", "bronto_orders.lineitem", stdout=file)
        return str(path)

    def test_over_what_is_there(self, broker: Broker, tmp_path: Path) -> None:
        pks = acknowledged_orders(broker)
        fixture = self.dump(tmp_path / "orders.json")
        before = [columns(pk) for pk in pks]
        call_command("loaddata", fixture, stdout=io.StringIO())
        assert marked(before, pks) == [3, 3]
        assert broker.hints() == []

    def test_into_an_empty_database(self, broker: Broker, tmp_path: Path) -> None:
        pks = acknowledged_orders(broker)
        fixture = self.dump(tmp_path / "orders.json")
        Order.objects.all().delete()
        call_command("loaddata", fixture, stdout=io.StringIO())
        assert {order.pk for order in Order.objects.due()} == set(pks)
        assert broker.hints() == []

    def test_items_alone(self, broker: Broker, tmp_path: Path) -> None:
        pk = acknowledged_orders(broker)[0]
        path = tmp_path / "items.json"
        path.write_text(f'[{{"model": "bronto_orders.lineitem", "fields": {{"order": {pk}, "sku": "new"}}}}]')
        before = columns(pk)
        call_command("loaddata", str(path), stdout=io.StringIO())
        assert marks(before, columns(pk)) == 1
        assert broker.hints() == []


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
class TestOtherDatabase:
    ELSEWHERE = {**HINT, "using": "other"}

    WRITES: dict[str, Callable[[Order], object]] = {
        "save": lambda order: order.save(),
        "save, using": lambda order: Order.objects.get(pk=order.pk).save(using="other"),
        "update": lambda order: Order.objects.using("other").update(shipped=True),
        "bulk_update": lambda order: Order.objects.using("other").bulk_update([order], ["shipped"]),
        "update_or_create": lambda order: Order.objects.using("other").update_or_create(
            **number(order), defaults={"shipped": True}
        ),
        "bulk_create": lambda order: Order.objects.using("other").bulk_create(
            [twin(order)],
            update_conflicts=True,
            update_fields=["shipped"],
            unique_fields=["account", "customer_order_id"],
        ),
        "mark_changed": lambda order: Order.objects.using("other").mark_changed(),
        "item: save": lambda order: item(order).save(),
        "item: save, using": lambda order: LineItem(order_id=order.pk).save(using="other"),
        "item: delete": lambda order: item(order).delete(),
        "item: update": lambda order: LineItem.objects.using("other").update(quantity=2),
        "item: delete of a queryset": lambda order: LineItem.objects.using("other").filter(order=order).delete(),
        "item: bulk_create": lambda order: LineItem.objects.using("other").bulk_create([LineItem(order=order)]),
        "related: create": lambda order: order.line_items.create(),
        "related: delete": lambda order: order.line_items.all().delete(),
    }

    @pytest.fixture
    def orders(self, broker: Broker) -> list[Order]:
        """The same order in both databases, at rest."""
        orders = []
        for using in ("default", "other"):
            order = OrderFactory.build(pk=7, customer_order_id="7")
            order.save(using=using)
            LineItem.objects.using(using).create(order=order, sku="1")
            acknowledge(order, using=using)
            orders.append(Order.objects.using(using).get(pk=7))
        broker.hints()
        return orders

    def standing(self, using: str) -> dict[str, Any]:
        return Order.objects.using(using).values(*DELIVERY_COLUMNS).get(pk=7)

    @pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
    def test_marks_and_wakes_there(self, broker: Broker, orders: list[Order], write: Callable[[Order], object]) -> None:
        here, there = self.standing("default"), self.standing("other")
        with pytest.raises(RolledBackError), transaction.atomic(using="other"):
            write(orders[1])
            raise RolledBackError
        assert (self.standing("other"), broker.hints()) == (there, [])
        with transaction.atomic(using="other"):
            write(Order.objects.using("other").get(pk=7))
            assert broker.hints() == []
        assert (marks(here, self.standing("default")), marks(there, self.standing("other"))) == (0, 1)
        assert broker.hints() == [self.ELSEWHERE]

    def test_each_transaction_wakes_for_itself(self, broker: Broker, orders: list[Order]) -> None:
        with transaction.atomic():
            with transaction.atomic(using="other"):
                for order in orders * 2:
                    order.save()
            assert broker.hints() == [self.ELSEWHERE]
        assert broker.hints() == [HINT]

    def test_an_order_inserted_there_hides_no_change_here(self, broker: Broker, orders: list[Order]) -> None:
        orders[1].delete()
        before = self.standing("default")
        with transaction.atomic(), transaction.atomic(using="other"):
            OrderFactory.build(pk=7).save(using="other")
            item(orders[0]).save()
        assert marks(before, self.standing("default")) == 1
