"""A copy of the shop sends nothing with the shop's own credentials."""

from __future__ import annotations

import io
import logging
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, connections, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import engine, environment, status
from bronto_orders.delivery.gate import Gate
from bronto_orders.models import AccountStatus, Order, SyncState
from tests.factories import OrderFactory
from tests.fakes import FakeBronto

pytestmark = pytest.mark.django_db(transaction=True)


def settings(name: str | None = None, **account: Any) -> override_settings:
    given = {"CLIENT_ID": "key", "CLIENT_SECRET": "secret", **account}
    return override_settings(BRONTO_ORDERS={"ACCOUNTS": {"default": given}, "DELIVERY": {"ENVIRONMENT": name}})


def deliver() -> dict[str, int]:
    return engine.deliver("default").counts


def accept(*args: str) -> str:
    out = io.StringIO()
    call_command("bronto_accept_environment", *args, stdout=out)
    return out.getvalue()


@pytest.fixture
def copied(bronto: FakeBronto, monkeypatch: pytest.MonkeyPatch) -> Order:
    """The shop has sent an order and has another; then its database is used from elsewhere."""
    OrderFactory()
    with settings():
        assert deliver() == {"accepted": 1}
    bronto.calls.clear()
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "shop.settings.staging")
    return OrderFactory()


class TestCopy:
    def test_sends_nothing(self, bronto: FakeBronto, copied: Order, caplog: pytest.LogCaptureFixture) -> None:
        with settings(), caplog.at_level(logging.ERROR, "bronto_orders"):
            assert deliver() == {}
        assert bronto.calls == []
        assert "bronto_accept_environment" in caplog.text
        order = Order.objects.get(pk=copied.pk)
        assert (order.sync_state, order.attempts) == (SyncState.PENDING, 0)

    def test_holds_up_nobody_who_shares_the_row(
        self, bronto: FakeBronto, copied: Order, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with settings():
            deliver()
            assert AccountStatus.objects.get().held_until is None
            monkeypatch.undo()
            monkeypatch.setattr(engine, "client_for", lambda account: bronto)
            assert deliver() == {"accepted": 1}

    def test_releases_no_hold(self, bronto: FakeBronto, copied: Order) -> None:
        AccountStatus.objects.update(refused_settings="others", held_reason="auth")
        with settings():
            deliver()
        assert AccountStatus.objects.get().refused_settings == "others"

    def test_is_seen(self, copied: Order) -> None:
        with settings():
            (complaint,) = status.health()
            assert "looks like a copy" in complaint
            assert str(status.accounts()[0]).endswith("another environment's")
            with pytest.raises(CommandError, match="looks like a copy"):
                call_command("bronto_status", stdout=io.StringIO())

    def test_sends_with_credentials_of_its_own(self, bronto: FakeBronto, copied: Order) -> None:
        with settings(CLIENT_ID="staging"):
            assert deliver() == {"accepted": 1}
        with settings():
            OrderFactory()
            assert deliver() == {"accepted": 1}

    def test_sends_to_another_service(self, bronto: FakeBronto, copied: Order) -> None:
        with settings(API_URL="http://127.0.0.1:8899"):
            assert deliver() == {"accepted": 1}

    def test_a_new_secret_does_not_make_it_another_account(self, bronto: FakeBronto, copied: Order) -> None:
        with settings(CLIENT_SECRET="new"):
            assert deliver() == {}


class TestAccept:
    def test_from_then_on_it_sends(self, bronto: FakeBronto, copied: Order) -> None:
        with settings():
            assert accept() == "default: this environment sends.\n"
            assert status.health() == []
            assert deliver() == {"accepted": 1}

    def test_and_the_other_does_not(self, bronto: FakeBronto, copied: Order, monkeypatch: pytest.MonkeyPatch) -> None:
        with settings():
            accept("--account", "default")
            monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "tests.settings")
            assert deliver() == {}

    def test_before_anything_was_sent(self, bronto: FakeBronto) -> None:
        OrderFactory()
        with settings():
            accept()
            assert deliver() == {"accepted": 1}

    def test_unknown_account(self) -> None:
        with settings(), pytest.raises(CommandError, match="'nobody'"):
            accept("--account", "nobody")


