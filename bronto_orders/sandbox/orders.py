"""Adding, changing, finding and deleting orders. Each call is one transaction: refused, it leaves nothing."""

from __future__ import annotations

import contextlib
import uuid
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from bronto_orders.sandbox import forms
from bronto_orders.sandbox.clock import Clock, wire_moment
from bronto_orders.sandbox.events import note_state
from bronto_orders.sandbox.lookup import Lookup
from bronto_orders.sandbox.refusals import Conflict, Malformed, Missing
from bronto_orders.sandbox.store import Order, Store
from bronto_orders.sandbox.switches import SwitchBoard
from bronto_orders.sandbox.tracking import Tracking, read_tracking

EARLIEST_DATE: Final = "2000-01-01T00:00:00.000Z"
YEARS_AHEAD: Final = 5

#: An order without anything: keys in alphabetical order, ``states`` last; absent texts are null, amounts 0 (C:om).
_BLANK: Final[dict[str, Any]] = {
    "cartId": None,
    "contactId": None,
    "createdDate": None,
    "currency": None,
    "customerOrderId": None,
    "deliveryId": None,
    "discountAmount": Decimal(0),
    "emailAddress": None,
    "grandTotal": Decimal(0),
    "hasTracking": False,
    "lineItems": [],
    "messageId": None,
    "orderDate": None,
    "orderId": None,
    "originIp": None,
    "originUserAgent": None,
    "shippingAmount": Decimal(0),
    "shippingDate": None,
    "shippingDetails": None,
    "shippingTrackingUrl": None,
    "status": "PENDING",
    "subtotal": Decimal(0),
    "taxAmount": Decimal(0),
    "trackingCookieName": None,
    "trackingCookieValue": None,
    "updatedDate": None,
    "states": {"processed": False, "shipped": False},
}
_BLANK_LINE: Final[dict[str, Any]] = {
    **dict.fromkeys(("category", "description", "imageUrl", "name", "other")),
    "position": 0,
    "productUrl": None,
    "quantity": Decimal(0),
    "salePrice": Decimal(0),
    "sku": None,
    "totalPrice": Decimal(0),
    "unitPrice": Decimal(0),
}
ORDER_FIELDS: Final = tuple(_BLANK)
LINE_ITEM_FIELDS: Final = tuple(_BLANK_LINE)
_OTHER_SPELLINGS: Final = {
    "triggerEvent": "triggerEvents",
    "ignoreInvalidTracking": "ignoreInvalidTid",
    "shippingTrackingURL": "shippingTrackingUrl",
    "TrackingCookieName": "trackingCookieName",
    "TrackingCookieValue": "trackingCookieValue",
}


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """The query parameters of one add or update (S1, S2)."""

    create_contact: bool
    trigger_events: bool
    force: bool
    ignore_invalid_tid: bool

    @classmethod
    def read(cls, parameters: dict[str, str], switches: SwitchBoard) -> WriteOptions:
        """Read them from the query; names it does not know are ignored (C:om)."""
        if switches["otherSpellings"] == "take":
            parameters = _respell(parameters)
        if switches["unknownParameters"] == "refuse":
            forms.refuse_unknown(parameters, forms.OPTIONS, "parameter")
        found = forms.read(forms.OPTIONS, parameters, switches)
        given = {name: value for name, value in found.items() if value is not None}
        return cls(
            create_contact=given.get("createContact", False),
            trigger_events=given.get("triggerEvents", True),
            force=given.get("force", switches["forceByDefault"] == "true"),
            ignore_invalid_tid=given.get("ignoreInvalidTid", switches["ignoreInvalidTidByDefault"] == "true"),
        )


