"""Many clients for a while, with faults that change at random: what was acknowledged is what the sandbox holds."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count, pairwise
from typing import Any

import pytest
import requests

from tests.sandbox.service import Process, Service, shop_path

SECONDS = float(os.environ.get("BRONTO_SOAK_SECONDS", "5"))
SEED = int(os.environ.get("BRONTO_SOAK_SEED", "20150101"))
CLIENTS = 50
SHARED_IDS = [f"shared/{number}" for number in range(12)]
ACTIONS = ["add"] * 3 + ["update"] * 4 + ["get"] * 3 + ["delete"]
LOG_PIECE = 4000


@dataclass(frozen=True)
class Call:
    """A call as its client knows it. Its number is in the query and in the order's amounts."""

    number: int
    action: str
    shop_id: str
    processed: bool
    started: float
    ended: float
    status: int | None
    injected: str | None = None
    order: dict[str, Any] | None = None

    @property
    def is_acknowledged(self) -> bool:
        return self.status is not None and self.injected is None

    @property
    def may_have_worked(self) -> bool:
        if self.is_acknowledged:
            return self.status in (200, 201, 204)
        return self.injected != "before"


class Client:
    """One of many, with orders of its own and a share in the common ones."""

    def __init__(self, base_url: str, token: str, number: int, seed: int) -> None:
        self.base_url = base_url
        self.headers = {"Authorization": f"Bearer {token}"}
        self.random = random.Random(f"{seed} {number}")
        self.numbers = count(number * 1_000_000)
        self.own_ids = [f"{number}/{own}" for own in range(3)]
        self.order_ids: dict[str, str] = {}
        self.calls: list[Call] = []

    def run(self, until: float) -> list[Call]:
        with requests.Session() as session:
            session.trust_env = False
            while time.monotonic() < until:
                shop_id = self.random.choice(self.own_ids if self.random.random() < 0.7 else SHARED_IDS)
                self.calls.append(self.send(session, self.random.choice(ACTIONS), shop_id))
        return self.calls

    def send(self, session: requests.Session, action: str, shop_id: str) -> Call:
        number, processed = next(self.numbers), self.random.random() < 0.5
        body = None
        if action in ("add", "update"):
            lines = [{"quantity": number, "sku": str(number)}] * self.random.randrange(1, 4)
            body = {"grandTotal": number, "subtotal": number, "lineItems": lines}
            body |= {"status": "PROCESSED" if processed else "PENDING", "customerOrderId": shop_id}
        method = {"get": "GET", "delete": "DELETE"}.get(action, "POST")
        path = "/orders" if action == "add" else self.path_of(shop_id)
        url = f"{self.base_url}{path}?call={number}"
        if action == "delete":
            self.order_ids.pop(shop_id, None)
        started = time.monotonic()
        try:
            answer = session.request(method, url, json=body, headers=self.headers, timeout=60)
            order = answer.json() if answer.status_code in (200, 201) else None
        except requests.Timeout:
            raise
        except requests.RequestException:
            return Call(number, action, shop_id, processed, started, time.monotonic(), None)
        if order is not None:
            self.order_ids[shop_id] = order["orderId"]
        return Call(
            number,
            action,
            shop_id,
            processed,
            started,
            time.monotonic(),
            answer.status_code,
            answer.headers.get("X-Injected"),
            order,
        )

    def path_of(self, shop_id: str) -> str:
        # Of a common order, Bronto's id may be that of an earlier life.
        if shop_id in self.own_ids and shop_id in self.order_ids and self.random.random() < 0.3:
            return f"/orders/{self.order_ids[shop_id]}"
        return shop_path(shop_id)


class Mischief:
    """Changes the fault rules at random, and saves the request log before it forgets."""

    def __init__(self, base_url: str, seed: int) -> None:
        self.service = Service(base_url)
        self.random = random.Random(seed)
        self.ended = threading.Event()
        self.log: dict[str, dict[str, Any]] = {}

    def run(self, clients: list[Client]) -> None:
        saved = 0
        while not self.ended.wait(self.random.uniform(0.02, 0.3)):
            self.service.stage(*[self.rule() for _ in range(self.random.randrange(4))])
            sent = sum(len(client.calls) for client in clients)
            if sent - saved > LOG_PIECE / 2:
                saved = sent
                self.save(LOG_PIECE)
        self.service.stage()
        self.save(10_000)

    def rule(self) -> dict[str, Any]:
        apply = self.random.choice(["before", "after"])
        effect = self.random.choice(
            [
                {"latency": round(self.random.uniform(0, 0.3), 3), "apply": apply},
                {"drop": True, "apply": apply},
                {"reset": True, "apply": apply},
                {"drip": 0.1},
                {"truncate": True},
                *[
                    {"status": status, "apply": apply, "headers": {"X-Injected": apply}}
                    for status in (429, 500, 502, 503)
                ],
                {"status": 503, "apply": apply, "headers": {"X-Injected": apply}, "latency": 0.1, "truncate": True},
            ]
        )
        match = self.random.choice(
            [{}, {}, {"method": "POST"}, {"method": "DELETE"}, {"customerOrderId": SHARED_IDS[0]}]
        )
        return {
            "match": {"path": "/orders", **match},
            "count": self.random.randrange(1, 30),
            "skip": self.random.randrange(5),
            **effect,
        }

    def save(self, last: int) -> None:
        for entry in self.service.control("GET", "requests", last=last):
            if entry["path"] != "/oauth2/token":
                key = entry["query"]
                assert self.log.setdefault(key, entry) == entry, f"{key} was logged twice"


