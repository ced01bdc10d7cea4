"""Which order a path names.

An id is percent-encoded, and a slash inside it is encoded too: ``a/b`` is ``a%2Fb``. Clients that leave it bare
get a 404 (our choice), as they should have encoded it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bronto_orders.sandbox.fields import parse_uuid
from bronto_orders.sandbox.refusals import Missing
from bronto_orders.sandbox.store import Order, Store

CUSTOMER_ORDER_ID: Final = "customerOrderId"


@dataclass(frozen=True, slots=True)
class Lookup:
    """One order, named by Bronto's id or by the shop's."""

    value: str
    by_customer_order_id: bool

    def find(self, store: Store) -> Order:
        """The order meant; Missing when there is none."""
        order_id = self.value if self.by_customer_order_id else parse_uuid(self.value)
        column = "customer_order_id" if self.by_customer_order_id else "order_id"
        order = None if order_id is None else store.find_order(column, order_id)
        if order is None:
            raise Missing(f"no order with {self}")
        return order

    def customer_order_id(self, store: Store) -> str | None:
        """The shop's id of the order meant, for faults that match on it."""
        if self.by_customer_order_id:
            return self.value
        try:
            found: str | None = self.find(store).document["customerOrderId"]
        except Missing:
            return None
        return found

    def __str__(self) -> str:
        return f"{CUSTOMER_ORDER_ID} {self.value}" if self.by_customer_order_id else f"orderId {self.value}"


def read_lookup(segments: list[str]) -> Lookup | None:
    """Return the order that the segments after ``/orders`` name, None for the collection itself."""
    match segments:
        case []:
            return None
        case [""] | ["customerOrderId", ""]:
            raise Missing("no id in the path")
        case ["customerOrderId", value]:
            return Lookup(value, by_customer_order_id=True)
        case [value]:
            return Lookup(value, by_customer_order_id=False)
    raise Missing("no such path; an id must be percent-encoded")
