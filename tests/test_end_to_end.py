"""Orders saved through the ORM, the real engine and client, and the sandbox in its own process."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.test import override_settings

from bronto_orders.delivery import engine
from bronto_orders.models import AccountStatus, DbNow, LineItem, Order, SyncAttempt, SyncState
from bronto_orders.testing import Sandbox
from tests.factories import LineItemFactory, OrderFactory

pytestmark = pytest.mark.django_db(transaction=True)

USER_AGENT = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_9_4) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/46.0.2490.71 Safari/537.36"
)


@pytest.fixture(autouse=True)
def account(bronto_sandbox: Sandbox) -> Iterator[None]:
    with override_settings(BRONTO_ORDERS={"ACCOUNTS": {"default": bronto_sandbox.account}}):
        yield


def deliver() -> dict[str, int]:
    return engine.deliver("default").counts


def coffee_mug() -> Order:
    """The order of the service's worked example (S1, S2)."""
    order = Order.objects.create(
        customer_order_id="abc-123",
        cart_id=UUID("7255c31c-39ac-4611-a2b7-974b0ebfa555"),
        email_address="example@email.com",
        currency="USD",
        grand_total=Decimal("4.27"),
        discount_amount=Decimal(0),
        tax_amount=Decimal("0.28"),
        subtotal=Decimal("3.99"),
        order_date=datetime(2015, 1, 1, tzinfo=UTC),
        processed=True,
        origin_ip="127.0.0.1",
        origin_user_agent=USER_AGENT,
        tracking_cookie_name="tid_blkycggbjquivddbiddxylaufhfdbkj",
        tracking_cookie_value="3.Ag.AQ.AQ.AQ.AQ.AQ.t..l.AQ.n.VO4AkA.VO4AkA.G89Jow",
        shipping_amount=Decimal(0),
        shipping_date=datetime(2015, 1, 2, tzinfo=UTC),
        shipping_details="Free next day shipping",
        shipping_tracking_url="http://www.shipping.com/1234",
    )
    LineItem.objects.create(
        order=order,
        name="Coffee Mug",
        description="A cool coffee mug",
        category="Kitchen Stuffs",
        other="5oz",
        image_url="http://www.example.com/images/0003105.jpg",
        product_url="http://www.example.com/products/0003105",
        sku="0003105",
        quantity=1,
        total_price=Decimal("3.99"),
        unit_price=Decimal("3.99"),
        sale_price=Decimal("3.99"),
    )
    return order


REMOTE_MUG: dict[str, Any] = {
    "cartId": "7255c31c-39ac-4611-a2b7-974b0ebfa555",
    "currency": "USD",
    "customerOrderId": "abc-123",
    "deliveryId": None,
    "discountAmount": 0,
    "emailAddress": "example@email.com",
    "grandTotal": 4.27,
    "hasTracking": True,
    "lineItems": [
        {
            "category": "Kitchen Stuffs",
            "description": "A cool coffee mug",
            "imageUrl": "http://www.example.com/images/0003105.jpg",
            "name": "Coffee Mug",
            "other": "5oz",
            "position": 0,
            "productUrl": "http://www.example.com/products/0003105",
            "quantity": 1,
            "salePrice": 3.99,
            "sku": "0003105",
            "totalPrice": 3.99,
            "unitPrice": 3.99,
        }
    ],
    "messageId": None,
    "orderDate": "2015-01-01T00:00:00.000Z",
    "originIp": "127.0.0.1",
    "originUserAgent": USER_AGENT,
    "shippingAmount": 0,
    "shippingDate": "2015-01-02T00:00:00.000Z",
    "shippingDetails": "Free next day shipping",
    "shippingTrackingUrl": "http://www.shipping.com/1234",
    "states": {"processed": True, "shipped": False},
    "status": "PROCESSED",
    "subtotal": 3.99,
    "taxAmount": 0.28,
    "trackingCookieName": "tid_blkycggbjquivddbiddxylaufhfdbkj",
    "trackingCookieValue": "3.Ag.AQ.AQ.AQ.AQ.AQ.t..l.AQ.n.VO4AkA.VO4AkA.G89Jow",
}
MADE_THERE = {"contactId", "createdDate", "orderId", "updatedDate"}


def without_ids(remote: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in remote.items() if name not in MADE_THERE}


def test_the_worked_example_arrives_field_for_field(bronto_sandbox: Sandbox) -> None:
    order = coffee_mug()
    assert deliver() == {"accepted": 1}
    (remote,) = bronto_sandbox.orders
    assert without_ids(remote) == REMOTE_MUG
    done = Order.objects.get(pk=order.pk)
    assert (done.bronto_order_id, done.has_tracking) == (remote["orderId"], True)
    assert SyncAttempt.objects.get().differences == []


