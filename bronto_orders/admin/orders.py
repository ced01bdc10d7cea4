from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db import models
from django.db.models import Q
from django.db.models.constants import LOOKUP_SEP
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from bronto_orders.admin import attempts, columns, masking
from bronto_orders.admin.dashboard import DashboardAdmin
from bronto_orders.admin.diff import DiffAdmin
from bronto_orders.admin.erasure import ErasureAdmin
from bronto_orders.admin.filters import (
    AccountFilter,
    BrontoIDFilter,
    LastSentFilter,
    OrderDateFilter,
    ReasonFilter,
    TrackingFilter,
)
from bronto_orders.admin.items import EDITABLE, LineItemInline, form_options, has_many_items
from bronto_orders.admin.pagination import BoundedPaginator, SoundList
from bronto_orders.admin.resync import ResyncAdmin
from bronto_orders.admin.stale import REVISION, OrderForm
from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import explain, personal
from bronto_orders.exceptions import BrontoConfigurationError
from bronto_orders.models import Order, SyncAttempt, SyncState

#: Columns that can be long; a list reads those that it shows.
LONG_COLUMNS = ["last_sent", "origin_user_agent", "resync_options", "shipping_details", "sync_message"]
#: Columns that hold personal data, also such as nobody sees in the admin.
HIDDEN_COLUMNS = frozenset({*personal.COLUMNS, "last_sent", "last_sent_hash"})
#: In a form's address: the attempt before which those shown were made.
ATTEMPTS_BEFORE = "attempts_before"


class OrderList(SoundList):
    """The change list, reading no more than it shows."""

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> models.QuerySet[Any]:
        unread = [name for name in LONG_COLUMNS if name not in self.list_display]
        return super().get_queryset(request, *args, **kwargs).defer(*unread)


