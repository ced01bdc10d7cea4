"""Where the shop meets bronto_orders: it writes its own rows and Bronto's copy in one transaction, and that is all."""

from __future__ import annotations

from collections.abc import Callable

from django.db import transaction
from django.templatetags.static import static
from django.utils import timezone

from bronto_orders.models import LineItem, Order
from demo_project.shop.cart import Cart
from demo_project.shop.models import Purchase, PurchaseLine


@transaction.atomic
def place_order(cart: Cart, *, name: str, email: str, absolute: Callable[[str], str]) -> Purchase:
    """Turn the cart into a purchase and its mirror for Bronto.

    ``absolute`` makes a full URL of a path.
    """
    purchase = Purchase.objects.create(
        name=name, email=email, subtotal=cart.subtotal, shipping=cart.shipping, tax=cart.tax, total=cart.total
    )
    PurchaseLine.objects.bulk_create(
        PurchaseLine(
            purchase=purchase,
            product=line.product,
            quantity=line.quantity,
            price=line.product.price,
            total=line.total,
        )
        for line in cart.lines
    )
    purchase.mirror = create_mirror(purchase, absolute)
    purchase.save()
    return purchase


def create_mirror(purchase: Purchase, absolute: Callable[[str], str]) -> Order:
    """Write the order that Bronto gets. Tracking, client address and user agent come from the request by themselves."""
    order = Order.objects.create(
        customer_order_id=purchase.number,
        email_address=purchase.email,
        order_date=purchase.placed_at,
        order_source="WEBSITE",
        currency=purchase.currency,
        subtotal=purchase.subtotal,
        shipping_amount=purchase.shipping,
        tax_amount=purchase.tax,
        grand_total=purchase.total,
        processed=True,
    )
    LineItem.objects.bulk_create(
        LineItem(
            order=order,
            position=position,
            name=line.product.name,
            description=line.product.summary,
            sku=line.product.sku,
            category=line.product.category,
            image_url=absolute(static(line.product.picture_path)),
            product_url=absolute(line.product.get_absolute_url()),
            quantity=line.quantity,
            unit_price=line.price,
            sale_price=line.price,
            total_price=line.total,
        )
        for position, line in enumerate(purchase.lines.select_related("product"))
    )
    return order


@transaction.atomic
def ship(purchase: Purchase) -> None:
    """Record that the parcel has left. Saving the order is what sends it."""
    purchase.shipped_at = timezone.now()
    purchase.parcel_url = f"https://parcels.example.com/{purchase.number}"
    purchase.save()
    if order := purchase.mirror:
        order.shipped = True
        order.shipping_date = purchase.shipped_at
        order.shipping_details = "Parcel post"
        order.shipping_tracking_url = purchase.parcel_url
        order.save()