class Orders:
    """The orders of one sandbox."""

    def __init__(self, store: Store, switches: SwitchBoard, clock: Clock) -> None:
        self._store, self._switches, self._clock = store, switches, clock

    def add(self, body: dict[str, Any], options: WriteOptions) -> Order:
        """Store a new order; 409 when an order or a return has its id (S2)."""
        body = self._accept(body)
        values = forms.read(forms.ADD, body, self._switches, self._switches["requiredOnAdd"])
        tracking = read_tracking(body, self._switches, ignore_invalid=options.ignore_invalid_tid)
        now = self._clock.now()
        if values.get("orderDate") is None:
            values["orderDate"] = wire_moment(now) if self._switches["absentOrderDate"] == "arrival" else None
        self._check_order_date(values["orderDate"], now)
        order = Order({**_BLANK, "orderId": str(uuid.uuid4()), "createdDate": wire_moment(now)})
        self._apply(order, values, tracking)
        order.document["updatedDate"] = order.document["createdDate"]
        with self._store.transaction():
            self._check_free(order.document["customerOrderId"])
            self._settle_contact(order, values, options)
            self._fire(order, was_processed=False, options=options)
            self._store.insert_order(order)
        return order

    def update(self, lookup: Lookup, body: dict[str, Any], options: WriteOptions) -> Order:
        """Change what the body names and leave the rest as it is (S1)."""
        body = self._settle_nulls(self._accept(body))
        values = forms.read(forms.UPDATE, body, self._switches)
        values.update(self._settle_ids(body))
        tracking = read_tracking(body, self._switches, ignore_invalid=options.ignore_invalid_tid)
        self._settle_order_date(body, values)
        if body.get("lineItems") == [] and self._switches["emptyLineItems"] == "keep":
            del values["lineItems"]
        with self._store.transaction():
            order = lookup.find(self._store)
            was_processed = order.document["states"]["processed"]
            if was_processed and self._switches["processedOrders"] == "refuse":
                raise Malformed("the order is processed and cannot be changed")
            if values.get("customerOrderId", order.document["customerOrderId"]) != order.document["customerOrderId"]:
                self._check_free(values["customerOrderId"])
            self._apply(order, values, tracking)
            self._settle_contact(order, values, options)
            self._fire(order, was_processed=was_processed, options=options)
            order.document["updatedDate"] = max(wire_moment(self._clock.now()), order.document["updatedDate"])
            self._store.save_order(order)
        return order

    def get(self, lookup: Lookup, parameters: dict[str, str]) -> Order:
        """Return the order. The documented parameters have no known effect; a switch makes them a filter (H:get)."""
        if lookup.by_customer_order_id and self._switches["getByCustomerOrderId"] == "missing":
            raise Missing("no such path")
        known = ("deliveryId", "messageId", "contactId")
        if self._switches["unknownParameters"] == "refuse":
            forms.refuse_unknown(parameters, known, "parameter")
        order = lookup.find(self._store)
        if self._switches["getParameters"] == "match" and any(
            parameters[name] != order.document[name] for name in known if name in parameters
        ):
            raise Missing(f"no order with {lookup} and these parameters")
        return order

    def delete(self, lookup: Lookup) -> None:
        """Delete the order if there is one (H:del, H:delc)."""
        with contextlib.suppress(Missing), self._store.transaction():
            self._store.delete_order(lookup.find(self._store))

    def search(self, parameters: dict[str, str]) -> list[Order]:
        """Find orders by any of the four parameters together, oldest entry first (H:search).

        Which date the range is about and which of its ends belong to it is our choice.
        """
        if self._switches["unknownParameters"] == "refuse":
            forms.refuse_unknown(parameters, forms.SEARCH, "parameter")
        wanted = forms.read(forms.SEARCH, parameters, self._switches)
        if not wanted:
            raise Malformed("give at least one of cartId, customerOrderId, startDate, endDate")
        date = "order_date" if self._switches["searchDate"] == "orderDate" else "created_date"
        start = ">=" if self._switches["searchEnds"] in ("both", "start") else ">"
        end = "<=" if self._switches["searchEnds"] in ("both", "end") else "<"
        conditions = {
            "customerOrderId": "customer_order_id = ?",
            "cartId": "cart_id = ?",
            "startDate": f"{date} {start} ?",
            "endDate": f"{date} {end} ?",
        }
        return self._store.find_orders([(conditions[name], value) for name, value in wanted.items()])

    def add_contact(self, address: str, status: str = "active") -> tuple[dict[str, Any], bool]:
        """Make a contact, or give the one there is this status; the contact, and whether it is new."""
        with self._store.transaction():
            is_new = self._store.save_contact(str(uuid.uuid4()), address, status, wire_moment(self._clock.now()))
            return self._store.get_contact(address), is_new

    def add_return(self, customer_order_id: str) -> None:
        """Let a return take an id that no order has."""
        with self._store.transaction():
            self._check_no_order_has(customer_order_id)
            self._store.add_return(customer_order_id, wire_moment(self._clock.now()))

    def _accept(self, body: dict[str, Any]) -> dict[str, Any]:
        if self._switches["otherSpellings"] == "take":
            body = _respell(body)
        if self._switches["unknownFields"] == "refuse":
            forms.refuse_unknown(body, (*forms.ADD, *forms.TRACKING, *forms.READ_ONLY), "field")
        return body

    def _apply(self, order: Order, values: dict[str, Any], tracking: Tracking | None) -> None:
        """Set what was given."""
        document = order.document
        status, states = values.pop("status", None), values.pop("states", None)
        order.order_source = values.pop("orderSource", order.order_source)
        if "lineItems" in values:
            lines = enumerate(values.pop("lineItems"))
            document["lineItems"] = [{**_BLANK_LINE, **line, "position": Decimal(number)} for number, line in lines]
        document.update(values)
        document["states"] = self._merge_states(
            document["states"], states, {} if status is None else {"processed": status}
        )
        document["status"] = "PROCESSED" if document["states"]["processed"] else "PENDING"
        if tracking is not None:
            document["hasTracking"] = True
            document["trackingCookieName"] = tracking.cookie_name or document["trackingCookieName"]
            document["trackingCookieValue"] = tracking.cookie_value or document["trackingCookieValue"]
        if self._switches["deliveryIdTracks"] == "yes" and (document["deliveryId"] or document["messageId"]):
            document["hasTracking"] = True

    def _merge_states(
        self, old: dict[str, bool], states: dict[str, bool] | None, by_status: dict[str, bool]
    ) -> dict[str, bool]:
        """``status`` wins over ``states`` (S1, S2); a flag that neither names stays (our choice)."""
        kept = old if states is None or self._switches["partialStates"] == "keep" else {}
        new = {"processed": False, "shipped": False, **kept, **(states or {}), **by_status}
        if old["processed"] and not new["processed"] and self._switches["backToPending"] != "allow":
            if self._switches["backToPending"] == "refuse":
                raise Malformed("states.processed: a processed order cannot go back to pending")
            new["processed"] = True
        return new

    def _check_free(self, customer_order_id: str | None) -> None:
        if customer_order_id is None:
            return
        self._check_no_order_has(customer_order_id)
        if self._store.holds_return(customer_order_id):
            raise Conflict(f"a return with customerOrderId {customer_order_id} already exists")

    def _check_no_order_has(self, customer_order_id: str) -> None:
        if self._store.holds_order(customer_order_id):
            raise Conflict(f"an order with customerOrderId {customer_order_id} already exists")

    def _settle_contact(self, order: Order, values: dict[str, Any], options: WriteOptions) -> None:
        if "emailAddress" not in values:
            return
        address, contact_id = values["emailAddress"], None
        if address is not None:
            contact_id = self._store.contact_id(address)
            if contact_id is None:
                if not options.create_contact:
                    raise Conflict(f"no contact with emailAddress {address} and createContact is not true")
                contact_id = str(uuid.uuid4())
                self._store.save_contact(contact_id, address, "transactional", wire_moment(self._clock.now()))
        if self._switches["contactId"] == "filled" and values.get("contactId") is None:
            order.document["contactId"] = contact_id

    def _settle_nulls(self, body: dict[str, Any]) -> dict[str, Any]:
        rule = self._switches["nullOnUpdate"]
        nulls = [] if rule == "clear" else [name for name in forms.ADD if name in body and body[name] is None]
        if nulls and rule == "refuse":
            raise Malformed("; ".join(f"{name}: must not be null" for name in nulls))
        return {name: value for name, value in body.items() if name not in nulls}

    def _settle_ids(self, body: dict[str, Any]) -> dict[str, Any]:
        rule = self._switches["idsOnUpdate"]
        if rule == "refuse":
            for name in forms.IDS:
                if name in body:
                    raise Malformed(f"{name}: cannot be changed")
        return forms.read(forms.IDS, body, self._switches) if rule == "take" else {}

    def _settle_order_date(self, body: dict[str, Any], values: dict[str, Any]) -> None:
        rule = self._switches["orderDateOnUpdate"]
        if "orderDate" in body and rule == "refuse":
            raise Malformed("orderDate: cannot be changed")
        # The range is checked even where the date is then ignored (S1).
        date = values.pop("orderDate", None)
        self._check_order_date(date, self._clock.now())
        if date is not None and rule == "take":
            values["orderDate"] = date

    def _check_order_date(self, date: str | None, now: datetime) -> None:
        if date is None:
            return
        if date < EARLIEST_DATE:
            raise Malformed("orderDate: must not be before 2000-01-01")
        if date > wire_moment(years_after(now, YEARS_AHEAD)):
            raise Malformed("orderDate: must not be more than 5 years ahead")

    def _fire(self, order: Order, *, was_processed: bool, options: WriteOptions) -> None:
        kind = note_state(
            order,
            self._switches,
            was_processed=was_processed,
            trigger=options.trigger_events,
            force=options.force,
        )
        if kind is not None:
            self._store.add_event(
                {
                    "kind": kind,
                    **{name: order.document[name] for name in ("customerOrderId", "orderId", "emailAddress")},
                    "firedDate": wire_moment(self._clock.now()),
                }
            )


def years_after(moment: datetime, years: int) -> datetime:
    """The same day and hour in another year; from 29 February it may be 1 March."""
    try:
        return moment.replace(year=moment.year + years)
    except ValueError:
        return moment.replace(year=moment.year + years, month=3, day=1)


def _respell(names: dict[str, Any]) -> dict[str, Any]:
    other = {right: names[wrong] for wrong, right in _OTHER_SPELLINGS.items() if wrong in names}
    return {**other, **{name: value for name, value in names.items() if name not in _OTHER_SPELLINGS}}
