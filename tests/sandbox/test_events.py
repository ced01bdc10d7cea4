from __future__ import annotations

import pytest

from tests.sandbox.service import Service


def test_pending_order_fires_nothing(service: Service):
    service.add()
    service.update_by_shop_id("abc-123", {"states": {"shipped": True}})

    assert service.event_kinds() == []


def test_added_as_processed(service: Service):
    order = service.add(
        {"customerOrderId": "a", "status": "PROCESSED", "emailAddress": "x@example.com"}, createContact="true"
    )

    (event,) = service.control("GET", "events")
    assert event.pop("firedDate") >= order.json()["createdDate"]
    assert event == {
        "kind": "orderAdded",
        "customerOrderId": "a",
        "orderId": order.json()["orderId"],
        "emailAddress": "x@example.com",
    }


def test_added_is_fired_once_and_changes_later(service: Service):
    service.add()
    for status in ("PROCESSED", "PROCESSED", "PENDING", "PROCESSED", "PENDING", "PROCESSED"):
        service.update_by_shop_id("abc-123", {"status": status})

    assert service.event_kinds() == ["orderAdded", "stateChange", "stateChange"]


def test_repeat_without_a_change_fires_nothing(service: Service):
    service.add({"customerOrderId": "a", "status": "PROCESSED"})
    for _ in range(3):
        service.update_by_shop_id("a", {"states": {"processed": True}, "grandTotal": 5})

    assert service.event_kinds() == ["orderAdded"]


def test_force_fires_again(service: Service):
    service.add({"customerOrderId": "a", "status": "PROCESSED"}, force="true")
    service.update_by_shop_id("a", {}, force="true")
    service.update_by_shop_id("a", {"status": "PROCESSED"}, force="true")
    service.update_by_shop_id("a", {}, force="false")

    assert service.event_kinds() == ["orderAdded", "forced", "forced"]


def test_force_does_not_fire_for_a_pending_order(service: Service):
    service.add({"customerOrderId": "a"}, force="true")
    service.update_by_shop_id("a", {}, force="true")

    assert service.event_kinds() == []


def test_silence(service: Service):
    service.add({"customerOrderId": "a", "status": "PROCESSED"}, triggerEvents="false")
    service.update_by_shop_id("a", {}, triggerEvents="false", force="true")
    assert service.event_kinds() == []

    service.update_by_shop_id("a", {"status": "PROCESSED"})
    assert service.event_kinds() == [], "what was passed over in silence is not made up for"

    service.update_by_shop_id("a", {"status": "PENDING"})
    service.update_by_shop_id("a", {"status": "PROCESSED"})
    assert service.event_kinds() == ["stateChange"]


def test_misspelt_parameter_leaves_the_default(service: Service):
    service.add({"customerOrderId": "a", "status": "PROCESSED"}, triggerEvent="false")

    assert service.event_kinds() == ["orderAdded"]


@pytest.mark.parametrize("body", [{"emailAddress": "new@example.com"}, {"grandTotal": "x"}, {"tid": "x"}])
def test_refused_call_fires_nothing(service: Service, body):
    assert service.add({"customerOrderId": "a", "status": "PROCESSED", **body}).status_code >= 400
    service.add({"customerOrderId": "b"})
    assert service.update_by_shop_id("b", {"status": "PROCESSED", **body}).status_code >= 400

    assert service.event_kinds() == []
