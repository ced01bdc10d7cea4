from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import override_settings
from django.utils import timezone

from bronto_orders.models import AccountStatus, DbNow, Order
from tests.factories import OrderFactory
from tests.fakes import FakeBronto

pytestmark = pytest.mark.django_db(transaction=True)


def run(command: str, *args: str, **options: Any) -> str:
    out = io.StringIO()
    call_command(command, *args, stdout=out, **options)
    return out.getvalue()


class TestDeliver:
    def test_delivers_what_is_due_and_exits(self, bronto: FakeBronto) -> None:
        OrderFactory.create_batch(2)
        assert run("bronto_deliver") == "default: 2 accepted\n"
        assert run("bronto_deliver") == "default: nothing due\n"
        assert len(bronto.orders) == 2

    @override_settings(BRONTO_ORDERS={"ACCOUNTS": {"default": {}, "eu": {}}})
    def test_one_account(self, bronto: FakeBronto) -> None:
        OrderFactory()
        OrderFactory(account="eu")
        assert run("bronto_deliver", "--account", "eu") == "eu: 1 accepted\n"
        assert run("bronto_deliver") == "default: 1 accepted\neu: nothing due\n"

    def test_leaves_the_signals_of_its_caller_alone(self, bronto: FakeBronto) -> None:
        before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
        run("bronto_deliver")
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before

    def test_quiet(self, bronto: FakeBronto) -> None:
        assert run("bronto_deliver", verbosity=0) == ""

    def test_a_held_account_says_why(self, bronto: FakeBronto) -> None:
        OrderFactory()
        until = timezone.now() + timedelta(hours=1)
        AccountStatus.objects.create(account="default", held_until=until, held_message="Bronto is away.")
        assert run("bronto_deliver").endswith(": Bronto is away.\n")

    def test_one_wrong_account_stops_no_other(self, bronto: FakeBronto) -> None:
        order = OrderFactory()
        accounts = {"bad": {"CONCURRENCY": 0}, "default": {}}
        with (
            override_settings(BRONTO_ORDERS={"ACCOUNTS": accounts}),
            pytest.raises(CommandError, match=r"'bad'.*CONCURRENCY"),
        ):
            run("bronto_deliver")
        assert Order.objects.get(pk=order.pk).sync_state == "synced"

    def test_unknown_account(self) -> None:
        with pytest.raises(CommandError, match="'nobody'"):
            run("bronto_deliver", "--account", "nobody")

    @override_settings(BRONTO_ORDERS={"ACCOUNTS": {"default": {}}, "DELIVERY": {"ENABLED": False}})
    def test_switched_off(self) -> None:
        with pytest.raises(CommandError, match="ENABLED"):
            run("bronto_deliver")

    @override_settings(BRONTO_ORDERS={"ACCOUNTS": {"default": {}}, "DELIVERY": {"BATCH_SIZE": 0}})
    def test_wrong_settings(self) -> None:
        with pytest.raises(CommandError, match="BATCH_SIZE"):
            run("bronto_deliver")

    def test_loop_ends_on_sigterm(self) -> None:
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "BRONTO_TEST_DATABASE_NAME": connection.settings_dict["NAME"],
        }
        command = [sys.executable, "manage.py", "bronto_deliver", "--loop"]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "Delivering for default until stopped.\n"
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0


class TestStatus:
    def test_all_is_well(self) -> None:
        OrderFactory()
        out = run("bronto_status")
        assert out.startswith("default: 1 pending, 0 sending, 0 synced, 0 rejected, 0 skipped; oldest due for ")

    def test_nothing_at_all(self) -> None:
        assert run("bronto_status") == "default: 0 pending, 0 sending, 0 synced, 0 rejected, 0 skipped\n"

    def test_an_old_order(self) -> None:
        order = OrderFactory()
        Order.objects.filter(pk=order.pk).update(due_at=DbNow(-700))
        with pytest.raises(CommandError, match="is a worker running"):
            run("bronto_status")
        run("bronto_status", "--max-age", "800")

    def test_a_held_account(self) -> None:
        AccountStatus.objects.create(
            account="default", held_until=timezone.now() + timedelta(hours=1), held_reason="auth"
        )
        with pytest.raises(CommandError, match="held: auth"):
            run("bronto_status")

    def test_a_paused_account(self) -> None:
        AccountStatus.objects.create(account="default", paused=True)
        with pytest.raises(CommandError, match="paused"):
            run("bronto_status")

    def test_orders_of_an_account_that_is_not_configured(self) -> None:
        OrderFactory(account="uk")
        with pytest.raises(CommandError, match="'uk', which BRONTO_ORDERS does not have"):
            run("bronto_status")
