"""Order forms that were opened before somebody or the shop changed the order.

Saving such a form would put back what has been changed since, and Bronto would get that. So the form carries the
revision that it shows, and does not save over a newer one. A second click saves nothing that is not there already, and
passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms.models import BaseInlineFormSet
from django.utils.translation import gettext as _

from bronto_orders.models import LineItem, Order

if TYPE_CHECKING:
    OrderModelForm = forms.ModelForm[Order]
    LineItems = BaseInlineFormSet[LineItem, Order, forms.ModelForm[LineItem]]
else:
    OrderModelForm, LineItems = forms.ModelForm, BaseInlineFormSet

#: What a browser sends beside the fields. A form without it, as a template of the shop's own may be, is not checked.
REVISION = "bronto_revision"


class OrderForm(OrderModelForm):
    """The order's own fields."""

    def clean(self) -> dict[str, Any] | None:
        if self.has_changed():
            check(self.data, self.instance)
        return super().clean()


class LineItemFormSet(LineItems):
    """The lines of the order, in its form."""

    def clean(self) -> None:
        if self.has_changed():
            check(self.data, self.instance)
        super().clean()


def check(data: Mapping[str, Any], order: Order) -> None:
    """Raise ValidationError if the form was opened with another revision of the order than there is now."""
    opened = data.get(REVISION)
    if opened and order.pk and opened != str(order.revision):
        raise ValidationError(
            _(
                "Nothing was saved: the order has been changed, or sent again, since this page was opened. "
                "Open it once more to see it as it is now, then make your change."
            ),
            code="stale",
        )
