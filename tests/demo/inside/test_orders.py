from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from bronto_orders.models import LineItem, Order
from demo_project.shop.models import Purchase
from tests.demo.inside.conftest import check_out, put_in_cart


@pytest.fixture
def thanks(shopper: Client) -> str:
    """The address of the thank-you page of an order that came by the first campaign."""
    inbox = shopper.get("/inbox/").content.decode()
    shopper.get(re.search(r'href="(/products/[^"]*_bta_tid=[^"]*)"', inbox)[1])
    put_in_cart(shopper, "bronto-mug", 2)
    put_in_cart(shopper, "fern-print")
    return check_out(shopper)


def test_checkout_writes_purchase_and_order(thanks: str) -> None:
    purchase, order = Purchase.objects.get(), Order.objects.get()
    assert purchase.mirror == order
    assert order.customer_order_id == purchase.number == f"DEMO-{purchase.pk + 1000}"
    assert (order.email_address, order.currency, order.order_source) == ("ada@example.com", "USD", "WEBSITE")
    assert order.processed
    assert not order.shipped
    assert order.subtotal == Decimal("53.00")
    assert order.grand_total == order.subtotal + order.shipping_amount + order.tax_amount == Decimal("62.32")
    assert (order.grand_total, order.order_date) == (purchase.total, purchase.placed_at)
    assert sum(item.total_price for item in order.line_items.all()) == order.subtotal
    mug, _print = order.line_items.all()
    assert (mug.position, mug.sku, mug.quantity, mug.unit_price) == (0, "MUG-01", 2, Decimal("14.50"))
    assert mug.product_url == "http://testserver/products/bronto-mug/"
    assert mug.image_url == "http://testserver/static/pictures/mug.svg"


def test_checkout_takes_over_the_campaign(thanks: str) -> None:
    order = Order.objects.get()
    assert order.tid.startswith("3.")
    assert order.origin_ip == "127.0.0.1"


def test_checkout_wakes_the_worker_once(shopper: Client, django_capture_on_commit_callbacks: Any) -> None:
    put_in_cart(shopper, "bronto-mug")
    with django_capture_on_commit_callbacks() as hooks:
        check_out(shopper)
    assert len(hooks) >= 1


def test_checkout_keeps_all_or_nothing(shopper: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("the lines could not be written")

    put_in_cart(shopper, "bronto-mug")
    monkeypatch.setattr(LineItem.objects, "bulk_create", fail)
    with pytest.raises(RuntimeError, match="the lines"):
        check_out(shopper)
    assert not Purchase.objects.exists()
    assert not Order.objects.exists()


def test_checkout_needs_a_cart(shopper: Client) -> None:
    response = shopper.post("/checkout/", {"name": "Ada", "email": "ada@example.com"})
    assert response.status_code == 302
    assert not Purchase.objects.exists()


@pytest.mark.parametrize("fields", [{}, {"name": "Ada", "email": "nobody"}, {"name": " ", "email": "ada@example.com"}])
def test_checkout_says_what_is_wrong(shopper: Client, fields: dict[str, str]) -> None:
    put_in_cart(shopper, "bronto-mug")
    response = shopper.post("/checkout/", fields)
    assert response.status_code == 422
    assert b'aria-invalid="true"' in response.content
    assert not Purchase.objects.exists()


def test_checkout_empties_the_cart(shopper: Client, thanks: str) -> None:
    assert b"nothing in it yet" in shopper.get("/cart/").content


def test_thanks_are_for_the_buyer_alone(thanks: str) -> None:
    assert Client().get(thanks).status_code == 404


def test_thanks_look_again_while_the_order_travels(shopper: Client, thanks: str) -> None:
    html = shopper.get(thanks).content.decode()
    assert 'http-equiv="refresh"' in html
    assert 'data-state="pending"' in html


def test_thanks_show_why_the_order_still_travels(shopper: Client, thanks: str) -> None:
    Order.objects.update(sync_message="Bronto could not be reached; trying again.")
    assert b"Bronto could not be reached; trying again." in shopper.get(thanks).content


def test_thanks_show_why_no_email_is_credited(shopper: Client) -> None:
    put_in_cart(shopper, "bronto-mug")
    thanks = check_out(shopper)
    Order.objects.update(
        sync_state="synced", due_at=None, has_tracking=False, synced_at=Purchase.objects.get().placed_at
    )
    assert "no: the visitor came by no campaign link</dd>" in shopper.get(thanks).content.decode()


def test_thanks_show_what_bronto_said(shopper: Client, thanks: str) -> None:
    purchase = Purchase.objects.get()
    Order.objects.update(
        sync_state="synced", due_at=None, bronto_order_id="b-1", has_tracking=True, synced_at=purchase.placed_at
    )
    html = shopper.get(thanks).content.decode()
    assert "refresh" not in html
    assert 'data-bronto-id="b-1" data-tracking="yes"' in html
    assert 'data-seconds="0.0"' in html


def test_thanks_show_why_an_order_was_refused(shopper: Client, thanks: str) -> None:
    Order.objects.update(sync_state="rejected", due_at=None, sync_message="The currency is unknown.")
    html = shopper.get(thanks).content.decode()
    assert "refresh" not in html
    assert "The currency is unknown." in html


def test_thanks_do_without_an_order_that_staff_have_deleted(shopper: Client, thanks: str) -> None:
    Order.objects.all().delete()
    assert b"At Bronto" not in shopper.get(thanks).content


def test_staff_mark_a_purchase_as_shipped(thanks: str) -> None:
    staff = Client()
    staff.force_login(get_user_model().objects.create_superuser("staff"))
    purchase, order = Purchase.objects.get(), Order.objects.get()
    for _ in range(2):
        action = {"action": "mark_as_shipped", "_selected_action": purchase.pk}
        assert staff.post("/admin/shop/purchase/", action).status_code == 302
    purchase.refresh_from_db()
    shipped = Order.objects.get()
    assert shipped.shipped
    assert shipped.shipping_date == purchase.shipped_at
    assert shipped.shipping_tracking_url == purchase.parcel_url == f"https://parcels.example.com/{purchase.number}"
    assert shipped.revision == order.revision + 1


def test_staff_see_purchases_without_a_query_for_each(thanks: str, django_assert_max_num_queries: Any) -> None:
    staff = Client()
    staff.force_login(get_user_model().objects.create_superuser("staff"))
    Purchase.objects.bulk_create(Purchase(**dict.fromkeys(("subtotal", "shipping", "tax", "total"), 1)) for _ in "abc")
    with django_assert_max_num_queries(6):
        assert staff.get("/admin/shop/purchase/").status_code == 200
    assert staff.get(f"/admin/shop/purchase/{Purchase.objects.earliest('pk').pk}/change/").status_code == 200
