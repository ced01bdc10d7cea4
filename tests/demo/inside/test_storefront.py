from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.sessions.backends.cache import SessionStore
from django.contrib.staticfiles import finders
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from bronto_orders.tracking import Tracking, is_tid
from demo_project.shop.campaigns import CAMPAIGNS
from demo_project.shop.cart import Cart
from demo_project.shop.catalogue import stock
from demo_project.shop.models import Product
from tests.demo.inside.conftest import check_out, put_in_cart


def test_shelves_are_stocked_once(shelves: None) -> None:
    stock()
    assert Product.objects.count() == 8
    assert all(finders.find(product.picture_path) for product in Product.objects.all())


@pytest.mark.django_db
def test_migrations_are_complete() -> None:
    call_command("makemigrations", "shop", "--check", "--dry-run", verbosity=0)


@pytest.mark.django_db
def test_checks_find_nothing() -> None:
    call_command("check", fail_level="WARNING")


def test_pages_hold_no_script_no_style_and_nothing_from_elsewhere(shopper: Client) -> None:
    put_in_cart(shopper, "bronto-mug")
    pages = ["/", "/products/bronto-mug/", "/inbox/", "/cart/", "/checkout/"]
    responses = [shopper.get(page) for page in pages]
    responses.append(shopper.get(check_out(shopper)))
    for response in responses:
        page, html = response.request["PATH_INFO"], response.content.decode()
        assert response.status_code == 200, page
        assert not re.search(r"<script|<style|\sstyle=|\son[a-z]+=", html), page
        assert set(re.findall(r'(?:src|href|action)="(https?://[^"]*)"', html)) <= {
            f"{settings.BRONTO_API_URL}/_sandbox/"
        }


def test_style_sheet_fetches_nothing() -> None:
    css = Path(str(finders.find("shop.css"))).read_text()
    assert "url(" not in css
    assert "@import" not in css


def test_inbox_shows_two_campaigns_with_tids_of_their_own(shopper: Client) -> None:
    html = shopper.get("/inbox/").content.decode()
    tids = re.findall(r'href="[^"]*_bta_tid=([^"&]*)"', html)
    assert len(set(tids)) == len(CAMPAIGNS) == 2
    assert all(map(is_tid, tids))
    issued = [Tracking(tid=tid).issued_at for tid in tids]
    assert all(moment and timezone.now() - moment < timedelta(minutes=1) for moment in issued)


def test_a_landing_is_remembered_until_checkout(shopper: Client) -> None:
    assert b"campaign e-mail" not in shopper.get("/products/bronto-mug/").content
    shopper.get("/products/bronto-mug/", {"_bta_tid": CAMPAIGNS[0].tid(timezone.now())})
    put_in_cart(shopper, "fern-print")
    assert b"campaign e-mail" in shopper.get("/checkout/").content


def test_staff_are_told_that_they_are_not_tracked(shopper: Client) -> None:
    landing = {"_bta_tid": CAMPAIGNS[0].tid(timezone.now())}
    assert b"is credited to it" in shopper.get("/products/bronto-mug/", landing).content
    shopper.force_login(get_user_model().objects.create_superuser("staff"))
    html = shopper.get("/products/bronto-mug/", landing).content
    assert b"staff are not tracked" in html
    assert b"is credited to it" not in html


@pytest.mark.parametrize("page", ["/", "/products/bronto-mug/", "/inbox/", "/cart/", "/privacy/"])
def test_pages_answer_head(shopper: Client, page: str) -> None:
    response = shopper.head(page)
    assert (response.status_code, response.content) == (200, b"")


def test_cart_adds_up(shopper: Client) -> None:
    put_in_cart(shopper, "trilobite-pin", 2)
    put_in_cart(shopper, "trilobite-pin")
    html = shopper.get("/cart/").content.decode()
    for amount in ("$28.50", "$4.95", "$2.35", "$35.80"):
        assert amount in html


def test_cart_ships_free_from_sixty_dollars(shelves: None) -> None:
    cart = Cart(SessionStore())
    cart.change(Product.objects.get(slug="amber-lamp"), 1)
    assert cart.shipping == 0
    assert cart.total == Decimal("69.28")


def test_cart_holds_no_more_than_twenty_of_one(shopper: Client) -> None:
    for _ in range(2):
        put_in_cart(shopper, "bronto-mug", 15)
    assert len(Cart(shopper.session)) == 20


def test_cart_lines_change_and_go(shopper: Client) -> None:
    put_in_cart(shopper, "bronto-mug")
    shopper.post("/cart/bronto-mug/", {"quantity": 4})
    assert len(Cart(shopper.session)) == 4
    shopper.post("/cart/bronto-mug/", {"quantity": -1})
    assert len(Cart(shopper.session)) == 4
    shopper.post("/cart/bronto-mug/", {"quantity": 0})
    assert len(Cart(shopper.session)) == 0


@pytest.mark.parametrize("quantity", ["", "-1", "21", "many"])
def test_a_quantity_that_is_none_is_refused(shopper: Client, quantity: str) -> None:
    response = shopper.post("/products/bronto-mug/add/", {"quantity": quantity})
    assert response.status_code == 422
    assert len(Cart(shopper.session)) == 0


def test_cart_forgets_products_that_are_gone(shopper: Client, mug: Product) -> None:
    put_in_cart(shopper, "bronto-mug")
    mug.delete()
    assert shopper.get("/checkout/").status_code == 302
