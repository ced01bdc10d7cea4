from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.sandbox.samples import coffee_mug_order
from tests.sandbox.service import Service, reason

TEXTS = [
    "contactId",
    "deliveryId",
    "messageId",
    "orderSource",
    "originUserAgent",
    "shippingDetails",
    "shippingTrackingUrl",
]
AMOUNTS = ["discountAmount", "grandTotal", "shippingAmount", "subtotal", "taxAmount"]
LINE_TEXTS = ["category", "description", "imageUrl", "name", "other", "productUrl", "sku"]
LINE_AMOUNTS = ["quantity", "salePrice", "totalPrice", "unitPrice"]
BAD_TEXTS = [5, 5.5, True, ["a"], {}, "nul\x00"]
BAD_AMOUNTS = [
    "",
    "much",
    "1,000",
    " 1",
    "1 ",
    "NaN",
    "Infinity",
    "0x10",
    "\u0661",
    True,
    [1],
    {},
    10**15,
    "1e400",
    "1e-21",
]
BAD_DATES = [
    "",
    "soon",
    "2015-1-1",
    "20150101",
    "2015-W01-1",
    "2015-02-29",
    "2015-01-01T24:00:00Z",
    "2015-01-01T10:00:60Z",
    "2015-01-01T10:00:00+25:00",
    "2015-01-01T",
    "01/02/2015",
    "0001-01-01T00:00:00+14:00",
    "\u0662\u0660\u0661\u0665-01-01",
    1420070400,
    True,
    [],
]
CASES: dict[str, list[object]] = {
    **dict.fromkeys(TEXTS, BAD_TEXTS),
    **dict.fromkeys(AMOUNTS, BAD_AMOUNTS),
    "shippingDate": BAD_DATES,
    "orderDate": [*BAD_DATES, "1999-12-31", "2000-01-01T00:59:59+01:00", "9999-12-31"],
    "emailAddress": ["", "nobody", "a@b", "a b@example.com", "a@example.com\n", 5, [], "x" * 400 + "@example.com"],
    "currency": ["", "usd", "US", "USDX", "U$D", "ÄÖÜ", 840],
    "originIp": ["", "localhost", "1.2.3", "1.2.3.256", "01.2.3.4", "fe80::1%eth0", "::g", 1, []],
    "status": ["", "processed", "SHIPPED", True, 1, []],
    "states": [
        *["PROCESSED", True, [], 0],
        *[{"processed": value} for value in ["yes", "True", 1, 0, "", []]],
        *[{"shipped": value} for value in ["no", 1, {}]],
    ],
    "lineItems": [
        *["", {}, 5, True, [5], [None], [[]], ["a"]],
        *[[{}, {name: 5}] for name in LINE_TEXTS],
        *[[{}, {name: "x"}] for name in LINE_AMOUNTS],
    ],
}


@pytest.mark.parametrize("name", CASES)
def test_malformed_field_is_refused_by_name(service: Service, name):
    order = service.add(coffee_mug_order(customerOrderId="there"), createContact="true").json()

    for value in CASES[name]:
        for answer in (
            service.add({"customerOrderId": "new", name: value}, createContact="true"),
            service.update_by_shop_id("there", {"deliveryId": "changed", name: value}, createContact="true"),
        ):
            assert reason(answer, 400).startswith(name), value
    assert service.orders() == [order]


@pytest.mark.parametrize("value", [None, "", 5, 5.5, True, [], {}, "x" * 256, "nul\x00"])
def test_malformed_customer_order_id(service: Service, value):
    assert reason(service.add({"customerOrderId": value}), 400).startswith("customerOrderId")


def test_missing_customer_order_id(service: Service):
    assert reason(service.add({}), 400) == "customerOrderId: is required"


@pytest.mark.parametrize(
    "value", ["", "12", "7255c31c39ac4611a2b7974b0ebfa555", "{7255c31c-39ac-4611-a2b7-974b0ebfa555}", 5]
)
def test_malformed_cart_id(service: Service, value):
    assert reason(service.add({"customerOrderId": "a", "cartId": value}), 400) == "cartId: must be a UUID"


