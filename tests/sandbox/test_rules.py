"""Documented rules that are about many fields or many calls at once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.samples import ANOTHER_TID, COOKIE_NAME, COOKIE_VALUE, coffee_mug, coffee_mug_order
from tests.sandbox.service import Service, reason, shop_path

#: Every field that the update page lists (S1), with another value than the samples have, and what comes back of it.
CHANGES: dict[str, tuple[Any, Any]] = {
    "contactId": ("c2", "c2"),
    "currency": ("EUR", "EUR"),
    "deliveryId": ("d2", "d2"),
    "discountAmount": (1.5, 1.5),
    "emailAddress": ("second@example.com", "second@example.com"),
    "grandTotal": (20.5, 20.5),
    "lineItems": (
        [{**coffee_mug(), "sku": "2", "quantity": 2}],
        [{**coffee_mug(), "sku": "2", "quantity": 2, "position": 0}],
    ),
    "messageId": ("m2", "m2"),
    "originIp": ("2001:db8::2", "2001:db8::2"),
    "originUserAgent": ("curl", "curl"),
    "shippingAmount": (5, 5),
    "shippingDate": ("2016-02-03T04:05:06+01:00", "2016-02-03T03:05:06.000Z"),
    "shippingDetails": ("By train", "By train"),
    "shippingTrackingUrl": ("https://example.com/2", "https://example.com/2"),
    "states": ({"processed": True, "shipped": True}, {"processed": True, "shipped": True}),
    "status": ("PENDING", "PENDING"),
    "subtotal": (15, 15),
    "taxAmount": (2, 2),
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_field_may_be_changed(service: Service, name):
    order = service.add(coffee_mug_order(), createContact="true").json()
    sent, returned = CHANGES[name]

    changed = service.update(order["orderId"], {name: sent}, createContact="true").json()

    assert changed[name] == returned != order[name]
    linked = {"status", "states"} if name in ("status", "states") else {name}
    for other in order.keys() - linked - {"updatedDate"}:
        assert changed[other] == order[other], other


def test_tracking_may_be_changed(service: Service):
    order = service.add(coffee_mug_order(emailAddress=None)).json()
    pair = {"trackingCookieName": "tid_2", "trackingCookieValue": ANOTHER_TID}

    changed = service.update(order["orderId"], pair).json()

    assert {name: changed[name] for name in pair} == pair


def test_nulls_in_an_add_say_nothing(service: Service):
    least = service.add({"customerOrderId": "a"}).json()
    nulls = dict.fromkeys([*CHANGES, "cartId", "orderDate", "tid", "orderSource"])

    order = service.add({"customerOrderId": "b", **nulls}).json()

    own = ("customerOrderId", "orderId", "createdDate", "updatedDate", "orderDate")
    assert {name: order[name] for name in order if name not in own} == {
        name: least[name] for name in least if name not in own
    }
    assert order["orderDate"] == order["createdDate"]


@pytest.mark.parametrize("by", ["nothing", "orderId", "customerOrderId"])
def test_parameters_count_in_every_write(service: Service, by):
    number = 0

    def write(body: dict[str, Any], **params: str) -> Any:
        nonlocal number
        number += 1
        name = f"a{number}"
        if by == "nothing":
            return service.add({"customerOrderId": name, **body}, **params)
        order_id = service.add({"customerOrderId": name, "status": "PENDING"}).json()["orderId"]
        path = shop_path(name) if by == "customerOrderId" else f"/orders/{order_id}"
        return service.call("POST", path, json=body, params=params)

    address = {"emailAddress": "new@example.com"}
    assert "createContact" in reason(write(address), 409)
    assert write(address, createContact="true").json()["emailAddress"] == "new@example.com"
    assert write({"status": "PROCESSED"}, triggerEvents="false").ok
    assert service.event_kinds() == []
    assert write({"status": "PROCESSED"}, triggerEvents="true", force="true").ok
    assert service.event_kinds() == ["orderAdded"]
    reason(write({"tid": "bad"}), 400)
    bad_pair = {"trackingCookieName": COOKIE_NAME, "trackingCookieValue": COOKIE_VALUE + "!"}
    assert write({"tid": "bad", **bad_pair}, ignoreInvalidTid="true").json()["hasTracking"] is False


@pytest.mark.parametrize("accept", ["application/json, text/plain", "text/plain", "text/html", "*/*", "nonsense"])
def test_grant_is_json_whatever_is_accepted(service: Service, accept):
    form = {"grant_type": "client_credentials", "client_id": "sandbox", "client_secret": "sandbox-secret"}

    answer = service.ask_token(form, headers={"Accept": accept})

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.json()["access_token"]