class TestIdentity:
    @pytest.mark.parametrize("key", ["ENGINE", "HOST", "PORT", "NAME"])
    def test_another_database_is_another(self, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
        before = environment.environment("default")
        assert environment.environment("default") == before
        monkeypatch.setitem(connections["default"].settings_dict, key, "other")
        assert environment.environment("default") != before

    def test_another_server_at_the_same_address_is_another(self, monkeypatch: pytest.MonkeyPatch) -> None:
        if connection.vendor != "postgresql":
            pytest.skip("PostgreSQL's")
        before = environment.environment("default")
        monkeypatch.setattr(environment, "_identities", {})
        with CaptureQueriesContext(connection) as queries:
            assert {environment.environment("default") for _ in range(2)} == {before}
        assert len([query for query in queries if "pg_control_system" in query["sql"]]) == 1
        with connection.cursor() as cursor:
            cursor.execute("SELECT system_identifier FROM pg_control_system()")
            assert environment._identities == {"default": str(cursor.fetchone()[0])}
        monkeypatch.setitem(environment._identities, "default", "7710839623143147638")
        assert environment.environment("default") != before

    @pytest.mark.parametrize("in_transaction", [False, True])
    def test_a_server_that_does_not_tell(self, monkeypatch: pytest.MonkeyPatch, in_transaction: bool) -> None:
        """As for a role that the function was taken from, and for other servers that speak PostgreSQL's protocol."""
        if connection.vendor != "postgresql":
            pytest.skip("PostgreSQL's")
        monkeypatch.setattr(environment, "_identities", {})
        role, function = "bronto_tests_nobody", "FUNCTION pg_control_system()"
        with connection.cursor() as cursor:
            cursor.execute(f"REVOKE EXECUTE ON {function} FROM PUBLIC")
            cursor.execute(f"CREATE ROLE {role}")
            try:
                with transaction.atomic() if in_transaction else nullcontext():
                    cursor.execute(f"SET ROLE {role}")
                    assert environment.database_identity("default") == ""
                    cursor.execute("SELECT 1")
                    cursor.execute("RESET ROLE")
            finally:
                cursor.execute("RESET ROLE")
                cursor.execute(f"DROP ROLE {role}")
                cursor.execute(f"GRANT EXECUTE ON {function} TO PUBLIC")

    def test_a_database_that_is_away_has_not_lost_its_identity(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def gone(*args: Any) -> None:
            raise OperationalError("gone")

        if connection.vendor != "postgresql":
            pytest.skip("PostgreSQL's")
        known = environment.database_identity("default")
        monkeypatch.setattr(environment, "_identities", {})
        with connection.execute_wrapper(gone), pytest.raises(OperationalError):
            environment.database_identity("default")
        assert environment.database_identity("default") == known

    def test_another_sqlite_file_of_the_same_name_is_another(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setitem(connections["other"].settings_dict, "NAME", "shop.sqlite3")
        seen = set()
        for folder in ("production", "staging"):
            (tmp_path / folder).mkdir()
            monkeypatch.chdir(tmp_path / folder)
            seen |= {environment.environment("other")}
        assert len(seen) == 2

    def test_a_link_to_it_is_the_same(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "shop.sqlite3").touch()
        seen = set()
        for release in ("1", "2"):
            (tmp_path / release).mkdir()
            (tmp_path / release / "shop.sqlite3").symlink_to(tmp_path / "shop.sqlite3")
            monkeypatch.setitem(connections["other"].settings_dict, "NAME", tmp_path / release / "shop.sqlite3")
            seen |= {environment.database_identity("other")}
        assert seen == {str((tmp_path / "shop.sqlite3").resolve())}

    @pytest.mark.parametrize("name", [":memory:", "file:memorydb_other?mode=memory&cache=shared"])
    def test_a_database_in_memory_has_none(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
        monkeypatch.setitem(connections["other"].settings_dict, "NAME", name)
        monkeypatch.chdir(tmp_path)
        assert environment.database_identity("other") == ""

    def test_a_password_says_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        before = environment.environment("default")
        monkeypatch.setitem(connections["default"].settings_dict, "PASSWORD", "other")
        assert environment.environment("default") == before

    def test_a_name_outlives_a_move(self, bronto: FakeBronto, monkeypatch: pytest.MonkeyPatch) -> None:
        OrderFactory.create_batch(2)
        with settings("production"):
            engine.deliver("default", pks=[Order.objects.first().pk])
            monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "shop.settings.moved")
            assert deliver() == {"accepted": 1}
        with settings("staging"):
            OrderFactory()
            assert deliver() == {}

    def test_nothing_can_be_read_from_the_row(self, bronto: FakeBronto) -> None:
        with settings(CLIENT_ID="the-key", CLIENT_SECRET="the-secret"):
            deliver()
        shown = str(vars(AccountStatus.objects.get()))
        assert "the-key" not in shown
        assert "the-secret" not in shown


def test_a_run_asks_once() -> None:
    with settings():
        Gate(bronto_settings.account("default"), using="default")
        with CaptureQueriesContext(connection) as queries:
            Gate(bronto_settings.account("default"), using="default")
    assert len(queries) == 1
