from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest
from django.utils.translation import gettext_lazy, ngettext

from bronto_orders.admin.attempts import CausedList, with_words
from bronto_orders.admin.base import ReadOnlyAdmin
from bronto_orders.admin.columns import EMPTY, badge, future, past
from bronto_orders.admin.erasure import may_erase
from bronto_orders.admin.filters import AccountFilter
from bronto_orders.delivery import hints
from bronto_orders.models import Tombstone
from bronto_orders.models.tombstone import TombstoneQuerySet


class StateFilter(admin.SimpleListFilter):
    """Where deletions stand."""

    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("owed", gettext_lazy("waiting")), ("refused", gettext_lazy("refused")), ("done", gettext_lazy("done")),
        ]  # fmt: skip

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        match self.value():
            case "owed":
                return queryset.owed()
            case "refused":
                return queryset.refused()
            case "done":
                return queryset.filter(done_at__isnull=False)
        return queryset


@admin.register(Tombstone)
class TombstoneAdmin(ReadOnlyAdmin):
    """What is to be gone at Bronto, and how far that is."""

    list_display = [
        "customer_order_id", "account", "kind", "state", "next_try", "attempts", "message", "created_ago", "caused_by",
    ]  # fmt: skip
    list_filter = [StateFilter, "kind", AccountFilter]
    search_fields = ["customer_order_id__exact"]
    search_help_text = gettext_lazy("Search by order number, written in full.")
    list_per_page = 50
    show_full_result_count = False
    ordering = ["-pk"]
    actions = ["try_again"]
    fields = [
        ("customer_order_id", "account"), ("kind", "state"), "message", ("next_try", "attempts"), "bronto_order_id",
        ("created_at", "done_at"), "caused_by",
    ]  # fmt: skip
    readonly_fields = ["state", "next_try", "caused_by"]

    def has_erase_permission(self, request: HttpRequest) -> bool:
        """Whether the user may erase customers, and so look after what becomes of it."""
        return may_erase(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request, obj) or self.has_erase_permission(request)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[CausedList]:
        return CausedList

    @admin.action(permissions=["erase"], description=gettext_lazy("Try again what Bronto has refused"))
    def try_again(self, request: HttpRequest, queryset: TombstoneQuerySet) -> None:
        """Have the refused ones among the selected deletions tried again now; forget those that are overtaken."""
        if overtaken := queryset.overtaken().delete()[0]:
            text = ngettext(
                "%(count)d deletion is forgotten: there is an order with that number again.",
                "%(count)d deletions are forgotten: there are orders with these numbers again.",
                overtaken,
            )
            self.message_user(request, text % {"count": overtaken}, messages.WARNING)
        accounts = set(queryset.refused().values_list("account", flat=True))
        count = queryset.retry()
        for account in accounts:
            hints.wake_after_commit(account, using=queryset.db)
        text = ngettext("%(count)d deletion is tried again.", "%(count)d deletions are tried again.", count)
        self.message_user(request, text % {"count": count}, messages.SUCCESS if count else messages.INFO)

    @admin.display(description=gettext_lazy("state"))
    def state(self, tombstone: Tombstone) -> str:
        if tombstone.due_at is not None:
            return badge(gettext_lazy("waiting"), "pending")
        if tombstone.done_at is not None:
            return badge(gettext_lazy("done"), "synced")
        return badge(gettext_lazy("refused"), "rejected")

    @admin.display(description=gettext_lazy("next try"), ordering="due_at")
    def next_try(self, tombstone: Tombstone) -> str:
        return future(tombstone.due_at) if tombstone.due_at is not None else EMPTY

    @admin.display(description=gettext_lazy("created"), ordering="pk")
    def created_ago(self, tombstone: Tombstone) -> str:
        return past(tombstone.created_at)

    @admin.display(description=gettext_lazy("caused by"))
    def caused_by(self, tombstone: Tombstone) -> str:
        if not hasattr(tombstone, "caused_by"):
            with_words([tombstone])
        return tombstone.caused_by  # type: ignore[attr-defined,no-any-return]
