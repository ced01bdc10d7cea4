"""The page that compares one order with Bronto, and what can be done about it from there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import router, transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from bronto_orders import wire
from bronto_orders.admin.attempts import BY_PERSON
from bronto_orders.admin.columns import state_badge
from bronto_orders.admin.resync import ResyncAdmin
from bronto_orders.admin.rows import SYMBOLS, item_changes, row
from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import personal
from bronto_orders.delivery.acceptance import NotAcceptedError, accept, may_be_accepted
from bronto_orders.delivery.comparison import Comparison, compare, erased_sentence, sentence
from bronto_orders.delivery.curl import curl
from bronto_orders.delivery.resync import resync
from bronto_orders.delivery.texts import pretty, visible
from bronto_orders.delivery.tombstones import is_erased
from bronto_orders.diffing import Verdict
from bronto_orders.exceptions import BrontoConfigurationError
from bronto_orders.models import Order

#: Line items on one page of the comparison.
ITEMS_PER_PAGE = 100


class DiffAdmin(ResyncAdmin):
    """Adds the page that compares an order with Bronto, and its buttons."""

    diff_template = "admin/bronto_orders/order/diff.html"

    def has_view_diff_permission(self, request: HttpRequest, obj: Order | None = None) -> bool:
        """Whether the user may compare orders with Bronto; only orders that they may see."""
        may_compare = request.user.has_perm("bronto_orders.view_diff")
        return may_compare and self.has_view_permission(request, obj)

    def has_settle_permission(self, request: HttpRequest, obj: Order | None = None) -> bool:
        """Whether the user may press the buttons of the comparison."""
        return self.has_view_diff_permission(request, obj) and self.has_resync_permission(request, obj)

    def get_urls(self) -> list[URLPattern]:
        def named(verb: str, view: Callable[..., HttpResponse]) -> URLPattern:
            name = f"{self.opts.app_label}_{self.opts.model_name}_{verb}"
            return path(f"<path:object_id>/{verb.replace('_', '/')}/", self.admin_site.admin_view(view), name=name)

        return [
            named("diff", self.diff_view),
            named("diff_push", self.diff_push_view),
            named("diff_accept", self.diff_accept_view),
            *super().get_urls(),
        ]

    @method_decorator(require_safe)
    def diff_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the order beside what Bronto acknowledged and has. Reads Bronto, changes nothing."""
        if not self.has_view_diff_permission(request):
            raise PermissionDenied
        order = self.order_or_404(request, unquote(object_id))
        if not self.has_view_diff_permission(request, order):
            raise PermissionDenied
        return TemplateResponse(request, self.diff_template, self.get_diff_context(request, order))

    @method_decorator(require_POST)
    def diff_push_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Queue the order for another push: if it differs from what Bronto has, or in any case (``what=all``)."""
        order = self._order_to_settle(request, object_id)
        if is_erased(order):
            self.message_user(request, erased_sentence(), messages.WARNING)
        elif request.POST.get("what") == "all":
            self.push_again(request, order, force=True)
        else:
            comparison = self.get_comparison(order)
            if not comparison.reading.answered:
                text = _("%(trouble)s So nobody knows what differs, and nothing was queued.")
                self.message_user(request, text % {"trouble": comparison.reading.trouble}, messages.WARNING)
            elif comparison.can_settle or comparison.is_missing:
                self.push_again(request, order, force=comparison.idle)
            else:
                self.message_user(request, _("Nothing differs any more, and nothing was queued."), messages.INFO)
        return HttpResponseRedirect(self.order_url("diff", order))

    @method_decorator(require_POST)
    def diff_accept_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Leave the order at Bronto as it is."""
        order = self._order_to_settle(request, object_id)
        try:
            accepted = accept(order, seen=request.POST.get("seen", ""))
        except NotAcceptedError as refusal:
            text = _("Nothing was accepted. %(reason)s")
            self.message_user(request, text % {"reason": refusal}, messages.WARNING)
        else:
            if accepted:
                self._log(request, order, _("Accepted the order as Bronto has it."))
                text = _("Accepted as Bronto has it. Nothing is sent until the shop changes the order.")
                self.message_user(request, text, messages.SUCCESS)
            else:
                self.message_user(request, _("Nothing differs that could be accepted."), messages.INFO)
        return HttpResponseRedirect(self.order_url("diff", order))

    def push_again(self, request: HttpRequest, order: Order, *, force: bool) -> None:
        """Queue the order, quietly, write that down and tell the user."""
        using = router.db_for_write(self.model)
        orders = self.model._default_manager.using(using).filter(pk=order.pk)
        with transaction.atomic(using=using):
            result = resync(orders, trigger=f"{BY_PERSON}{request.user.pk}", force=force, trigger_events=False)
            if result.queued:
                self._log(request, order, _("Queued to be sent to Bronto again, from the comparison."))
        if result.queued:
            self.message_user(request, _("Queued. Look again in a moment."), messages.SUCCESS)
        else:
            self.message_user(request, _("The order was queued already; it is tried as soon as it can be."))

    def _log(self, request: HttpRequest, order: Order, text: str) -> None:
        LogEntry.objects.log_actions(cast(int, request.user.pk), [order], CHANGE, change_message=text)

    def _order_to_settle(self, request: HttpRequest, object_id: str) -> Order:
        """Return the order as the database that is written to has it, if the user may press the buttons."""
        if not self.has_settle_permission(request):
            raise PermissionDenied
        order = self.order_or_404(request, unquote(object_id))
        if not self.has_settle_permission(request, order):
            raise PermissionDenied
        # What is decided about is what the database that is written to has, not what a replica of it has.
        try:
            order.refresh_from_db(using=router.db_for_write(self.model))
        except self.model.DoesNotExist:
            raise Http404 from None
        return order

    def get_comparison(self, order: Order) -> Comparison:
        """Return what the page shows."""
        return compare(order)

    def get_diff_context(self, request: HttpRequest, order: Order) -> dict[str, Any]:
        """Return the template's context."""
        comparison, masked = self.get_comparison(order), not personal.may_see(request.user)
        show_all = request.GET.get("all") == "1"
        shown = [change for change in comparison.changes if show_all or change.verdict.is_news]
        items = Paginator(item_changes(comparison.changes, show_all=show_all), ITEMS_PER_PAGE)
        page = items.get_page(request.GET.get("page"))
        context = self.page_context(
            request,
            title=_("Compare with Bronto"),
            order=order,
            badge=state_badge(order.sync_state),
            last_error=visible(order.sync_message),
            comparison=comparison,
            sentence=sentence(comparison),
            show_all=show_all,
            rows=[row(change, masked=masked) for change in shown if change.item is None],
            items=[item.rows(masked=masked) for item in page],
            page=page,
            pages=page.paginator.get_elided_page_range(page.number) if page.has_other_pages() else (),
            verdicts=[(one, SYMBOLS[one]) for one in Verdict if any(change.verdict is one for change in shown)],
        )
        if comparison.push:
            context |= self._body_context(comparison, masked=masked)
        if self.has_settle_permission(request, order) and not comparison.erased:
            context |= {
                "push_url": self.order_url("diff_push", order),
                "may_push_differences": comparison.can_settle or comparison.is_missing,
                "accept_url": self.order_url("diff_accept", order) if may_be_accepted(comparison) else "",
            }
        return context

    def _body_context(self, comparison: Comparison, *, masked: bool) -> dict[str, Any]:
        assert comparison.push is not None  # noqa: S101 - as the caller has seen
        body = comparison.body(masked=masked)
        try:
            account = bronto_settings.account(comparison.order.account)
        except BrontoConfigurationError:
            command = ""
        else:
            command = curl(account, comparison.order, comparison.push, body, quiet=comparison.idle)
        return {
            "body": pretty(body),
            "raw_body": wire.dumps(body),
            "raw_size": len(comparison.push.body_json),
            "curl": command,
            "body_is_masked": body != comparison.push.body,
        }
