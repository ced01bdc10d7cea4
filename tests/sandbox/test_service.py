"""What shows only from inside: failures of the sandbox itself, and what bounds its memory."""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from unittest import mock

import pytest

from bronto_orders.sandbox import forms, store
from bronto_orders.sandbox import service as service_module
from bronto_orders.sandbox.messages import Answer, Request
from bronto_orders.sandbox.orders import years_after
from bronto_orders.sandbox.service import Service
from bronto_orders.sandbox.switches import BY_NAME

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


def test_size_of_calls_is_in_bytes(service):
    with mock.patch.multiple(store, CALL_BYTES_KEPT=100_000, PRUNE_EVERY=5):
        for _ in range(40):
            service.answer(Request("POST", "/orders", body="日".encode() * 10_000))

    assert len(service.requests()) <= 3 + 5


def test_full_database_takes_no_order_and_recovers(service, caplog):
    database = service.store._database
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    big = json.dumps({"customerOrderId": "big", "shippingDetails": "x" * 500_000}).encode()
    assert call(service, "GET", "/orders").status == 400
    database.execute(f"PRAGMA max_page_count={pages + 20}")

    assert call(service, "POST", "/orders", big).status == 500
    assert [str(record.exc_info[1]) for record in caplog.records] == ["database or disk is full"]

    database.execute("PRAGMA max_page_count=1000000")
    assert call(service, "POST", "/orders", big).status == 201


def test_calls_that_come_first_together_share_one_sandbox(tmp_path):
    path = str(tmp_path / "sandbox.sqlite3")

    def make_slowly(database: str) -> Service:
        time.sleep(0.05)
        return Service(database)

    with mock.patch.object(service_module, "Service", make_slowly), ThreadPoolExecutor(8) as pool:
        services = set(pool.map(service_module.shared_service, [path] * 8))

    service_module._shared.cache_clear()
    for service in services:
        service.close()
    assert len(services) == 1


def test_file_that_another_process_just_makes_is_waited_for(tmp_path):
    class Busy(sqlite3.Connection):
        refusals = 2

        def execute(self, statement, *values):
            if "journal_mode" in statement and self.refusals:
                self.refusals -= 1
                error = sqlite3.OperationalError("database is locked")
                error.sqlite_errorcode = sqlite3.SQLITE_BUSY
                raise error
            return super().execute(statement, *values)

    with (
        mock.patch.object(store.sqlite3, "connect", partial(sqlite3.connect, factory=Busy)),
        contextlib.closing(store.Store(tmp_path / "sandbox.sqlite3")) as opened,
    ):
        assert opened._database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


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
        assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_every_field_of_an_add_may_be_required():
    assert set(BY_NAME["requiredOnAdd"].choices) == set(forms.ADD)


def test_five_years_on():
    assert years_after(datetime(2026, 11, 21), 5) == datetime(2031, 11, 21)
    assert years_after(datetime(2024, 2, 29, 7), 5) == datetime(2029, 3, 1, 7)


def test_call_that_cannot_be_logged_is_answered(service, caplog):
    with mock.patch.object(service.store, "add_call", side_effect=sqlite3.OperationalError("disk full")):
        answer = call(service, "POST", "/orders", b'{"customerOrderId": "a"}')

    assert answer.status == 201
    assert "missing in the request log" in caplog.text
