"""Resyncs: a list, and a page for each that shows how far it is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext
from django.views.decorators.http import require_POST, require_safe

from bronto_orders.admin.attempts import CausedList, people, trigger_words
from bronto_orders.admin.base import ReadOnlyAdmin
from bronto_orders.admin.columns import badge, past, reason, span, state_badge
from bronto_orders.admin.resync import described
from bronto_orders.delivery import claims
from bronto_orders.delivery.resync import Options, Progress, cancel, progress, waiting
from bronto_orders.models import AccountStatus, Order, ResyncRun, SyncState

#: How many failed orders a page shows.
SAMPLED = 10
#: Seconds after which a page that nothing has moved on says so.
QUIET_SECONDS = 60


def standing(run: ResyncRun, waiting: int) -> tuple[str, str]:
    """Return how a run of which so many orders wait stands, in a word, and the kind of its label."""
    if run.error:
        return _("failed"), "rejected"
    if run.cancelled_at:
        return (_("cancelled"), "skipped") if run.finished_at else (_("cancelling"), "sending")
    if run.finished_at is None:
        return _("queueing"), "sending"
    return (pgettext("the resync", "sending"), "sending") if waiting else (_("done"), "synced")


class RunList(CausedList):
    """The list of resyncs, each with how many of its orders wait."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        left = waiting(self.result_list, using=self.queryset.db)
        for run in self.result_list:
            run.waiting = left.get(run.pk, 0)


@admin.register(ResyncRun)
class ResyncRunAdmin(ReadOnlyAdmin):
    """Each resync: what became of it, and a way to stop it."""

    list_display = [
        "number", "created_ago", "caused_by", "state", "total", "queued", "already_queued", "left_out", "taken_back",
    ]  # fmt: skip
    list_per_page = 50
    show_full_result_count = False
    ordering = ["-pk"]
    run_template = "admin/bronto_orders/resyncrun/run.html"

    def has_resync_permission(self, request: HttpRequest) -> bool:
        """Whether the user may start resyncs, and so cancel them."""
        return request.user.has_perm("bronto_orders.resync_order") and (
            request.user.has_perm("bronto_orders.view_order") or request.user.has_perm("bronto_orders.change_order")
        )

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request, obj) or self.has_resync_permission(request)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.cancel_view)
        return [path("<path:object_id>/cancel/", view, name="bronto_orders_resyncrun_cancel"), *super().get_urls()]

    @admin.display(description=gettext_lazy("resync"), ordering="pk")
    def number(self, run: ResyncRun) -> str:
        return str(run)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[CausedList]:
        return RunList

    @admin.display(description=gettext_lazy("started by"))
    def caused_by(self, run: ResyncRun) -> str:
        return run.caused_by  # type: ignore[attr-defined,no-any-return]

    @admin.display(description=gettext_lazy("started"), ordering="created_at")
    def created_ago(self, run: ResyncRun) -> str:
        return past(run.created_at)

    @admin.display(description=gettext_lazy("state"))
    def state(self, run: ResyncRun) -> str:
        return badge(*standing(run, run.waiting))  # type: ignore[attr-defined]

    @method_decorator(require_safe)
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show how far the resync is."""
        run = self._run_or_404(request, object_id)
        if not self.has_view_permission(request, run):
            raise PermissionDenied
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            "list_url": self._url("bronto_orders_resyncrun_changelist"),
            **self.get_run_context(request, run),
            **(extra_context or {}),
        }
        return TemplateResponse(request, self.run_template, context)

    @method_decorator(require_POST)
    def cancel_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Stop the resync."""
        if not self.has_resync_permission(request):
            raise PermissionDenied
        run = self._run_or_404(request, object_id)
        if cancel(run):
            LogEntry.objects.log_actions(cast(int, request.user.pk), [run], CHANGE, change_message=_("Cancelled."))
            self.message_user(request, _("The resync is cancelled."), messages.SUCCESS)
        else:
            self.message_user(request, _("The resync was over already."), messages.INFO)
        return HttpResponseRedirect(self._url("bronto_orders_resyncrun_change", quote(run.pk)))

    def get_run_context(self, request: HttpRequest, run: ResyncRun) -> dict[str, Any]:
        """Return what the page shows."""
        known = progress(run)
        held = self._held(known)
        may_cancel = self.has_resync_permission(request) and not run.cancelled_at and not known.is_over
        return {
            "title": str(run).capitalize(),
            "run": run,
            "progress": known,
            "badge": badge(*standing(run, known.waiting)),
            "sentence": sentence(known, may_last=bool(held)),
            "held": held,
            "started_by": trigger_words(run.trigger, people([run.trigger])),
            "created": past(run.created_at),
            "orders": self._chosen(run),
            "how": described(Options(**run.options)),
            "quiet": is_quiet(run),
            "untried": not held and is_untried(known),
            "counts": list(self._counts(known)),
            "failures": self._failures(run),
            "cancel_url": self._url("bronto_orders_resyncrun_cancel", quote(run.pk)) if may_cancel else "",
        }

    def _held(self, known: Progress) -> list[AccountStatus]:
        """Return the gates of those accounts whose orders wait in any case."""
        if not known.waiting:
            return []
        using = known.run._state.db
        accounts = Order.objects.using(using).owed().filter(resync_run=known.run.pk).order_by().values("account")
        return list(AccountStatus.objects.using(using).filter(claims.shut(), account__in=accounts).order_by("account"))

    def _counts(self, known: Progress) -> Any:
        """Yield for each outcome its label, why, how many, and the list of these orders."""
        orders = self._url("bronto_orders_order_changelist")
        for (state, code), count in sorted(known.outcomes.items(), key=lambda item: -item[1]):
            query = urlencode({"resync_run": known.run.pk, "sync_state__exact": state})
            yield state_badge(state), reason(code), count, f"{orders}?{query}" if orders else ""
        others = [
            (_("queued already"), _("They kept what they were queued for."), known.run.already_queued),
            (_("left out"), _("Ignored by staff, or deleted."), known.run.left_out),
            (_("taken back"), _("Not sent any more when the resync was cancelled."), known.run.taken_back),
            (_("in a later resync"), _("Or deleted since."), known.elsewhere),
        ]
        for label, why, count in others:
            if count:
                yield badge(label, "pending"), why, count, ""

    def _chosen(self, run: ResyncRun) -> list[tuple[Order, str]]:
        """Return the first of the orders, if they were chosen by their keys: each with its page."""
        keys = run.filters.get("keys", [])[:SAMPLED]
        orders = Order.objects.using(run._state.db).filter(pk__in=keys).order_by("-pk").only("pk", "customer_order_id")
        return [(order, self._url("bronto_orders_order_change", quote(order.pk))) for order in orders]

    def _failures(self, run: ResyncRun) -> list[tuple[Order, str, str, str]]:
        """Return some orders that failed: each with its page, its label and the explanation."""
        orders = Order.objects.using(run._state.db).filter(resync_run=run.pk, sync_state__in=SyncState.parked())
        named = orders.order_by("-pk").only("pk", "customer_order_id", "sync_state", "sync_message")[:SAMPLED]
        return [
            (order, self._url("bronto_orders_order_change", quote(order.pk)), state_badge(order.sync_state),
             order.sync_message)
            for order in named
        ]  # fmt: skip

    def _run_or_404(self, request: HttpRequest, object_id: str) -> ResyncRun:
        run = self.get_object(request, unquote(object_id))
        if run is None:
            raise Http404
        return cast(ResyncRun, run)

    def _url(self, name: str, *args: str) -> str:
        try:
            return reverse(f"admin:{name}", args=args, current_app=self.admin_site.name)
        except NoReverseMatch:  # a site without an admin for orders
            return ""


