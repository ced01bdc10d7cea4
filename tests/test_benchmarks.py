"""What a delivery and a save cost, counted in calls and queries rather than seconds; and that the benchmarks work."""

from __future__ import annotations

import http.client
import json
import xml.etree.ElementTree as ElementTree
from urllib.parse import urlsplit

import pytest
from django.db import connection

from benchmarks import calls, report
from benchmarks.__main__ import NAMES
from benchmarks.measure import Figure
from benchmarks.roles import GUARDED, kind_of
from benchmarks.stub import Stub

on_sqlite = pytest.mark.skipif(connection.vendor != "sqlite", reason="the bounds are those of SQLite")


@on_sqlite
@pytest.mark.django_db(transaction=True)
def test_a_delivered_order_costs_no_more_calls_and_queries_than_it_did() -> None:
    counted = calls.Counts().deliver()
    assert counted["calls"] <= calls.MOST_CALLS
    assert counted["queries"] <= calls.MOST_QUERIES
    assert counted["guarded"] <= 1


@on_sqlite
@pytest.mark.django_db(transaction=True)
def test_a_save_costs_hardly_more_with_the_app_than_without_its_receivers() -> None:
    counted = calls.Counts().save()
    assert counted["off"] < counted["on"] <= counted["off"] * calls.MOST_CALLS_OF_SAVE


def test_calls_are_counted_in_all_threads_and_counted_the_same_each_time() -> None:
    from concurrent.futures import ThreadPoolExecutor

    def work() -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(lambda: [str(number) for number in range(1000)]).result()

    assert calls.count_calls(lambda: None) == calls.count_calls(lambda: None) < 10
    assert calls.count_calls(work) < 1000
    assert calls.count_calls(lambda: [str.upper("a") for _ in range(1000)]) >= 1000


class TestStub:
    @pytest.mark.parametrize(("path", "status"), [("/orders?force=false", 201), ("/orders/1", 200), ("/other", 404)])
    def test_orders_come_back_with_an_id(self, path: str, status: int) -> None:
        with Stub(0) as stub:
            client = http.client.HTTPConnection(urlsplit(stub.url).netloc)
            for _ in range(2):
                client.request("POST", path, b'{"currency":"USD"}')
                answer = client.getresponse()
                assert answer.status == status
                order = json.loads(answer.read())
            client.close()
            assert stub.counts()["connections"] == 2
        if status < 400:
            assert order["orderId"]
            assert order["currency"] == "USD"

    def test_an_empty_order_comes_back_as_json(self) -> None:
        with Stub(0) as stub:
            client = http.client.HTTPConnection(urlsplit(stub.url).netloc)
            client.request("POST", "/orders", b"{}")
            assert json.loads(client.getresponse().read())["orderId"]
            client.close()


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ('UPDATE "bronto_orders_order" SET "a" = 1 WHERE ("id" = 1 AND "lease_token" = \'x\')', GUARDED),
        (
            "UPDATE bronto_orders_order SET a = 1 WHERE (lease_token = 'x' AND id IN (1, 2))",
            "UPDATE bronto_orders_order",
        ),
        ('SELECT "id" FROM "bronto_orders_order" FOR UPDATE SKIP LOCKED', "SELECT bronto_orders_order locking"),
        ("INSERT INTO `bronto_orders_syncattempt` (`a`) VALUES (1)", "INSERT bronto_orders_syncattempt"),
        ("SAVEPOINT s", "SAVEPOINT"),
    ],
)
def test_statements_are_told_apart(sql: str, kind: str) -> None:
    assert kind_of(sql) == kind


class TestFigures:
    def figure(self, **options: object) -> Figure:
        return Figure(benchmark="cpu", what="CPU <of> one", values=[1.0, 3.0, 2.0], unit="times", **options)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("target", "verdict", "far"),
        [
            ({}, "", False),
            ({"at_most": 2.0}, "met", False),
            ({"at_most": 1.9}, "missed", False),
            ({"at_most": 1.9, "exact": True}, "missed", True),
            ({"at_most": 1.0}, "missed", True),
            ({"at_most": 0}, "missed", True),
            ({"at_least": 2.0}, "met", False),
            ({"at_least": 4.0}, "missed", True),
        ],
    )
    def test_the_median_is_held_against_the_target(self, target: dict[str, object], verdict: str, far: bool) -> None:
        figure = self.figure(**target)
        assert (figure.verdict, figure.is_far_off(1.25)) == (verdict, far)

    def test_the_table_shows_all_of_it(self) -> None:
        line = report.table([self.figure(at_most=1.75)]).splitlines()[-1]
        assert line.split("  ") == ["CPU <of> one", "2.00 times", "≤ 1.75 times", "missed", "1.00 to 3.00"]

    def test_the_page_has_a_place_for_each_benchmark(self) -> None:
        page = report.PAGE.read_text()
        assert page.index(report.BEGIN) < page.index(report.END)
        assert all(f"`{name}`" in page for name in NAMES)

    def test_the_picture_is_xml(self) -> None:
        picture = report.picture([self.figure(at_most=1.75), self.figure(at_most=20.0)])
        assert len(ElementTree.fromstring(picture).findall("{*}rect")) == 3
