from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from demo_project.shop.cart import Cart


def header(request: HttpRequest) -> dict[str, Any]:
    """Give pages what the header bar shows. Nothing is looked up until a template asks."""
    return {"cart_size": lambda: len(Cart(request.session)), "sandbox_url": settings.BRONTO_API_URL}
