"""What the API shows: orders and how they stand, comparisons, accounts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC
from typing import Any

from django.urls import reverse
from django.utils.http import urlencode
from rest_framework import serializers

from bronto_orders.api.documents import OrderDocument
from bronto_orders.delivery.comparison import Comparison, sentence
from bronto_orders.delivery.explain import explain
from bronto_orders.delivery.personal import masked_document, masked_side
from bronto_orders.delivery.status import Overview
from bronto_orders.diffing import Change, Verdict
from bronto_orders.models import Order, Presence, SyncAttempt, SyncState


def address(order: Order, context: Mapping[str, Any]) -> str:
    """Return the URL of the order: by its path, or by query where a path would not arrive as it was written."""
    request, namespace = context["request"], context["namespace"]
    key = {"account": order.account, "customer_order_id": order.customer_order_id}
    if all(each.isprintable() and "/" not in each and each not in {".", ".."} for each in key.values()):
        url = reverse(f"{namespace}order", kwargs=key)
    else:
        url = f"{reverse(f'{namespace}order-by-query')}?{urlencode(key)}"
    found: str = request.build_absolute_uri(url)
    return found


class Moment(serializers.DateTimeField):
    """A moment, in UTC."""

    def __init__(self, **options: Any) -> None:
        super().__init__(default_timezone=UTC, read_only=True, **options)


class Amount(serializers.DecimalField):
    """An amount as a number, with all its decimals."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_digits=None, decimal_places=None, coerce_to_string=False, read_only=True, **options)


class SyncResource(serializers.Serializer[Order]):
    """Where an order stands between the shop and Bronto."""

    state = serializers.ChoiceField(source="sync_state", choices=SyncState.choices, read_only=True)
    reason = serializers.CharField(source="sync_reason", read_only=True)
    message = serializers.CharField(source="sync_message", read_only=True)
    revision = serializers.IntegerField(read_only=True)
    ackedRevision = serializers.IntegerField(source="acked_revision", read_only=True)
    attempts = serializers.IntegerField(read_only=True)
    nextTryAt = serializers.SerializerMethodField()
    syncedAt = Moment(source="synced_at")
    presence = serializers.ChoiceField(choices=Presence.choices, read_only=True)
    brontoOrderId = serializers.CharField(source="bronto_order_id", read_only=True)
    brontoUpdatedAt = Moment(source="bronto_updated_at")
    hasTracking = serializers.BooleanField(source="has_tracking", allow_null=True, read_only=True)

    def get_nextTryAt(self, order: Order) -> str | None:
        # While an order is being sent, the column holds the end of the lease.
        if order.sync_state != SyncState.PENDING or order.due_at is None:
            return None
        waits = [moment for moment in (order.due_at, order.settle_until) if moment]
        return Moment().to_representation(max(waits))

    def to_representation(self, order: Order) -> dict[str, Any]:
        shown = super().to_representation(order)
        tombstone = self.context["tombstones"].get(order.pk)
        # The row has forgotten what it knew of Bronto, which has the order until the deletion is confirmed.
        if tombstone is not None and tombstone.done_at is None:
            shown["presence"] = Presence.UNSURE.value
        return shown


class OrderSummary(serializers.Serializer[Order]):
    """An order in the list."""

    url = serializers.SerializerMethodField()
    account = serializers.CharField(read_only=True)
    customerOrderId = serializers.CharField(source="customer_order_id", read_only=True)
    orderDate = Moment(source="order_date")
    currency = serializers.CharField(read_only=True)
    grandTotal = Amount(source="grand_total")
    sync = SyncResource(source="*", read_only=True)
    explanation = serializers.SerializerMethodField()

    def get_url(self, order: Order) -> str:
        return address(order, self.context)

    def get_explanation(self, order: Order) -> str:
        status, around = self.context["accounts"][order.account]
        around = replace(around, tombstone=self.context["tombstones"].get(order.pk))
        return explain(order, status, self.context["now"], around)


