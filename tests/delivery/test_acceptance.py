"""Taking Bronto's state as it is, with the real engine, client and sandbox."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from bronto_orders import diffing, equality, payloads, wire
from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import acceptance, claims, engine, remote
from bronto_orders.delivery.acceptance import NotAcceptedError, accept, as_sent, may_be_accepted
from bronto_orders.delivery.clients import client_for
from bronto_orders.delivery.comparison import Comparison, compare, sentence
from bronto_orders.models import DbNow, LineItem, Order
from bronto_orders.testing import Sandbox
from tests import transitions
from tests.factories import LineItemFactory, OrderFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sandbox(bronto_sandbox_mounted: Sandbox, settings: Any) -> Sandbox:
    settings.BRONTO_ORDERS = {"ACCOUNTS": {"default": bronto_sandbox_mounted.account}}
    return bronto_sandbox_mounted


@pytest.fixture
def order(sandbox: Sandbox) -> Order:
    """An order that Bronto has, but for what somebody has changed there since."""
    OrderFactory(customer_order_id="abc-1", items=2, shipping_details="Left at the door")
    assert deliver() == {"accepted": 1}
    at_bronto(currency="EUR", shippingDetails=None, shippingTrackingUrl="https://example.com/", lineItems=[MUG])
    return fresh()


MUG = {"sku": "mug", "name": "Another mug", "quantity": 3}
FIRST = {"shippingDetails": "Left at the door", "currency": "USD", "shippingTrackingUrl": None}


def fresh() -> Order:
    return Order.objects.get()


def deliver() -> dict[str, int]:
    return engine.deliver("default").counts


def at_bronto(**changes: Any) -> None:
    """Change the order at Bronto, as somebody there does."""
    client = client_for(bronto_settings.account("default"))
    client.update(fresh().bronto_order_id, changes)


def here(sandbox: Sandbox) -> dict[str, Any]:
    """What Bronto has, of what the tests change there."""
    [order] = sandbox.orders
    return {name: order[name] for name in FIRST}


def pushes(sandbox: Sandbox) -> int:
    return sum(call["method"] == "POST" and "/orders" in call["path"] for call in sandbox.requests)


def take() -> bool:
    order = fresh()
    return accept(order, seen=compare(order).seen)


def delivered(sandbox: Sandbox) -> None:
    """Bronto has the order as the shop has it, but for what a null that was sent may leave."""
    assert deliver() == {"accepted": 1}
    comparison = compare(fresh())
    assert sentence(comparison) == "Bronto has the order as the shop has it."


def test_it_counts_no_longer_and_nothing_is_sent(order: Order, sandbox: Sandbox):
    assert compare(order).differences == 6
    before, sent = here(sandbox), pushes(sandbox)
    assert take()
    comparison = compare(fresh())
    assert (comparison.differences, comparison.accepted) == (0, 6)
    assert sentence(comparison) == "Bronto differs in 6 places, which have been accepted as they are."
    assert deliver() == {}
    fresh().save()  # changes nothing
    assert deliver() == {"unchanged": 1}
    assert (here(sandbox), pushes(sandbox)) == (before, sent)
    assert compare(fresh()).accepted == 6


def test_only_the_delivery_columns_are_written(order: Order):
    shop = {field.name for field in Order._meta.local_fields} - set(acceptance._baseline(order, {}, ""))
    before = Order.objects.values(*shop).get()
    items = list(LineItem.objects.values())
    assert take()
    assert Order.objects.values(*shop).get() == before
    assert list(LineItem.objects.values()) == items
    assert fresh().acked_revision == fresh().revision


CHANGES: dict[str, Callable[[Order], Any]] = {
    "a field": lambda order: Order.objects.update(tax_amount=Decimal("0.30")),
    "the field that was accepted": lambda order: Order.objects.update(currency="GBP"),
    "a field that is cleared": lambda order: Order.objects.update(shipping_details=""),
    "an item": lambda order: LineItemFactory(order=order, sku="new", position=5),
    "no item is left": lambda order: order.line_items.all().delete(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_next_change_brings_the_whole_order(order: Order, sandbox: Sandbox, change: str):
    assert take()
    CHANGES[change](order)
    delivered(sandbox)


def test_a_change_that_is_taken_back_after_it_was_sent_is_sent(order: Order, sandbox: Sandbox):
    assert take()
    Order.objects.update(currency="GBP")
    delivered(sandbox)
    Order.objects.update(currency="USD")
    delivered(sandbox)
    assert here(sandbox) == FIRST


def test_what_changes_at_bronto_after_that_is_a_difference_again(order: Order, sandbox: Sandbox):
    assert take()
    at_bronto(currency="CHF")
    comparison = compare(fresh())
    assert (comparison.differences, comparison.accepted) == (1, 5)
    assert take()
    assert compare(fresh()).differences == 0


def test_a_forced_resync_brings_the_shops_order(order: Order, sandbox: Sandbox):
    assert take()
    Order.objects.all().resync(options={"trigger_events": False}, force=False)
    assert deliver() == {"unchanged": 1}
    Order.objects.all().resync(options={"trigger_events": False}, force=True)
    delivered(sandbox)


def test_what_bronto_fills_in_is_not_cleared_later(order: Order, sandbox: Sandbox):
    at_bronto(messageId="filled-in")
    assert take()
    assert "messageId" not in (fresh().last_sent or {})
    Order.objects.update(currency="GBP")
    delivered(sandbox)
    assert sandbox.orders[0]["messageId"] == "filled-in"


def test_an_update_without_an_answer_after_that_is_repaired(order: Order, sandbox: Sandbox):
    assert take()
    Order.objects.update(currency="GBP")
    sandbox.fail_next(drop=True, apply="after")
    deliver()
    Order.objects.update(currency="USD")
    Order.objects.update(due_at=DbNow(-1), settle_until=None)
    delivered(sandbox)
    assert here(sandbox) == FIRST


def test_twice_is_once(order: Order):
    seen = compare(order).seen
    assert accept(fresh(), seen=seen)
    before = Order.objects.values().get()
    assert not accept(fresh(), seen=seen)
    assert Order.objects.values().get() == before


def refused(order: Order, seen: str) -> str:
    before = Order.objects.values().get()
    with pytest.raises(NotAcceptedError) as refusal:
        accept(order, seen=seen)
    assert Order.objects.values().get() == before
    return str(refusal.value)


def test_not_while_a_push_is_owed_or_under_way(order: Order):
    seen = compare(order).seen
    Order.objects.update(currency="GBP")
    assert "about to be sent" in refused(fresh(), seen)
    assert claims.claim("default", 1, bronto_settings.delivery, using="default")
    assert "about to be sent" in refused(fresh(), seen)


def test_not_when_a_worker_takes_it_meanwhile(order: Order, monkeypatch: pytest.MonkeyPatch):
    """The row is claimed between the look at it and the write, while Bronto is read."""
    seen = compare(order).seen
    ask = remote._ask

    def claimed_meanwhile(client: Any, asked: Order) -> Any:
        Order.objects.filter(pk=asked.pk).mark()
        assert claims.claim("default", 1, bronto_settings.delivery, using="default")
        return ask(client, asked)

    monkeypatch.setattr(remote, "_ask", claimed_meanwhile)
    with pytest.raises(NotAcceptedError, match="has changed since you looked"):
        accept(order, seen=seen)
    assert fresh().sync_state == "sending"
    assert (fresh().last_sent or {})["currency"] == "USD"


def test_not_when_it_was_sent_meanwhile(order: Order, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch):
    """Claimed, sent and at rest again, all while Bronto is read: what was read is out of date."""
    seen = compare(order).seen
    ask = remote._ask

    def sent_meanwhile(client: Any, asked: Order) -> Any:
        answer = ask(client, asked)
        Order.objects.filter(pk=asked.pk).update(currency="GBP")
        assert deliver() == {"accepted": 1}
        return answer

    monkeypatch.setattr(remote, "_ask", sent_meanwhile)
    with pytest.raises(NotAcceptedError, match="has changed since you looked"):
        accept(order, seen=seen)
    monkeypatch.undo()
    assert (fresh().last_sent or {})["currency"] == "GBP"


def test_not_what_nobody_has_looked_at(order: Order):
    seen = compare(order).seen
    at_bronto(currency="CHF")
    assert "has changed since you looked" in refused(fresh(), seen)
    assert "has changed since you looked" in refused(fresh(), "")
    seen = compare(fresh()).seen
    Order.objects.update(tax_amount=1, due_at=None, sync_state="synced")
    assert "has changed since you looked" in refused(fresh(), seen)


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"sync_state": "rejected"}, "has not reached Bronto"),
        ({"sync_state": "skipped"}, "has not reached Bronto"),
        ({"presence": "absent"}, "Nobody knows for certain"),
        ({"settle_until": timezone.now()}, "Nobody knows for certain"),
        ({"email_address": "nobody", "due_at": None, "sync_state": "synced"}, "has to be corrected"),
    ],
)
def test_not_when_it_is_not_sound(order: Order, columns: dict[str, Any], reason: str):
    Order.objects.update(**columns)
    transitions.forget()
    comparison = compare(fresh())
    assert reason in refused(fresh(), comparison.seen)
    assert not may_be_accepted(comparison)


def test_not_without_bronto(order: Order, sandbox: Sandbox):
    seen = compare(order).seen
    sandbox.break_down()
    assert "cannot be reached" in refused(fresh(), seen)
    sandbox.recover()
    client_for(bronto_settings.account("default")).delete(order.bronto_order_id)
    assert "Bronto does not have the order" in refused(fresh(), seen)


def test_not_another_order(order: Order, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(remote, "_ask", lambda client, asked: {"customerOrderId": "abc-2"})
    assert "another order" in refused(order, compare(order).seen)


def test_what_cannot_be_changed_anyway_is_nothing_to_accept(order: Order):
    assert take()
    Order.objects.update(order_date=timezone.now())
    assert deliver() == {"accepted": 1}
    comparison = compare(fresh())
    assert comparison.differences == 1
    assert not may_be_accepted(comparison)
    assert not take()


def test_an_answer_as_if_it_had_been_sent():
    remote = {
        "customerOrderId": "abc-1", "orderId": "x", "hasTracking": True, "status": "PROCESSED", "createdDate": "y",
        "contactId": "filled in", "messageId": "given", "discountAmount": 0, "grandTotal": Decimal("4.270"),
        "shippingDetails": "a\0b\ud800", "currency": {"odd": 1}, "states": {"processed": True, "more": 1},
        "states.shipped": True, "new": 1,
        "lineItems": [{"sku": "b", "position": 1}, {"sku": "a", "position": 0, "other": None, "new": 1}],
    }  # fmt: skip
    last_sent = {"customerOrderId": "abc-1", "tid": "3.x", "messageId": "given before", "shippingAmount": 1}
    assert as_sent(remote, last_sent) == {
        "customerOrderId": "abc-1", "messageId": "given", "grandTotal": Decimal("4.270"), "shippingDetails": "ab?",
        "tid": "3.x", "states": {"processed": True, "shipped": False}, "lineItems": [{"sku": "a"}, {"sku": "b"}],
    }  # fmt: skip


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
amounts = st.decimals(-(10**6), 10**6, places=2)
values = {
    name: amounts if name in {"grandTotal", "subtotal", "quantity", "totalPrice"} else texts
    for name in [*equality.FIELDS, *equality.ITEM_FIELDS]
    if "." not in name and name != "customerOrderId"
}
documents = st.fixed_dictionaries(
    {
        "states": st.fixed_dictionaries({"processed": st.booleans(), "shipped": st.booleans()}),
        "lineItems": st.lists(
            st.fixed_dictionaries({}, optional={name: values[name] for name in equality.ITEM_FIELDS}), max_size=5
        ),
    },
    optional={name: values[name] for name in equality.FIELDS if name in values},
)


@given(ours=documents, theirs=documents)
def test_whatever_bronto_has_no_difference_is_left(ours, theirs):
    stored = json.loads(json.dumps(wire.storable(as_sent(theirs, ours))))
    left = [one for one in diffing.compare(ours, stored, theirs, settled=True) if one.verdict.is_difference]
    assert {one.path for one in left} <= {"cartId"}


def test_an_accepted_order_is_what_the_engine_takes_for_granted(order: Order):
    """Of all that the shop may send, what Bronto has and the shop has not is cleared, and nothing else is."""
    assert take()
    order = fresh()
    document = payloads.build_document(order, order.line_items.all(), now=timezone.now())
    body = payloads.update_body(
        document, order.last_sent, certain=True, with_order_date=False, with_tracking=not order.has_tracking
    )
    assert {name for name, value in body.items() if value is None} == {"shippingTrackingUrl"}


def test_a_comparison_names_what_was_seen(order: Order):
    comparison: Comparison = compare(order)
    assert compare(fresh()).seen == comparison.seen
    at_bronto(currency="CHF")
    assert compare(fresh()).seen != comparison.seen
