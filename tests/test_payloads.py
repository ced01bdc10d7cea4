from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.test import override_settings

from bronto_orders import wire
from bronto_orders.models import LineItem, Order
from bronto_orders.payloads import (
    FIELDS,
    ITEM_FIELDS,
    InvalidOrderError,
    acknowledged,
    add_body,
    build_document,
    fingerprint,
    update_body,
)
from tests.factories import LineItemFactory, OrderFactory

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def document(*items: LineItem, **fields: Any) -> dict[str, Any]:
    return build_document(OrderFactory.build(**fields), items, now=NOW)


class TestTable:
    def test_every_column_of_the_shop_is_sent(self) -> None:
        sent = {field.attribute for field in FIELDS} | {"processed", "shipped"}
        from bronto_orders.models.deliverable import DELIVERY_COLUMNS
        from bronto_orders.models.order import ATTRIBUTION_COLUMNS

        columns = {field.name for field in Order._meta.concrete_fields} - DELIVERY_COLUMNS
        assert sent == columns - ATTRIBUTION_COLUMNS - {"id", "account"}
        items = {field.name for field in LineItem._meta.concrete_fields} - {"id", "order", "position"}
        assert {field.attribute for field in ITEM_FIELDS} == items

    def test_wire_names_are_unique(self) -> None:
        for table in (FIELDS, ITEM_FIELDS):
            names = [field.name for field in table]
            assert len(names) == len(set(names))


class TestDocument:
    def test_empty_values_are_left_out(self) -> None:
        order = Order(customer_order_id="1", order_date=None)
        assert build_document(order, [], now=NOW) == {
            "customerOrderId": "1",
            "states": {"processed": False, "shipped": False},
            "lineItems": [],
        }

    def test_zero_is_a_value(self) -> None:
        assert document(discount_amount=Decimal(0))["discountAmount"] == 0

    @pytest.mark.parametrize(
        ("currency", "amount", "text"),
        [
            ("USD", "4.27", "4.27"),
            ("USD", "4.275", "4.28"),
            ("USD", "-4.275", "-4.28"),
            ("JPY", "427.5", "428"),
            ("KWD", "4.2755", "4.276"),
            ("CLF", "4.27555", "4.2756"),
            ("", "4.275", "4.28"),
            ("USD", "999999999999999.99", "999999999999999.99"),
        ],
    )
    def test_amounts_are_rounded_to_the_currency(self, currency: str, amount: str, text: str) -> None:
        item = LineItemFactory.build(order=None, total_price=Decimal(amount))
        made = document(item, currency=currency, grand_total=Decimal(amount))
        assert wire.dumps(made["grandTotal"]) == text
        assert wire.dumps(made["lineItems"][0]["totalPrice"]) == text

    def test_quantity_is_not_money(self) -> None:
        item = LineItemFactory.build(order=None, quantity=Decimal("0.125"))
        assert wire.dumps(document(item, currency="JPY")["lineItems"][0]["quantity"]) == "0.125"

    def test_dates_carry_their_offset(self) -> None:
        east = timezone(timedelta(hours=-4))
        made = document(order_date=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=east))
        assert made["orderDate"] == "2026-01-02T03:04:05.678-04:00"

    @override_settings(TIME_ZONE="America/New_York")
    def test_naive_dates_are_local(self) -> None:
        made = document(order_date=datetime(2026, 1, 2), shipping_date=datetime(2026, 7, 2))
        assert (made["orderDate"][-6:], made["shippingDate"][-6:]) == ("-05:00", "-04:00")

    def test_half_a_cookie_pair_is_left_out(self) -> None:
        for half in ({"tracking_cookie_name": "tid_x"}, {"tracking_cookie_value": "3.x"}):
            assert not {"trackingCookieName", "trackingCookieValue"} & document(**half).keys()

    def test_cart_id(self) -> None:
        text = "7255c31c-39ac-4611-a2b7-974b0ebfa555"
        assert document(cart_id=UUID(text))["cartId"] == document(cart_id=text.upper())["cartId"] == text


class TestLimits:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("order_date", datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC)),
            ("order_date", datetime(2031, 6, 1, 0, 0, 1, tzinfo=UTC)),
            ("email_address", "nobody"),
            ("currency", "XXX"),
            ("currency", "usd"),
            ("origin_ip", "300.1.1.1"),
            ("cart_id", "cart"),
            ("grand_total", Decimal("NaN")),
            ("grand_total", "much"),
            ("shipping_details", "x" * 1_000_000),
            ("shipping_details", "\ud800"),
        ],
        ids=lambda value: str(value)[:30].encode("ascii", "backslashreplace").decode(),
    )
    def test_a_broken_limit_is_named(self, field: str, value: Any) -> None:
        with pytest.raises(InvalidOrderError) as caught:
            document(**{field: value})
        assert caught.value.code == f"invalid:{field}"
        assert str(caught.value.message).endswith(".")
        assert "nobody" not in str(caught.value.message)

    @pytest.mark.parametrize("day", [datetime(2000, 1, 1, tzinfo=UTC), datetime(2031, 6, 1, tzinfo=UTC)], ids=str)
    def test_ends_of_the_date_range(self, day: datetime) -> None:
        assert document(order_date=day)["orderDate"].startswith(str(day.date()))

    def test_five_years_after_a_leap_day(self) -> None:
        order = OrderFactory.build(order_date=datetime(2033, 2, 28, tzinfo=UTC))
        assert build_document(order, [], now=datetime(2028, 2, 29, tzinfo=UTC))

    def test_an_item_names_its_place(self) -> None:
        item = LineItemFactory.build(order=None, position=4, unit_price="dear")
        with pytest.raises(InvalidOrderError) as caught:
            document(item)
        assert caught.value.code == "invalid:line_items"
        assert "4" in str(caught.value.message)
        assert "unit_price" in str(caught.value.message)


