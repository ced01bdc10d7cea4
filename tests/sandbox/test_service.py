"""What shows only from inside: failures of the sandbox itself, and what bounds its memory."""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
from collections.abc import Iterator
from datetime import datetime
from unittest import mock

import pytest

from bronto_orders.sandbox import store
from bronto_orders.sandbox.messages import Answer, Request
from bronto_orders.sandbox.orders import years_after
from bronto_orders.sandbox.service import Service

FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.fixture
def service() -> Iterator[Service]:
    with contextlib.closing(Service()) as service:
        yield service


def call(service: Service, method: str, path: str, body: bytes = b"") -> Answer:
    grant = b"grant_type=client_credentials&client_id=sandbox&client_secret=sandbox-secret"
    token = json.loads(service.answer(Request("POST", "/oauth2/token", "", FORM, grant)).body)["access_token"]
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    return service.answer(Request(method, path, "", headers, body))


def test_failure_of_its_own_is_an_answer_and_is_kept(service, caplog):
    with mock.patch.object(service.store, "find_orders", side_effect=sqlite3.OperationalError("disk full")):
        answer = call(service, "GET", "/orders/customerOrderId/a")

    assert answer.status == 500
    assert answer.headers["X-Reason"] == json.loads(answer.body)["reason"] == "internal error of the sandbox"
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert service.requests()[-1]["status"] == 500


def test_add_is_all_or_nothing(service):
    body = b'{"customerOrderId": "a", "emailAddress": "a@example.com", "status": "PROCESSED"}'
    with mock.patch.object(service.store, "insert_order", side_effect=sqlite3.OperationalError("disk full")):
        answer = call(service, "POST", "/orders", body)

    assert answer.status in (409, 500)
    assert service.counts() == {"orders": 0, "contacts": 0, "returns": 0, "events": 0, "requests": 2}


def test_number_of_calls_that_are_kept_is_bounded(service):
    with mock.patch.multiple(store, CALLS_KEPT=10, PRUNE_EVERY=5):
        for number in range(63):
            service.answer(Request("GET", "/orders", f"n={number}"))
            assert service.counts()["requests"] <= 14

        assert [entry["query"] for entry in service.requests()] == [f"n={number}" for number in range(53, 63)]


def test_size_of_calls_that_are_kept_is_bounded(service):
    with mock.patch.multiple(store, CALL_BYTES_KEPT=100_000, PRUNE_EVERY=5):
        for number in range(40):
            service.answer(Request("POST", "/orders", f"n={number}", body=b"x" * 20_000))

    kept = [entry["query"] for entry in service.requests()]
    assert kept[-1] == "n=39"
    assert 4 <= len(kept) <= 4 + 5


def test_sandboxes_share_nothing(service):
    with contextlib.closing(Service()) as other:
        assert call(service, "POST", "/orders", b'{"customerOrderId": "a"}').status == 201
        service.switches.turn({"tidCheck": "any"})

        assert other.counts() == dict.fromkeys(service.counts(), 0)
        assert other.switches["tidCheck"] == "shape"


def test_file_of_something_else_is_left_alone(tmp_path):
    path = tmp_path / "shop.sqlite3"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE orders (total INTEGER)")

    with pytest.raises(store.DatabaseError, match="name another file"):
        Service(path)

    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT COUNT(*) FROM orders").fetchone() == (0,)


def test_five_years_on():
    assert years_after(datetime(2026, 11, 21), 5) == datetime(2031, 11, 21)
    assert years_after(datetime(2024, 2, 29, 7), 5) == datetime(2029, 3, 1, 7)
