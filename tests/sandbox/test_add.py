from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tests.sandbox.samples import CART_ID, COOKIE_NAME, COOKIE_VALUE, USER_AGENT, coffee_mug, coffee_mug_order
from tests.sandbox.service import Service, reason

KEYS = [
    "cartId",
    "contactId",
    "createdDate",
    "currency",
    "customerOrderId",
    "deliveryId",
    "discountAmount",
    "emailAddress",
    "grandTotal",
    "hasTracking",
    "lineItems",
    "messageId",
    "orderDate",
    "orderId",
    "originIp",
    "originUserAgent",
    "shippingAmount",
    "shippingDate",
    "shippingDetails",
    "shippingTrackingUrl",
    "status",
    "subtotal",
    "taxAmount",
    "trackingCookieName",
    "trackingCookieValue",
    "updatedDate",
    "states",
]
LINE_KEYS = [
    "category",
    "description",
    "imageUrl",
    "name",
    "other",
    "position",
    "productUrl",
    "quantity",
    "salePrice",
    "sku",
    "totalPrice",
    "unitPrice",
]


def test_java_example(service: Service):
    answer = service.add(coffee_mug_order(), createContact="true", ignoreInvalidTracking="true")

    assert answer.status_code == 201
    order = answer.json()
    made = order.pop("createdDate")
    assert order.pop("updatedDate") == made
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", order.pop("orderId"))
    assert order == {
        "cartId": CART_ID,
        "contactId": None,
        "currency": "USD",
        "customerOrderId": "abc-123",
        "deliveryId": None,
        "discountAmount": 0,
        "emailAddress": "example@email.com",
        "grandTotal": 4.27,
        "hasTracking": True,
        "lineItems": [{**coffee_mug(), "position": 0}],
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
        "trackingCookieName": COOKIE_NAME,
        "trackingCookieValue": COOKIE_VALUE,
    }


def test_curl_sample(service: Service):
    answer = service.call(
        "POST",
        "/orders?createContact=true",
        headers={"Content-type": "application/json", "Cache-Control": "no-cache"},
        data='{"customerOrderId":"ABC-2018-10-11-A"}',
    )

    assert answer.status_code == 201
    assert answer.json()["customerOrderId"] == "ABC-2018-10-11-A"


def test_least_order_has_nulls_zeros_and_defaults(service: Service):
    before = datetime.now(UTC).replace(microsecond=0)

    order = service.add().json()

    made = datetime.fromisoformat(order["createdDate"])
    assert before <= made <= before + timedelta(seconds=20)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", order["createdDate"])
    assert order["orderDate"] == order["createdDate"] == order["updatedDate"]
    assert {name for name, value in order.items() if value is None} == {
        "cartId",
        "contactId",
        "currency",
        "deliveryId",
        "emailAddress",
        "messageId",
        "originIp",
        "originUserAgent",
        "shippingDate",
        "shippingDetails",
        "shippingTrackingUrl",
        "trackingCookieName",
        "trackingCookieValue",
    }
    assert {name for name, value in order.items() if value == 0 and value is not False} == {
        "discountAmount",
        "grandTotal",
        "shippingAmount",
        "subtotal",
        "taxAmount",
    }
    assert order["lineItems"] == []
    assert order["status"] == "PENDING"
    assert order["states"] == {"processed": False, "shipped": False}
    assert order["hasTracking"] is False


def test_keys_are_sorted_with_states_last(service: Service):
    order = service.add(coffee_mug_order(), createContact="true").json()

    assert list(order) == KEYS
    assert list(order["lineItems"][0]) == LINE_KEYS


def test_captured_call(service: Service):
    """The request and the answer that omneo's tests hold (C:om)."""
    body = {
        "customerOrderId": "1",
        "emailAddress": None,
        "cartId": None,
        "originIp": None,
        "tid": None,
        "grandTotal": "160.00",
        "subtotal": None,
        "discountAmount": None,
        "orderDate": "2017-05-12",
        "states": {"processed": True, "shipped": False},
        "lineItems": [{"name": "one", "quantity": 1, "totalPrice": 100}, {"name": "two", "totalPrice": "50.0"}],
    }

    order = service.add(body).json()

    assert order["grandTotal"] == 160.0
    assert order["subtotal"] == 0
    assert order["discountAmount"] == 0
    assert order["orderDate"] == "2017-05-12T00:00:00.000Z"
    assert order["status"] == "PROCESSED"
    assert order["emailAddress"] is None
    assert [(line["position"], line["name"], line["totalPrice"]) for line in order["lineItems"]] == [
        (0, "one", 100),
        (1, "two", 50),
    ]
    assert order["lineItems"][1]["quantity"] == 0
    assert order["lineItems"][1]["unitPrice"] == 0


