"""What must be true in the end. Each check returns what is wrong, a line for each order; nothing when all is well.

The comparison is written down here once more, from the API's documents: it shares no code with what it judges.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import pairwise, takewhile
from typing import Any

from bronto_orders.models import LineItem, Order, SyncAttempt, SyncState
from tests import transitions
from tests.chaos.history import State
from tests.chaos.shop import PHANTOM

TEXTS = {
    "customerOrderId": "customer_order_id",
    "emailAddress": "email_address",
    "contactId": "contact_id",
    "currency": "currency",
    "shippingDetails": "shipping_details",
    "shippingTrackingUrl": "shipping_tracking_url",
    "originIp": "origin_ip",
    "originUserAgent": "origin_user_agent",
    "messageId": "message_id",
    "deliveryId": "delivery_id",
    "trackingCookieName": "tracking_cookie_name",
    "trackingCookieValue": "tracking_cookie_value",
}
AMOUNTS = {
    "grandTotal": "grand_total",
    "subtotal": "subtotal",
    "discountAmount": "discount_amount",
    "taxAmount": "tax_amount",
    "shippingAmount": "shipping_amount",
}
#: Bronto fills these in too, so that they are cleared there only if the shop is known to have sent them.
FILLED_BY_BRONTO = {"contactId", "messageId", "deliveryId"}
DATES = {"orderDate": "order_date", "shippingDate": "shipping_date"}
ITEM_TEXTS = {
    "name": "name",
    "description": "description",
    "sku": "sku",
    "other": "other",
    "category": "category",
    "imageUrl": "image_url",
    "productUrl": "product_url",
}
ITEM_AMOUNTS = {
    "quantity": "quantity",
    "unitPrice": "unit_price",
    "salePrice": "sale_price",
    "totalPrice": "total_price",
}


@dataclass(frozen=True)
class End:
    """Both sides when all is said and done."""

    orders: list[Order]
    #: The orders at the sandbox, as its control API shows them.
    remote: list[dict[str, Any]]
    events: list[dict[str, Any]]
    history: dict[str, list[State]]
    #: Orders that the shop has placed without being rolled back.
    placed: int
    #: What the shop's code raised beside errors of the database.
    shop_trouble: list[str]

    def remote_by_number(self) -> dict[str, dict[str, Any]]:
        return {document["customerOrderId"]: document for document in self.remote}


Check = Callable[[End], Iterator[str]]


def every_order_is_synced(end: End) -> Iterator[str]:
    for order in end.orders:
        if order.sync_state != SyncState.SYNCED:
            yield f"{order}: {order.sync_state} {order.sync_reason}, due at {order.due_at}, attempts {order.attempts}"
        elif order.due_at is not None or order.lease_token is not None or order.acked_revision != order.revision:
            yield (
                f"{order}: synced and yet due at {order.due_at}, lease {order.lease_token}, "
                f"acknowledged {order.acked_revision} of {order.revision}"
            )


def every_order_that_was_placed_is_there(end: End) -> Iterator[str]:
    if len(end.orders) != end.placed:
        yield f"{end.placed} orders were placed and {len(end.orders)} are in the shop's database"


def each_order_is_there_once(end: End) -> Iterator[str]:
    local = {order.customer_order_id for order in end.orders}
    remote = Counter(document["customerOrderId"] for document in end.remote)
    for number in sorted(local - remote.keys()):
        yield f"{number}: not at the service"
    for number in sorted(remote.keys() - local):
        yield f"{number}: at the service, and the shop has no such order"
    for number, count in remote.items():
        if count > 1:
            yield f"{number}: {count} times at the service"
    for number, states in end.history.items():
        kinds = Counter(state.kind for state in states)
        if kinds["added"] != 1 or kinds["deleted"]:
            yield f"{number}: added {kinds['added']} times, deleted {kinds['deleted']} times"
    ids = {document["customerOrderId"]: document["orderId"] for document in end.remote}
    for order in end.orders:
        if order.customer_order_id in ids and order.bronto_order_id != ids[order.customer_order_id]:
            yield f"{order}: the shop has {order.bronto_order_id!r} for its ID, the service {ids[str(order)]!r}"


def both_sides_are_equal(end: End) -> Iterator[str]:
    remote = end.remote_by_number()
    for order in end.orders:
        document = remote.get(order.customer_order_id)
        if document is not None:
            for name, here, there in differences(order, document):
                if not _was_left(end, order, name, here, there):
                    yield f"{order}: {name} is {here!r} in the shop and {there!r} at the service"


def left_over(end: End) -> Iterator[str]:
    """Yield the differences that ``both_sides_are_equal`` puts up with."""
    remote = end.remote_by_number()
    for order in end.orders:
        document = remote.get(order.customer_order_id)
        for name, here, there in differences(order, document) if document else ():
            if _was_left(end, order, name, here, there):
                yield f"{order}: {name} is {there!r} at the service"


def _was_left(end: End, order: Order, name: str, here: Any, there: Any) -> bool:
    """Tell whether an ID that the shop has emptied came with a request that its worker never wrote down.

    It was killed, or fell asleep. Nobody knows then that the ID is the shop's and not one that Bronto filled in.
    """
    if name not in FILLED_BY_BRONTO or here:
        return False
    *_, brought = takewhile(lambda state: state.document[name] == there, reversed(end.history[str(order)]))
    recorded = {stamp_in(body) for body in order.sync_attempts.values_list("request_excerpt", flat=True)}
    return brought.stamp not in recorded


def stamp_in(body: str) -> Decimal | None:
    """Return the stamp in a request's body."""
    found = re.search(r'"grandTotal": ?([0-9.]+)', body)
    return Decimal(found[1]) if found else None


