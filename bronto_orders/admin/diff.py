"""The page that compares one order with Bronto."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from bronto_orders.admin.base import OrderPages
from bronto_orders.admin.columns import state_badge
from bronto_orders.admin.rows import field_row, item_blocks, pretty
from bronto_orders.delivery.comparison import Comparison, compare, sentence
from bronto_orders.diffing import Verdict
from bronto_orders.models import Order


class DiffAdmin(OrderPages):
    """Adds the page that compares an order with Bronto."""

    diff_template = "admin/bronto_orders/order/diff.html"

    def has_view_diff_permission(self, request: HttpRequest, obj: Order | None = None) -> bool:
        """Whether the user may compare orders with Bronto; only orders that they may see."""
        may_compare = request.user.has_perm("bronto_orders.view_diff")
        return may_compare and self.has_view_permission(request, obj)

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_diff"
        view = self.admin_site.admin_view(self.diff_view)
        return [path("<path:object_id>/diff/", view, name=name), *super().get_urls()]

    @method_decorator(require_safe)
    def diff_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the order beside what Bronto acknowledged and has. Reads Bronto, changes nothing."""
        if not self.has_view_diff_permission(request):
            raise PermissionDenied
        order = self.order_or_404(request, unquote(object_id))
        if not self.has_view_diff_permission(request, order):
            raise PermissionDenied
        return TemplateResponse(request, self.diff_template, self.get_diff_context(request, order))

    def get_comparison(self, order: Order) -> Comparison:
        """Return what the page shows."""
        return compare(order)

    def get_diff_context(self, request: HttpRequest, order: Order) -> dict[str, Any]:
        """Return the template's context."""
        comparison = self.get_comparison(order)
        show_all = request.GET.get("all") == "1"
        shown = [change for change in comparison.changes if show_all or change.verdict.is_difference]
        return self.page_context(
            request,
            title=_("Compare with Bronto"),
            order=order,
            badge=state_badge(order.sync_state),
            comparison=comparison,
            sentence=sentence(order, comparison),
            read_at=timezone.now(),
            show_all=show_all,
            rows=[field_row(change) for change in shown if change.item is None],
            items=list(item_blocks(comparison.changes, show_all=show_all)),
            verdicts=[verdict for verdict in Verdict if any(change.verdict is verdict for change in shown)],
            body=pretty(comparison.push.body) if comparison.push else "",
            change_url=self.order_url("change", order),
            list_url=self.list_url(),
        )
