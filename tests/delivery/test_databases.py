"""Database servers that break in the middle of a run."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection, connections
from pytest_django.plugin import DjangoDbBlocker

from bronto_orders.delivery import engine
from bronto_orders.models import Order
from tests.chaos.processes import HOST
from tests.chaos.servers import PostgreSQL, find_program
from tests.factories import OrderFactory
from tests.fakes import FakeBronto
from tests.services import need
from tests.settings import SERVERS

ORDERS = 30


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("answers", [None, 0, 5, ORDERS - 1])
def test_a_connection_that_the_server_cuts(bronto: FakeBronto, answers: int | None) -> None:
    """After so many answers; or before the run, whose first statement is in no transaction that would close it."""
    if connection.vendor == "sqlite":
        pytest.skip("no server")
    Order.objects.bulk_create(OrderFactory.build_batch(ORDERS))
    own, cut = {
        "postgresql": ("SELECT pg_backend_pid()", "SELECT pg_terminate_backend(%s)"),
        "mysql": ("SELECT CONNECTION_ID()", "KILL CONNECTION %s"),
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(own)
        number = cursor.fetchone()[0]

    def cut_it() -> None:
        other = connections.create_connection("default")
        try:
            with other.cursor() as cursor:
                cursor.execute(cut, [number])
        finally:
            other.close()

    if answers is None:
        cut_it()
    else:
        bronto.script.extend([*[None] * answers, cut_it])
    assert engine.deliver("default").counts == {"accepted": ORDERS}
    assert bronto.operations == ["add"] * ORDERS
    assert set(Order.objects.values_list("sync_state", "attempts")) == {("synced", 0)}


@pytest.fixture
def private_server(monkeypatch: pytest.MonkeyPatch, django_db_blocker: DjangoDbBlocker) -> Iterator[PostgreSQL]:
    """A PostgreSQL server of this test's own, as the database ``private``, which no mark of pytest-django's knows."""
    need(find_program("postgres") or "postgres", "psycopg")
    need(find_program("initdb") or "initdb", "psycopg")
    folder = Path(tempfile.mkdtemp(prefix="bronto-orders-"))
    # The server does not run as root, and must find its own folder in it.
    folder.chmod(0o711)
    server = PostgreSQL(folder)
    try:
        server.start()
        place = {**SERVERS["postgresql"], "NAME": "postgres", "HOST": HOST, "PORT": server.port}
        databases = connections.configure_settings({"default": {}, "private": place})
        monkeypatch.setitem(connections.settings, "private", databases["private"])
        with django_db_blocker.unblock():
            yield server
    finally:
        if "private" in connections.settings:
            connections["private"].close()
            del connections["private"]
        server.stop()
        shutil.rmtree(folder)


@pytest.mark.services
@pytest.mark.slow
@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_server_that_is_started_anew(private_server: PostgreSQL, bronto: FakeBronto, how: str) -> None:
    call_command("migrate", database="private", verbosity=0)
    orders = Order.objects.using("private")
    orders.bulk_create(OrderFactory.build_batch(ORDERS))

    def restart() -> None:
        (private_server.kill if how == "killed" else private_server.stop)()
        private_server.start()

    bronto.script.extend([*[None] * 5, restart])
    assert engine.deliver("default", using="private").counts == {"accepted": ORDERS}
    assert bronto.operations == ["add"] * ORDERS
    assert set(orders.values_list("sync_state", "attempts")) == {("synced", 0)}
