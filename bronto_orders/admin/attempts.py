from __future__ import annotations

from collections.abc import Iterable

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from bronto_orders.admin.base import ReadOnlyAdmin
from bronto_orders.admin.columns import EMPTY, badge
from bronto_orders.admin.filters import AccountFilter
from bronto_orders.models import Order, SyncAttempt

#: What a push by a person begins with; the person's primary key follows, never a name: it may be an e-mail address.
BY_PERSON = "admin:"
#: How many attempts an order's form shows.
SHOWN = 20

Outcome = SyncAttempt.Outcome
_KINDS: dict[str, str] = {
    Outcome.ACCEPTED: "synced",
    Outcome.REDIRECTED: "sending",
    Outcome.REJECTED: "rejected",
    Outcome.HELD: "rejected",
    Outcome.LEASE_LOST: "rejected",
}


def outcome_badge(attempt: SyncAttempt) -> str:
    """Return the coloured label of an outcome; acceptance with other values than were sent is a warning."""
    if attempt.outcome == Outcome.ACCEPTED and attempt.differences:
        return badge(_("accepted, but changed"), "skipped")
    return badge(attempt.get_outcome_display(), _KINDS.get(attempt.outcome, "pending"))


def recent(order: Order) -> list[SyncAttempt]:
    """Return an order's last attempts, newest first, each with what a form shows beside its columns."""
    attempts = list(order.sync_attempts.all()[:SHOWN])
    names = people(attempt.trigger for attempt in attempts)
    for attempt in attempts:
        attempt.badge = outcome_badge(attempt)  # type: ignore[attr-defined]
        attempt.trigger_name = names.get(attempt.trigger, attempt.trigger)  # type: ignore[attr-defined]
    return attempts


def people(triggers: Iterable[str]) -> dict[str, str]:
    """Return names for those triggers that stand for a person who still has an account."""
    keys = {trigger: trigger.removeprefix(BY_PERSON) for trigger in triggers if trigger.startswith(BY_PERSON)}
    if not keys:
        return {}
    try:
        users = get_user_model()._default_manager.in_bulk(set(keys.values()))
    except (ValueError, ValidationError):
        return {}
    names = {str(pk): user.get_username() for pk, user in users.items()}
    return {trigger: names[key] for trigger, key in keys.items() if key in names}


@admin.register(SyncAttempt)
class SyncAttemptAdmin(ReadOnlyAdmin):
    """The journal of exchanges with Bronto, to look at."""

    list_display = [
        "started_at", "order_link", "operation", "outcome_badge", "http_status", "duration_ms", "trigger",
        "short_reason", "account",
    ]  # fmt: skip
    list_display_links = ["started_at"]
    list_filter = ["outcome", "operation", AccountFilter]
    list_select_related = ["order"]
    list_per_page = 50
    search_fields = ["order__customer_order_id"]
    search_help_text = gettext_lazy("Search by order number.")
    show_full_result_count = False
    ordering = ["-pk"]
    fields = [
        ("order_link", "account", "revision"),
        ("started_at", "duration_ms", "trigger"),
        ("operation", "http_status", "outcome_badge"),
        "reason", "decision", "differences_list", "request_text", "answer_text",
    ]  # fmt: skip
    readonly_fields = ["order_link", "outcome_badge", "differences_list", "request_text", "answer_text"]

    @admin.display(description=gettext_lazy("order"), ordering="order")
    def order_link(self, attempt: SyncAttempt) -> str:
        opts = Order._meta
        try:
            url = reverse(
                f"admin:{opts.app_label}_{opts.model_name}_change",
                args=[quote(attempt.order_id)],
                current_app=self.admin_site.name,
            )
        except NoReverseMatch:  # a site without an admin for orders
            return str(attempt.order)
        return format_html('<a href="{}">{}</a>', url, attempt.order)

    @admin.display(description=gettext_lazy("outcome"), ordering="outcome")
    def outcome_badge(self, attempt: SyncAttempt) -> str:
        return outcome_badge(attempt)

    @admin.display(description=gettext_lazy("reason"))
    def short_reason(self, attempt: SyncAttempt) -> str:
        return Truncator(attempt.reason).chars(60)

    @admin.display(description=gettext_lazy("taken differently"))
    def differences_list(self, attempt: SyncAttempt) -> str:
        return ", ".join(map(str, attempt.differences or [])) or EMPTY

    @admin.display(description=gettext_lazy("request"))
    def request_text(self, attempt: SyncAttempt) -> str:
        return self._excerpt(attempt.request_excerpt)

    @admin.display(description=gettext_lazy("answer"))
    def answer_text(self, attempt: SyncAttempt) -> str:
        return self._excerpt(attempt.answer_excerpt)

    def _excerpt(self, text: str) -> str:
        return format_html('<pre class="bronto-excerpt">{}</pre>', text) if text else EMPTY