def differences(order: Order, document: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield the fields in which an order and its copy differ, with both values."""
    yield from _differences(order, document, TEXTS, AMOUNTS)
    for name, attribute in DATES.items():
        here, text = getattr(order, attribute), document[name]
        if here != (text and datetime.fromisoformat(text)):
            yield name, here, text
    states = {"processed": order.processed, "shipped": order.shipped}
    if states != document["states"]:
        yield "states", states, document["states"]
    items = list(order.line_items.all())
    if len(items) != len(document["lineItems"]):
        yield "lineItems", [str(item) for item in items], [line["name"] for line in document["lineItems"]]
        return
    for index, (item, line) in enumerate(zip(items, document["lineItems"], strict=True)):
        for name, here, there in _differences(item, line, ITEM_TEXTS, ITEM_AMOUNTS):
            yield f"lineItems[{index}].{name}", here, there


def _differences(
    row: Order | LineItem, document: dict[str, Any], texts: dict[str, str], amounts: dict[str, str]
) -> Iterator[tuple[str, Any, Any]]:
    for name, attribute in texts.items():
        here = getattr(row, attribute)
        if (here or None) != (document[name] or None):
            yield name, here, document[name]
    for name, attribute in amounts.items():
        here = getattr(row, attribute)
        if (here or Decimal(0)) != Decimal(str(document[name])):
            yield name, here, document[name]


def no_customer_is_mailed_twice(end: End) -> Iterator[str]:
    """The shop never takes ``processed`` back, so that the workflows have one event for each processed order."""
    fired: dict[str, list[str]] = {}
    for event in end.events:
        fired.setdefault(event["customerOrderId"], []).append(event["kind"])
    for order in end.orders:
        kinds = fired.get(order.customer_order_id, [])
        if kinds != (["orderAdded"] if order.processed else []):
            yield f"{order}: {'processed' if order.processed else 'not processed'}, and its events are {kinds}"


def nothing_older_follows_anything_newer(end: End) -> Iterator[str]:
    for number, states in end.history.items():
        for before, after in pairwise(states):
            if after.stamp < before.stamp:
                yield f"{number}: {before}, and then {after}"


def nothing_that_was_rolled_back_is_seen(end: End) -> Iterator[str]:
    for number, states in end.history.items():
        if any(PHANTOM in str(state.document) for state in states):
            yield f"{number}: the service has seen what the shop rolled back"


def nothing_was_refused(end: End) -> Iterator[str]:
    given_up = SyncAttempt.objects.filter(
        outcome__in=[SyncAttempt.Outcome.REJECTED, SyncAttempt.Outcome.SKIPPED]
    ).select_related("order")
    for attempt in given_up:
        yield f"{attempt.order}: {attempt.operation} {attempt.outcome}, HTTP {attempt.http_status}, {attempt.reason}"


def every_state_followed_from_the_one_before(end: End) -> Iterator[str]:
    for was, became in sorted(transitions.unknown(), key=str):
        yield f"from {was} to {became}"


def the_shop_noticed_nothing(end: End) -> Iterator[str]:
    yield from end.shop_trouble


CHECKS: list[Check] = [
    every_order_that_was_placed_is_there,
    every_order_is_synced,
    each_order_is_there_once,
    both_sides_are_equal,
    no_customer_is_mailed_twice,
    nothing_older_follows_anything_newer,
    nothing_that_was_rolled_back_is_seen,
    nothing_was_refused,
    every_state_followed_from_the_one_before,
    the_shop_noticed_nothing,
]
