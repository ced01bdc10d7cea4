"""Orders in the service's own JSON shape, read and written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from django.db import models
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail

from bronto_orders import equality, payloads
from bronto_orders.api import problems
from bronto_orders.api.fields import FlagField, column_of, field_for, nothing
from bronto_orders.client.redaction import PERSONAL
from bronto_orders.delivery.personal import is_masked, masked_document
from bronto_orders.models import LineItem, Order

PAIR = ("trackingCookieName", "trackingCookieValue")


class Document(serializers.Serializer[Any]):
    """An object whose members are those of a table of what is sent, and no others.

    What is valid comes out under the names of the model's fields. Null, and text left empty, is what the column holds
    when the shop says nothing.
    """

    table: ClassVar[tuple[payloads.WireField, ...]] = ()
    model: ClassVar[type[models.Model]] = Order
    #: Members of Bronto's answers that nobody but Bronto writes.
    made_by_bronto: ClassVar[tuple[str, ...]] = ()

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        made = {rule.name: field_for(rule, column_of(self.model, rule.attribute)) for rule in self.table}
        return made | super().get_fields()

    def to_internal_value(self, data: Any) -> Any:
        wrong = dict(self.wrong_names(data)) if isinstance(data, Mapping) else {}
        try:
            values = super().to_internal_value(data)
        except serializers.ValidationError as error:
            found: Any = error.detail
            raise serializers.ValidationError({**found, **wrong}) from None
        if wrong:
            raise serializers.ValidationError(wrong)
        for rule in self.table:
            if rule.attribute in values and values[rule.attribute] in (None, ""):
                values[rule.attribute] = nothing(column_of(self.model, rule.attribute))
        return values

    def wrong_names(self, data: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
        """Yield the names that cannot stand here, each with what is wrong."""
        known = self.fields.keys()
        for name in data:
            if name in self.made_by_bronto and name not in known:
                yield name, [ErrorDetail(_("Bronto sets this. Leave it out."), code="read_only")]
            elif name not in known:
                yield problems.shorten(name), [problems.unknown(name, known)]


class StatesDocument(Document):
    """``states``, without a column of its own."""

    processed = FlagField(required=False, allow_null=True)
    shipped = FlagField(required=False, allow_null=True)

    def to_internal_value(self, data: Any) -> Any:
        if data is None:
            return {"processed": False, "shipped": False}
        return {name: bool(value) for name, value in super().to_internal_value(data).items()}


class ResyncWish(Document):
    """How to send an order again."""

    force = FlagField(default=False)
    triggerEvents = FlagField(source="trigger_events", default=False)


class LineItemDocument(Document):
    """A line item. Its place in the list is its position."""

    table = payloads.ITEM_FIELDS
    model = LineItem
    made_by_bronto = ("position",)


class OrderDocument(Document):
    """An order.

    Valid data of a whole order names each column of the shop's; of a partial one, those that are to change.
    ``line_items``, where it is there, is a list of the items' values.
    """

    table = payloads.FIELDS
    made_by_bronto = equality.SERVER_FIELDS

    states = StatesDocument(source="*", required=False, allow_null=True)
    status = serializers.ChoiceField(
        choices=["PENDING", "PROCESSED"],
        required=False,
        allow_null=True,
        write_only=True,
        help_text=gettext_lazy("Bronto's older word for states.processed, over which it wins."),
        error_messages={"invalid_choice": gettext_lazy("This is neither PENDING nor PROCESSED.")},
    )
    # Not by many=True, which would let null stand for an item, too.
    lineItems: serializers.ListSerializer[Any] = serializers.ListSerializer(
        child=LineItemDocument(), source="line_items", required=False, allow_null=True
    )

    def validate_customerOrderId(self, value: str | None) -> str | None:
        """Let the body repeat the number that the address holds, and no other."""
        if value and value != self.context["customer_order_id"]:
            raise serializers.ValidationError(_("This is not the order number of the address."), code="mismatch")
        return value

    def wrong_names(self, data: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
        yield from super().wrong_names(data)
        for name in data.keys() & set(PERSONAL):
            if is_masked(data[name]):
                message = _("This is the place holder for what you may not see. Leave it out.")
                yield name, [ErrorDetail(message, code="masked")]
        given = [name for name in PAIR if data.get(name)]
        if len(given) == 1 or (self.partial and len(data.keys() & set(PAIR)) == 1):
            other = next(name for name in PAIR if name not in (given or data.keys()))
            yield other, [ErrorDetail(_("A tracking cookie's name and value come together."), code="required")]

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        values: dict[str, Any] = super().to_internal_value(data)
        values.pop("customer_order_id", None)
        if status := values.pop("status", None):
            values["processed"] = status == "PROCESSED"
        if values.get("line_items", ()) is None:
            values["line_items"] = []
        return values if self.partial else {**_nothing_said(), **values}

    def to_representation(self, instance: Any) -> Any:
        document = super().to_representation(instance)
        if self.context["may_see_personal_data"]:
            return document
        return masked_document(document)


def _nothing_said() -> dict[str, Any]:
    names = [rule.attribute for rule in payloads.FIELDS if rule.attribute != "customer_order_id"]
    columns = {name: nothing(column_of(Order, name)) for name in (*names, "processed", "shipped")}
    return {**columns, "line_items": []}
