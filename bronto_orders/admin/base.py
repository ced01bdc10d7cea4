from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.http import Http404, HttpRequest
from django.urls import reverse

from bronto_orders.admin.columns import EMPTY
from bronto_orders.models import AccountStatus, Order, ResyncRun, SyncAttempt, Tombstone

if TYPE_CHECKING:
    OrderModelAdmin = admin.ModelAdmin[Order]
    ReadOnlyModelAdmin = admin.ModelAdmin[SyncAttempt | AccountStatus | ResyncRun | Tombstone]
else:
    OrderModelAdmin = ReadOnlyModelAdmin = admin.ModelAdmin

STYLES = {"all": ["bronto_orders/admin.css", "bronto_orders/themes.css"]}


class OrderPages(OrderModelAdmin):
    """What the additional pages of an order share."""

    empty_value_display = EMPTY

    class Media:
        css = STYLES

    def order_url(self, verb: str, order: Order) -> str:
        """Return the address of an order's page, such as ``change`` or ``diff``, on this admin site."""
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_{verb}"
        return reverse(name, args=[quote(order.pk)], current_app=self.admin_site.name)

    def list_url(self) -> str:
        """Return the address of the change list on this admin site."""
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist"
        return reverse(name, current_app=self.admin_site.name)

    def order_or_404(self, request: HttpRequest, object_id: str) -> Order:
        """Return the order if it is one that this admin shows."""
        order = self.get_object(request, object_id)
        if order is None:
            raise Http404
        return order

    def page_context(self, request: HttpRequest, **context: Any) -> dict[str, Any]:
        """Return what each page's template needs, and ``context``."""
        request.current_app = self.admin_site.name
        shared = {"opts": self.opts, "media": self.media, "list_url": self.list_url()}
        if order := context.get("order"):
            shared |= {"subtitle": str(order), "change_url": self.order_url("change", order)}
        return {**self.admin_site.each_context(request), **shared, **context}


class ReadOnlyAdmin(ReadOnlyModelAdmin):
    """An admin for rows that only the delivery engine writes."""

    empty_value_display = EMPTY

    class Media:
        css = STYLES

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
