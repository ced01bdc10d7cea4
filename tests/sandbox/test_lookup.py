from __future__ import annotations

from uuid import uuid4

import pytest

from tests.sandbox.samples import CART_ID, coffee_mug_order
from tests.sandbox.service import Service, reason, shop_path

ODD_IDS = [
    "a/b",
    "a b#c?d%25e",
    "%2F",
    "ü",
    "日本 / 注文",
    "🛒",
    "customerOrderId",
    "customerOrderId/a",
    "a/",
    "/a",
    "//",
    "a+b&c=d;e",
    "...",
    "0ad24370-96de-4922-9a53-954530fcbb64",
    "line\nbreak\ttab",
    "'\"<>\\",
    "x" * 255,
]


def test_get_by_both_ids(service: Service):
    order = service.add(coffee_mug_order(), createContact="true").json()

    for path in (
        f"/orders/{order['orderId']}",
        f"/orders/{order['orderId'].upper()}",
        "/orders/customerOrderId/abc-123",
    ):
        answer = service.call("GET", path)
        assert answer.status_code == 200
        assert answer.json() == order


def test_get_ignores_its_odd_parameters(service: Service):
    order = service.add().json()

    answer = service.call("GET", f"/orders/{order['orderId']}?deliveryId=1&messageId=2&contactId=3")

    assert answer.json() == order


def test_get_of_an_unknown_order(service: Service):
    assert "no order with orderId" in reason(service.get(str(uuid4())), 404)
    assert "no order with orderId" in reason(service.get("abc-123"), 404)
    assert "no order with customerOrderId" in reason(service.call("GET", shop_path("abc-123")), 404)


@pytest.mark.parametrize("by", ["orderId", "customerOrderId"])
def test_delete_is_204_found_or_not(service: Service, by):
    order = service.add(coffee_mug_order(emailAddress=None)).json()
    service.add({"customerOrderId": "another"})
    path = f"/orders/{order['orderId']}" if by == "orderId" else shop_path("abc-123")

    for _ in range(2):
        answer = service.call("DELETE", path)
        assert answer.status_code == 204
        assert answer.content == b""
        assert "Content-Length" not in answer.headers
    assert [left["customerOrderId"] for left in service.orders()] == ["another"]
    assert service.get(order["orderId"]).status_code == 404


def test_delete_of_nonsense_is_204(service: Service):
    assert service.call("DELETE", "/orders/not-a-uuid").status_code == 204
    assert service.call("DELETE", "/orders/customerOrderId/%00").status_code == 204


def test_deleted_id_is_free_again(service: Service):
    first = service.add().json()
    service.call("DELETE", shop_path("abc-123"))

    second = service.add()

    assert second.status_code == 201
    assert second.json()["orderId"] != first["orderId"]


@pytest.mark.parametrize("customer_order_id", ODD_IDS)
def test_odd_ids_in_the_path(service: Service, customer_order_id):
    order = service.add({"customerOrderId": customer_order_id}).json()
    assert order["customerOrderId"] == customer_order_id
    path = shop_path(customer_order_id)

    assert service.call("GET", path).json() == order
    assert service.call("POST", path, json={"currency": "EUR"}).json()["orderId"] == order["orderId"]
    assert service.search(customerOrderId=customer_order_id).json()[0]["currency"] == "EUR"
    assert service.call("DELETE", path).status_code == 204
    assert service.orders() == []


def test_customer_order_id_is_no_order_id(service: Service):
    order_id = service.add({"customerOrderId": "a"}).json()["orderId"]
    service.add({"customerOrderId": order_id, "currency": "EUR"})

    assert service.get(order_id).json()["customerOrderId"] == "a"
    assert service.call("GET", shop_path(order_id)).json()["currency"] == "EUR"
    assert service.get("customerOrderId/a").status_code == 404
    assert service.get("customerOrderId").status_code == 404
    assert service.call("GET", "/orders/customer%4FrderId/a").json()["orderId"] == order_id


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_unencoded_slash_is_refused(service: Service, method):
    service.add({"customerOrderId": "a/b"})

    assert "percent-encoded" in reason(service.call(method, "/orders/customerOrderId/a/b", json={}), 404)
    assert len(service.orders()) == 1


@pytest.mark.parametrize("path", ["/orders/", "/orders/customerOrderId/"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_path_without_an_id(service: Service, method, path):
    assert "no id" in reason(service.call(method, path, json={"customerOrderId": "a"}, allow_redirects=False), 404)
    assert service.orders() == []


def test_path_that_is_not_utf8(service: Service):
    assert "UTF-8" in reason(service.call("GET", "/orders/customerOrderId/%FF"), 400)


def test_unknown_path(service: Service):
    assert reason(service.call("GET", "/carts"), 404) == "no such path"


FOUND = [
    ({"customerOrderId": "two"}, ["two"]),
    ({"cartId": CART_ID.upper()}, ["one", "two", "three"]),
    ({"startDate": "2015-01-03"}, ["three", "four"]),
    ({"endDate": "2015-01-02T12:00:00Z"}, ["one", "two"]),
    ({"startDate": "2015-01-02T12:00:00.000Z", "endDate": "2015-01-03T00:00:00+00:00"}, ["two", "three"]),
    ({"cartId": CART_ID, "startDate": "2015-01-02", "sort": "up"}, ["two", "three"]),
]
NOT_FOUND = [
    {"customerOrderId": "five"},
    {"customerOrderId": "Two"},
    {"cartId": "0ad24370-96de-4922-9a53-954530fcbb64"},
    {"startDate": "2020-01-01"},
    {"startDate": "2015-02-01", "endDate": "2015-01-01"},
    {"customerOrderId": "two", "startDate": "2016-01-01"},
]
WRONG = [
    ({}, "at least one"),
    ({"emailAddress": "example@email.com"}, "at least one"),
    ({"startDate": "yesterday"}, "startDate"),
    ({"startDate": ""}, "startDate"),
    ({"endDate": "2015-13-01"}, "endDate"),
    ({"endDate": "1420070400"}, "endDate"),
    ({"cartId": "12"}, "cartId"),
    ({"customerOrderId": ""}, "customerOrderId"),
    ({"customerOrderId": "a\x00"}, "customerOrderId"),
]


class TestSearch:
    @pytest.fixture(autouse=True)
    def orders(self, service: Service):
        for name, date in (("one", "2015-01-01"), ("two", "2015-01-02T12:00:00Z"), ("three", "2015-01-03")):
            assert service.add({"customerOrderId": name, "orderDate": date, "cartId": CART_ID}).status_code == 201
        assert service.add({"customerOrderId": "four", "orderDate": "2016-01-01"}).status_code == 201

    def test_found(self, service: Service):
        for params, names in FOUND:
            answer = service.search(**params)
            assert answer.status_code == 200, params
            assert [order["customerOrderId"] for order in answer.json()] == names, params
            assert answer.json()[0] == service.call("GET", shop_path(names[0])).json()

    def test_nothing_found_is_204_without_a_body(self, service: Service):
        for params in NOT_FOUND:
            answer = service.search(**params)
            assert answer.status_code == 204, params
            assert answer.content == b""
            assert "Content-Type" not in answer.headers

    def test_wrong_parameters(self, service: Service):
        for params, name in WRONG:
            assert name in reason(service.search(**params), 400), params
