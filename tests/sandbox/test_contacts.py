from __future__ import annotations

import pytest

from tests.sandbox.service import Service, reason


def addresses(service: Service) -> list[tuple[str, str]]:
    return [(contact["emailAddress"], contact["status"]) for contact in service.control("GET", "contacts")]


@pytest.mark.parametrize("params", [{}, {"createContact": "false"}])
def test_unknown_address_conflicts(service: Service, params):
    text = reason(service.add({"customerOrderId": "a", "emailAddress": "new@example.com"}, **params), 409)

    assert text == "no contact with emailAddress new@example.com and createContact is not true"
    assert service.orders() == []
    assert addresses(service) == []


def test_unknown_address_conflicts_on_update(service: Service):
    order = service.add({"customerOrderId": "a"}).json()

    answer = service.update(order["orderId"], {"emailAddress": "new@example.com", "currency": "EUR", "lineItems": [{}]})

    assert "no contact" in reason(answer, 409)
    assert service.orders() == [order]


def test_contact_is_made_on_request(service: Service):
    answer = service.add({"customerOrderId": "a", "emailAddress": "New@Example.com"}, createContact="true")

    assert answer.status_code == 201
    assert answer.json()["emailAddress"] == "New@Example.com"
    assert addresses(service) == [("New@Example.com", "transactional")]
    assert service.add({"customerOrderId": "b", "emailAddress": "new@example.COM"}).status_code == 201
    assert len(addresses(service)) == 1


def test_contact_is_made_on_update(service: Service):
    service.add({"customerOrderId": "a"})

    assert service.update_by_shop_id("a", {"emailAddress": "x@example.com"}, createContact="true").status_code == 200
    assert addresses(service) == [("x@example.com", "transactional")]


def test_known_contact_keeps_its_status(service: Service):
    service.control("POST", "contacts", {"emailAddress": "known@example.com", "status": "unsubscribed"})

    for name, params in (("a", {}), ("b", {"createContact": "true"})):
        body = {"customerOrderId": name, "emailAddress": "known@example.com"}
        assert service.add(body, **params).status_code == 201
    assert addresses(service) == [("known@example.com", "unsubscribed")]


def test_order_without_an_address_needs_no_contact(service: Service):
    assert service.add({"customerOrderId": "a"}).status_code == 201
    assert service.add({"customerOrderId": "b", "emailAddress": None}).status_code == 201
    assert addresses(service) == []


def test_refused_add_makes_no_contact(service: Service):
    service.add({"customerOrderId": "a"})

    body = {"customerOrderId": "a", "emailAddress": "new@example.com"}
    assert "already exists" in reason(service.add(body, createContact="true"), 409)
    body = {"customerOrderId": "b", "emailAddress": "new@example.com", "grandTotal": "much"}
    reason(service.add(body, createContact="true"), 400)

    assert addresses(service) == []


def test_taken_id_is_told_before_unknown_address(service: Service):
    service.add({"customerOrderId": "a"})

    assert "already exists" in reason(service.add({"customerOrderId": "a", "emailAddress": "new@example.com"}), 409)
