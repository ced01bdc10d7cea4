from __future__ import annotations

from django.contrib import admin
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from bronto_orders.admin.base import ReadOnlyAdmin
from bronto_orders.admin.columns import EMPTY, badge, past, reason
from bronto_orders.models import AccountStatus


def is_held(status: AccountStatus) -> bool:
    """Tell whether nothing is sent for the account now."""
    return status.paused or (status.held_until is not None and status.held_until > timezone.now())


@admin.register(AccountStatus)
class AccountStatusAdmin(ReadOnlyAdmin):
    """Each account's gate, to look at."""

    list_display = ["account", "gate", "why", "held_until", "consecutive_failures", "last_success"]
    ordering = ["account"]
    fields = [
        ("account", "gate"), "why", "held_message", ("held_until", "paused"),
        ("breaker_state", "consecutive_failures"), "last_success_at",
    ]  # fmt: skip
    readonly_fields = ["gate", "why"]

    @admin.display(description=gettext_lazy("gate"))
    def gate(self, status: AccountStatus) -> str:
        if status.paused:
            return badge(_("paused"), "skipped")
        if is_held(status):
            return badge(_("held"), "rejected")
        if status.breaker_state == AccountStatus.Breaker.OPEN:
            return badge(_("probing"), "pending")
        return badge(_("open"), "synced")

    @admin.display(description=gettext_lazy("held because"), ordering="held_reason")
    def why(self, status: AccountStatus) -> str:
        return reason(status.held_reason) or EMPTY

    @admin.display(description=gettext_lazy("last success"), ordering="last_success_at")
    def last_success(self, status: AccountStatus) -> str:
        return past(status.last_success_at)
