"""An order as the service writes it: keys in alphabetical order, ``states`` last (C:om)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from bronto_orders.sandbox.models import LineItem, Order


def wire_moment(moment: datetime | None) -> str | None:
    """UTC with milliseconds and a Z (C:om)."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def wire_order(order: Order) -> dict[str, Any]:
    """Everything the service tells of an order; ``tid`` and ``orderSource`` are never told."""
    return {
        "cartId": None if order.cart_id is None else str(order.cart_id),
        "contactId": order.contact_id,
        "createdDate": wire_moment(order.created_at),
        "currency": order.currency,
        "customerOrderId": order.customer_order_id,
        "deliveryId": order.delivery_id,
        "discountAmount": order.discount_amount,
        "emailAddress": order.email_address,
        "grandTotal": order.grand_total,
        "hasTracking": order.has_tracking,
        "lineItems": [_wire_line(item) for item in order.line_items.all()],
        "messageId": order.message_id,
        "orderDate": wire_moment(order.order_date),
        "orderId": str(order.order_id),
        "originIp": order.origin_ip,
        "originUserAgent": order.origin_user_agent,
        "shippingAmount": order.shipping_amount,
        "shippingDate": wire_moment(order.shipping_date),
        "shippingDetails": order.shipping_details,
        "shippingTrackingUrl": order.shipping_tracking_url,
        "status": "PROCESSED" if order.processed else "PENDING",
        "subtotal": order.subtotal,
        "taxAmount": order.tax_amount,
        "trackingCookieName": order.tracking_cookie_name,
        "trackingCookieValue": order.tracking_cookie_value,
        "updatedDate": wire_moment(order.updated_at),
        "states": {"processed": order.processed, "shipped": order.shipped},
    }


def _wire_line(item: LineItem) -> dict[str, Any]:
    return {
        "category": item.category,
        "description": item.description,
        "imageUrl": item.image_url,
        "name": item.name,
        "other": item.other,
        "position": item.position,
        "productUrl": item.product_url,
        "quantity": item.quantity,
        "salePrice": item.sale_price,
        "sku": item.sku,
        "totalPrice": item.total_price,
        "unitPrice": item.unit_price,
    }