def is_quiet(run: ResyncRun) -> bool:
    """Tell whether nobody has queued the run's orders for so long that no worker seems to run."""
    moved = run.heartbeat or run.created_at
    return run.finished_at is None and timezone.now() - moved > timedelta(seconds=QUIET_SECONDS)


def is_untried(known: Progress) -> bool:
    """Tell whether all of the run's orders have been waiting for so long that no worker seems to run."""
    moved = known.run.finished_at
    is_late = moved is not None and timezone.now() - moved > timedelta(seconds=QUIET_SECONDS)
    return is_late and 0 < known.waiting == sum(known.states.values())


def sentence(known: Progress, *, may_last: bool = False) -> str:
    """Say in one sentence how far the run is, and how long it takes unless that may be for ever."""
    run = known.run
    numbers = {"done": known.done, "total": known.total}
    if run.error:
        return run.error
    if known.is_over and run.cancelled_at:
        text = ngettext(
            "Cancelled. %(count)d order was taken back, and nothing more is sent.",
            "Cancelled. %(count)d orders were taken back, and nothing more is sent.",
            run.taken_back,
        )
        return text % {"count": run.taken_back}
    if known.is_over:
        if known.unsent:
            text = ngettext(
                "Done, but %(unsent)d of %(total)d orders was not sent.",
                "Done, but %(unsent)d of %(total)d orders were not sent.",
                known.unsent,
            )
            return text % {**numbers, "unsent": known.unsent}
        return ngettext("Done: %(total)d order.", "Done: %(total)d orders.", known.total) % numbers
    if run.cancelled_at:
        text = ngettext(
            "Cancelled. %(waiting)d order is still sent.",
            "Cancelled. %(waiting)d orders are still sent.",
            known.waiting,
        )
        return text % {"waiting": known.waiting}
    text = ngettext("%(done)d of %(total)d order is done.", "%(done)d of %(total)d orders are done.", known.total)
    text %= numbers
    tried = sum(known.states.values()) - known.waiting
    if may_last or run.finished_at is None or not tried or run.started_at is None:
        return text
    elapsed = (timezone.now() - run.started_at).total_seconds()
    left = _("About %(time)s left.") % {"time": span(round(elapsed * known.waiting / tried))}
    return f"{text} {left}"
