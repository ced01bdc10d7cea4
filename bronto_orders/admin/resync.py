"""Sending orders again: a page that says what would happen and asks, and a POST that starts it."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.db import router, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_http_methods

from bronto_orders.admin.attempts import BY_PERSON
from bronto_orders.admin.base import OrderPages
from bronto_orders.admin.columns import EMPTY, reason, span, state_badge
from bronto_orders.delivery import claims
from bronto_orders.delivery.resync import Options, Plan, plan, start_run
from bronto_orders.models import AccountStatus, Order, ResyncRun, SyncState
from bronto_orders.models.querysets import CHUNK, OrderQuerySet

#: How many of the chosen orders the page names.
NAMED = 10
#: Up to how many orders, chosen one by one, have a log entry each.
LOGGED = 100
#: How many orders may be marked as ignored at once.
IGNORED_AT_ONCE = 1000

#: What becomes of an order in each state.
FATES = {
    SyncState.PENDING: gettext_lazy("Queued already. It is tried now, the way it was going to be."),
    SyncState.SENDING: gettext_lazy("Being sent right now. It is left alone."),
    SyncState.SYNCED: gettext_lazy("Looked at again. What Bronto has already is sent only if you say so below."),
    SyncState.REJECTED: gettext_lazy("Tried again from the start."),
    SyncState.SKIPPED: gettext_lazy("Tried again from the start."),
}


class ResyncForm(forms.Form):
    """How to send orders again."""

    mode = forms.ChoiceField(
        label=gettext_lazy("What to send"),
        choices=[
            ("changed", gettext_lazy("Send only what changed since Bronto last took it.")),
            ("force", gettext_lazy("Send again even if unchanged.")),
        ],
        widget=forms.RadioSelect,
        initial="changed",
    )
    send_tracking = forms.BooleanField(
        label=gettext_lazy("Send tracking again"),
        help_text=gettext_lazy(
            "What is sent takes its tracking along although Bronto has said that it took it. Orders may be credited to "
            "another e-mail than before."
        ),
        required=False,
    )
    trigger_events = forms.BooleanField(
        label=gettext_lazy("Fire workflows"),
        help_text=gettext_lazy(
            "Bronto runs the workflows that wait for orders, so customers may get messages about these orders, "
            "also such as they have had before. Leave this off unless you want that."
        ),
        required=False,
    )
    force_events = forms.BooleanField(
        label=gettext_lazy("Force events"),
        help_text=gettext_lazy(
            "Bronto runs the workflows also for orders in which nothing has changed: customers get the same messages a "
            "second time. You are asked once more."
        ),
        required=False,
    )
    force_confirmed = forms.BooleanField(
        label=gettext_lazy("Yes, customers may get the same messages a second time"), required=False
    )
    #: So that a second click is the same resync.
    token = forms.UUIDField(widget=forms.HiddenInput, required=False, initial=uuid.uuid4)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if cleaned.get("force_events"):
            if not cleaned.get("trigger_events"):
                self.add_error("force_events", _("Events can be forced only if workflows are fired."))
            elif not cleaned.get("force_confirmed"):
                self.add_error("force_confirmed", _("Say that you mean it, or leave out “Force events”."))
        return cleaned

    def options(self, *, include_ignored: bool) -> Options:
        """Return the answers of a valid form."""
        names = ("send_tracking", "trigger_events", "force_events")
        given = {name: self.cleaned_data[name] for name in names}
        return Options(force=self.cleaned_data["mode"] == "force", include_ignored=include_ignored, **given)


class ResyncAdmin(OrderPages):
    """Adds the actions, the page and the button that send orders to Bronto again, and the one that ignores them."""

    actions = ["resync_selected", "retry_rejected", "mark_as_ignored"]
    resync_form = ResyncForm
    resync_template = "admin/bronto_orders/order/resync.html"
    ignore_template = "admin/bronto_orders/order/ignore.html"

    def has_resync_permission(self, request: HttpRequest, obj: Order | None = None) -> bool:
        """Whether the user may send orders again; only orders that they may see."""
        may_resync = request.user.has_perm("bronto_orders.resync_order")
        return may_resync and self.has_view_permission(request, obj)

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_resync"
        view = self.admin_site.admin_view(self.resync_view)
        return [path("<path:object_id>/resync/", view, name=name), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        run = request.GET.get("resync_run", "")
        named = {"resync_run": run, "resync_run_url": self.run_url(run)} if run.isdecimal() else {}
        return super().changelist_view(request, {**named, **(extra_context or {})})

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def resync_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask about one order; on POST, send it again."""
        if not self.has_resync_permission(request):
            raise PermissionDenied
        order = self.order_or_404(request, unquote(object_id))
        if not self.has_resync_permission(request, order):
            raise PermissionDenied
        orders = self._orders().filter(pk=order.pk)
        form = self.resync_form(request.POST if request.method == "POST" else None)
        back = self.order_url("change", order)
        if form.is_valid():
            return self.start_resync(request, orders, form, one_by_one=True, back=back)
        return self.render_resync(request, orders, form, one_by_one=True, back=back, order=order)

    @admin.action(permissions=["resync"], description=gettext_lazy("Send selected orders to Bronto again"))
    def resync_selected(self, request: HttpRequest, queryset: OrderQuerySet) -> HttpResponse | None:
        """Ask about the selected orders; when that is answered, send them again."""
        return self._resync_action(request, queryset, "resync_selected", _gone())

    @admin.action(permissions=["resync"], description=gettext_lazy("Retry selected orders that were rejected"))
    def retry_rejected(self, request: HttpRequest, queryset: OrderQuerySet) -> HttpResponse | None:
        """Do the same with those of the selected orders that were rejected."""
        rejected = queryset.filter(sync_state=SyncState.REJECTED)
        return self._resync_action(request, rejected, "retry_rejected", _("None of these orders is rejected."))

    def _resync_action(
        self, request: HttpRequest, orders: OrderQuerySet, action: str, nothing: str
    ) -> HttpResponse | None:
        if not self.has_resync_permission(request):
            raise PermissionDenied
        if "confirmed" not in request.POST and not orders.exists():
            self.message_user(request, nothing, messages.WARNING)
            return None
        one_by_one = request.POST.get("select_across") != "1"
        if one_by_one:
            self._check_each(request, orders)
        form = self.resync_form(request.POST if "confirmed" in request.POST else None)
        back = request.get_full_path()
        if form.is_valid():
            return self.start_resync(request, orders, form, one_by_one=one_by_one, back=back)
        return self.render_resync(request, orders, form, one_by_one=one_by_one, back=back, action=action)

    def _check_each(self, request: HttpRequest, orders: Iterable[Order]) -> None:
        """Raise PermissionDenied if the user may not send one of these orders again, as a subclass may say."""
        if not all(self.has_resync_permission(request, order) for order in orders):
            raise PermissionDenied

    def start_resync(
        self, request: HttpRequest, orders: OrderQuerySet, form: ResyncForm, *, one_by_one: bool, back: str
    ) -> HttpResponse:
        """Start the resync, log it and lead to its page."""
        orders = orders.using(router.db_for_write(self.model))
        options = form.options(include_ignored=one_by_one)
        with transaction.atomic(using=orders.db):
            run, new = start_run(
                orders, trigger=f"{BY_PERSON}{request.user.pk}", options=options, token=form.cleaned_data["token"]
            )
            if new:
                self._log_resync(request, run, options, one_by_one=one_by_one)
        if not new:
            self.message_user(request, _("This resync was started already."), messages.INFO)
        return HttpResponseRedirect(self.run_url(run.pk) or back)

    def run_url(self, run: int | str) -> str:
        """Return the address of the page of the resync with this key; empty on a site that has none."""
        try:
            return reverse("admin:bronto_orders_resyncrun_change", args=[quote(run)], current_app=self.admin_site.name)
        except NoReverseMatch:
            return ""

    def _orders(self) -> OrderQuerySet:
        orders: OrderQuerySet = self.model._default_manager.using(router.db_for_write(self.model))
        return orders

    def _log_resync(self, request: HttpRequest, run: ResyncRun, options: Options, *, one_by_one: bool) -> None:
        """Log the resync and, if they were chosen one by one and are not too many, each order."""
        how = " ".join(described(options))
        user = cast(int, request.user.pk)
        started = ngettext("Resync of %(count)d order.", "Resync of %(count)d orders.", run.total) % {
            "count": run.total
        }
        LogEntry.objects.log_actions(user, [run], ADDITION, change_message=f"{started} {how}".rstrip())
        if not one_by_one or run.total > LOGGED:
            return
        orders = self._orders().filter(pk__in=run.filters["keys"]).only("pk", "customer_order_id")
        queued = _("Queued to be sent to Bronto again.")
        LogEntry.objects.log_actions(user, orders, CHANGE, change_message=f"{queued} {how}".rstrip())

    def render_resync(
        self,
        request: HttpRequest,
        orders: OrderQuerySet,
        form: ResyncForm,
        *,
        one_by_one: bool,
        back: str,
        order: Order | None = None,
        action: str = "",
    ) -> TemplateResponse:
        """Return the page that asks."""
        planned = plan(orders, Options(include_ignored=one_by_one))
        named = list(orders.order_by("-pk")[:NAMED])
        context = self.page_context(
            request,
            title=_("Send to Bronto again"),
            form=form,
            ask_twice=bool(form.is_bound and form.cleaned_data.get("force_events")),
            total=planned.total,
            forecast=list(forecast(planned)),
            standing=list(standing(planned)),
            orders=[(one, self.order_url("change", one)) for one in named],
            unnamed=planned.total - len(named),
            held=self.held_accounts(planned),
            back=back,
            order=order,
            # The action's own form once more, now with the answers.
            hidden=hidden_fields(request, action) if action else [],
        )
        return TemplateResponse(request, self.resync_template, context)

    def held_accounts(self, planned: Plan) -> list[AccountStatus]:
        """Return the gates of those accounts whose orders wait in any case."""
        return list(AccountStatus.objects.filter(claims.shut(), account__in=planned.accounts).order_by("account"))

    @admin.action(permissions=["resync"], description=gettext_lazy("Mark selected orders as ignored"))
    def mark_as_ignored(self, request: HttpRequest, queryset: OrderQuerySet) -> HttpResponse | None:
        """Ask about the selected orders; when that is answered, let them rest until somebody resyncs them."""
        if not self.has_resync_permission(request):
            raise PermissionDenied
        pks = sorted(queryset.order_by().values_list("pk", flat=True)[: IGNORED_AT_ONCE + 1])
        if len(pks) > IGNORED_AT_ONCE:
            text = _("Mark at most %(count)d orders as ignored at once.") % {"count": IGNORED_AT_ONCE}
            self.message_user(request, text, messages.ERROR)
            return None
        if not pks:
            self.message_user(request, _gone(), messages.WARNING)
            return None
        self._check_each(request, queryset)
        if "confirmed" in request.POST:
            self._ignore(request, pks)
            return None
        named = list(queryset.order_by("-pk")[:NAMED])
        context = self.page_context(
            request,
            title=_("Mark as ignored"),
            total=len(pks),
            orders=[(one, self.order_url("change", one)) for one in named],
            unnamed=len(pks) - len(named),
            back=request.get_full_path(),
            hidden=hidden_fields(request, "mark_as_ignored"),
        )
        return TemplateResponse(request, self.ignore_template, context)

    def _ignore(self, request: HttpRequest, pks: list[int]) -> None:
        message = _("Somebody has marked the order as ignored: it is not sent, whatever changes, until it is resynced.")
        ignored = 0
        with transaction.atomic(using=router.db_for_write(self.model)):
            for start in range(0, len(pks), CHUNK):
                orders = self._orders().filter(pk__in=pks[start : start + CHUNK])
                ignored += orders.ignore(message)
                LogEntry.objects.log_actions(
                    cast(int, request.user.pk),
                    orders.ignored().only("pk", "customer_order_id"),
                    CHANGE,
                    change_message=_("Marked as ignored."),
                )
        text = ngettext("%(count)d order is ignored now.", "%(count)d orders are ignored now.", ignored)
        self.message_user(request, text % {"count": ignored}, messages.SUCCESS if ignored else messages.INFO)
        if left := len(pks) - ignored:
            text = ngettext(
                "%(count)d order was left alone: Bronto has it, or it is being sent.",
                "%(count)d orders were left alone: Bronto has them, or they are being sent.",
                left,
            )
            self.message_user(request, text % {"count": left}, messages.WARNING)