@pytest.fixture
def sandbox() -> Iterator[Process]:
    process = Process("--port", "0")
    yield process
    assert process.stop() == (0, "", "")


@pytest.mark.slow
@pytest.mark.timeout(120 + 3 * SECONDS)
@pytest.mark.parametrize("seed", [SEED])
def test_many_clients_and_random_faults(sandbox: Process, seed: int):
    service = Service(sandbox.base_url)
    clients = [Client(sandbox.base_url, service.token, number, seed) for number in range(1, CLIENTS + 1)]
    mischief = Mischief(sandbox.base_url, seed)
    until = time.monotonic() + SECONDS
    with ThreadPoolExecutor(CLIENTS + 1) as pool:
        making_mischief = pool.submit(mischief.run, clients)
        logs = [running.result() for running in [pool.submit(client.run, until) for client in clients]]
        mischief.ended.set()
        making_mischief.result()
    calls = [call for log in logs for call in log]
    orders = {order["customerOrderId"]: order for order in service.orders()}
    events = service.control("GET", "events")
    mischief.service.close()
    service.close()

    assert len(calls) > CLIENTS * 3
    assert {call.injected for call in calls} == {None, "before", "after"}
    check_statuses(calls)
    check_request_log(calls, mischief.log)
    check_orders_are_whole(calls, list(orders.values()))
    for client, log in zip(clients, logs, strict=True):
        for shop_id in client.own_ids:
            check_own_order([call for call in log if call.shop_id == shop_id], orders.get(shop_id))
    for shop_id in SHARED_IDS:
        check_shared_order([call for call in calls if call.shop_id == shop_id], orders.get(shop_id))
    check_events(calls, events)


def check_statuses(calls: list[Call]) -> None:
    expected = {"add": {201, 409}, "update": {200, 404}, "get": {200, 404}, "delete": {204}}
    for call in calls:
        if call.is_acknowledged:
            assert call.status in expected[call.action], call


def check_request_log(calls: list[Call], log: dict[str, dict[str, Any]]) -> None:
    """Each call was carried out once and is there as its client saw it."""
    assert len(log) == len(calls)
    for call in calls:
        entry = log[f"call={call.number}"]
        if call.status is None:
            assert entry["fault"], "a call without an answer was to have none"
        else:
            assert entry["status"] == call.status
        if call.injected or (call.status or 0) >= 500:
            assert entry["fault"]


def check_orders_are_whole(calls: list[Call], orders: list[dict[str, Any]]) -> None:
    """Each order is one that somebody wrote, in all its parts, wherever it was seen."""
    writes = {call.number: call for call in calls if call.action in ("add", "update")}
    for order in [*orders, *[call.order for call in calls if call.order]]:
        write = writes[order["grandTotal"]]
        assert write.shop_id == order["customerOrderId"]
        assert write.may_have_worked, "a call that was refused, or struck before it took effect"
        assert order["subtotal"] == write.number
        assert {line["sku"] for line in order["lineItems"]} == {str(write.number)}
        assert order["status"] == ("PROCESSED" if write.processed else "PENDING")


def check_own_order(calls: list[Call], order: dict[str, Any] | None) -> None:
    """Follow the states that an order of one client may be in; None is an order that is not there."""
    states: set[int | None] = {None}
    for call in calls:
        before, after = states, {after_call(call, state) for state in states}
        if call.is_acknowledged:
            states = {told_state(call)} & (after if call.may_have_worked else before)
            if call.status == 409:
                states = before - {None}
        else:
            states = before | after if call.may_have_worked else before
        assert states, (call, before)
    assert (order["grandTotal"] if order else None) in states, calls[-5:]


def after_call(call: Call, state: int | None) -> int | None:
    """The state after a call that took effect."""
    if call.action == "delete":
        return None
    if call.action == "get" or (call.action == "add") == (state is not None):
        return state
    return call.number


def told_state(call: Call) -> int | None:
    return int(call.order["grandTotal"]) if call.order else None


def check_shared_order(calls: list[Call], order: dict[str, Any] | None) -> None:
    """What many clients did to one order at a time leaves fewer certainties."""
    added = [call for call in calls if call.action == "add" and call.status == 201 and call.is_acknowledged]
    deleted = [call for call in calls if call.action == "delete" and call.may_have_worked]
    for add in added:
        assert add.order is not None
        is_there = order is not None and order["orderId"] == add.order["orderId"]
        if not is_there:
            assert any(delete.ended > add.started for delete in deleted), f"{add} was lost"
        else:
            assert not any(delete.is_acknowledged and delete.started > add.ended for delete in deleted), add
    # Two adds of one id both win only with a delete between them.
    for first, second in pairwise(sorted(added, key=lambda call: call.started)):
        ended = max(first.ended, second.ended)
        assert any(delete.ended > first.started and delete.started < ended for delete in deleted), (first, second)


def check_events(calls: list[Call], events: list[dict[str, Any]]) -> None:
    added = Counter(event["orderId"] for event in events if event["kind"] == "orderAdded")
    assert set(added.values()) <= {1}, "an order was added twice"
    assert {event["kind"] for event in events} <= {"orderAdded", "stateChange"}
    tried = {call.shop_id for call in calls if call.action == "add" and call.may_have_worked}
    assert {event["customerOrderId"] for event in events} <= tried
    for call in calls:
        if call.action == "add" and call.order and call.processed:
            assert added[call.order["orderId"]] == 1
    for event in events:
        assert event["kind"] == "orderAdded" or added[event["orderId"]] == 1
