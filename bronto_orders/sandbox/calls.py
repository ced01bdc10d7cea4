"""The order calls (S1, S2, H:get, H:search, H:del, H:delc, C:m26), each after its token and scope are checked."""

from __future__ import annotations

from typing import Final

from bronto_orders.sandbox.forms import read_object, refuse_unknown
from bronto_orders.sandbox.lookup import CUSTOMER_ORDER_ID, Lookup, read_lookup
from bronto_orders.sandbox.messages import Answer, Request, attempt
from bronto_orders.sandbox.oauth import Desk
from bronto_orders.sandbox.orders import ORDER_FIELDS, Orders, WriteOptions
from bronto_orders.sandbox.refusals import NotAllowed, Refusal
from bronto_orders.sandbox.store import Order, Store
from bronto_orders.sandbox.switches import SwitchBoard
from bronto_orders.sandbox.wire import REASON_HEADER, REASON_LIMIT, decode, encode, error_body

_FIELDS_OF: Final = {
    "2017": [name for name in ORDER_FIELDS if name not in ("contactId", "messageId")],
    "orderSource": [*sorted([*ORDER_FIELDS[:-1], "orderSource"]), *ORDER_FIELDS[-1:]],
}


class OrderCalls:
    """Leads a call to what it asks for."""

    def __init__(self, orders: Orders, desk: Desk, store: Store, switches: SwitchBoard) -> None:
        self._orders, self._desk, self._store, self._switches = orders, desk, store, switches

    def answer(self, request: Request, segments: list[str]) -> Answer:
        """Answer a call whose path, after ``/orders``, has these segments."""
        answer = attempt(lambda: self._answer(request, segments))
        if answer.status >= 400:
            self._dress(answer)
        return answer

    def _answer(self, request: Request, segments: list[str]) -> Answer:
        request.check_size()
        lookup = read_lookup(segments)
        self._desk.authorize(request)
        return self._on_all(request) if lookup is None else self._on_one(request, lookup)

    def customer_order_id(self, request: Request, segments: list[str]) -> str | None:
        """The shop's id of the order that a call is about, as far as it can be told."""
        try:
            lookup = read_lookup(segments)
            if lookup is not None:
                return lookup.customer_order_id(self._store)
            body = decode(request.body) if request.body else request.parameters()
        except Refusal:
            return None
        found = body.get(CUSTOMER_ORDER_ID) if isinstance(body, dict) else None
        return found if isinstance(found, str) else None

    def _on_all(self, request: Request) -> Answer:
        match request.method:
            case "POST":
                options = WriteOptions.read(request.parameters(), self._switches)
                return self._show(self._orders.add(read_object(request), options), 201)
            case "GET":
                found = self._orders.search(request.parameters())
                # An array, or 204 without a body when nothing matches (H:search).
                return Answer.json_text(f"[{','.join(map(self._write, found))}]") if found else Answer(204)
        raise NotAllowed(("GET", "POST"))

    def _on_one(self, request: Request, lookup: Lookup) -> Answer:
        match request.method:
            case "GET":
                return self._show(self._orders.get(lookup, request.parameters()))
            case "POST":
                options = WriteOptions.read(request.parameters(), self._switches)
                return self._show(self._orders.update(lookup, read_object(request), options))
            case "DELETE":
                if self._switches["unknownParameters"] == "refuse":
                    refuse_unknown(request.parameters(), (), "parameter")
                # 204, found or not (H:del, H:delc).
                self._orders.delete(lookup)
                return Answer(204)
        raise NotAllowed(("GET", "POST", "DELETE"))

    def _show(self, order: Order, status: int = 200) -> Answer:
        return Answer.json_text(self._write(order), status)

    def _write(self, order: Order) -> str:
        names = _FIELDS_OF.get(self._switches["answerFields"])
        if names is None:
            return order.text
        document = {**order.document, "orderSource": order.order_source}
        return encode({name: document[name] for name in names})

    def _dress(self, answer: Answer) -> None:
        """Give an error the form that the switches ask for."""
        reason = answer.headers[REASON_HEADER]
        if self._switches["errorReason"] == "serviceException":
            head = f"ServiceExceptionMessage{{siteId=1, statusCode={answer.status}, reason="
            reason = answer.headers[REASON_HEADER] = f"{head}{reason[: REASON_LIMIT - len(head) - 1]}}}"
        if self._switches["errorBody"] == "empty":
            answer.body = b""
            del answer.headers["Content-Type"]
        elif self._switches["errorBody"] == "text":
            answer.body = reason.encode("ascii")
            answer.headers["Content-Type"] = "text/plain"
        else:
            answer.body = encode(error_body(answer.status, reason)).encode("ascii")
