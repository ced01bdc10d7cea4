from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from bronto_orders.admin.columns import INVALID, REASONS
from bronto_orders.conf import bronto_settings
from bronto_orders.exceptions import BrontoConfigurationError
from bronto_orders.models import Order
from bronto_orders.models.order import UNTRACKED

if TYPE_CHECKING:
    Orders = QuerySet[Order]

# None of these asks the database which values there are: with a million orders that takes seconds. Each narrows by what
# an index of the model holds; where that takes a condition that follows from another, it is written out.


class ReasonFilter(admin.SimpleListFilter):
    """By why an order waits or has ended."""

    title = _("reason")
    parameter_name = "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(INVALID, _("invalid content")), *sorted(REASONS.items(), key=lambda item: str(item[1]))]

    def queryset(self, request: HttpRequest, queryset: Orders) -> Orders:
        code = self.value()
        if not code:
            return queryset
        given = queryset.exclude(sync_reason="")
        return given.filter(sync_reason__startswith=INVALID) if code == INVALID else given.filter(sync_reason=code)


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
        match self.value():
            case "yes":
                return queryset.filter(has_tracking=True)
            case "unsent":
                return queryset.filter(~UNTRACKED, has_tracking=None, bronto_order_id="")
            case "refused":
                return queryset.filter(~UNTRACKED, has_tracking=False)
            case "no":
                return queryset.filter(UNTRACKED).exclude(has_tracking=True)
        return queryset


class BrontoIDFilter(admin.SimpleListFilter):
    """By whether Bronto has given the order an ID."""

    title = _("Bronto ID")
    parameter_name = "bronto_id"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", _("yes")), ("no", _("no"))]

    def queryset(self, request: HttpRequest, queryset: Orders) -> Orders:
        match self.value():
            case "yes":
                return queryset.exclude(bronto_order_id="")
            case "no":
                return queryset.filter(bronto_order_id="")
        return queryset


class AgeFilter(admin.SimpleListFilter):
    """By how long ago a moment was. Ranges, as a drill-down by date would read all rows for each of its links."""

    column: str
    #: What is said of rows without that moment, if there can be such.
    never: Any = None
    SPANS = {
        "hour": (_("past hour"), timedelta(hours=1)),
        "day": (_("past 24 hours"), timedelta(days=1)),
        "week": (_("past 7 days"), timedelta(days=7)),
        "month": (_("past 30 days"), timedelta(days=30)),
        "year": (_("past 365 days"), timedelta(days=365)),
    }
    OLDER, NEVER = "older", "never"
    #: The choices that a sorted index is read along for.
    RANGES = frozenset({*SPANS, OLDER})

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        choices = [(key, words) for key, (words, _span) in self.SPANS.items()]
        choices.append((self.OLDER, _("longer ago")))
        return [*choices, (self.NEVER, self.never)] if self.never else choices

    def queryset(self, request: HttpRequest, queryset: Orders) -> Orders:
        asked = self.value()
        if asked in self.SPANS:
            return queryset.filter(**{f"{self.column}__gte": timezone.now() - self.SPANS[asked][1]})
        if asked == self.OLDER:
            return queryset.filter(**{f"{self.column}__lt": timezone.now() - self.SPANS["year"][1]})
        return queryset.filter(**{f"{self.column}__isnull": True}) if asked == self.NEVER else queryset


class LastSentFilter(AgeFilter):
    """By when Bronto last took the order."""

    title = _("last sent")
    parameter_name = "last_sent"
    column = "synced_at"
    never = _("never")


class OrderDateFilter(AgeFilter):
    """By when the customer ordered."""

    title = _("order date")
    parameter_name = "ordered"
    column = "order_date"
    never = _("no date")
