"""PUT and PATCH of orders in the service's own shape."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.test import override_settings

from bronto_orders import payloads
from bronto_orders.delivery import hints
from bronto_orders.models import LineItem, Order, SyncState
from bronto_orders.testing import Sandbox, deliver_all
from tests.api.conftest import Api, kind, problems
from tests.factories import OrderFactory, acknowledge
from tests.test_end_to_end import REMOTE_MUG, USER_AGENT, without_ids

pytestmark = pytest.mark.django_db

#: The order of the service's worked example (S1, S2), each field of the tables given.
MUG: dict[str, Any] = {
    "customerOrderId": "abc-123",
    "cartId": "7255c31c-39ac-4611-a2b7-974b0ebfa555",
    "emailAddress": "example@email.com",
    "currency": "USD",
    "grandTotal": Decimal("4.27"),
    "discountAmount": 0,
    "taxAmount": "0.28",
    "subtotal": Decimal("3.99"),
    "orderDate": "2015-01-01",
    "states": {"processed": True, "shipped": False},
    "originIp": "127.0.0.1",
    "originUserAgent": USER_AGENT,
    "trackingCookieName": "tid_blkycggbjquivddbiddxylaufhfdbkj",
    "trackingCookieValue": "3.Ag.AQ.AQ.AQ.AQ.AQ.t..l.AQ.n.VO4AkA.VO4AkA.G89Jow",
    "shippingAmount": 0,
    "shippingDate": "2015-01-02T01:00:00+01:00",
    "shippingDetails": "Free next day shipping",
    "shippingTrackingUrl": "http://www.shipping.com/1234",
    "lineItems": [
        {
            "name": "Coffee Mug",
            "description": "A cool coffee mug",
            "category": "Kitchen Stuffs",
            "other": "5oz",
            "imageUrl": "http://www.example.com/images/0003105.jpg",
            "productUrl": "http://www.example.com/products/0003105",
            "sku": "0003105",
            "quantity": 1,
            "totalPrice": Decimal("3.99"),
            "unitPrice": 3.99,
            "salePrice": "3.99",
        }
    ],
}


def without(document: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in names}


def rows() -> list[dict[str, Any]]:
    return [*Order.objects.order_by("pk").values(), *LineItem.objects.order_by("pk").values()]


def synced(shop: Api, number: str = "abc-123", document: dict[str, Any] | None = None) -> Order:
    assert shop.put(number, document or MUG).status_code == 201
    order = Order.objects.get()
    acknowledge(order)
    order.refresh_from_db()
    return order


@pytest.mark.django_db(transaction=True)
def test_what_is_put_arrives_field_for_field(shop: Api, bronto_sandbox_mounted: Sandbox) -> None:
    with override_settings(BRONTO_ORDERS={"ACCOUNTS": {"default": bronto_sandbox_mounted.account}}):
        assert shop.put("abc-123", MUG).status_code == 201
        deliver_all()
        (remote,) = bronto_sandbox_mounted.orders
        assert without_ids(remote) == REMOTE_MUG

        changes = {"grandTotal": "6.27", "shippingDetails": None, "states": {"shipped": True}}
        assert shop.patch("abc-123", changes).status_code == 200
        deliver_all()
        (remote,) = bronto_sandbox_mounted.orders
        assert without_ids(remote) == REMOTE_MUG | {
            "grandTotal": 6.27,
            "shippingDetails": None,
            "states": {"processed": True, "shipped": True},
        }
        sent = len(bronto_sandbox_mounted.requests)

        for _again in range(2):
            answer = shop.patch("abc-123", changes)
            assert answer.status_code == 200
            assert answer.data["sync"]["state"] == "synced"
        deliver_all()
        assert len(bronto_sandbox_mounted.requests) == sent


def test_the_answer_shows_the_order_and_where_it_stands(api: Api) -> None:
    answer = api.put("abc-123", MUG)
    assert answer.status_code == 201
    data = answer.data
    assert data["order"] == {
        **MUG,
        "contactId": None,
        "messageId": None,
        "deliveryId": None,
        "orderSource": None,
        "tid": None,
        "grandTotal": 4.27,
        "taxAmount": 0.28,
        "subtotal": 3.99,
        "orderDate": "2015-01-01T00:00:00Z",
        "shippingDate": "2015-01-02T00:00:00Z",
        "lineItems": [{**MUG["lineItems"][0], "salePrice": 3.99, "totalPrice": 3.99}],
    }
    assert (data["account"], data["customerOrderId"]) == ("default", "abc-123")
    assert (data["sync"]["state"], data["sync"]["revision"], data["sync"]["presence"]) == ("pending", 1, "absent")
    assert data["explanation"]
    assert data == api.get(data["url"]).data


def test_what_is_shown_can_be_put_back_and_changes_nothing(api: Api) -> None:
    synced(api)
    before = rows()
    shown = api.get("/bronto/orders/default/abc-123/").data
    answer = api.put("abc-123", shown["order"])
    assert (answer.status_code, rows()) == (200, before)
    assert answer.data["sync"]["state"] == "synced"


@pytest.mark.parametrize("method", ["put", "patch"])
@pytest.mark.parametrize(
    "again",
    [
        {},
        {"grandTotal": "4.2700"},
        {"grandTotal": 4.27000000000000001},
        {"orderDate": "2015-01-01T05:30:00+05:30"},
        {"cartId": MUG["cartId"].upper()},
        {"status": "PROCESSED"},
        {"contactId": ""},
        {"contactId": None},
    ],
    ids=str,
)
def test_the_same_in_other_words_causes_no_push(shop: Api, method: str, again: dict[str, Any]) -> None:
    synced(shop)
    before = rows()
    assert getattr(shop, method)("abc-123", {**MUG, **again}).status_code == 200
    assert rows() == before


@pytest.mark.parametrize("name", sorted(MUG.keys() - {"customerOrderId", "trackingCookieName", "trackingCookieValue"}))
def test_put_empties_what_it_leaves_out_and_patch_leaves_it(shop: Api, name: str) -> None:
    order = synced(shop)
    before = rows()
    assert shop.patch("abc-123", without(MUG, name)).status_code == 200
    assert rows() == before
    assert shop.put("abc-123", without(MUG, name)).status_code == 200
    after = Order.objects.get()
    assert (after.sync_state, after.revision > order.revision) == (SyncState.PENDING, True)
    left = payloads.build_document(after, after.line_items.all(), now=datetime.now(UTC))
    empty = {"states": {"processed": False, "shipped": False}, "lineItems": []}
    assert left.get(name) == empty.get(name)
    assert shop.patch("abc-123", MUG).status_code == 200
    whole = Order.objects.get()
    assert shop.patch("abc-123", {name: None}).status_code == 200
    emptied = payloads.build_document(Order.objects.get(), LineItem.objects.all(), now=datetime.now(UTC))
    assert emptied == left
    assert Order.objects.get().revision > whole.revision


@pytest.mark.parametrize(
    ("body", "processed", "shipped"),
    [
        ({"states": {"shipped": True}}, True, True),
        ({"states": {"processed": False}}, False, False),
        ({"states": {"processed": None}}, False, False),
        ({"states": {"processed": "false", "shipped": "true"}}, False, True),
        ({"states": None}, False, False),
        ({"status": "PENDING"}, False, False),
        ({"status": None}, True, False),
        ({"status": "PENDING", "states": {"processed": True, "shipped": True}}, False, True),
        ({"status": None, "states": {"shipped": True}}, True, True),
    ],
    ids=str,
)
def test_status_and_states(shop: Api, body: dict[str, Any], processed: bool, shipped: bool) -> None:
    synced(shop)
    assert shop.patch("abc-123", body).status_code == 200
    order = Order.objects.get()
    assert (order.processed, order.shipped) == (processed, shipped)


def test_line_items_are_replaced_as_a_whole(shop: Api) -> None:
    synced(shop)
    items = [{"name": "Saucer", "quantity": "2.5"}, {"sku": "1"}, {}]
    assert shop.patch("abc-123", {"lineItems": items}).status_code == 200
    shown = LineItem.objects.values_list("position", "name", "sku", "quantity", "total_price")
    assert list(shown) == [(0, "Saucer", "", Decimal("2.5"), None), (1, "", "1", 1, None), (2, "", "", 1, None)]
    acknowledge(Order.objects.get())
    before = rows()
    assert shop.patch("abc-123", {"lineItems": items}).status_code == 200
    assert rows() == before
    assert shop.patch("abc-123", {"lineItems": items[::-1]}).status_code == 200
    assert Order.objects.get().sync_state == SyncState.PENDING


def test_numbers_keep_their_digits_and_lose_their_noise(shop: Api) -> None:
    body = b'{"grandTotal": 12345678901.2345, "subtotal": 0.30000000000000004, "taxAmount": -0.00001}'
    answer = shop.put("1", body)
    assert answer.status_code == 201
    order = Order.objects.get()
    assert (order.grand_total, order.subtotal) == (Decimal("12345678901.2345"), Decimal("0.3"))
    assert (order.tax_amount, order.tax_amount.is_signed()) == (0, False)
    assert b"12345678901.2345" in answer.content


def test_neither_the_callers_cookies_nor_its_address_are_taken_for_the_customers(shop: Api) -> None:
    shop.client.cookies["tid_blkycggbjquivddbiddxylaufhfdbkj"] = MUG["trackingCookieValue"]
    with override_settings(BRONTO_ORDERS={"ACCOUNTS": {"default": {}}, "TRACKING": {"CONSENT": lambda request: True}}):
        shop.put("1", {})
    order = Order.objects.get()
    assert (order.tid, order.tracking_cookie_value, order.origin_ip, order.origin_user_agent) == ("", "", None, "")


def test_every_problem_is_told_at_once_with_its_path(shop: Api) -> None:
    answer = shop.put(
        "1",
        {
            "customerOrderId": "2",
            "emailAdress": "a@b.example",
            "orderId": "0ad24370-96de-4922-9a53-954530fcbb64",
            "emailAddress": "nobody",
            "currency": "XXQ",
            "grandTotal": "1,000",
            "subtotal": True,
            "taxAmount": 10**15,
            "orderDate": "2026-01-01T10:00:00",
            "shippingDate": "soon",
            "shippingDetails": 5,
            "shippingTrackingUrl": "nowhere",
            "originIp": "1.2.3",
            "cartId": "7",
            "orderSource": "W" * 65,
            "messageId": "\x00",
            "status": "DONE",
            "states": {"procesed": True, "shipped": 1},
            "trackingCookieName": "tid_x",
            "lineItems": [{}, 5, {"quantity": "many", "position": 2, "imageUrl": "x", "Sku": "1"}],
        },
    )
    assert answer.status_code == 400
    assert kind(answer) == "invalid"
    assert problems(answer) == {
        "customerOrderId": "mismatch",
        "emailAdress": "unknown",
        "orderId": "read_only",
        "emailAddress": "invalid",
        "currency": "invalid",
        "grandTotal": "invalid",
        "subtotal": "invalid",
        "taxAmount": "max_whole_digits",
        "orderDate": "no_zone",
        "shippingDate": "invalid",
        "shippingDetails": "invalid",
        "shippingTrackingUrl": "invalid",
        "originIp": "invalid",
        "cartId": "invalid",
        "orderSource": "max_length",
        "messageId": "null_characters_not_allowed",
        "status": "invalid_choice",
        "states.procesed": "unknown",
        "states.shipped": "invalid",
        "trackingCookieValue": "required",
        "lineItems[1]": "invalid",
        "lineItems[2].quantity": "invalid",
        "lineItems[2].position": "read_only",
        "lineItems[2].imageUrl": "invalid",
        "lineItems[2].Sku": "unknown",
    }
    messages = {error["path"]: error["message"] for error in answer.data["errors"]}
    assert "“emailAddress”" in messages["emailAdress"]
    assert "“processed”" in messages["states.procesed"]
    assert "“sku”" in messages["lineItems[2].Sku"]
    assert "nobody" not in answer.content.decode()
    assert not Order.objects.exists()


#: More than five years ahead, in whole years: tests that run side by side must have the same names.
TOO_LATE = f"{datetime.now(UTC).year + 7}-01-01T00:00:00Z"


@pytest.mark.parametrize(
    "body",
    [
        {"orderDate": "1999-12-31T23:59:59Z"},
        {"orderDate": TOO_LATE},
        {"orderDate": ""},
        {"orderDate": "20150101"},
        {"orderDate": "2015-W01-1"},
        {"orderDate": "2015-02-29"},
        {"orderDate": "0001-01-01T00:00:00+14:00"},
        {"orderDate": 1420070400},
        {"orderDate": True},
        {"grandTotal": ""},
        {"grandTotal": " 1"},
        {"grandTotal": "1_000"},
        {"grandTotal": "NaN"},
        {"grandTotal": "\u0661"},
        {"grandTotal": "1e15"},
        {"grandTotal": "999999999999999.99999"},
        {"grandTotal": [1]},
        {"currency": "usd"},
        {"shippingDetails": "x" * 1_000_000},
        {"shippingDetails": "\ud800"},
        {"cartId": 7},
        {"states": []},
        {"states": {"shipped": []}},
        {"states": {"shipped": None, "processed": "yes"}},
        {"lineItems": {}},
        {"lineItems": "none"},
        {"lineItems": [None]},
        {"lineItems": [[]]},
        {"emailAddress": "j…@example.com"},
        {"originUserAgent": "•••"},
        {"tid": "•••"},
        {"account": "default"},
        {"non_field_errors": 1},
        {"": 1},
        {"x" * 100_000: 1},
        {"tid\ud800": 1},
        [],
        "order",
        None,
    ],
    ids=lambda body: str(body)[:40],
)
@pytest.mark.parametrize("method", ["put", "patch"])
def test_what_cannot_be_taken_is_refused_and_nothing_written(shop: Api, method: str, body: Any) -> None:
    synced(shop)
    before = rows()
    answer = getattr(shop, method)("abc-123", b"null" if body is None else body)
    assert answer.status_code == 400
    assert len(problems(answer)) == 1
    assert len(answer.content) < 2_000
    assert rows() == before


@pytest.mark.parametrize(
    "body", [{"trackingCookieName": None}, {"trackingCookieValue": "3"}, {"trackingCookieName": ""}]
)
def test_half_a_cookie_pair_is_refused_in_a_part(shop: Api, body: dict[str, Any]) -> None:
    synced(shop)
    assert list(problems(shop.patch("abc-123", body)).values()) == ["required"]
    assert shop.patch("abc-123", dict.fromkeys(("trackingCookieName", "trackingCookieValue"))).status_code == 200
    assert Order.objects.get().tracking_cookie_value == ""


@pytest.mark.parametrize(
    "number",
    ["a/b", "..", ".", "%2F", "a%2Fb", "ü", "a b", "1/diff", "a//b", "/", "\n", "a?b#c&d=e+f", "🧾"],
    ids=ascii,
)
def test_hostile_numbers(api: Api, number: str) -> None:
    def by_query(verb: str = "") -> str:
        return f"/bronto/order/{verb}?{urlencode({'account': 'default', 'customer_order_id': number})}"

    made = api.call("PUT", by_query(), {"customerOrderId": number, "grandTotal": 1})
    assert made.status_code == 201
    assert Order.objects.get().customer_order_id == number
    assert api.get(made.data["url"]).data == made.data
    assert api.call("PATCH", by_query(), {"grandTotal": 2}).data["order"]["grandTotal"] == 2
    acknowledge(Order.objects.get())
    assert api.post(by_query("resync/")).data == {"queued": True, "alreadyQueued": False}
    if number not in {"1/diff", "\n"}:
        assert api.put(number, {"grandTotal": 3}).status_code == 200
    assert Order.objects.count() == 1


def test_numbers_that_cannot_be(api: Api) -> None:
    too_long = api.put("x" * 256, {"customerOrderId": "x" * 256})
    assert (too_long.status_code, problems(too_long)) == (400, {"customerOrderId": "max_length"})
    empty = api.call("PUT", "/bronto/order/?account=default&customer_order_id=", {})
    assert problems(empty) == {"customerOrderId": "blank"}
    for answer in (api.put("\x00", {}), api.get("/bronto/orders/default/%00/"), api.get("/bronto/orders/d%00/1/")):
        assert (answer.status_code, kind(answer)) == (404, "not_found")
    missing = api.call("PUT", "/bronto/order/?acount=default", {})
    assert (missing.status_code, kind(missing)) == (400, "invalid_parameters")
    assert problems(missing) == {"account": "required", "customer_order_id": "required", "acount": "unknown"}
    assert not Order.objects.exists()


def test_accounts_that_are_not_configured_get_no_orders(api: Api) -> None:
    url = "/bronto/orders/outlet/1/"
    answer = api.call("PUT", url, {})
    assert (answer.status_code, kind(answer)) == (404, "not_found")
    order = OrderFactory(account="outlet", customer_order_id="1")
    assert api.get(url).data["account"] == "outlet"
    assert api.call("PATCH", url, {"grandTotal": 7}).status_code == 200
    order.refresh_from_db()
    assert order.grand_total == 7


@pytest.mark.parametrize(
    ("headers", "there", "absent"),
    [
        ({"If-Match": '"1"'}, 200, 412),
        ({"If-Match": '"7", "1"'}, 200, 412),
        ({"If-Match": '"2"'}, 412, 412),
        ({"If-Match": 'W/"1"'}, 412, 412),
        ({"If-Match": "1"}, 412, 412),
        ({"If-Match": "*"}, 200, 412),
        ({"If-None-Match": "*"}, 412, 201),
    ],
    ids=str,
)
def test_an_update_can_be_made_to_depend_on_the_revision(
    shop: Api, headers: dict[str, str], there: int, absent: int
) -> None:
    shop.put("1", {"grandTotal": 1})
    for number, status in (("1", there), ("2", absent)):
        answer = shop.put(number, {"grandTotal": 2}, **headers)
        assert answer.status_code == status
        assert Order.objects.filter(customer_order_id=number, grand_total=2).exists() == (status < 400)
        if status == 412:
            assert kind(answer) == "precondition_failed"


def test_a_part_of_an_order_that_is_not_there(shop: Api) -> None:
    answer = shop.patch("1", {"grandTotal": 1})
    assert (answer.status_code, kind(answer)) == (404, "not_found")


def test_cost_of_writing(shop: Api, django_assert_num_queries: Any) -> None:
    # Session, user and two of permissions; the savepoint's two; order, items and gate as they are shown.
    signed_in, savepoint, shown = 4, 2, 2
    items = [{"sku": str(number)} for number in range(50)]
    with django_assert_num_queries(signed_in + savepoint + shown + 4):  # look, insert order, insert items, reload
        shop.put("1", {"grandTotal": 1, "lineItems": items})
    with django_assert_num_queries(signed_in + savepoint + shown + 2):  # look, compare items
        shop.put("1", {"grandTotal": 1, "lineItems": items})
    with django_assert_num_queries(signed_in + savepoint + shown + 3):  # look, update, reload
        shop.patch("1", {"grandTotal": 2})
    acknowledge(Order.objects.get())  # no longer new in this transaction, so that items mark it
    # Look, compare, lock, delete, mark, mark, insert, reload.
    with django_assert_num_queries(signed_in + savepoint + shown + 8):
        shop.patch("1", {"lineItems": items[::-1]})


def test_numbers_that_the_database_cannot_tell_apart(shop: Api) -> None:
    assert shop.put("abc", {"grandTotal": 1}).status_code == 201
    answer = shop.put("ABC", {"grandTotal": 2})
    if connection.vendor == "mysql":
        assert (answer.status_code, kind(answer)) == (409, "conflict")
        assert shop.get("/bronto/orders/default/ABC/").status_code == 404
    else:
        assert answer.status_code == 201
    assert Order.objects.get(customer_order_id__exact="abc", grand_total=1).customer_order_id == "abc"


def test_everything_written_is_owed_and_wakes_the_workers(shop: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    woken: list[str | None] = []
    monkeypatch.setattr(hints, "wake_after_commit", lambda account, **kwargs: woken.append(account))
    shop.put("1", {"lineItems": [{}]})
    assert woken == ["default"]
    acknowledge(Order.objects.get())
    woken.clear()
    shop.patch("1", {"lineItems": [{}]})
    assert woken == []
    shop.patch("1", {"lineItems": [{}, {}]})
    assert woken
    assert list(Order.objects.due()) == [Order.objects.get()]


@pytest.mark.parametrize("address", ["2001:DB8::1", "2001:0db8:0:0:0:0:0:1", "::FFFF:203.0.113.9", "203.0.113.9"])
def test_an_address_written_otherwise_is_no_change(shop: Api, address: str) -> None:
    assert shop.put("n-1", {"originIp": address}).status_code == 201
    assert shop.put("n-1", {"originIp": address}).data["sync"]["revision"] == 1
    assert problems(shop.put("n-1", {"originIp": "2001:db8::zz"})) == {"originIp": "invalid"}
