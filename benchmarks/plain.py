"""The straightforward integration, which many shops begin with: a Celery task for each order that is saved.

The task loads the order and its items, builds the JSON, gets a token, posts without a session, and keeps the id that
comes back. Kinder than most: its threads keep their database connections, and it handles no error.
"""

from __future__ import annotations

from typing import Any

import requests
from celery import shared_task
from django.conf import settings

from bronto_orders.models import Order

TASK = "benchmarks.push_plainly"


@shared_task(name=TASK)
def push_plainly(*, alias: str, pk: int) -> None:
    """Send one order."""
    url = settings.PLACE["bronto"]
    order = Order.objects.using(alias).get(pk=pk)
    form = {"grant_type": "client_credentials", "client_id": "benchmark", "client_secret": "benchmark"}
    token = requests.post(f"{url}/oauth2/token", data=form, timeout=10).json()["access_token"]
    body: dict[str, Any] = {
        "customerOrderId": order.customer_order_id,
        "emailAddress": order.email_address,
        "orderDate": order.order_date.isoformat() if order.order_date else None,
        "currency": order.currency,
        "grandTotal": _number(order.grand_total),
        "subtotal": _number(order.subtotal),
        "taxAmount": _number(order.tax_amount),
        "shippingAmount": _number(order.shipping_amount),
        "discountAmount": _number(order.discount_amount),
        "originIp": order.origin_ip,
        "originUserAgent": order.origin_user_agent,
        "orderSource": order.order_source,
        "states": {"processed": order.processed, "shipped": order.shipped},
        "lineItems": [
            {
                "name": item.name,
                "description": item.description,
                "sku": item.sku,
                "category": item.category,
                "imageUrl": item.image_url,
                "productUrl": item.product_url,
                "quantity": _number(item.quantity),
                "unitPrice": _number(item.unit_price),
                "salePrice": _number(item.sale_price),
                "totalPrice": _number(item.total_price),
            }
            for item in order.line_items.all()
        ],
    }
    answer = requests.post(
        f"{url}/orders?createContact=true", json=body, headers={"Authorization": f"Bearer {token}"}, timeout=10
    )
    Order.objects.using(alias).filter(pk=pk).update(bronto_order_id=answer.json()["orderId"])


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
