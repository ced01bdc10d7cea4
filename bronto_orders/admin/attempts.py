from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from bronto_orders.admin import columns
from bronto_orders.admin.base import ReadOnlyAdmin
from bronto_orders.admin.columns import EMPTY, badge
from bronto_orders.admin.filters import AccountFilter
from bronto_orders.admin.pagination import BoundedPaginator, SoundList
from bronto_orders.models import Order, ResyncRun, SyncAttempt, Tombstone

#: What a push by a person begins with; the person's primary key follows, never a name: it may be an e-mail address.
BY_PERSON = "admin:"
#: What else a push begins with.
TRIGGERS = {
    "signal": gettext_lazy("change in the shop"),
    "sweep": gettext_lazy("schedule"),
    "command": gettext_lazy("command"),
    "api": gettext_lazy("API"),
}
#: How many attempts an order's form shows at once.
SHOWN = 20

#: What somebody or something has caused.
Caused = TypeVar("Caused", SyncAttempt, ResyncRun, Tombstone)

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


@dataclass(frozen=True)
class Page:
    """Some of an order's attempts, newest first, each with what a form shows beside its columns."""

    attempts: list[SyncAttempt]
    #: The key below which older ones are found; None when these are the last.
    older: int | None
    newest: bool


def page(order: Order, before: str | None = None) -> Page:
    """Return an order's newest attempts, or the newest of those with a key below ``before``.

    By key rather than by number: nothing is counted, and what comes in meanwhile moves nothing.
    """
    attempts = order.sync_attempts.all()
    older = before is not None and before.isdecimal() and len(before) < 19
    if older:
        attempts = attempts.filter(pk__lt=int(before or 0))
    found = list(attempts.order_by("-pk")[: SHOWN + 1])
    shown = with_words(found[:SHOWN])
    for attempt in shown:
        attempt.badge = outcome_badge(attempt)  # type: ignore[attr-defined]
        attempt.took = columns.duration(attempt.duration_ms)  # type: ignore[attr-defined]
    return Page(shown, shown[-1].pk if len(found) > SHOWN else None, newest=not older)


def with_words(caused: Iterable[Caused]) -> list[Caused]:
    """Return attempts, resyncs or tombstones, each with ``caused_by`` in words. One query for all people among them."""
    listed = list(caused)
    names = people(one.trigger for one in listed)
    for one in listed:
        one.caused_by = trigger_words(one.trigger, names)  # type: ignore[attr-defined]
    return listed


def trigger_words(trigger: str, names: Mapping[str, str]) -> str:
    """Return who or what caused an attempt or a resync; a person by name, as long as there is an account of theirs."""
    if trigger in names:
        return names[trigger]
    if trigger.startswith(BY_PERSON):
        return _("somebody in the admin")
    return str(TRIGGERS.get(trigger, trigger))


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


class CausedList(SoundList):
    """A list of what has been caused, with the names of people."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = with_words(self.result_list)


@admin.register(SyncAttempt)
class SyncAttemptAdmin(ReadOnlyAdmin):
    """The journal of exchanges with Bronto, to look at."""

    list_display = [
        "started_at", "order_link", "operation", "outcome_badge", "http_status", "duration_ms", "caused_by",
        "short_reason", "account",
    ]  # fmt: skip
    list_display_links = ["started_at"]
    list_filter = ["outcome", "operation", AccountFilter]
    list_select_related = ["order"]
    list_per_page = 50
    search_fields = ["order__customer_order_id__exact"]
    search_help_text = gettext_lazy("Search by order number, written in full.")
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = BoundedPaginator
    ordering = ["-pk"]
    sortable_by = ()
    fields = [
        ("order_link", "account", "revision"),
        ("started_at", "duration_ms", "caused_by"),
        ("operation", "http_status", "outcome_badge"),
        "reason", "decision", "differences_list", "request_text", "answer_text",
    ]  # fmt: skip
    readonly_fields = ["order_link", "caused_by", "outcome_badge", "differences_list", "request_text", "answer_text"]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return CausedList

    @admin.display(description=gettext_lazy("order"))
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

    @admin.display(description=gettext_lazy("trigger"))
    def caused_by(self, attempt: SyncAttempt) -> str:
        if not hasattr(attempt, "caused_by"):
            with_words([attempt])
        return attempt.caused_by  # type: ignore[attr-defined,no-any-return]

    @admin.display(description=gettext_lazy("outcome"))
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
