from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from bronto_orders.admin.columns import INVALID, REASONS
from bronto_orders.conf import bronto_settings
from bronto_orders.exceptions import BrontoConfigurationError
from bronto_orders.models import Order

if TYPE_CHECKING:
    Orders = QuerySet[Order]

# None of these asks the database which values there are: with a million orders that takes seconds.


class ReasonFilter(admin.SimpleListFilter):
    """By why an order waits or has ended."""

    title = _("reason")
    parameter_name = "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(INVALID, _("invalid content")), *sorted(REASONS.items(), key=lambda item: str(item[1]))]

    def queryset(self, request: HttpRequest, queryset: Orders) -> Orders:
        code = self.value()
        if code == INVALID:
            return queryset.filter(sync_reason__startswith=INVALID)
        return queryset.filter(sync_reason=code) if code else queryset


class AccountFilter(admin.SimpleListFilter):
    """By account, where there are several."""

    title = _("account")
    parameter_name = "account"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        try:
            names = bronto_settings.account_names
        except BrontoConfigurationError:
            return []
        return [(name, name) for name in sorted(names)] if len(names) > 1 else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(account=self.value()) if self.value() else queryset


class TrackingFilter(admin.SimpleListFilter):
    """By what became of the tracking."""

    title = _("tracking")
    parameter_name = "tracking"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", _("yes")), ("unsent", _("not sent yet")), ("refused", _("not taken")), ("no", _("no"))]

    def queryset(self, request: HttpRequest, queryset: Orders) -> Orders:
        untracked = Q(tid="", tracking_cookie_value="")
        match self.value():
            case "yes":
                return queryset.filter(has_tracking=True)
            case "unsent":
                return queryset.filter(~untracked, has_tracking=None)
            case "refused":
                return queryset.filter(~untracked, has_tracking=False)
            case "no":
                return queryset.filter(untracked).exclude(has_tracking=True)
        return queryset
