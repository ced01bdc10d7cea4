"""Adding, changing, finding and deleting orders. Each call is one transaction: refused, it leaves nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError, router, transaction
from django.db.models import F, QuerySet, prefetch_related_objects

from bronto_orders.sandbox import events
from bronto_orders.sandbox.lookup import Lookup
from bronto_orders.sandbox.models import Contact, LineItem, Order, Return, now
from bronto_orders.sandbox.refusals import Conflict, Malformed, Missing
from bronto_orders.sandbox.serializers import AddForm, ParameterForm, SearchForm, UpdateForm
from bronto_orders.sandbox.switches import SWITCHES
from bronto_orders.sandbox.tracking import Tracking, read_tracking

EARLIEST_YEAR = 2000
YEARS_AHEAD = 5


@dataclass(frozen=True)
class Options:
    """The switches of one call (S1, S2)."""

    create_contact: bool = False
    trigger_events: bool = True
    force: bool = False
    ignore_invalid_tid: bool = False

    @classmethod
    def read(cls, parameters: dict[str, str]) -> Options:
        """Read them from the query; names it does not know are ignored (C:om)."""
        return cls(**ParameterForm.read(parameters))


def add_order(body: dict[str, Any], options: Options) -> Order:
    """Store a new order; 409 when an order or a return has its id (S2)."""
    values = AddForm.read(body)
    tracking = read_tracking(body, ignore_invalid=options.ignore_invalid_tid)
    moment = now()
    values["order_date"] = values.get("order_date") or moment
    _check_order_date(values["order_date"])
    order = Order(created_at=moment, updated_at=moment)
    lines = _apply(order, values, tracking)
    kind = events.note_state(order, was_processed=False, trigger=options.trigger_events, force=options.force)
    # The insert comes first: it takes SQLite's write lock before anything is read, and lets the
    # unique constraint, not a look beforehand, decide between two adds of one id.
    with _transaction():
        _insert(order)
        _settle_contact(values.get("email_address"), options)
        _store_lines(order, lines or ())
        events.fire(order, kind)
        return _with_lines(order)


def update_order(lookup: Lookup, body: dict[str, Any], options: Options) -> Order:
    """Change what the body names and leave the rest as it is (S1)."""
    values = UpdateForm.read(body)
    tracking = read_tracking(body, ignore_invalid=options.ignore_invalid_tid)
    _settle_immutable(body, values)
    with _transaction():
        order = _lock(lookup)
        was_processed = order.processed
        lines = _apply(order, values, tracking)
        _settle_contact(values.get("email_address"), options)
        if lines is not None:
            order.line_items.all().delete()
            _store_lines(order, lines)
        kind = events.note_state(
            order, was_processed=was_processed, trigger=options.trigger_events, force=options.force
        )
        events.fire(order, kind)
        order.updated_at = max(now(), order.updated_at)
        order.save()
        return _with_lines(order)


def get_order(lookup: Lookup) -> Order:
    """Return the order, or refuse with 404."""
    query = lookup.query()
    with _transaction():
        order = Order.objects.select_for_update().filter(**query).first() if query else None
        if order is None:
            raise Missing(f"no order with {lookup}")
        return _with_lines(order)


def delete_order(lookup: Lookup) -> None:
    """Delete the order if there is one (H:del, H:delc)."""
    with contextlib.suppress(Missing), _transaction():
        _lock(lookup).delete()


def search_orders(parameters: dict[str, str]) -> list[Order]:
    """Find orders by any of the four parameters together, oldest entry first.

    The dates are those of ``orderDate`` and both ends belong to the range (our choice).
    """
    wanted = SearchForm.read(parameters)
    if not wanted:
        raise Malformed("give at least one of cartId, customerOrderId, startDate, endDate")
    names = {"start": "order_date__gte", "end": "order_date__lte"}
    query = {names.get(name, name): value for name, value in wanted.items()}
    return list_orders(Order.objects.filter(**query).order_by("pk"))


def list_orders(orders: QuerySet[Order]) -> list[Order]:
    """Load orders with their lines, each as it was at one moment."""
    with _transaction():
        return list(orders.select_for_update().prefetch_related("line_items"))


def add_contact(address: str, status: str = Contact.Status.ACTIVE) -> tuple[Contact, bool]:
    """Make a contact, or give the one there is this status."""
    return Contact.objects.update_or_create(
        address_key=address.lower(), defaults={"email_address": address, "status": status}
    )


def add_return(customer_order_id: str) -> Return:
    """Let a return take an id that no order has."""
    with _transaction():
        taken, _ = Return.objects.get_or_create(customer_order_id=customer_order_id)
        if Order.objects.filter(customer_order_id=customer_order_id).exists():
            raise Conflict(f"an order with customerOrderId {customer_order_id} already exists")
    return taken


def _transaction() -> transaction.Atomic:
    return transaction.atomic(using=router.db_for_write(Order))


def _insert(order: Order) -> None:
    try:
        with _transaction():
            order.save(force_insert=True)
    except IntegrityError:
        raise Conflict(f"an order with customerOrderId {order.customer_order_id} already exists") from None
    if Return.objects.filter(customer_order_id=order.customer_order_id).exists():
        raise Conflict(f"a return with customerOrderId {order.customer_order_id} already exists")


def _lock(lookup: Lookup) -> Order:
    # A write first, so that two changes of one order follow one another on every database.
    query = lookup.query()
    if not query or not Order.objects.filter(**query).update(updated_at=F("updated_at")):
        raise Missing(f"no order with {lookup}")
    return Order.objects.get(**query)


def _with_lines(order: Order) -> Order:
    # The lines are read under the lock on the order, lest the answer mix two updates.
    prefetch_related_objects([order], "line_items")
    return order


def _apply(order: Order, values: dict[str, Any], tracking: Tracking | None) -> list[dict[str, Any]] | None:
    """Set what was given and return the lines, None when none were given."""
    status, states = values.pop("status", None), values.pop("states", None) or {}
    lines: list[dict[str, Any]] | None = values.pop("line_items", None)
    # status wins over states (S1, S2); a flag that neither names stays (our choice).
    order.processed = states.get("processed", order.processed) if status is None else status
    order.shipped = states.get("shipped", order.shipped)
    for name, value in values.items():
        setattr(order, name, value)
    if tracking is not None:
        order.has_tracking = True
        order.tracking_cookie_name = tracking.cookie_name or order.tracking_cookie_name
        order.tracking_cookie_value = tracking.cookie_value or order.tracking_cookie_value
    return lines


def _settle_contact(address: str | None, options: Options) -> None:
    if address is None:
        return
    if options.create_contact:
        Contact.objects.get_or_create(
            address_key=address.lower(),
            defaults={"email_address": address, "status": Contact.Status.TRANSACTIONAL},
        )
    elif not Contact.objects.filter(address_key=address.lower()).exists():
        raise Conflict(f"no contact with emailAddress {address} and createContact is not true")


def _settle_immutable(body: dict[str, Any], values: dict[str, Any]) -> None:
    switches = SWITCHES.now
    if switches.idsOnUpdate == "refuse":
        for name in ("customerOrderId", "cartId"):
            if name in body:
                raise Malformed(f"{name}: cannot be changed")
    if "orderDate" in body and switches.orderDateOnUpdate == "refuse":
        raise Malformed("orderDate: cannot be changed")
    date = values.pop("order_date", None)
    if date is None:
        return
    # The range is checked even where the date is then ignored (S1).
    _check_order_date(date)
    if switches.orderDateOnUpdate == "take":
        values["order_date"] = date


def _check_order_date(date: datetime) -> None:
    if date.year < EARLIEST_YEAR:
        raise Malformed("orderDate: must not be before 2000-01-01")
    if date > years_after(now(), YEARS_AHEAD):
        raise Malformed("orderDate: must not be more than 5 years ahead")


def years_after(moment: datetime, years: int) -> datetime:
    """The same day and hour in another year; from 29 February it may be 1 March."""
    try:
        return moment.replace(year=moment.year + years)
    except ValueError:
        return moment.replace(year=moment.year + years, month=3, day=1)


def _store_lines(order: Order, lines: Iterable[dict[str, Any]]) -> None:
    LineItem.objects.bulk_create(
        [LineItem(order=order, position=position, **line) for position, line in enumerate(lines)]
    )
