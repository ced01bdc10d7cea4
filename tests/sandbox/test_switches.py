"""Each question that the documents leave open: what a client sees under each answer that its switch can give."""

from __future__ import annotations

import ast
import json
import re
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.sandbox.samples import ANOTHER_TID, CART_ID, COOKIE_NAME, COOKIE_VALUE
from tests.sandbox.service import ROOT, Service, reason, shop_path

OTHER_CART_ID = "0ad24370-96de-4922-9a53-954530fcbb64"
PAIR = {"trackingCookieName": COOKIE_NAME, "trackingCookieValue": COOKIE_VALUE}
DOCUMENT = (ROOT / "docs" / "sandbox.md").read_text("utf-8")


def turn(service: Service, **values: Any) -> None:
    assert service.control("PUT", "switches", values).items() >= values.items()


def names(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [order["customerOrderId"] for order in answer.json()]


def refresh(service: Service, token: str) -> Any:
    form = {"grant_type": "refresh_token", "client_id": "sandbox", "client_secret": "sandbox-secret"}
    return service.ask_token({**form, "refresh_token": token})


def search_with(service: Service, token: str) -> Any:
    headers = {"Authorization": f"Bearer {token}"}
    return service.call("GET", "/orders?customerOrderId=nothing", headers=headers)


class TestUpdate:
    def test_order_date(self, service: Service):
        added = service.add({"customerOrderId": "a", "orderDate": "2015-01-01"}).json()
        body = {"orderDate": "2016-06-06", "currency": "EUR"}

        changed = service.update_by_shop_id("a", body).json()
        assert (changed["orderDate"], changed["currency"]) == (added["orderDate"], "EUR")

        turn(service, orderDateOnUpdate="refuse")
        assert reason(service.update_by_shop_id("a", body), 400) == "orderDate: cannot be changed"
        assert service.update_by_shop_id("a", {"currency": "JPY"}).json()["orderDate"] == added["orderDate"]

        turn(service, orderDateOnUpdate="take")
        assert service.update_by_shop_id("a", body).json()["orderDate"] == "2016-06-06T00:00:00.000Z"
        assert names(service.search(startDate="2016-01-01")) == ["a"]

    @pytest.mark.parametrize("name", ["customerOrderId", "cartId"])
    def test_ids(self, service: Service, name):
        order = service.add({"customerOrderId": "a", "cartId": CART_ID}).json()
        body = {"customerOrderId": "b", "cartId": OTHER_CART_ID}

        changed = service.update(order["orderId"], {name: body[name]})
        assert changed.json()[name] == order[name]

        turn(service, idsOnUpdate="refuse")
        assert reason(service.update(order["orderId"], {name: body[name]}), 400) == f"{name}: cannot be changed"
        assert service.update(order["orderId"], {}).status_code == 200

        turn(service, idsOnUpdate="take")
        changed = service.update(order["orderId"], {name: body[name]})
        assert changed.json()[name] == body[name]
        assert service.get(order["orderId"]).json() == changed.json()

    def test_taken_ids_lead_to_the_order(self, service: Service):
        turn(service, idsOnUpdate="take")
        order = service.add({"customerOrderId": "a", "cartId": CART_ID}).json()

        service.update_by_shop_id("a", {"customerOrderId": "b/1", "cartId": OTHER_CART_ID})

        assert service.call("GET", shop_path("b/1")).json()["orderId"] == order["orderId"]
        assert service.call("GET", shop_path("a")).status_code == 404
        assert names(service.search(cartId=OTHER_CART_ID)) == names(service.search(customerOrderId="b/1")) == ["b/1"]
        assert service.search(cartId=CART_ID).status_code == 204
        assert service.update_by_shop_id("b/1", {"customerOrderId": "b/1", "cartId": None}).json()["cartId"] is None
        assert service.add({"customerOrderId": "a"}).status_code == 201, "the id that it had is free"

    @pytest.mark.parametrize(("taken", "holder"), [("b", "an order"), ("r", "a return")])
    def test_no_two_have_one_id(self, service: Service, taken, holder):
        service.add({"customerOrderId": "a"})
        service.add({"customerOrderId": "b"})
        service.control("POST", "returns", {"customerOrderId": "r"})
        before = service.orders()
        turn(service, idsOnUpdate="take")

        body = {"customerOrderId": taken, "currency": "EUR", "status": "PROCESSED", "emailAddress": "new@example.com"}
        answer = service.update_by_shop_id("a", body, createContact="true")

        assert reason(answer, 409) == f"{holder} with customerOrderId {taken} already exists"
        assert service.orders() == before
        assert service.event_kinds() == service.control("GET", "contacts") == []

    def test_null(self, service: Service):
        body = {"currency": "EUR", "grandTotal": 5, "lineItems": [{"name": "x"}], "shippingDate": "2015-01-02"}
        kept = service.add({"customerOrderId": "a", "cartId": CART_ID, **body}).json()
        nulls = dict.fromkeys([*body, "cartId"])

        turn(service, nullOnUpdate="keep", idsOnUpdate="take")
        changed = service.update_by_shop_id("a", {**nulls, "messageId": "m"}).json()
        assert changed == {**kept, "messageId": "m", "updatedDate": changed["updatedDate"]}

        turn(service, nullOnUpdate="refuse")
        text = reason(service.update_by_shop_id("a", nulls), 400)
        assert set(text.split("; ")) == {f"{name}: must not be null" for name in nulls}
        assert service.add({"customerOrderId": "b", **nulls}).status_code == 201

        turn(service, nullOnUpdate="clear")
        changed = service.update_by_shop_id("a", nulls).json()
        assert {name: changed[name] for name in nulls} == {**nulls, "grandTotal": 0, "lineItems": []}

    def test_empty_line_items(self, service: Service):
        lines = service.add({"customerOrderId": "a", "lineItems": [{"name": "x"}, {}]}).json()["lineItems"]

        turn(service, emptyLineItems="keep")
        assert service.update_by_shop_id("a", {"lineItems": []}).json()["lineItems"] == lines
        assert len(service.update_by_shop_id("a", {"lineItems": [{}]}).json()["lineItems"]) == 1
        assert service.update_by_shop_id("a", {"lineItems": None}).json()["lineItems"] == []

        service.control("DELETE", "switches")
        service.update_by_shop_id("a", {"lineItems": [{}]})
        assert service.update_by_shop_id("a", {"lineItems": []}).json()["lineItems"] == []

    def test_partial_states(self, service: Service):
        both = {"processed": True, "shipped": True}
        service.add({"customerOrderId": "a", "states": both})

        assert service.update_by_shop_id("a", {"states": {"processed": True}}).json()["states"] == both
        assert service.update_by_shop_id("a", {"states": {}}).json()["states"] == both

        turn(service, partialStates="reset")
        assert service.update_by_shop_id("a", {"status": "PROCESSED"}).json()["states"] == both
        changed = service.update_by_shop_id("a", {"states": {"shipped": True}}).json()
        assert (changed["states"], changed["status"]) == ({"processed": False, "shipped": True}, "PENDING")
        assert service.update_by_shop_id("a", {"states": {}}).json()["states"] == dict.fromkeys(both, False)

    @pytest.mark.parametrize("body", [{"status": "PENDING"}, {"states": {"processed": False}}])
    def test_back_to_pending(self, service: Service, body):
        order = service.add({"customerOrderId": "a", "status": "PROCESSED"}).json()

        turn(service, backToPending="ignore")
        changed = service.update_by_shop_id("a", {**body, "currency": "EUR"}).json()
        assert changed == {**order, "currency": "EUR", "updatedDate": changed["updatedDate"]}

        turn(service, backToPending="refuse")
        assert "pending" in reason(service.update_by_shop_id("a", {**body, "currency": "JPY"}), 400)
        assert service.orders() == [changed]
        assert service.add({"customerOrderId": "b", **body}).status_code == 201

        turn(service, backToPending="allow")
        changed = service.update_by_shop_id("a", body).json()
        assert (changed["status"], changed["states"]["processed"]) == ("PENDING", False)

    def test_processed_orders(self, service: Service):
        service.add({"customerOrderId": "a"})
        service.add({"customerOrderId": "b", "status": "PROCESSED"})
        assert service.update_by_shop_id("b", {"currency": "EUR"}).status_code == 200
        before = service.orders()

        turn(service, processedOrders="refuse")
        assert "is processed" in reason(service.update_by_shop_id("b", {"currency": "JPY"}), 400)
        assert service.orders() == before
        assert service.update_by_shop_id("a", {"status": "PROCESSED"}).status_code == 200
        reason(service.update_by_shop_id("a", {"states": {"shipped": True}}), 400)
        assert service.call("DELETE", shop_path("a")).status_code == 204
        assert len(service.orders()) == 1


class TestAdd:
    def test_required_fields(self, service: Service):
        assert reason(service.add({"currency": "EUR"}), 400) == "customerOrderId: is required"

        turn(service, requiredOnAdd=["customerOrderId", "currency", "emailAddress"])
        text = reason(service.add({"customerOrderId": "a", "emailAddress": None}), 400)
        assert text == "currency: is required; emailAddress: is required"
        body = {"customerOrderId": "a", "currency": "EUR", "emailAddress": "a@example.com"}
        assert service.add(body, createContact="true").status_code == 201
        assert service.update_by_shop_id("a", {}).status_code == 200

    def test_orders_without_an_id_of_the_shop(self, service: Service):
        turn(service, requiredOnAdd=[], idsOnUpdate="take")
        service.add({"customerOrderId": "a"})
        body = {"status": "PROCESSED", "orderDate": "2015-01-01", "cartId": CART_ID}
        first, second = (service.add({**body, **more}).json() for more in ({}, {"customerOrderId": None}))

        assert first["customerOrderId"] is second["customerOrderId"] is None
        assert first["orderId"] != second["orderId"]
        assert service.get(first["orderId"]).json() == first
        assert service.search(cartId=CART_ID).json() == service.search(endDate="2015-01-01").json() == [first, second]
        assert service.call("GET", shop_path("None")).status_code == 404
        assert [event["customerOrderId"] for event in service.control("GET", "events")] == [None, None]
        page = service.session.get(f"{service.base_url}/_sandbox/", timeout=30)
        assert page.status_code == 200
        assert first["orderId"] in page.text

        service.stage({"match": {"customerOrderId": "a"}, "status": 503})
        assert service.update(first["orderId"], {"currency": "EUR"}).json()["currency"] == "EUR"
        service.control("DELETE", "faults")
        reason(service.update(first["orderId"], {"customerOrderId": "a"}), 409)
        service.update(first["orderId"], {"customerOrderId": "b"})
        assert service.call("GET", shop_path("b")).json()["orderId"] == first["orderId"]
        assert service.update_by_shop_id("b", {"customerOrderId": None}).json()["customerOrderId"] is None
        assert service.call("DELETE", f"/orders/{first['orderId']}").status_code == 204
        assert [order["orderId"] for order in service.orders()[1:]] == [second["orderId"]]

    def test_absent_order_date(self, service: Service):
        added = service.add({"customerOrderId": "a"}).json()
        assert added["orderDate"] == added["createdDate"]

        turn(service, absentOrderDate="null", orderDateOnUpdate="take")
        for name, body in (("b", {}), ("c", {"orderDate": None})):
            assert service.add({"customerOrderId": name, **body}).json()["orderDate"] is None
        assert names(service.search(startDate="2000-01-01")) == ["a"]
        assert names(service.search(customerOrderId="b")) == ["b"]
        assert service.update_by_shop_id("b", {"orderDate": "2015-01-01"}).json()["orderDate"].startswith("2015")
        assert names(service.search(endDate="2015-01-01")) == ["b"]
        assert service.add({"customerOrderId": "d", "orderDate": "2015-01-01"}).json()["orderDate"].startswith("2015")

    def test_unknown_fields(self, service: Service):
        junk = {"colour": "red", "lineItems": [{"weight": 5}], "states": {"paid": True}}
        returned = service.add({"customerOrderId": "a", **junk}).json()

        turn(service, unknownFields="refuse")
        for answer in (service.add({"customerOrderId": "b", **junk}), service.update_by_shop_id("a", junk)):
            assert reason(answer, 400) == "colour: no such field"
        for name, place in (("lineItems", "lineItems[0].weight"), ("states", "states.paid")):
            assert reason(service.update_by_shop_id("a", {name: junk[name]}), 400) == f"{place}: no such field"
        assert service.update_by_shop_id("a", {**returned, "tid": COOKIE_VALUE, **PAIR}).status_code == 200

    def test_unknown_parameters(self, service: Service):
        order = service.add({"customerOrderId": "a"}, siteId="1").json()
        calls = [
            ("POST", "/orders?"),
            ("GET", "/orders?customerOrderId=a&"),
            *((method, f"/orders/{order['orderId']}?") for method in ("GET", "POST", "DELETE")),
        ]
        assert service.call("GET", f"/orders/{order['orderId']}?triggerEvent=false").status_code == 200

        turn(service, unknownParameters="refuse")
        for method, path in calls:
            answer = service.call(method, f"{path}triggerEvent=false", json={"customerOrderId": "b"})
            assert reason(answer, 400) == "triggerEvent: no such parameter"
        assert service.orders() == [order]
        assert service.update_by_shop_id("a", {}, createContact="true", force="true").status_code == 200
        assert service.call("GET", f"{shop_path('a')}?deliveryId=1").status_code == 200
        assert service.call("DELETE", shop_path("a")).status_code == 204

    def test_malformed_parameters(self, service: Service):
        body = {"customerOrderId": "a", "status": "PROCESSED", "emailAddress": "a@example.com", "tid": "bad"}
        junk = {"createContact": "truetriggerEvents=", "triggerEvents": "", "force": "1", "ignoreInvalidTid": "yes"}
        assert reason(service.add(body, **junk), 400).count("must be true or false") == 4

        turn(service, malformedParameters="ignore")
        assert reason(service.add(body, **junk), 400).startswith("tid")
        assert "createContact" in reason(service.add({**body, "tid": None}, **junk), 409)
        assert service.add({"customerOrderId": "a", "status": "PROCESSED"}, **junk).status_code == 201
        assert service.update_by_shop_id("a", {}, **junk).status_code == 200
        assert service.event_kinds() == ["orderAdded"]
        assert "startDate" in reason(service.search(startDate="soon"), 400)

    def test_other_spellings(self, service: Service):
        body = {
            "status": "PROCESSED",
            "shippingTrackingURL": "http://example.com",
            "TrackingCookieName": COOKIE_NAME,
            "TrackingCookieValue": COOKIE_VALUE,
        }

        order = service.add({"customerOrderId": "a", **body}, triggerEvent="false").json()
        assert (order["shippingTrackingUrl"], order["hasTracking"]) == (None, False)
        reason(service.add({"customerOrderId": "b", "tid": "bad"}, ignoreInvalidTracking="true"), 400)
        assert service.event_kinds() == ["orderAdded"]

        turn(service, otherSpellings="take", unknownFields="refuse", unknownParameters="refuse")
        order = service.add({"customerOrderId": "b", **body}, triggerEvent="false").json()
        assert (order["shippingTrackingUrl"], order["trackingCookieName"]) == ("http://example.com", COOKIE_NAME)
        assert service.update_by_shop_id("b", {"tid": "bad"}, ignoreInvalidTracking="true").status_code == 200
        both = {"shippingTrackingUrl": "right", "shippingTrackingURL": "wrong"}
        assert service.update_by_shop_id("b", both).json()["shippingTrackingUrl"] == "right"
        assert service.event_kinds() == ["orderAdded"]

    def test_force_by_default(self, service: Service):
        service.add({"customerOrderId": "a", "status": "PROCESSED"})
        service.update_by_shop_id("a", {})
        assert service.event_kinds() == ["orderAdded"]

        turn(service, forceByDefault="true")
        service.update_by_shop_id("a", {})
        service.update_by_shop_id("a", {}, force="false")
        assert service.event_kinds() == ["orderAdded", "forced"]

    def test_ignore_invalid_tid_by_default(self, service: Service):
        reason(service.add({"customerOrderId": "a", "tid": "bad"}), 400)

        turn(service, ignoreInvalidTidByDefault="true")
        assert service.add({"customerOrderId": "a", "tid": "bad"}).json()["hasTracking"] is False
        reason(service.update_by_shop_id("a", {"tid": "bad"}, ignoreInvalidTid="false"), 400)


class TestValues:
    def test_flags_as_strings(self, service: Service):
        body = {"customerOrderId": "a", "states": {"processed": "true", "shipped": "false"}}
        assert service.add(body).json()["states"] == {"processed": True, "shipped": False}

        turn(service, stringFlags="refuse")
        assert "states.processed" in reason(service.update_by_shop_id("a", body), 400)
        assert service.update_by_shop_id("a", {"states": {"processed": False}}, force="true").status_code == 200

    def test_date_without_an_offset(self, service: Service):
        body = {"customerOrderId": "a", "orderDate": "2015-01-01T10:00"}
        assert service.add(body).json()["orderDate"] == "2015-01-01T10:00:00.000Z"

        turn(service, dateWithoutOffset="refuse")
        for answer in (service.add(body), service.update_by_shop_id("a", body)):
            assert reason(answer, 400) == "orderDate: must have an offset from UTC"
        assert "startDate" in reason(service.search(startDate="2015-01-01T10:00:00"), 400)
        for date in ("2015-01-01", "2015-01-01T10:00Z", "2015-01-01T10:00+01:00"):
            assert service.update_by_shop_id("a", {"orderDate": date}).status_code == 200

    def test_negative_amounts(self, service: Service):
        body = {"customerOrderId": "a", "discountAmount": -5, "lineItems": [{"quantity": "-1"}]}
        assert service.add(body).json()["discountAmount"] == -5

        turn(service, negativeAmounts="refuse")
        text = reason(service.update_by_shop_id("a", body), 400)
        assert text == "discountAmount: must not be negative; lineItems[0].quantity: must not be negative"
        assert service.update_by_shop_id("a", {"discountAmount": "-0.00"}).status_code == 200

    def test_decimal_places(self, service: Service):
        line = {"unitPrice": "0.12345678901234567890", "quantity": "2.675"}
        body = {"customerOrderId": "a", "grandTotal": "1.005", "taxAmount": "-4.125", "lineItems": [line]}
        assert '"grandTotal":1.005,' in service.add(body).text

        for places, expected in (
            (2, ['"grandTotal":1.00,', '"taxAmount":-4.12,', '"unitPrice":0.12', '"quantity":2.68,']),
            (0, ['"grandTotal":1,', '"taxAmount":-4,', '"unitPrice":0', '"quantity":3,']),
        ):
            service.control("PUT", "switches", {"decimalPlaces": places})
            text = service.update_by_shop_id("a", body).text
            assert all(part in text for part in expected), text
        turn(service, decimalPlaces=4)
        assert '"grandTotal":1.005,' in service.update_by_shop_id("a", body).text
        turn(service, decimalPlaces=19)
        longest = {"grandTotal": f"{'9' * 15}.{'9' * 20}", "subtotal": "123456789012345.12345678901234567891"}
        text = service.update_by_shop_id("a", longest).text
        assert f'"grandTotal":1{"0" * 15}.{"0" * 19},' in text
        assert '"subtotal":123456789012345.1234567890123456789,' in text

    def test_length_of_the_id(self, service: Service):
        service.add({"customerOrderId": "x" * 255})

        turn(service, customerOrderIdLength=20)
        assert "20 characters" in reason(service.add({"customerOrderId": "x" * 21}), 400)
        assert service.add({"customerOrderId": "日" * 20}).status_code == 201
        assert service.update_by_shop_id("x" * 255, {"currency": "EUR"}).status_code == 200
        assert names(service.search(customerOrderId="x" * 255)) == ["x" * 255]

    def test_length_of_texts(self, service: Service):
        body = {"customerOrderId": "abc-123", "shippingDetails": "ü" * 6, "orderDate": "2015-01-01T00:00:00.000Z"}
        assert service.add(body).json()["shippingDetails"] == "ü" * 6

        turn(service, textBytes=10)
        for name, place in (("shippingDetails", "ü" * 6), ("lineItems", [{"sku": "x" * 11}])):
            assert "10 bytes" in reason(service.update_by_shop_id("abc-123", {name: place}), 400)
        fitting = {**body, "shippingDetails": "ü" * 5, "cartId": CART_ID, "originIp": "2001:db8::1:2:3"}
        assert service.update_by_shop_id("abc-123", fitting).status_code == 200
        assert service.add({**fitting, "customerOrderId": "x" * 30}).status_code == 201
        assert names(service.search(customerOrderId="x" * 30, startDate="2015-01-01T00:00:00Z")) == ["x" * 30]

    def test_number_of_line_items(self, service: Service):
        assert service.add({"customerOrderId": "a", "lineItems": [{}] * 3}).status_code == 201

        turn(service, lineItems=2)
        assert "2 items" in reason(service.update_by_shop_id("a", {"lineItems": [{}] * 3}), 400)
        assert len(service.update_by_shop_id("a", {"lineItems": [{}] * 2}).json()["lineItems"]) == 2


class TestTracking:
    def test_check_of_tids(self, service: Service):
        def tracked(name: str, **fields: str) -> bool | None:
            answer = service.add({"customerOrderId": name, **fields})
            assert answer.status_code in (201, 400)
            return answer.json().get("hasTracking")

        assert tracked("a", tid=COOKIE_VALUE) is True
        assert tracked("b", tid="anything") is None

        turn(service, tidCheck="any")
        assert tracked("c", tid="anything") is True
        assert tracked("d", **{**PAIR, "trackingCookieValue": "a b|c"}) is True
        assert tracked("e", **{**PAIR, "trackingCookieName": "session"}) is None
        assert tracked("e", tid="") is None

        turn(service, tidCheck="none")
        assert tracked("f", tid=COOKIE_VALUE) is None
        assert tracked("f", **PAIR) is None
        assert service.add({"customerOrderId": "f", **PAIR}, ignoreInvalidTid="true").json()["hasTracking"] is False

    @pytest.mark.parametrize("fields", [{"tid": "bad"}, {"trackingCookieName": COOKIE_NAME}])
    def test_invalid_tracking(self, service: Service, fields):
        reason(service.add({"customerOrderId": "a", **fields}), 400)

        turn(service, invalidTracking="drop")
        order = service.add({"customerOrderId": "a", **fields}, ignoreInvalidTid="false").json()
        assert (order["hasTracking"], order["trackingCookieName"]) == (False, None)

    def test_precedence(self, service: Service):
        def outcome(name: str, **fields: str) -> tuple[int, bool, bool]:
            answer = service.add({"customerOrderId": name, **PAIR, **fields})
            order = answer.json()
            return answer.status_code, order.get("hasTracking", False), bool(order.get("trackingCookieName"))

        bad_value = {"trackingCookieValue": "bad"}
        assert outcome("a", tid=ANOTHER_TID) == (201, True, True)
        assert outcome("b", tid="bad")[0] == outcome("b", tid=ANOTHER_TID, **bad_value)[0] == 400

        turn(service, trackingPrecedence="tid")
        assert outcome("c", tid=ANOTHER_TID) == (201, True, False)
        assert outcome("d", tid="bad")[0] == 400
        assert outcome("d", tid=ANOTHER_TID, **bad_value) == (201, True, False)
        assert outcome("e") == (201, True, True)

        turn(service, trackingPrecedence="cookie")
        assert outcome("f", tid=ANOTHER_TID) == (201, True, True)
        assert outcome("g", tid="bad") == (201, True, True)
        assert outcome("h", tid=ANOTHER_TID, **bad_value)[0] == 400
        assert service.add({"customerOrderId": "h", "tid": ANOTHER_TID}).json()["hasTracking"] is True

    @pytest.mark.parametrize("name", ["deliveryId", "messageId"])
    def test_delivery(self, service: Service, name):
        assert service.add({"customerOrderId": "a", name: "x"}).json()["hasTracking"] is False

        turn(service, deliveryIdTracks="yes")
        assert service.add({"customerOrderId": "b", name: "x"}).json()["hasTracking"] is True
        assert service.add({"customerOrderId": "c", name: ""}).json()["hasTracking"] is False
        assert service.update_by_shop_id("c", {name: "x"}).json()["hasTracking"] is True


class TestEvents:
    def test_force_when_silent(self, service: Service):
        service.add({"customerOrderId": "a", "status": "PROCESSED"})
        silent = {"triggerEvents": "false", "force": "true"}
        service.update_by_shop_id("a", {}, **silent)
        assert service.event_kinds() == ["orderAdded"]

        turn(service, forceWhenSilent="fire")
        service.update_by_shop_id("a", {}, **silent)
        service.update_by_shop_id("a", {}, triggerEvents="false")
        assert service.event_kinds() == ["orderAdded", "forced"]

    def test_order_added_in_silence(self, service: Service):
        for name in ("a", "b"):
            service.add({"customerOrderId": name, "status": "PROCESSED"}, triggerEvents="false")
            service.update_by_shop_id(name, {}, triggerEvents="false")
            service.update_by_shop_id(name, {})
            service.update_by_shop_id(name, {})
            assert service.event_kinds() == ([] if name == "a" else ["orderAdded"])
            turn(service, silencedOrderAdded="later")


class TestAnswers:
    def test_date_of_a_search(self, service: Service):
        made = service.add({"customerOrderId": "a", "orderDate": "2015-01-01"}).json()["createdDate"]
        assert names(service.search(endDate="2015-01-01")) == ["a"]
        assert service.search(startDate=made).status_code == 204

        turn(service, searchDate="createdDate")
        assert service.search(endDate="2015-01-01").status_code == 204
        assert names(service.search(startDate=made, endDate=made)) == ["a"]

    def test_ends_of_a_search(self, service: Service):
        for name in ("1", "2", "3"):
            service.add({"customerOrderId": name, "orderDate": f"2015-01-0{name}"})

        def found() -> list[str]:
            return names(service.search(startDate="2015-01-01", endDate="2015-01-03"))

        assert found() == ["1", "2", "3"]
        turn(service, searchEnds="start")
        assert found() == ["1", "2"]
        turn(service, searchEnds="end")
        assert found() == ["2", "3"]
        turn(service, searchEnds="neither")
        assert found() == ["2"]
        assert names(service.search(startDate="2015-01-01")) == ["2", "3"]
        assert names(service.search(endDate="2015-01-03")) == ["1", "2"]

    @pytest.mark.parametrize("name", ["deliveryId", "messageId", "contactId"])
    def test_parameters_of_a_get(self, service: Service, name):
        order = service.add({"customerOrderId": "a", name: "x"}).json()
        paths = (f"/orders/{order['orderId']}", shop_path("a"))
        for path in paths:
            assert service.call("GET", path, params={name: "y"}).json() == order

        turn(service, getParameters="match")
        for path in paths:
            assert "these parameters" in reason(service.call("GET", path, params={name: "y"}), 404)
            assert service.call("GET", path, params={name: "x"}).json() == order
            assert service.call("GET", path).json() == order

    def test_get_by_the_id_of_the_shop(self, service: Service):
        order = service.add({"customerOrderId": "a"}).json()
        assert service.call("GET", shop_path("a")).json() == order

        turn(service, getByCustomerOrderId="missing")
        assert reason(service.call("GET", shop_path("a")), 404) == "no such path"
        assert service.search(customerOrderId="a").json() == [service.get(order["orderId"]).json()] == [order]
        assert service.update_by_shop_id("a", {}).status_code == 200
        assert service.call("DELETE", shop_path("a")).status_code == 204

    def test_contact_id(self, service: Service):
        def add(name: str, address: str, **fields: str) -> Any:
            body = {"customerOrderId": name, "emailAddress": address, **fields}
            return service.add(body, createContact="true").json()["contactId"]

        assert add("a", "a@example.com") is None

        turn(service, contactId="filled")
        known, other = add("b", "A@example.com"), add("c", "c@example.com")
        assert str(UUID(known)) == known
        assert add("d", "a@example.com") == known != other
        assert add("e", "a@example.com", contactId="mine") == "mine"
        assert service.update_by_shop_id("b", {"emailAddress": "c@example.com"}).json()["contactId"] == other
        assert service.update_by_shop_id("b", {"currency": "EUR"}).json()["contactId"] == other
        assert service.update_by_shop_id("b", {"emailAddress": None}).json()["contactId"] is None
        reason(service.update_by_shop_id("b", {"emailAddress": "new@example.com"}), 409)

    def test_fields(self, service: Service):
        body = {"customerOrderId": "a", "orderSource": "WEBSITE", "contactId": "c", "messageId": "m"}
        documented = service.add(body).json()
        assert "orderSource" not in documented

        turn(service, answerFields="2017")
        without = service.get(documented["orderId"]).json()
        assert list(without) == [name for name in documented if name not in ("contactId", "messageId")]
        assert service.search(customerOrderId="a").json() == [without]
        assert service.add({"customerOrderId": "b"}).json().keys() == without.keys()

        turn(service, answerFields="orderSource")
        source = service.get(documented["orderId"]).json()
        assert list(source) == [*sorted({*documented, "orderSource"} - {"states"}), "states"]
        assert source == {**documented, "orderSource": "WEBSITE"}
        assert service.search(customerOrderId="b").json()[0]["orderSource"] is None
        changed = service.update_by_shop_id("a", {"orderSource": "STORE"})
        assert changed.json()["orderSource"] == "STORE"

        turn(service, answerFields="documented")
        assert service.get(documented["orderId"]).json().keys() == documented.keys()

    @pytest.mark.parametrize(
        ("method", "path", "headers", "status"),
        [
            ("GET", "/orders", {}, 400),
            ("GET", "/orders", {"Authorization": "none"}, 403),
            ("GET", "/orders/nothing", {}, 404),
            ("PUT", "/orders", {}, 405),
            ("POST", "/orders", {}, 409),
        ],
    )
    def test_body_of_errors(self, service: Service, method, path, headers, status):
        service.add({"customerOrderId": "a"})

        def call() -> Any:
            return service.call(method, path, json={"customerOrderId": "a"}, headers=headers)

        text = reason(call(), status)

        turn(service, errorBody="text")
        answer = call()
        assert (answer.status_code, answer.headers["X-Reason"], answer.text) == (status, text, text)
        assert answer.headers["Content-Type"] == "text/plain"

        turn(service, errorBody="empty")
        answer = call()
        assert (answer.status_code, answer.headers["X-Reason"], answer.content) == (status, text, b"")
        assert answer.headers["Content-Length"] == "0"
        assert "Content-Type" not in answer.headers
        assert service.requests()[-1]["responseBody"] == ""

    def test_form_of_reasons(self, service: Service):
        text = reason(service.get("nothing"), 404)

        turn(service, errorReason="serviceException")
        wrapped = reason(service.get("nothing"), 404)
        assert wrapped == f"ServiceExceptionMessage{{siteId=1, statusCode=404, reason={text}}}"
        parts = dict(part.split("=", 1) for part in wrapped.removesuffix("}").partition("{")[2].split(", "))
        assert parts == {"siteId": "1", "statusCode": "404", "reason": text}
        long = reason(service.get("x" * 1000), 404)
        assert len(long) == 500
        assert long.endswith("}")
        turn(service, errorBody="text")
        assert service.get("nothing").text == wrapped


class TestOAuth:
    def test_errors(self, service: Service):
        client = {"client_id": "sandbox", "client_secret": "wrong"}
        forms = [client, {**client, "grant_type": "client_credentials"}]
        assert [service.ask_token(form).status_code for form in forms] == [400, 401]
        assert "error" in service.ask_token(forms[1]).json()

        turn(service, tokenErrors="forbidden")
        assert [reason(service.ask_token(form), 403) for form in forms] == [
            "grant_type is missing",
            "the client id or the client secret is wrong",
        ]
        reason(refresh(service, "nonsense"), 403)

    def test_type(self, service: Service):
        assert service.grant()["token_type"] == "bearer"

        turn(service, tokenType="Bearer")
        granted = service.grant()
        assert granted["token_type"] == "Bearer"

        turn(service, tokenType="absent")
        assert service.grant().keys() == granted.keys() - {"token_type"}
        assert "token_type" not in refresh(service, granted["refresh_token"]).json()

    def test_refresh_tokens(self, service: Service):
        first = service.grant()["refresh_token"]
        second = refresh(service, first).json()["refresh_token"]
        assert second != first
        assert refresh(service, first).status_code == 400

        turn(service, refreshTokens="keep")
        for _ in range(2):
            answer = refresh(service, second)
            assert answer.json()["refresh_token"] == second
            assert search_with(service, answer.json()["access_token"]).status_code == 204
        turn(service, clockSkewSeconds=30 * 24 * 3600 + 60)
        assert refresh(service, second).status_code == 400, "a refresh does not lengthen its life"

    def test_lives(self, service: Service):
        turn(service, accessTokenSeconds=60, refreshTokenSeconds=600)
        granted = service.grant()
        assert granted["expires_in"] == 60

        for seconds, access, renewed in ((0, 204, 200), (50, 204, 200), (61, 403, 200), (601, 403, 400)):
            service.control("PUT", "switches", {"clockSkewSeconds": seconds, "refreshTokens": "keep"})
            assert search_with(service, granted["access_token"]).status_code == access, seconds
            assert refresh(service, granted["refresh_token"]).status_code == renewed, seconds

    def test_lives_of_older_tokens(self, service: Service):
        granted = service.grant()

        turn(service, accessTokenSeconds=0, refreshTokenSeconds=0)
        assert search_with(service, granted["access_token"]).status_code == 204
        newer = refresh(service, granted["refresh_token"]).json()
        assert search_with(service, newer["access_token"]).status_code == 403
        assert refresh(service, newer["refresh_token"]).status_code == 400


class TestClock:
    @pytest.mark.parametrize("seconds", [7200, -7200])
    def test_skew(self, service: Service, seconds):
        assert service.token
        service.control("PUT", "switches", {"clockSkewSeconds": seconds, "accessTokenSeconds": 10**6})
        expected = datetime.now(UTC) + timedelta(seconds=seconds)
        body = {"customerOrderId": "a", "status": "PROCESSED", "emailAddress": "a@example.com"}
        headers = {"Authorization": f"Bearer {service.grant()['access_token']}"}
        answer = service.call("POST", "/orders?createContact=true", json=body, headers=headers)

        order = answer.json()
        moments = [
            *(order[name] for name in ("createdDate", "updatedDate", "orderDate")),
            service.control("GET", "events")[0]["firedDate"],
            service.control("GET", "contacts")[0]["createdDate"],
            service.requests()[-1]["time"],
        ]
        for moment in [parsedate_to_datetime(answer.headers["Date"]), *map(datetime.fromisoformat, moments)]:
            assert abs(moment - expected) < timedelta(seconds=20)

    def test_skew_and_tokens(self, service: Service):
        granted = service.grant()

        turn(service, clockSkewSeconds=3601)
        assert reason(search_with(service, granted["access_token"]), 403) == "the access token has expired"
        assert refresh(service, granted["refresh_token"]).json()["expires_in"] == 3600

        turn(service, clockSkewSeconds=-3601)
        assert search_with(service, granted["access_token"]).status_code == 204

    def test_skew_and_dates(self, service: Service):
        order = service.add({"customerOrderId": "a"}).json()
        turn(service, clockSkewSeconds=-3600)
        assert service.update_by_shop_id("a", {}).json()["updatedDate"] == order["updatedDate"], "it never goes back"

        late = (datetime.now(UTC) + timedelta(days=6 * 365)).isoformat()
        assert "5 years" in reason(service.add({"customerOrderId": "b", "orderDate": late}), 400)
        turn(service, clockSkewSeconds=2 * 365 * 24 * 3600, accessTokenSeconds=10**9 // 4)
        headers = {"Authorization": f"Bearer {service.grant()['access_token']}"}
        body = {"customerOrderId": "b", "orderDate": late}
        assert service.call("POST", "/orders", json=body, headers=headers).status_code == 201


def turned() -> dict[str, list[Any]]:
    """The values that this file turns each switch to, where they stand in the call."""
    found = defaultdict(list)
    for node in ast.walk(ast.parse(Path(__file__).read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "turn":
            for keyword in node.keywords:
                found[keyword.arg or ""].append(
                    ast.literal_eval(keyword.value) if isinstance(keyword.value, ast.Constant) else None
                )
    return found


def possible(service: Service, name: str) -> str:
    """What a switch may be set to, in the words of the refusal of something else."""
    answer = service.session.put(f"{service.base_url}/_sandbox/switches", json={name: "?"}, timeout=30)
    head, _, words = reason(answer, 400).partition(": must be ")
    assert head == name
    return words


@pytest.mark.parametrize("number", ["1e999999999", "-1e999999999", "1e-999999999", "true", '"60"'])
def test_number_that_is_none_is_refused_at_once(service: Service, number):
    body = f'{{"tidCheck": "any", "accessTokenSeconds": {number}}}'
    headers = {"Content-Type": "application/json"}

    answer = service.session.put(f"{service.base_url}/_sandbox/switches", data=body, headers=headers, timeout=5)

    assert reason(answer, 400).startswith("accessTokenSeconds: must be a whole number")
    assert service.control("GET", "switches")["tidCheck"] == "shape"


def test_every_switch_and_value_is_tested(service: Service):
    defaults, tested = service.control("GET", "switches"), turned()

    assert set(tested) == set(defaults)
    for name, default in defaults.items():
        if isinstance(default, str):
            choices = possible(service, name).removeprefix("one of ").split(", ")
            assert choices[0] == default
            assert {default, *tested[name]} == set(choices), name
        else:
            assert any(value != default for value in tested[name]), name


def test_every_switch_is_documented(service: Service):
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", DOCUMENT, re.MULTILINE))
    for name, default in service.control("GET", "switches").items():
        words = possible(service, name)
        if isinstance(default, str):
            expected = ", ".join(f"`{choice}`" for choice in words.removeprefix("one of ").split(", "))
        elif isinstance(default, int):
            expected = f"`{default}`; {words.removeprefix('a whole number from ')}"
        else:
            expected = f"`{json.dumps(default)}`; any list of fields"
        assert rows.get(name) == expected, name
