"""Sending orders again: a page that asks, and a POST that does it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import router, transaction
from django.db.models import Count
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_http_methods

from bronto_orders.admin.attempts import BY_PERSON
from bronto_orders.admin.base import OrderPages
from bronto_orders.admin.columns import state_badge
from bronto_orders.delivery import claims
from bronto_orders.delivery.resync import Resynced, resync
from bronto_orders.models import AccountStatus, Order, SyncState
from bronto_orders.models.querysets import CHUNK, OrderQuerySet

#: How many of the chosen orders the page names.
NAMED = 10

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
    trigger_events = forms.BooleanField(
        label=gettext_lazy("Fire workflows"),
        help_text=gettext_lazy(
            "Bronto runs the workflows that wait for orders, so customers may get messages about these orders, "
            "also such as they have had before. Leave this off unless you want that."
        ),
        required=False,
    )


class ResyncAdmin(OrderPages):
    """Adds the action, the page and the button that send orders to Bronto again."""

    actions = ["resync_selected"]
    resync_form = ResyncForm
    resync_template = "admin/bronto_orders/order/resync.html"

    def has_resync_permission(self, request: HttpRequest, obj: Order | None = None) -> bool:
        """Whether the user may send orders again; only orders that they may see."""
        may_resync = request.user.has_perm("bronto_orders.resync_order")
        return may_resync and self.has_view_permission(request, obj)

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_resync"
        view = self.admin_site.admin_view(self.resync_view)
        return [path("<path:object_id>/resync/", view, name=name), *super().get_urls()]

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def resync_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask about one order; on POST, queue it."""
        if not self.has_resync_permission(request):
            raise PermissionDenied
        order = self.order_or_404(request, unquote(object_id))
        if not self.has_resync_permission(request, order):
            raise PermissionDenied
        back = self.order_url("change", order)
        form = self.resync_form(request.POST if request.method == "POST" else None)
        if form.is_valid():
            self.resync_orders(request, [order.pk], form.cleaned_data)
            return HttpResponseRedirect(back)
        return self.render_resync(request, self._orders([order.pk]), form, back=back, order=order)

    @admin.action(permissions=["resync"], description=gettext_lazy("Send selected orders to Bronto again"))
    def resync_selected(self, request: HttpRequest, queryset: OrderQuerySet) -> HttpResponse | None:
        """Ask about the selected orders; when that is answered, queue them."""
        if not self.has_resync_permission(request):
            raise PermissionDenied
        form = self.resync_form(request.POST if "confirmed" in request.POST else None)
        if form.is_valid():
            self.resync_orders(request, list(queryset.values_list("pk", flat=True)), form.cleaned_data)
            return None
        return self.render_resync(request, queryset, form, back=request.get_full_path())

    def resync_orders(self, request: HttpRequest, pks: Sequence[int], options: dict[str, Any]) -> Resynced:
        """Queue the orders, log it for each and tell the user."""
        result = Resynced(queued=0, already_queued=0)
        with transaction.atomic(using=router.db_for_write(self.model)):
            for orders in self._chunks(pks):
                self._log_resync(request, orders, options)
                part = resync(
                    orders,
                    trigger=f"{BY_PERSON}{request.user.pk}",
                    force=options["mode"] == "force",
                    trigger_events=options["trigger_events"],
                )
                result = Resynced(result.queued + part.queued, result.already_queued + part.already_queued)
        self.message_user(request, _result_text(result), messages.SUCCESS if result.queued else messages.INFO)
        return result

    def _orders(self, pks: Sequence[int]) -> OrderQuerySet:
        orders: OrderQuerySet = self.model._default_manager.using(router.db_for_write(self.model)).filter(pk__in=pks)
        return orders

    def _chunks(self, pks: Sequence[int]) -> Iterator[OrderQuerySet]:
        # By key, as the push itself changes the columns that a filter of the list may look at.
        for start in range(0, len(pks), CHUNK):
            yield self._orders(pks[start : start + CHUNK])

    def _log_resync(self, request: HttpRequest, orders: OrderQuerySet, options: dict[str, Any]) -> None:
        parts = [_("Queued to be sent to Bronto again.")]
        if options["mode"] == "force":
            parts.append(_("Even if unchanged."))
        if options["trigger_events"]:
            parts.append(_("With workflows."))
        LogEntry.objects.log_actions(
            cast(int, request.user.pk), orders.only("pk", "customer_order_id"), CHANGE, change_message=" ".join(parts)
        )

    def render_resync(
        self, request: HttpRequest, orders: OrderQuerySet, form: forms.Form, *, back: str, order: Order | None = None
    ) -> TemplateResponse:
        """Return the page that asks."""
        counts = dict(orders.order_by().values_list("sync_state").annotate(count=Count("pk")))
        total = sum(counts.values())
        named = list(orders.order_by("-pk")[:NAMED])
        context = self.page_context(
            request,
            title=_("Send to Bronto again"),
            form=form,
            total=total,
            states=[(state_badge(state), counts[state], FATES[state]) for state in SyncState if state in counts],
            orders=[(one, self.order_url("change", one)) for one in named],
            unnamed=total - len(named),
            held=self.held_accounts(orders),
            back=back,
            order=order,
            # The action's own form once more, now with the answers.
            hidden=[] if order else _hidden_fields(request),
        )
        return TemplateResponse(request, self.resync_template, context)

    def held_accounts(self, orders: OrderQuerySet) -> list[AccountStatus]:
        """Return the gates of those accounts whose orders wait in any case."""
        accounts = orders.order_by().values_list("account", flat=True).distinct()
        return list(AccountStatus.objects.filter(claims.shut(), account__in=list(accounts)).order_by("account"))


def _hidden_fields(request: HttpRequest) -> list[tuple[str, str]]:
    across = request.POST.get("select_across", "0")
    selected = request.POST.getlist(ACTION_CHECKBOX_NAME)
    fields = [(ACTION_CHECKBOX_NAME, pk) for pk in (selected[:1] if across == "1" else selected)]
    return [*fields, ("action", "resync_selected"), ("select_across", across), ("confirmed", "1")]


def _result_text(result: Resynced) -> str:
    queued = ngettext("%(count)d order queued", "%(count)d orders queued", result.queued) % {"count": result.queued}
    if not result.already_queued:
        return _("%(queued)s.") % {"queued": queued}
    already = ngettext("%(count)d already queued", "%(count)d already queued", result.already_queued)
    return _("%(queued)s, %(already)s.") % {"queued": queued, "already": already % {"count": result.already_queued}}
