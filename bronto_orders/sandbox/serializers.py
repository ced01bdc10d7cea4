"""What the body of an add and of an update may hold (S1; C:om for the kinds)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from rest_framework import serializers

from bronto_orders.sandbox.fields import (
    AddressField,
    AmountField,
    CurrencyField,
    FlagField,
    IPField,
    MomentField,
    StatusField,
    TextField,
    UUIDField,
    ValueField,
)
from bronto_orders.sandbox.refusals import Malformed

ID_LIMIT = 255
LINE_ITEM_LIMIT = 10_000


class Form(serializers.Serializer[Any]):
    """A JSON object checked field by field; fields it does not know are ignored (our choice)."""

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return what was sent, checked; refuse the call with a reason for each bad field."""
        try:
            return dict(_shared(cls).run_validation(data))
        except serializers.ValidationError as error:
            raise Malformed("; ".join(_reasons(error.detail, ""))) from None


class LineItemForm(Form):
    """One line; nothing in it is required (S1's sample has two fields)."""

    name = TextField()
    description = TextField()
    sku = TextField()
    other = TextField()
    category = TextField()
    imageUrl = TextField(source="image_url")
    productUrl = TextField(source="product_url")
    quantity = AmountField()
    unitPrice = AmountField(source="unit_price")
    salePrice = AmountField(source="sale_price")
    totalPrice = AmountField(source="total_price")


class LineItemsField(ValueField):
    """The whole list of lines; null is an empty list (our choice)."""

    expected = "an array of objects"

    def run_validation(self, data: Any = serializers.empty) -> Any:
        return [] if data is None else super().run_validation(data)

    def parse(self, data: Any) -> list[dict[str, Any]] | None:
        if not isinstance(data, list):
            return None
        if len(data) > LINE_ITEM_LIMIT:
            raise serializers.ValidationError(f"must not be longer than {LINE_ITEM_LIMIT} items")
        return [self._line(index, item) for index, item in enumerate(data)]

    def _line(self, index: int, item: Any) -> dict[str, Any]:
        if not isinstance(item, dict):
            raise serializers.ValidationError({f"[{index}]": "must be an object"})
        try:
            return dict(_shared(LineItemForm).run_validation(item))
        except serializers.ValidationError as error:
            raise serializers.ValidationError({f"[{index}]": error.detail}) from None


class StatesForm(Form):
    """The preferred view of an order's state (S1, S2)."""

    processed = FlagField()
    shipped = FlagField()


class StatesField(ValueField):
    """Null, and null within, leaves the state as it is (our choice)."""

    expected = "an object of booleans"

    def parse(self, data: Any) -> dict[str, bool] | None:
        if not isinstance(data, dict):
            return None
        flags = _shared(StatesForm).run_validation(data)
        return {name: value for name, value in flags.items() if value is not None}


class OrderForm(Form):
    """The fields that add and update share (S1)."""

    emailAddress = AddressField(source="email_address")
    contactId = TextField(source="contact_id")
    orderDate = MomentField(source="order_date")
    status = StatusField()
    states = StatesField()
    currency = CurrencyField()
    grandTotal = AmountField(source="grand_total")
    subtotal = AmountField()
    discountAmount = AmountField(source="discount_amount")
    taxAmount = AmountField(source="tax_amount")
    shippingAmount = AmountField(source="shipping_amount")
    shippingDate = MomentField(source="shipping_date")
    shippingDetails = TextField(source="shipping_details")
    shippingTrackingUrl = TextField(source="shipping_tracking_url")
    originIp = IPField(source="origin_ip")
    originUserAgent = TextField(source="origin_user_agent")
    messageId = TextField(source="message_id")
    deliveryId = TextField(source="delivery_id")
    orderSource = TextField(source="order_source")
    lineItems = LineItemsField(source="line_items")


class AddForm(OrderForm):
    """An add; only the shop's own id is required (our choice, after S2's curl sample)."""

    customerOrderId = TextField(
        source="customer_order_id", required=True, allow_null=False, allow_blank=False, max_length=ID_LIMIT
    )
    cartId = UUIDField(source="cart_id")


class UpdateForm(OrderForm):
    """An update: nothing is required, what is left out stays (S1)."""


class SearchForm(Form):
    """The parameters of a search, at least one of which must be given (H:search)."""

    customerOrderId = TextField(source="customer_order_id", allow_blank=False)
    cartId = UUIDField(source="cart_id")
    startDate = MomentField(source="start")
    endDate = MomentField(source="end")


class ParameterForm(Form):
    """The switches of add and update (S1, S2); an absent one has its default."""

    createContact = FlagField(source="create_contact", default=False)
    triggerEvents = FlagField(source="trigger_events", default=True)
    force = FlagField(default=False)
    ignoreInvalidTid = FlagField(source="ignore_invalid_tid", default=False)


@cache
def _shared(form: type[Form]) -> Form:
    # Checking keeps nothing on the form, and copying its fields for each call would take longer than the check.
    return form()


def _reasons(detail: Any, name: str) -> list[str]:
    if isinstance(detail, Mapping):
        return [reason for key, inner in detail.items() for reason in _reasons(inner, _join(name, str(key)))]
    if isinstance(detail, list):
        return [reason for inner in detail for reason in _reasons(inner, name)]
    return [f"{name}: {detail}"]


def _join(name: str, key: str) -> str:
    if not name or key.startswith("["):
        return name + key
    return f"{name}.{key}"