def test_all_bad_fields_are_named(service: Service):
    body = {"customerOrderId": "a", "grandTotal": "x", "lineItems": [{}, {"quantity": "x", "name": 5}], "currency": "x"}

    assert reason(service.add(body), 400) == (
        "currency: must be an ISO-4217 code of three capital letters; grandTotal: must be a number; "
        "lineItems[1].name: must be a string; lineItems[1].quantity: must be a number"
    )


def test_order_date_range(service: Service):
    now = datetime.now(UTC)
    edge = now.replace(year=now.year + 5, day=min(now.day, 28))

    for name, date in (("a", "2000-01-01T00:00:00Z"), ("b", (edge - timedelta(days=1)).isoformat())):
        assert service.add({"customerOrderId": name, "orderDate": date}).status_code == 201
    late = (edge + timedelta(days=5)).isoformat()
    assert "5 years" in reason(service.add({"customerOrderId": "c", "orderDate": late}), 400)
    assert "2000-01-01" in reason(service.add({"customerOrderId": "c", "orderDate": "1999-12-31T23:59:59.999Z"}), 400)


@pytest.mark.parametrize("ip", ["127.0.0.1", "2001:db8::1", "::ffff:1.2.3.4", "2001:DB8:0:0:0:0:0:1"])
def test_addresses_of_both_families(service: Service, ip):
    assert service.add({"customerOrderId": "a", "originIp": ip}).json()["originIp"] == ip


@pytest.mark.parametrize("name", ["createContact", "triggerEvents", "force", "ignoreInvalidTid"])
def test_malformed_boolean_parameter(service: Service, name):
    service.add()

    for value in ("", "True", "FALSE", "1", "0", "yes", "truefalse", "\x00"):
        assert reason(service.add({"customerOrderId": "a"}, **{name: value}), 400).startswith(name), value
        assert reason(service.update_by_shop_id("abc-123", {}, **{name: value}), 400).startswith(name), value
    assert len(service.orders()) == 1


def test_unknown_parameters_are_ignored(service: Service):
    assert service.add({"customerOrderId": "a"}, triggerEvent="perhaps", siteId="1", page="").status_code == 201
    assert service.call("GET", "/orders/customerOrderId/a?x=1").status_code == 200


def test_text_is_kept_as_it_is(service: Service):
    text = " \t\r\n\x01\x1f\x7f\u2028\ufeff'\";--<b>&amp; ü 日本 🛒 \ufffd "

    body = {"customerOrderId": "a", "shippingDetails": text, "contactId": "", "lineItems": [{"name": text, "sku": ""}]}
    service.add(body)

    order = service.call("GET", "/orders/customerOrderId/a").json()
    assert order["shippingDetails"] == order["lineItems"][0]["name"] == text
    assert order["contactId"] == order["lineItems"][0]["sku"] == ""


def test_text_of_a_megabyte(service: Service):
    assert service.add({"customerOrderId": "a", "shippingDetails": "x" * 999_999}).status_code == 201
    assert "smaller than 1 MB" in reason(service.add({"customerOrderId": "b", "shippingDetails": "x" * 1_000_000}), 400)
    body = {"customerOrderId": "b", "lineItems": [{"name": "ü" * 500_000}]}
    answer = service.call(
        "POST",
        "/orders",
        data=str(body).replace("'", '"').encode(),
        headers={"Content-Type": "application/json"},
    )
    assert reason(answer, 400) == "lineItems[0].name: must be smaller than 1 MB"


def test_many_lines(service: Service):
    order = service.add({"customerOrderId": "a", "lineItems": [{"quantity": number} for number in range(2000)]}).json()
    assert [(line["position"], line["quantity"]) for line in order["lineItems"]] == [(n, n) for n in range(2000)]

    assert "10000 items" in reason(service.add({"customerOrderId": "b", "lineItems": [{}] * 10_001}), 400)