@pytest.mark.parametrize(
    ("sent", "returned"),
    [
        ("4.27", "4.27"),
        ("0.1", "0.1"),
        ("0.30000000000000004", "0.30000000000000004"),
        ("123456789012345.12345678901234567890", "123456789012345.12345678901234567890"),
        ('"160.00"', "160.00"),
        ("-5.5", "-5.5"),
        ("1.5e2", "150"),
        ("1E-2", "0.01"),
        ("0e9", "0"),
        ("-0.00", "0.00"),
        ("7", "7"),
    ],
)
def test_amounts_come_back_exactly(service: Service, sent, returned):
    body = f'{{"customerOrderId": "a", "grandTotal": {sent}, "lineItems": [{{"quantity": {sent}}}]}}'
    answer = service.call("POST", "/orders", data=body, headers={"Content-Type": "application/json"})

    for text in (answer.text, service.call("GET", "/orders/customerOrderId/a").text):
        assert f'"grandTotal":{returned},' in text
        assert f'"quantity":{returned},' in text
    assert answer.json()["grandTotal"] == float(Decimal(returned))


@pytest.mark.parametrize(
    ("sent", "returned"),
    [
        ("2015-01-01", "2015-01-01T00:00:00.000Z"),
        ("2015-01-01T10:00:00Z", "2015-01-01T10:00:00.000Z"),
        ("2015-01-01T10:00:00-04:00", "2015-01-01T14:00:00.000Z"),
        ("2015-01-01T10:00:00+0530", "2015-01-01T04:30:00.000Z"),
        ("2015-01-01T10:00", "2015-01-01T10:00:00.000Z"),
        ("2015-01-01 10:00:00,5", "2015-01-01T10:00:00.500Z"),
        ("2015-01-01T10:00:00.123456789+01", "2015-01-01T09:00:00.123Z"),
        ("2016-02-29", "2016-02-29T00:00:00.000Z"),
    ],
)
def test_dates_come_back_in_utc(service: Service, sent, returned):
    order = service.add({"customerOrderId": "a", "orderDate": sent, "shippingDate": sent}).json()

    assert order["orderDate"] == order["shippingDate"] == returned


def test_taken_id_conflicts(service: Service):
    service.add(coffee_mug_order(emailAddress=None))

    text = reason(service.add({"customerOrderId": "abc-123", "grandTotal": 1}), 409)

    assert "an order with customerOrderId abc-123 already exists" in text
    assert [order["grandTotal"] for order in service.orders()] == [4.27]


def test_reason_is_one_line_of_ascii(service: Service):
    body = {"customerOrderId": "ü\r\nX-Injected: 1" + "x" * 200}
    service.add(body)

    answer = service.add(body)

    text = reason(answer, 409)
    assert r"customerOrderId \xfc  X-Injected: 1xxx" in text
    assert len(text) <= 500
    assert "X-Injected" not in answer.headers


def test_id_of_a_return_conflicts(service: Service):
    service.control("POST", "returns", {"customerOrderId": "abc-123"})

    assert "a return with customerOrderId abc-123 already exists" in reason(service.add(), 409)
    assert service.orders() == []
    assert service.update_by_shop_id("abc-123", {}).status_code == 404


def test_ids_differ_by_case(service: Service):
    assert service.add({"customerOrderId": "a"}).status_code == 201
    assert service.add({"customerOrderId": "A"}).status_code == 201
    assert service.call("GET", "/orders/customerOrderId/A").json()["customerOrderId"] == "A"


def test_read_only_and_unknown_fields_are_ignored(service: Service):
    body = {
        "customerOrderId": "a",
        "orderId": "0ad24370-96de-4922-9a53-954530fcbb64",
        "createdDate": "2001-01-01",
        "updatedDate": "nonsense",
        "hasTracking": True,
        "colour": ["red"],
        "lineItems": [{"position": 7, "weight": {}}],
        "orderSource": "WEBSITE",
    }

    order = service.add(body).json()

    assert order["orderId"] != body["orderId"]
    assert order["createdDate"] > "2026"
    assert order["hasTracking"] is False
    assert order["lineItems"][0]["position"] == 0
    assert "colour" not in order
    assert "orderSource" not in order