def test_the_worked_update_changes_it(bronto_sandbox: Sandbox) -> None:
    order = coffee_mug()
    deliver()
    order.grand_total = Decimal("6.27")
    order.shipping_amount = Decimal(2)
    order.shipping_details = ""
    order.shipped = True
    order.save()
    LineItemFactory(order=order, position=1, sku="0003106", name="Saucer")
    assert deliver() == {"accepted": 1}
    (remote,) = bronto_sandbox.orders
    assert {name: remote[name] for name in ("grandTotal", "shippingAmount", "shippingDetails", "states")} == {
        "grandTotal": 6.27,
        "shippingAmount": 2,
        "shippingDetails": None,
        "states": {"processed": True, "shipped": True},
    }
    assert [(item["sku"], item["position"]) for item in remote["lineItems"]] == [("0003105", 0), ("0003106", 1)]
    untouched = REMOTE_MUG.keys() - {"grandTotal", "shippingAmount", "shippingDetails", "states", "lineItems"}
    assert {name: remote[name] for name in untouched} == {name: REMOTE_MUG[name] for name in untouched}
    assert SyncAttempt.objects.first().differences == []
    assert [event["kind"] for event in bronto_sandbox.events].count("orderAdded") == 1


@pytest.mark.parametrize("number", ["a/b", "a b#c?d%25e", "ü", "..", "customerOrderId", "+1"], ids=ascii)
def test_odd_order_numbers(bronto_sandbox: Sandbox, number: str) -> None:
    order = OrderFactory(customer_order_id=number)
    deliver()
    Order.objects.filter(pk=order.pk).update(bronto_order_id="", shipped=True)
    assert deliver() == {"accepted": 1}
    (remote,) = bronto_sandbox.orders
    assert (remote["customerOrderId"], remote["states"]["shipped"]) == (number, True)


def test_unknown_contact_is_skipped_until_contacts_are_made(bronto_sandbox: Sandbox) -> None:
    order = OrderFactory()
    with override_settings(
        BRONTO_ORDERS={"ACCOUNTS": {"default": {**bronto_sandbox.account, "CREATE_CONTACT": False}}}
    ):
        assert deliver() == {"skipped": 1}
    assert Order.objects.get(pk=order.pk).sync_reason == "no_contact"
    order.save()
    assert deliver() == {"accepted": 1}


def test_a_token_revoked_meanwhile_costs_one_more(bronto_sandbox: Sandbox) -> None:
    OrderFactory()
    deliver()
    bronto_sandbox.revoke_tokens()
    OrderFactory.create_batch(10)
    before = len([call for call in bronto_sandbox.requests if call["path"] == "/oauth2/token"])
    assert deliver() == {"accepted": 10}
    after = len([call for call in bronto_sandbox.requests if call["path"] == "/oauth2/token"])
    assert after - before <= 2


def test_wrong_credentials_hold_the_account(bronto_sandbox: Sandbox) -> None:
    order = OrderFactory()
    with override_settings(BRONTO_ORDERS={"ACCOUNTS": {"default": {**bronto_sandbox.account, "CLIENT_SECRET": "no"}}}):
        assert deliver() == {"held": 1}
    waiting = Order.objects.get(pk=order.pk)
    assert (waiting.sync_state, waiting.sync_reason, waiting.attempts) == (SyncState.PENDING, "auth", 0)


@pytest.mark.parametrize(
    ("fault", "counts"),
    [
        ({"status": 500}, {"deferred": 1}),
        ({"status": 503, "headers": {"Retry-After": "7"}}, {"deferred": 1}),
        ({"status": 429, "headers": {"Retry-After": "7"}}, {"deferred": 1}),
        ({"status": 504, "apply": "after"}, {"unknown": 1}),
        ({"drop": True, "apply": "before"}, {"unknown": 1}),
        ({"drop": True, "apply": "after"}, {"unknown": 1}),
        ({"truncate": True, "apply": "after"}, {"unknown": 1}),
        ({"latency": 1.0, "apply": "after"}, {"unknown": 1}),
    ],
    ids=str,
)
def test_after_any_fault_there_is_one_order(
    bronto_sandbox: Sandbox, fault: dict[str, Any], counts: dict[str, int]
) -> None:
    quick = {**bronto_sandbox.account, "READ_TIMEOUT": 0.4, "TOTAL_TIMEOUT": 0.5}
    order = OrderFactory(items=2)
    bronto_sandbox.fail_next(**fault)
    with override_settings(BRONTO_ORDERS={"ACCOUNTS": {"default": quick}}):
        assert deliver() == counts
    assert Order.objects.get(pk=order.pk).sync_state == SyncState.PENDING
    Order.objects.filter(pk=order.pk).update(due_at=DbNow(-1))
    AccountStatus.objects.update(held_until=None)
    assert deliver()["accepted"] == 1
    (remote,) = bronto_sandbox.orders
    assert (remote["customerOrderId"], len(remote["lineItems"])) == (order.customer_order_id, 2)
    assert len([event for event in bronto_sandbox.events if event["kind"] == "orderAdded"]) == 1
