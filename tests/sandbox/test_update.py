from __future__ import annotations

import time
from uuid import uuid4

import pytest

from tests.sandbox.samples import coffee_mug_order
from tests.sandbox.service import Service, reason


@pytest.fixture
def order(service: Service) -> dict:
    return service.add(coffee_mug_order(emailAddress=None, contactId="c1", messageId="m1")).json()


def without(order: dict, *names: str) -> dict:
    return {name: value for name, value in order.items() if name not in names}


def test_curl_sample(service: Service, order):
    answer = service.call(
        "POST",
        f"/orders/{order['orderId']}?createContact=true",
        headers={"Content-type": "application/json", "Cache-Control": "no-cache"},
        data='{"lineItems":[{"quantity":1,"totalPrice":1.23},{"quantity":13,"totalPrice":15.99}]}',
    )

    assert answer.status_code == 200
    changed = answer.json()
    assert [
        (line["position"], line["quantity"], line["totalPrice"], line["name"]) for line in changed["lineItems"]
    ] == [
        (0, 1, 1.23, None),
        (1, 13, 15.99, None),
    ]
    assert without(changed, "lineItems", "updatedDate") == without(order, "lineItems", "updatedDate")
    assert service.get(order["orderId"]).json() == changed


def test_both_ids_reach_the_order(service: Service, order):
    assert service.update(order["orderId"], {"currency": "EUR"}).json()["currency"] == "EUR"
    assert service.update(order["orderId"].upper(), {"currency": "JPY"}).json()["currency"] == "JPY"
    assert service.update_by_shop_id("abc-123", {"currency": "CHF"}).json()["currency"] == "CHF"
    assert len(service.orders()) == 1


def test_nothing_is_required_and_what_is_left_out_stays(service: Service, order):
    time.sleep(0.002)
    changed = service.update(order["orderId"], {}).json()

    assert without(changed, "updatedDate") == without(order, "updatedDate")
    assert changed["updatedDate"] > order["updatedDate"]


def test_null_clears(service: Service, order):
    names = [
        "contactId",
        "currency",
        "grandTotal",
        "lineItems",
        "messageId",
        "originIp",
        "originUserAgent",
        "shippingDate",
        "shippingDetails",
        "shippingTrackingUrl",
        "subtotal",
        "taxAmount",
    ]

    changed = service.update(order["orderId"], dict.fromkeys(names)).json()

    assert {name: changed[name] for name in names} == {
        "contactId": None,
        "currency": None,
        "grandTotal": 0,
        "lineItems": [],
        "messageId": None,
        "originIp": None,
        "originUserAgent": None,
        "shippingDate": None,
        "shippingDetails": None,
        "shippingTrackingUrl": None,
        "subtotal": 0,
        "taxAmount": 0,
    }
    assert without(changed, *names, "updatedDate") == without(order, *names, "updatedDate")


def test_null_clears_the_address(service: Service):
    order = service.add(coffee_mug_order(), createContact="true").json()

    assert service.update(order["orderId"], {"emailAddress": None}).json()["emailAddress"] is None


def test_null_leaves_the_state(service: Service, order):
    changed = service.update(order["orderId"], {"status": None, "states": None}).json()
    assert changed["states"] == {"processed": True, "shipped": False}

    changed = service.update(order["orderId"], {"states": {"processed": None, "shipped": True}}).json()
    assert changed["states"] == {"processed": True, "shipped": True}


def test_empty_list_removes_the_lines(service: Service, order):
    assert service.update(order["orderId"], {"lineItems": []}).json()["lineItems"] == []


def test_unknown_order(service: Service):
    assert "no order with orderId" in reason(service.update(str(uuid4()), {}), 404)
    assert "no order with orderId" in reason(service.update("not-a-uuid", {}), 404)
    assert "no order with customerOrderId nope" in reason(service.update_by_shop_id("nope", {}), 404)
    assert service.orders() == []


def test_immutable_fields_are_ignored_by_default(service: Service, order):
    body = {"customerOrderId": "other", "cartId": str(uuid4()), "orderDate": "2016-06-06"}

    changed = service.update(order["orderId"], body)

    assert changed.status_code == 200
    assert without(changed.json(), "updatedDate") == without(order, "updatedDate")


@pytest.mark.parametrize("switch", ["ignore", "take"])
def test_order_date_is_checked_even_where_ignored(service: Service, order, switch):
    service.control("PUT", "switches", {"orderDateOnUpdate": switch})

    for date in ("1999-12-31T23:59:59Z", "2099-01-01", "soon", 5):
        assert "orderDate" in reason(service.update(order["orderId"], {"orderDate": date}), 400), date


def test_order_date_may_be_taken(service: Service, order):
    service.control("PUT", "switches", {"orderDateOnUpdate": "take"})

    assert service.update(order["orderId"], {"orderDate": "2016-06-06"}).json()["orderDate"].startswith("2016-06-06")
    assert service.update(order["orderId"], {"orderDate": None}).json()["orderDate"].startswith("2016-06-06")


def test_order_date_may_be_refused(service: Service, order):
    service.control("PUT", "switches", {"orderDateOnUpdate": "refuse"})

    assert "orderDate" in reason(service.update(order["orderId"], {"orderDate": "2015-01-01"}), 400)
    assert service.update(order["orderId"], {"currency": "EUR"}).status_code == 200


@pytest.mark.parametrize("name", ["customerOrderId", "cartId"])
def test_ids_may_be_refused(service: Service, order, name):
    service.control("PUT", "switches", {"idsOnUpdate": "refuse"})

    assert name in reason(service.update(order["orderId"], {name: order[name]}), 400)


@pytest.mark.parametrize(
    ("body", "status", "states"),
    [
        ({"status": "PROCESSED"}, "PROCESSED", (True, False)),
        ({"status": "PENDING"}, "PENDING", (False, False)),
        ({"states": {"processed": True}}, "PROCESSED", (True, False)),
        ({"states": {"shipped": True}}, "PENDING", (False, True)),
        ({"states": {"processed": "true", "shipped": "false"}}, "PROCESSED", (True, False)),
        ({"status": "PENDING", "states": {"processed": True, "shipped": True}}, "PENDING", (False, True)),
        ({"status": "PROCESSED", "states": {"processed": False}}, "PROCESSED", (True, False)),
        ({}, "PENDING", (False, False)),
    ],
)
def test_status_and_states_are_two_views(service: Service, body, status, states):
    added = service.add({"customerOrderId": "a", **body}).json()
    service.add({"customerOrderId": "b"})
    updated = service.update_by_shop_id("b", body).json()

    for order in (added, updated):
        assert order["status"] == status
        assert (order["states"]["processed"], order["states"]["shipped"]) == states


def test_partial_states_keep_the_other_flag(service: Service):
    service.add({"customerOrderId": "a", "states": {"processed": True, "shipped": True}})

    assert service.update_by_shop_id("a", {"states": {"processed": False}}).json()["states"] == {
        "processed": False,
        "shipped": True,
    }
    assert service.update_by_shop_id("a", {"status": "PROCESSED"}).json()["states"] == {
        "processed": True,
        "shipped": True,
    }


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_update_is_post_only(service: Service, order, method):
    for path in ("/orders", f"/orders/{order['orderId']}", "/orders/customerOrderId/abc-123"):
        answer = service.call(method, path, json={"currency": "EUR"})
        reason(answer, 405)
        assert "POST" in answer.headers["Allow"]
    assert service.orders() == [order]