@admin.register(Order)
class OrderAdmin(DashboardAdmin, DiffAdmin, ErasureAdmin, ResyncAdmin):
    """The shop's orders and how they stand with Bronto."""

    form = OrderForm
    list_display = [
        "customer_order_id", "state", "reason", "total", "last_sent_ago", "diff", "next_try", "failed_tries",
        "tracking", "ordered", "account",
    ]  # fmt: skip
    list_filter = [
        "sync_state", ReasonFilter, AccountFilter, LastSentFilter, OrderDateFilter, TrackingFilter, BrontoIDFilter,
    ]  # fmt: skip
    actions = [*ResyncAdmin.actions, "erase_customers"]
    list_per_page = 50
    # How each is searched, ``get_search_results`` says.
    search_fields = ["customer_order_id", "bronto_order_id", "email_address"]
    search_help_text = _("One order number or how it begins, one whole Bronto ID, or one whole e-mail address.")
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = BoundedPaginator
    ordering = ["-pk"]
    #: Those that an index has sorted already.
    sortable_by = ["last_sent_ago", "ordered"]
    save_on_top = False
    inlines = [LineItemInline]
    fieldsets = [
        (None, {"fields": [
            ("customer_order_id", "account"), ("order_date", "order_source"),
            ("email_address", "contact_id"), ("processed", "shipped"),
        ]}),
        (_("Delivery to Bronto"), {"classes": ["bronto-compact"], "fields": [
            ("state", "reason"), "sync_message", ("failed_tries", "next_try", "last_sent_ago"),
            ("whereabouts", "bronto_order_id", "bronto_updated_at"), ("tracking", "attribution"),
        ]}),
        (_("Amounts"), {"classes": ["bronto-compact"], "fields": [
            ("currency", "grand_total", "subtotal"), ("discount_amount", "tax_amount", "shipping_amount"),
        ]}),
        (_("Shipping"), {"classes": ["collapse"], "fields": [
            "shipping_date", "shipping_details", "shipping_tracking_url",
        ]}),
        (_("Origin"), {"classes": ["collapse"], "fields": [
            "tid", ("tracking_cookie_name", "tracking_cookie_value"), ("message_id", "delivery_id"), "cart_id",
            "origin_ip", "origin_user_agent",
        ]}),
    ]  # fmt: skip
    delivery_fields = [
        "state", "reason", "sync_message", "failed_tries", "next_try", "last_sent_ago", "whereabouts",
        "bronto_order_id", "bronto_updated_at", "tracking", "attribution",
    ]  # fmt: skip
    #: Bronto never changes these of an order, so the shop should not either.
    identity_fields = ["customer_order_id", "account"]

    class Media:
        css = {"all": ["bronto_orders/orders.css"]}

    def get_list_display(self, request: HttpRequest) -> Any:
        shown = super().get_list_display(request)
        return shown if self.has_view_diff_permission(request) else [name for name in shown if name != "diff"]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return OrderList

    def get_ordering(self, request: HttpRequest) -> Any:
        """Order by the date that a range is asked of, or its index is of no use; unless something rare is asked for."""
        rare = "reason" in request.GET or request.GET.get("sync_state__exact", SyncState.SYNCED) != SyncState.SYNCED
        for date_filter in () if rare else (OrderDateFilter, LastSentFilter):
            if request.GET.get(date_filter.parameter_name) in date_filter.RANGES:
                return [f"-{date_filter.column}", "-pk"]
        return super().get_ordering(request)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Refuse conditions on what the user may not see: a list that they narrow would spell it out."""
        column = lookup.partition(LOOKUP_SEP)[0]
        if column in HIDDEN_COLUMNS and not personal.may_see(request.user):
            return False
        return super().lookup_allowed(lookup, value, request)

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet[Order], search_term: str
    ) -> tuple[models.QuerySet[Order], bool]:
        """Look the term up where an index holds it: text anywhere in a column would be looked for in all rows.

        An e-mail address is found however it is written; an order number as it is typed, in capitals, or in none.
        """
        term = search_term.strip()
        if not term:
            return queryset, False
        if "@" in term:
            return queryset.filter(Q(email_address__iexact=term) | Q(customer_order_id=term)), False
        matches = Q(bronto_order_id__in={term, term.lower()})
        for spelling in {term, term.upper(), term.lower()}:
            matches |= Q(customer_order_id__startswith=spelling)
        return queryset.filter(matches), False

    def get_fieldsets(self, request: HttpRequest, obj: Order | None = None) -> Any:
        shown = super().get_fieldsets(request, obj)
        if obj is not None:
            return shown if personal.may_see(request.user) else _masked(shown)
        hidden = set(self.delivery_fields)
        return [
            (name, options)
            for name, options in shown
            if not hidden.intersection(part for field in options["fields"] for part in _parts(field))
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Order | None = None) -> list[str]:
        fixed = self.identity_fields if obj is not None else []
        masked: Iterable[Any] = masking.COLUMNS.values() if obj is not None else []
        return [*super().get_readonly_fields(request, obj), *self.delivery_fields, *fixed, *masked]

    def formfield_for_dbfield(self, db_field: models.Field[Any, Any], request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "account" and (choices := _account_choices()):
            return forms.ChoiceField(
                label=capfirst(db_field.verbose_name), choices=choices, initial=db_field.get_default()
            )
        return super().formfield_for_dbfield(db_field, request, **form_options(db_field), **kwargs)

    def get_attempts(self, request: HttpRequest, order: Order) -> attempts.Page:
        """Return the attempts that the form shows."""
        return attempts.page(order, request.GET.get(ATTEMPTS_BEFORE))

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        order = kwargs.get("obj")
        if order is not None:
            context["attempts"] = self.get_attempts(request, order)
            context["explanation"] = explain.describe(order)
            context["dashboard_url"] = self.dashboard_url()
            context["unlisted_items"] = EDITABLE if has_many_items(order) else 0
            context["revision"] = request.POST.get(REVISION, str(order.revision))
            context["deletions_url"] = self.deletions_url(request, order)
            context["tracking_trouble"] = explain.tracking_trouble(order)
            if self.has_view_diff_permission(request, order):
                context["diff_url"] = self.order_url("diff", order)
            if self.has_resync_permission(request, order):
                context["resync_url"] = self.order_url("resync", order)
        return super().render_change_form(request, context, *args, **kwargs)

    def get_diff_context(self, request: HttpRequest, order: Order) -> dict[str, Any]:
        context = super().get_diff_context(request, order)
        if self.has_resync_permission(request, order):
            context["resync_url"] = self.order_url("resync", order)
        return context

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        """Say on the page that asks what the deletion means at Bronto."""
        if bronto_settings.privacy.on_delete == "delete":
            at_bronto = gettext("The order is deleted at Bronto, too, if Bronto has it.")
        else:
            at_bronto = gettext("Deleting the order here deletes nothing at Bronto.")
        return super().delete_view(request, object_id, {"at_bronto": at_bronto, **(extra_context or {})})

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Let attempts go with their order, though nobody may delete them by themselves."""
        deleted, counts, lacking, protected = super().get_deleted_objects(objs, request)
        return deleted, counts, set(lacking) - {SyncAttempt._meta.verbose_name}, protected

    @admin.display(description=_("total"))
    def total(self, order: Order) -> str:
        return columns.total(order)

    @admin.display(description=_("state"))
    def state(self, order: Order) -> str:
        return columns.state_badge(order.sync_state)

    @admin.display(description=_("reason"))
    def reason(self, order: Order) -> str:
        return columns.reason(order.sync_reason) or columns.EMPTY

    @admin.display(description=_("next try"))
    def next_try(self, order: Order) -> str:
        return columns.next_try(order)

    @admin.display(description=_("failed tries"))
    def failed_tries(self, order: Order) -> str:
        return columns.failed_tries(order)

    @admin.display(description=_("ordered"), ordering="order_date")
    def ordered(self, order: Order) -> str:
        return columns.day(order.order_date)

    @admin.display(description=_("last sent"), ordering="synced_at")
    def last_sent_ago(self, order: Order) -> str:
        return columns.past(order.synced_at)

    @admin.display(description=_("tracking"))
    def tracking(self, order: Order) -> str:
        return columns.tracking(order)

    @admin.display(description=_("attribution"))
    def attribution(self, order: Order) -> str:
        return columns.attribution(order)

    @admin.display(description=_("whereabouts"))
    def whereabouts(self, order: Order) -> str:
        return columns.whereabouts(order)

    @admin.display(description=_("compare"))
    def diff(self, order: Order) -> str:
        return format_html(
            '<a href="{}">{}<span class="bronto-hidden"> {}</span></a>', self.order_url("diff", order), _("Diff"), order
        )


def _masked(fieldsets: Any) -> list[Any]:
    """Return the fieldsets with masked columns in place of the personal ones."""

    def mask(field: Any) -> Any:
        return masking.COLUMNS.get(field, field) if isinstance(field, str) else tuple(map(mask, field))

    return [(name, {**options, "fields": [mask(field) for field in options["fields"]]}) for name, options in fieldsets]


def _parts(field: str | Sequence[str]) -> Sequence[str]:
    return [field] if isinstance(field, str) else field


def _account_choices() -> list[tuple[str, str]]:
    try:
        return [(name, name) for name in sorted(bronto_settings.account_names)]
    except BrontoConfigurationError:
        return []
