"""Erasing customers: an action that says whose orders it would erase and asks, and a POST that does it."""

from __future__ import annotations

from typing import cast

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.views.main import SEARCH_VAR
from django.core.exceptions import PermissionDenied
from django.db import router
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from bronto_orders.admin.attempts import BY_PERSON
from bronto_orders.admin.base import OrderPages
from bronto_orders.admin.resync import hidden_fields
from bronto_orders.delivery import personal
from bronto_orders.delivery.erasure import erase_customer, orders_of
from bronto_orders.models import Order
from bronto_orders.models.deliverable import ERASED
from bronto_orders.models.querysets import OrderQuerySet

#: How many customers may be erased at once.
ERASED_AT_ONCE = 10


def may_erase(request: HttpRequest) -> bool:
    """Whether the user may erase customers."""
    return request.user.has_perm("bronto_orders.erase_customer")


class ErasureAdmin(OrderPages):
    """Adds the action ``erase_customers``, which erases the customers of orders with all their orders."""

    erase_template = "admin/bronto_orders/order/erase.html"

    def has_erase_permission(self, request: HttpRequest, obj: Order | None = None) -> bool:
        """Whether the user may erase customers; only those of orders that they may see."""
        return may_erase(request) and self.has_view_permission(request, obj)

    @admin.action(permissions=["erase"], description=gettext_lazy("Erase the customers of selected orders"))
    def erase_customers(self, request: HttpRequest, queryset: OrderQuerySet) -> HttpResponse | None:
        """Ask about the customers of the selected orders; when that is answered, erase all their orders."""
        addresses = _addresses(queryset)
        if len(addresses) > ERASED_AT_ONCE:
            text = _("Erase at most %(count)d customers at once.") % {"count": ERASED_AT_ONCE}
            self.message_user(request, text, messages.ERROR)
            return None
        if not addresses:
            self.message_user(request, _("None of the selected orders carries an e-mail address."), messages.WARNING)
            return None
        if not all(self.has_erase_permission(request, order) for order in queryset):
            raise PermissionDenied
        if "confirmed" in request.POST:
            self._erase(request, addresses)
            return None
        using = router.db_for_write(self.model)
        in_full = personal.may_see(request.user)
        counts = [orders_of(address, using=using).count() for address in addresses]
        context = self.page_context(
            request,
            title=_("Erase customers"),
            customers=[
                (address if in_full else personal.masked("email_address", address), count)
                for address, count in zip(addresses, counts, strict=True)
            ],
            total=sum(counts),
            back=request.get_full_path(),
            hidden=hidden_fields(request, "erase_customers"),
        )
        return TemplateResponse(request, self.erase_template, context)

    def deletions_url(self, request: HttpRequest, order: Order) -> str:
        """Return where an erased order's deletion is seen by those who may look after it; nothing for all others."""
        if order.sync_reason != ERASED or not self.has_erase_permission(request, order):
            return ""
        try:
            url = reverse(f"admin:{self.opts.app_label}_tombstone_changelist", current_app=self.admin_site.name)
        except NoReverseMatch:  # a site without an admin for deletions
            return ""
        return f"{url}?{urlencode({SEARCH_VAR: order.customer_order_id})}"

    def _erase(self, request: HttpRequest, addresses: list[str]) -> None:
        using = router.db_for_write(self.model)
        user = cast(int, request.user.pk)
        erased = 0
        for address in addresses:
            # Named before they can no longer be told from others; the log has their numbers and no address.
            orders = list(orders_of(address, using=using).only("pk", "customer_order_id"))
            erased += erase_customer(address, using=using, trigger=f"{BY_PERSON}{user}").orders
            LogEntry.objects.log_actions(user, orders, CHANGE, change_message=_("Erased with its customer."))
        text = ngettext(
            "%(count)d order is erased here, and is now deleted at Bronto.",
            "%(count)d orders are erased here, and are now deleted at Bronto.",
            erased,
        )
        self.message_user(request, text % {"count": erased}, messages.SUCCESS)


def _addresses(orders: OrderQuerySet) -> list[str]:
    """Return the orders' e-mail addresses, each once; one more than may be erased if there are more."""
    found: dict[str, str] = {}
    for address in orders.exclude(email_address="").order_by().values_list("email_address", flat=True).distinct():
        found.setdefault(address.strip().upper(), address.strip())
        if len(found) > ERASED_AT_ONCE:
            break
    found.pop("", None)
    return sorted(found.values())
