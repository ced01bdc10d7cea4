from __future__ import annotations

import pytest

from tests.sandbox.samples import ANOTHER_TID, COOKIE_NAME, COOKIE_VALUE
from tests.sandbox.service import Service, reason

PAIR = {"trackingCookieName": COOKIE_NAME, "trackingCookieValue": COOKIE_VALUE}
INVALID = {
    "tid of 14 parts": {"tid": "3" + ".A" * 13},
    "tid of 16 parts": {"tid": "3" + ".A" * 15},
    "tid of another version": {"tid": "4" + COOKIE_VALUE[1:]},
    "tid with a plus": {"tid": COOKIE_VALUE + "+"},
    "tid with a line end": {"tid": COOKIE_VALUE + "\n"},
    "tid with a pipe": {"tid": COOKIE_VALUE.replace(".", "|")},
    "tid of 2000 letters": {"tid": COOKIE_VALUE + "A" * 2000},
    "empty tid": {"tid": ""},
    "number for a tid": {"tid": 3},
    "name alone": {"trackingCookieName": COOKIE_NAME},
    "value alone": {"trackingCookieValue": COOKIE_VALUE},
    "name not of a tid cookie": {**PAIR, "trackingCookieName": "sessionid"},
    "name without a suffix": {**PAIR, "trackingCookieName": "tid_"},
    "name no cookie can have": {**PAIR, "trackingCookieName": "tid_a;b"},
    "bad value": {**PAIR, "trackingCookieValue": "3.Ag"},
    "null pair": dict.fromkeys(PAIR),
    "null half": {**PAIR, "trackingCookieValue": None},
    "list for a name": {**PAIR, "trackingCookieName": []},
}


@pytest.mark.parametrize("tid", [COOKIE_VALUE, ANOTHER_TID, "3" + "." * 14])
def test_tid_is_taken_and_not_told(service: Service, tid):
    answer = service.add({"customerOrderId": "a", "tid": tid})

    assert answer.json()["hasTracking"] is True
    assert answer.json()["trackingCookieValue"] is None
    assert "tid" not in answer.json()
    assert tid not in answer.text
    assert tid not in service.call("GET", "/orders/customerOrderId/a").text


@pytest.mark.parametrize("name", [COOKIE_NAME, "tid_32910", "tid_" + "0f" * 16, "tid_c2l0ZQ", "tid_A_b-c"])
def test_pair_is_taken_and_told(service: Service, name):
    order = service.add({"customerOrderId": "a", **PAIR, "trackingCookieName": name}).json()

    assert order["hasTracking"] is True
    assert (order["trackingCookieName"], order["trackingCookieValue"]) == (name, COOKIE_VALUE)


@pytest.mark.parametrize("fields", INVALID.values(), ids=INVALID.keys())
def test_invalid_tracking_is_refused(service: Service, fields):
    for params in ({}, {"ignoreInvalidTid": "false"}, {"ignoreInvalidTracking": "true"}):
        text = reason(service.add({"customerOrderId": "a", **fields}, **params), 400)
        assert text.startswith(("tid", "trackingCookie"))
    assert service.orders() == []


@pytest.mark.parametrize("fields", INVALID.values(), ids=INVALID.keys())
def test_invalid_tracking_is_dropped_on_request(service: Service, fields):
    added = service.add({"customerOrderId": "a", **fields}, ignoreInvalidTid="true")
    assert added.status_code == 201
    assert added.json()["hasTracking"] is False

    service.add({"customerOrderId": "b", **PAIR})
    updated = service.update_by_shop_id("b", fields, ignoreInvalidTid="true").json()
    assert updated["hasTracking"] is True
    assert updated["trackingCookieValue"] == COOKIE_VALUE


def test_valid_half_survives_an_invalid_one(service: Service):
    order = service.add({"customerOrderId": "a", "tid": "bad", **PAIR}, ignoreInvalidTid="true").json()
    assert (order["hasTracking"], order["trackingCookieName"]) == (True, COOKIE_NAME)

    order = service.add(
        {"customerOrderId": "b", "tid": ANOTHER_TID, "trackingCookieName": "x"}, ignoreInvalidTid="true"
    )
    assert order.json()["hasTracking"] is True


def test_tracking_comes_with_an_update(service: Service):
    service.add({"customerOrderId": "a"})

    assert service.update_by_shop_id("a", {"tid": COOKIE_VALUE}).json()["hasTracking"] is True
    assert service.update_by_shop_id("a", {"tid": None}).json()["hasTracking"] is True
    assert service.update_by_shop_id("a", PAIR).json()["trackingCookieName"] == COOKIE_NAME
    assert service.update_by_shop_id("a", {}).json()["trackingCookieName"] == COOKIE_NAME


def test_delivery_id_is_not_tracking(service: Service):
    order = service.add({"customerOrderId": "a", "deliveryId": "d", "messageId": "m", "contactId": "c"}).json()

    assert order["hasTracking"] is False
    assert (order["deliveryId"], order["messageId"], order["contactId"]) == ("d", "m", "c")
