from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import cached_property

from django.contrib.sessions.backends.base import SessionBase

from demo_project.shop.models import Product

CENT = Decimal("0.01")
SHIPPING = Decimal("4.95")
FREE_SHIPPING_FROM = Decimal(60)
TAX_RATE = Decimal("0.0825")
MOST_OF_ONE = 20


@dataclass(frozen=True)
class CartLine:
    product: Product
    quantity: int

    @property
    def total(self) -> Decimal:
        return self.product.price * self.quantity


class Cart:
    """What a visitor means to buy, kept in the session as quantities by SKU."""

    KEY = "cart"

    def __init__(self, session: SessionBase) -> None:
        self.session = session
        self.quantities: dict[str, int] = dict(session.get(self.KEY, {}))

    def __len__(self) -> int:
        return sum(self.quantities.values())

    def add(self, product: Product, quantity: int) -> None:
        self.change(product, self.quantities.get(product.sku, 0) + quantity)

    def change(self, product: Product, quantity: int) -> None:
        """Set how many of a product there are; none removes it."""
        self.quantities[product.sku] = min(quantity, MOST_OF_ONE)
        if quantity < 1:
            del self.quantities[product.sku]
        self.session[self.KEY] = self.quantities
        self.__dict__.pop("lines", None)

    def clear(self) -> None:
        self.session.pop(self.KEY, None)

    @cached_property
    def lines(self) -> list[CartLine]:
        products = Product.objects.filter(sku__in=self.quantities)
        return [CartLine(product, self.quantities[product.sku]) for product in products]

    @property
    def subtotal(self) -> Decimal:
        return sum((line.total for line in self.lines), Decimal(0))

    @property
    def shipping(self) -> Decimal:
        return Decimal(0) if self.subtotal >= FREE_SHIPPING_FROM else SHIPPING

    @property
    def tax(self) -> Decimal:
        return (self.subtotal * TAX_RATE).quantize(CENT, ROUND_HALF_UP)

    @property
    def total(self) -> Decimal:
        return self.subtotal + self.shipping + self.tax