class OrderResource(OrderSummary):
    """An order with all that the shop says of it; ``order`` can be put back as it is."""

    order = OrderDocument(source="*", read_only=True)


class ItemResource(serializers.Serializer[Any]):
    """Which line item a change belongs to, and its place on each side."""

    key = serializers.CharField()
    sku = serializers.CharField()
    name = serializers.CharField()
    now = serializers.IntegerField(allow_null=True)
    lastSent = serializers.IntegerField(source="last_sent", allow_null=True)
    remote = serializers.IntegerField(allow_null=True)


class ChangeResource(serializers.Serializer[Change]):
    """One field on three sides."""

    path = serializers.CharField()
    field = serializers.CharField()
    now = serializers.JSONField(allow_null=True)
    lastSent = serializers.JSONField(source="last_sent", allow_null=True)
    remote = serializers.JSONField(allow_null=True)
    verdict = serializers.ChoiceField(choices=[(verdict.value, verdict.label) for verdict in Verdict])
    explanation = serializers.CharField(source="verdict.explanation")
    item = ItemResource(allow_null=True)

    def to_representation(self, change: Change) -> dict[str, Any]:
        shown = super().to_representation(change)
        shown["verdict"] = change.verdict.value
        if not self.context["may_see_personal_data"]:
            shown |= {side: masked_side(change, shown[side]) for side in ("now", "lastSent", "remote")}
        return shown


class PushResource(serializers.Serializer[Any]):
    """What the next push sends; nothing when ``idle``, as Bronto has it all already."""

    operation = serializers.ChoiceField(choices=SyncAttempt.Operation.choices)
    idle = serializers.BooleanField()
    body = serializers.SerializerMethodField()

    def get_body(self, push: Any) -> dict[str, Any]:
        if self.context["may_see_personal_data"]:
            return dict(push.body)
        return masked_document(push.body)


class DiffResource(serializers.Serializer[Comparison]):
    """An order beside what Bronto acknowledged of it and has of it."""

    account = serializers.CharField(source="order.account")
    customerOrderId = serializers.CharField(source="order.customer_order_id")
    sentence = serializers.SerializerMethodField()
    brontoAnswered = serializers.BooleanField(source="comparison.reading.answered")
    trouble = serializers.CharField(source="comparison.reading.trouble")
    invalid = serializers.CharField(source="comparison.invalid")
    differences = serializers.IntegerField(source="comparison.differences")
    changes = ChangeResource(many=True)
    push = PushResource(source="comparison.push", allow_null=True)

    def get_sentence(self, shown: Any) -> str:
        return sentence(shown["comparison"])


class ResyncResource(serializers.Serializer[Any]):
    """What became of the wish."""

    queued = serializers.BooleanField()
    alreadyQueued = serializers.BooleanField(source="already_queued")


class AccountResource(serializers.Serializer[Overview]):
    """How an account and its orders stand."""

    account = serializers.CharField()
    configured = serializers.BooleanField()
    counts = serializers.SerializerMethodField()
    oldestDueSeconds = serializers.FloatField(source="oldest_due_seconds", allow_null=True)
    paused = serializers.BooleanField()
    heldUntil = Moment(source="held_until")
    heldReason = serializers.CharField(source="held_reason")
    foreign = serializers.BooleanField()
    misconfigured = serializers.CharField()

    def get_counts(self, overview: Overview) -> dict[str, int]:
        return {state: overview.counts.get(state, 0) for state in SyncState.values}


class ProblemItem(serializers.Serializer[Any]):
    """One thing that is wrong."""

    path = serializers.CharField()
    code = serializers.CharField()
    message = serializers.CharField()


class Problem(serializers.Serializer[Any]):
    """What went wrong (RFC 9457)."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    errors = ProblemItem(many=True)  # type: ignore[assignment]