class TestBodies:
    def setup_method(self) -> None:
        self.document = document(
            cart_id=UUID(int=1), tid="3.a", tracking_cookie_name="tid_x", tracking_cookie_value="3.b", origin_ip="::1"
        )

    def body(self, last_sent: dict[str, Any] | None = None, **options: bool) -> dict[str, Any]:
        options = {"certain": True, "with_order_date": False, "with_tracking": False, **options}
        return update_body(self.document, last_sent, **options)

    def test_add_says_all(self) -> None:
        assert add_body(self.document) == self.document

    def test_update_leaves_out_what_it_cannot_change(self) -> None:
        missing = self.document.keys() - self.body().keys()
        tracking = {"tid", "trackingCookieName", "trackingCookieValue"}
        assert missing == {"customerOrderId", "cartId", "orderDate"} | tracking

    def test_order_date_and_tracking_on_demand(self) -> None:
        assert "orderDate" in self.body(with_order_date=True)
        assert "tid" in self.body(with_tracking=True)

    def test_a_cleared_field_is_sent_as_null(self) -> None:
        body = self.body({**self.document, "shippingDetails": "by post", "taxAmount": 1})
        assert body["shippingDetails"] is None
        assert body["taxAmount"] == Decimal("0.28")

    def test_every_empty_field_is_null_while_it_is_uncertain_what_bronto_has(self) -> None:
        body = self.body(certain=False)
        assert body["shippingDetails"] is None
        assert not {"contactId", "messageId", "deliveryId", "tid", "cartId", "orderDate"} & body.keys()

    def test_never_null_for_what_is_not_sent(self) -> None:
        last_sent = {**self.document, "tid": "3.z"}
        for name in ("tid", "cartId", "customerOrderId", "orderDate"):
            del self.document[name]
        body = self.body(last_sent, with_tracking=True)
        assert not {"tid", "cartId", "customerOrderId", "orderDate"} & body.keys()

    def test_items_are_always_whole(self) -> None:
        assert self.body()["lineItems"] == []

    def test_acknowledged_is_what_bronto_has(self) -> None:
        last_sent = {**self.document, "shippingDetails": "by post"}
        assert acknowledged(self.body(last_sent), last_sent) == self.document
        assert acknowledged(add_body(self.document), None) == self.document


def test_fingerprint_is_of_the_content() -> None:
    first, second = document(grand_total=Decimal("4.20")), document(grand_total=Decimal("4.2"))
    for made in (first, second):
        del made["emailAddress"], made["customerOrderId"]
    one, same, other = map(wire.dumps, (first, second, {**first, "currency": "EUR"}))
    assert fingerprint(one, "default") == fingerprint(same, "default")
    assert fingerprint(one, "default") != fingerprint(other, "default")
    assert fingerprint(one, "default") != fingerprint(one, "eu")


def test_the_seed_example() -> None:
    """The worked example of the service's add page, typed from its values (S2)."""
    order = Order(
        customer_order_id="abc-123",
        cart_id=UUID("7255c31c-39ac-4611-a2b7-974b0ebfa555"),
        email_address="example@email.com",
        currency="USD",
        grand_total=Decimal("4.27"),
        discount_amount=Decimal(0),
        tax_amount=Decimal("0.28"),
        subtotal=Decimal("3.99"),
        order_date=datetime.combine(date(2015, 1, 1), datetime.min.time(), UTC),
        processed=True,
        origin_ip="127.0.0.1",
        tracking_cookie_name="tid_blkycggbjquivddbiddxylaufhfdbkj",
        tracking_cookie_value="3.Ag.AQ.AQ.AQ.AQ.AQ.t..l.AQ.n.VO4AkA.VO4AkA.G89Jow",
        shipping_amount=Decimal(0),
        shipping_details="Free next day shipping",
    )
    item = LineItem(
        name="Coffee Mug",
        description="A cool coffee mug",
        category="Kitchen Stuffs",
        other="5oz",
        sku="0003105",
        quantity=Decimal(1),
        total_price=Decimal("3.99"),
    )
    assert wire.dumps(build_document(order, [item], now=NOW)) == (
        '{"cartId":"7255c31c-39ac-4611-a2b7-974b0ebfa555","currency":"USD","customerOrderId":"abc-123",'
        '"discountAmount":0,"emailAddress":"example@email.com","grandTotal":4.27,'
        '"lineItems":[{"category":"Kitchen Stuffs","description":"A cool coffee mug","name":"Coffee Mug","other":"5oz",'
        '"quantity":1,"sku":"0003105","totalPrice":3.99}],'
        '"orderDate":"2015-01-01T00:00:00.000+00:00","originIp":"127.0.0.1",'
        '"shippingAmount":0,"shippingDetails":"Free next day shipping",'
        '"states":{"processed":true,"shipped":false},"subtotal":3.99,"taxAmount":0.28,'
        '"trackingCookieName":"tid_blkycggbjquivddbiddxylaufhfdbkj",'
        '"trackingCookieValue":"3.Ag.AQ.AQ.AQ.AQ.AQ.t..l.AQ.n.VO4AkA.VO4AkA.G89Jow"}'
    )
