from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from demo_project.shop.models import Product, Purchase, PurchaseLine
from demo_project.shop.orders import ship


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    list_display = ["name", "sku", "category", "price"]


class PurchaseLineInline(admin.TabularInline):
    model = PurchaseLine
    fields = ["product", "quantity", "price", "total"]
    readonly_fields = fields
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Purchase)
class PurchaseAdmin(admin.ModelAdmin):
    list_display = ["number", "at_bronto", "name", "total", "placed_at", "shipped_at"]
    list_select_related = ["mirror"]
    fields = [
        "number",
        "name",
        "email",
        "subtotal",
        "shipping",
        "tax",
        "total",
        "currency",
        "placed_at",
        "shipped_at",
        "parcel_url",
        "at_bronto",
    ]
    readonly_fields = fields
    inlines = [PurchaseLineInline]
    actions = ["mark_as_shipped"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="at Bronto")
    def at_bronto(self, purchase: Purchase) -> str:
        if (order := purchase.mirror) is None:
            return "-"
        url = reverse("admin:bronto_orders_order_change", args=[order.pk])
        return format_html('<a href="{}">{}</a>', url, order.get_sync_state_display())

    @admin.action(description="Mark as shipped", permissions=["change"])
    def mark_as_shipped(self, request: HttpRequest, purchases: QuerySet[Purchase]) -> None:
        waiting = list(purchases.filter(shipped_at=None).select_related("mirror"))
        for purchase in waiting:
            ship(purchase)
        self.message_user(request, f"Marked as shipped: {len(waiting)}.", messages.SUCCESS)
