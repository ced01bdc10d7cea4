"""Claims as the database sees them: by which index, in how many statements, in which order, and by one worker only."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import claims, engine
from bronto_orders.delivery.statements import takes_rows_as_json
from bronto_orders.models import DbNow, Order
from tests import transitions
from tests.conftest import Broker
from tests.factories import OrderFactory
from tests.fakes import FakeBronto

pytestmark = pytest.mark.django_db(transaction=True)

INDEX = "bronto_orders_due"
TABLE = "bronto_orders_order"


def claim(limit: int = 9, account: str = "default", **options: Any) -> list[Order]:
    return claims.claim(account, limit, bronto_settings.delivery, using="default", **options)


def make(count: int, *, seconds: float = 0, **fields: Any) -> list[int]:
    """Make orders that have been due for so long."""
    orders = Order.objects.bulk_create(OrderFactory.build_batch(count, **fields))
    pks = [order.pk for order in orders]
    Order.objects.filter(pk__in=pks).update(due_at=DbNow(-seconds))
    return pks


class TestIndex:
    @pytest.fixture
    def large_shop(self) -> None:
        """20,000 orders that nobody owes anything, and 500 that are due."""
        Order.objects.bulk_create(OrderFactory.build_batch(142))
        Order.objects.update(sync_state="synced", due_at=None)
        number = (
            "CONCAT(a.customer_order_id, '/', b.id)"
            if connection.vendor == "mysql"
            else "a.customer_order_id || '/' || b.id"
        )
        names = [field.column for field in Order._meta.concrete_fields]
        copied = [name for name in names if name not in ("id", "customer_order_id")]
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {TABLE} (customer_order_id, {', '.join(copied)}) "
                f"SELECT {number}, {', '.join(f'a.{name}' for name in copied)} FROM {TABLE} a CROSS JOIN {TABLE} b"
            )
        transitions.forget()
        make(480, seconds=60)
        make(20, seconds=60, bulk=True)
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE TABLE {TABLE}" if connection.vendor == "mysql" else f"ANALYZE {TABLE}")

    def test_claims_read_what_is_owed_and_nothing_else(self, large_shop: None) -> None:
        for turn in claims.Turn:
            for probing in (False, True):
                with CaptureQueriesContext(connection) as queries:
                    claim(5, turn=turn, probing=probing)
                choice, *others = (query["sql"] for query in queries if f"{TABLE}" in query["sql"])
                assert choice.startswith("SELECT")
                plan = self.explain(choice)
                assert INDEX in plan, plan
                self.assert_no_scan(plan)
                for statement in others:
                    self.assert_no_scan(self.explain(statement))

    def explain(self, statement: str) -> str:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {'QUERY PLAN ' if connection.vendor == 'sqlite' else ''}{statement}")
            names = [column[0] for column in cursor.description]
            return "\n".join(", ".join(map("{}={}".format, names, row)) for row in cursor.fetchall())

    def assert_no_scan(self, plan: str) -> None:
        for line in plan.splitlines():
            if connection.vendor == "postgresql":
                assert f"Seq Scan on {TABLE}" not in line, plan
            elif connection.vendor == "mysql" and f"table={TABLE}" in line:
                assert "type=ALL" not in line, plan
                assert "type=index," not in line, plan
                assert "key=None" not in line, plan
            elif connection.vendor == "sqlite":
                assert f"SCAN {TABLE}" not in line, plan


class TestStatements:
    def test_a_record_takes_as_many_for_one_order_as_for_many(
        self, bronto: FakeBronto, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        statements: dict[int, list[str]] = {}
        record = engine.records.record

        def counted(decided: Any, *args: Any, **kwargs: Any) -> Any:
            with CaptureQueriesContext(connection) as queries:
                late = record(decided, *args, **kwargs)
            statements[len(decided)] = [query["sql"] for query in queries]
            return late

        make(1)
        engine.deliver("default")
        monkeypatch.setattr(engine.records, "record", counted)
        monkeypatch.setattr(engine, "FLUSH_SECONDS", 5.0)
        for size in (1, 2, 24):
            make(size)
            engine.deliver("default")
        assert {size: len(made) for size, made in statements.items() if size in (1, 2, 24)} == {1: 5, 2: 5, 24: 5}
        # BEGIN, the lock, the guarded UPDATE, the attempts, COMMIT.
        updates = [sql for sql in statements[24] if "UPDATE" in sql.split("SELECT")[0] and TABLE in sql]
        assert len(updates) == 1
        assert updates[0].startswith("24 times: ") is not takes_rows_as_json(connection)
        assert len([sql for sql in statements[24] if "INSERT INTO" in sql]) == 1


class TestOrder:
    def test_oldest_first(self) -> None:
        ages = [30, 10, 50, 20, 40]
        pks = {age: make(1, seconds=age)[0] for age in ages}
        taken = [{order.pk for order in claim(2)} for _ in range(3)]
        assert taken == [{pks[50], pks[40]}, {pks[30], pks[20]}, {pks[10]}]

    def test_not_before_they_are_due(self) -> None:
        make(2, seconds=-60)
        assert claim() == []


class TestAccounts:
    @pytest.fixture(autouse=True)
    def two_accounts(self, settings: Any) -> None:
        accounts = {"default": {"CONCURRENCY": 1}, "eu": {}}
        settings.BRONTO_ORDERS = {"ACCOUNTS": accounts, "DELIVERY": {"BATCH_SIZE": 1}}

    def test_an_older_backlog_of_one_is_not_anothers(self) -> None:
        make(30, seconds=60)
        (theirs,) = make(1, account="eu")
        assert [order.pk for order in claim(9, account="eu")] == [theirs]

    def test_the_sweep_wakes_each(self, broker: Broker) -> None:
        make(30, seconds=60)
        make(1, account="eu")
        broker.hints()
        assert engine.sweep() == ["default", "eu"]
        assert [(hint["account"], hint["trigger"]) for hint in broker.hints()] == [
            ("default", "sweep"),
            ("eu", "sweep"),
        ]

    def test_one_is_delivered_while_another_has_much_to_do(self, bronto: FakeBronto) -> None:
        """Between the first and the second call for the one, all is done for the other."""
        make(5, seconds=60)
        make(3, account="eu")
        reports: list[str] = []

        def deliver_other() -> None:
            try:
                reports.append(str(engine.deliver("eu")))
            finally:
                connection.close()

        def other_worker() -> None:
            bronto.script.clear()
            worker = threading.Thread(target=deliver_other)
            worker.start()
            worker.join()

        bronto.script.append(other_worker)
        assert engine.deliver("default").counts == {"accepted": 5}
        assert reports == ["3 accepted"]
        accounts = dict(Order.objects.values_list("customer_order_id", "account"))
        assert [accounts[number] for _, number, *_ in bronto.calls] == ["default", *["eu"] * 3, *["default"] * 4]


class TestManyWorkers:
    @pytest.mark.parametrize("turn", [claims.Turn.ANY, claims.Turn.LIVE])
    def test_no_order_is_taken_twice(self, turn: claims.Turn) -> None:
        pks = make(200, seconds=60)
        workers = 6
        start = threading.Barrier(workers)

        def work(number: int) -> list[tuple[int, Any]]:
            def taken() -> Iterator[tuple[int, Any]]:
                while Order.objects.due().exists():
                    for order in claim(7 + number, turn=turn):
                        yield order.pk, order.lease_token

            try:
                start.wait()
                return list(taken())
            finally:
                connection.close()

        with ThreadPoolExecutor(workers) as pool:
            taken = [pair for pairs in pool.map(work, range(workers)) for pair in pairs]
        assert sorted(pk for pk, _token in taken) == sorted(pks)
        assert dict(taken) == dict(Order.objects.values_list("pk", "lease_token"))
        assert set(Order.objects.values_list("sync_state", "attempts")) == {("sending", 1)}

    def test_a_lock_that_the_shop_holds_is_not_waited_for(self) -> None:
        if not connection.features.has_select_for_update_skip_locked:
            pytest.skip("SQLite has one writer at a time")
        locked, *free = make(3, seconds=60)
        holding, done = threading.Event(), threading.Event()

        def shop() -> None:
            try:
                with transaction.atomic():
                    Order.objects.get(pk=locked).save()
                    holding.set()
                    assert done.wait(30)
            finally:
                connection.close()

        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(shop)
            assert holding.wait(30)
            try:
                assert [order.pk for order in claim()] == free
            finally:
                done.set()
            writing.result()
        assert [order.pk for order in claim()] == [locked]