def _gone() -> str:
    return _("None of these orders is there any more.")


def described(options: Options) -> list[str]:
    """Say how orders are sent again, where that is not the usual way."""
    texts = {
        "force": _("Even if unchanged."),
        "send_tracking": _("With tracking."),
        "trigger_events": _("With workflows."),
        "force_events": _("Events are forced."),
    }
    return [text for name, text in texts.items() if getattr(options, name)]


def forecast(planned: Plan) -> Iterator[tuple[str, int, Any]]:
    """Say what would happen to the orders: what, to how many, and more about it."""
    about = "" if planned.exact else _("About, from a sample.")
    if planned.changed:
        yield _("Sent"), planned.changed, _joined(_duration(planned, force=False), about)
    if planned.unchanged:
        text = _("Bronto has this very content. Sent only if you choose so below.")
        yield _("Unchanged"), planned.unchanged, _joined(text, _duration(planned, force=True), about)
    for code, count in planned.invalid.items():
        yield _("Cannot be sent"), count, _joined(reason(code), about)
    if planned.already_queued:
        yield _("Queued already"), planned.already_queued, _("They keep what they are queued for.")
    if planned.left_out:
        yield _("Ignored by staff"), planned.left_out, _("Left out. Choose them one by one to send them.")


def standing(planned: Plan) -> Iterator[tuple[str, str, int, Any]]:
    """Say how the orders stand now: their state, why, how many, and what becomes of them."""
    for state in SyncState:
        reasons = [(reason(why), count) for (one, why), count in planned.reasons.most_common() if one == state]
        known = reasons[:NAMED] or [("", planned.states[state])]
        if others := sum(count for _why, count in reasons[NAMED:]):
            known.append((_("other reasons"), others))
        for why, count in known:
            if count:
                yield state_badge(state), why or EMPTY, count, FATES[state]


def _joined(*texts: str) -> str:
    return " ".join(text for text in texts if text)


def _duration(planned: Plan, *, force: bool) -> str:
    seconds = planned.seconds(force=force)
    if seconds is None:
        return ""
    text = _("Takes about %(time)s in all.") if force else _("Takes about %(time)s.")
    return text % {"time": span(max(1, round(seconds)))}


def hidden_fields(request: HttpRequest, action: str) -> list[tuple[str, str]]:
    """Return the fields of an action's form once more, for the page that asks."""
    across = request.POST.get("select_across", "0")
    selected = request.POST.getlist(ACTION_CHECKBOX_NAME)
    fields = [(ACTION_CHECKBOX_NAME, pk) for pk in (selected[:1] if across == "1" else selected)]
    return [*fields, ("action", action), ("select_across", across), ("confirmed", "1")]
