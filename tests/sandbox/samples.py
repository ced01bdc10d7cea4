"""The documents' own example values (S1, S2) and the captured call (C:om), typed from the facts."""

from __future__ import annotations

from typing import Any

CART_ID = "7255c31c-39ac-4611-a2b7-974b0ebfa555"
COOKIE_NAME = "tid_blkycggbjquivddbiddxylaufhfdbkj"
COOKIE_VALUE = "3.Ag.AQ.AQ.AQ.AQ.AQ.t..l.AQ.n.VO4AkA.VO4AkA.G89Jow"
ANOTHER_TID = "3.gI4.DaQxAC.Gy1-.Acxnpz..Ayb9gw.t....b.W9oUHw.U6oUHw.1rZCMB"
USER_AGENT = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_9_4) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/46.0.2490.71 Safari/537.36"
)


def coffee_mug() -> dict[str, Any]:
    return {
        "name": "Coffee Mug",
        "description": "A cool coffee mug",
        "category": "Kitchen Stuffs",
        "other": "5oz",
        "imageUrl": "http://www.example.com/images/0003105.jpg",
        "productUrl": "http://www.example.com/products/0003105",
        "sku": "0003105",
        "quantity": 1,
        "totalPrice": 3.99,
        "unitPrice": 3.99,
        "salePrice": 3.99,
    }


def coffee_mug_order(**changes: Any) -> dict[str, Any]:
    return {
        "customerOrderId": "abc-123",
        "cartId": CART_ID,
        "emailAddress": "example@email.com",
        "currency": "USD",
        "grandTotal": 4.27,
        "discountAmount": 0,
        "taxAmount": 0.28,
        "subtotal": 3.99,
        "lineItems": [coffee_mug()],
        "orderDate": "2015-01-01",
        "status": "PROCESSED",
        "originIp": "127.0.0.1",
        "originUserAgent": USER_AGENT,
        "trackingCookieName": COOKIE_NAME,
        "trackingCookieValue": COOKIE_VALUE,
        "shippingAmount": 0,
        "shippingDate": "2015-01-02",
        "shippingDetails": "Free next day shipping",
        "shippingTrackingUrl": "http://www.shipping.com/1234",
        **changes,
    }
