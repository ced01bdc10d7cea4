"""Which order a path names, read from the path as it was sent.

WSGI hands applications a decoded path, in which ``a%2Fb`` cannot be told from ``a/b``. The
sandbox's own server passes the raw one along in ``REQUEST_URI`` (as uWSGI does; gunicorn calls it
``RAW_URI``). Under a server that passes neither, the decoded path has to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from django.http import HttpRequest

from bronto_orders.sandbox.fields import parse_uuid
from bronto_orders.sandbox.models import Order
from bronto_orders.sandbox.refusals import Malformed, Missing

CUSTOMER_ORDER_ID = "customerOrderId"


@dataclass(frozen=True)
class Lookup:
    """One order, named by Bronto's id or by the shop's."""

    value: str
    by_customer_order_id: bool

    def query(self) -> dict[str, object] | None:
        """The filter that finds the order; None when no order can have such an id."""
        if self.by_customer_order_id:
            return None if "\x00" in self.value else {"customer_order_id": self.value}
        order_id = parse_uuid(self.value)
        return None if order_id is None else {"order_id": order_id}

    def customer_order_id(self) -> str | None:
        """The shop's id of the order meant, for rules that match on it."""
        if self.by_customer_order_id:
            return self.value
        query = self.query()
        return Order.objects.filter(**query).values_list("customer_order_id", flat=True).first() if query else None

    def __str__(self) -> str:
        return f"{CUSTOMER_ORDER_ID} {self.value}" if self.by_customer_order_id else f"orderId {self.value}"


def raw_path(request: HttpRequest) -> str:
    """The path as the client sent it, percent-encoding and all."""
    uri = _raw_uri(request)
    return uri.partition("?")[0] if uri else quote(request.path)


def read_lookup(request: HttpRequest, rest: str | None) -> Lookup | None:
    """Return the order named after ``/orders``, None for the collection itself.

    An unencoded slash inside an id makes one segment too many and is refused: clients must encode.
    """
    if rest is None:
        return None
    segments = _segments(request, rest)
    if segments in ([""], [CUSTOMER_ORDER_ID, ""]):
        raise Missing("no id in the path")
    if len(segments) == 2 and _decode(segments[0]) == CUSTOMER_ORDER_ID:
        return Lookup(_decode(segments[1]), by_customer_order_id=True)
    if len(segments) == 1:
        return Lookup(_decode(segments[0]), by_customer_order_id=False)
    raise Missing("no such path; an id must be percent-encoded")


def _segments(request: HttpRequest, rest: str) -> list[str]:
    if not _raw_uri(request):
        head, _, tail = rest[1:].partition("/")
        return [head, quote(tail, safe="")] if head == CUSTOMER_ORDER_ID and tail else [quote(rest[1:], safe="")]
    mount = request.path[: len(request.path) - len(rest)]
    return raw_path(request).split("/")[mount.count("/") + 1 :]


def _raw_uri(request: HttpRequest) -> str:
    return request.META.get("REQUEST_URI") or request.META.get("RAW_URI") or ""


def _decode(segment: str) -> str:
    try:
        return unquote_to_bytes(segment.encode("latin-1")).decode("utf-8")
    except UnicodeError:
        raise Malformed("path: not UTF-8") from None
