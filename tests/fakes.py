"""A Bronto that lives in memory and does as the test says, in the place of ``BrontoClient``."""

from __future__ import annotations

import threading
import uuid
from collections import deque
from collections.abc import Callable
from typing import Any

from bronto_orders import wire
from bronto_orders.exceptions import BrontoError, DuplicateOrderError, NotFoundError

Step = BrontoError | Callable[[], None] | None


class FakeBronto:
    """Stores orders by their number, keeps a log of calls, and plays the scripted steps first.

    A step is an error to raise before anything is stored, a callable to call (it may raise), or None for "as usual".
    """

    def __init__(self) -> None:
        self.orders: dict[str, dict[str, Any]] = {}
        self.calls: list[tuple[str, str, dict[str, Any], dict[str, bool]]] = []
        self.script: deque[Step] = deque()
        self.always: Step = None
        self.after_store: Step = None
        self.lock = threading.Lock()

    @property
    def operations(self) -> list[str]:
        return [operation for operation, *_ in self.calls]

    def add(self, order: bytes, **options: bool) -> dict[str, Any]:
        body = wire.loads(order)
        with self._called("add", body["customerOrderId"], body, options):
            if body["customerOrderId"] in self.orders:
                raise DuplicateOrderError(status=409, reason="customerOrderId already exists")
            stored = {**body, "orderId": str(uuid.uuid4()), "hasTracking": "tid" in body}
            self.orders[body["customerOrderId"]] = stored
            return self._answer(stored)

    def update(self, order_id: str, order: bytes, **options: bool) -> dict[str, Any]:
        with self._called("update", order_id, wire.loads(order), options):
            return self._change([found for found in self.orders.values() if found["orderId"] == order_id], order)

    def update_by_customer_order_id(self, number: str, order: bytes, **options: bool) -> dict[str, Any]:
        with self._called("update_by_customer_order_id", number, wire.loads(order), options):
            return self._change([self.orders[number]] if number in self.orders else [], order)

    def delete(self, order_id: str) -> None:
        with self._called("delete", order_id, {}, {}):
            for number in [number for number, found in self.orders.items() if found["orderId"] == order_id]:
                del self.orders[number]

    def delete_by_customer_order_id(self, number: str) -> None:
        with self._called("delete_by_customer_order_id", number, {}, {}):
            self.orders.pop(number, None)

    def search(self, *, customer_order_id: str) -> list[dict[str, Any]]:
        self.calls.append(("search", customer_order_id, {}, {}))
        return [self.orders[customer_order_id]] if customer_order_id in self.orders else []

    def _change(self, found: list[dict[str, Any]], order: bytes) -> dict[str, Any]:
        if not found:
            raise NotFoundError(status=404, reason="no such order")
        found[0].update(wire.loads(order))
        return self._answer(found[0])

    def _answer(self, stored: dict[str, Any]) -> dict[str, Any]:
        self._play(self.after_store)
        return {**stored, "updatedDate": "2026-01-02T03:04:05.678Z"}

    def _called(self, operation: str, key: str, body: dict[str, Any], options: dict[str, bool]) -> threading.Lock:
        with self.lock:
            self.calls.append((operation, key, body, options))
            step = self.script.popleft() if self.script else self.always
        self._play(step)
        return self.lock

    @staticmethod
    def _play(step: Step) -> None:
        if isinstance(step, BrontoError):
            raise step
        if step is not None:
            step()
