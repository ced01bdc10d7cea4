from __future__ import annotations

import pytest
from django.test import Client

from demo_project.shop.catalogue import stock
from demo_project.shop.models import Product


@pytest.fixture
def shelves(db: None) -> None:
    stock()


@pytest.fixture
def shopper(shelves: None) -> Client:
    return Client(enforce_csrf_checks=False)


@pytest.fixture
def mug(shelves: None) -> Product:
    return Product.objects.get(slug="bronto-mug")


def put_in_cart(shopper: Client, slug: str, quantity: int = 1) -> None:
    response = shopper.post(f"/products/{slug}/add/", {"quantity": quantity})
    assert response.status_code == 302


def check_out(shopper: Client) -> str:
    """Place the order. Returns the address of the thank-you page."""
    response = shopper.post("/checkout/", {"name": "Ada Lovelace", "email": "ada@example.com"})
    assert response.status_code == 302
    return str(response.url)
