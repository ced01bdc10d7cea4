from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import override_settings
from django.utils import timezone

from bronto_orders import exceptions as errors
from bronto_orders.delivery.resync import Options, progress, start_run
from bronto_orders.management.commands import bronto_resync
from bronto_orders.models import AccountStatus, DbNow, Order, ResyncRun
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


class TestDeliverAndResyncs:
    def test_resyncs_need_no_celery(self, bronto: FakeBronto, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bronto_orders.delivery.selections.CHUNK", 2)
        OrderFactory.create_batch(5)
        run("bronto_deliver")
        resync, _new = start_run(Order.objects.all(), trigger="test", options=Options(force=True))
        assert resync.finished_at is None
        assert run("bronto_deliver") == "default: 5 accepted\n"
        resync.refresh_from_db()
        assert (resync.queued, progress(resync).is_over) == (5, True)


class TestResync:
    @pytest.fixture(autouse=True)
    def delivered(self, bronto: FakeBronto) -> None:
        for number, account, month in [("a", "default", 1), ("b", "default", 2), ("c", "eu", 3)]:
            OrderFactory(customer_order_id=number, account=account, order_date=datetime(2026, month, 1, tzinfo=UTC))
        run("bronto_deliver", "--account", "default")
        Order.objects.filter(account="eu").update(sync_state="rejected", sync_reason="refused", due_at=None, bulk=False)

    @pytest.mark.parametrize(
        ("filters", "expected"),
        [
            (["--all"], "abc"),
            (["--account", "default"], "ab"),
            (["--state", "rejected"], "c"),
            (["--reason", "refused"], "c"),
            (["--number", "a", "--number", "c"], "ac"),
            (["--since", "2026-02-01"], "bc"),
            (["--until", "2026-02-01"], "ab"),
            (["--until", "2026-02-01T00:00:00Z"], "a"),
            (["--since", "2026-01-02", "--account", "default"], "b"),
        ],
    )
    @override_settings(BRONTO_ORDERS={"ACCOUNTS": {"default": {}, "eu": {}}})
    def test_filters(self, filters: list[str], expected: str) -> None:
        out = run("bronto_resync", *filters)
        assert f"{len(expected)} queued, 0 queued already, 0 left out." in out
        numbers = Order.objects.owed().order_by("customer_order_id").values_list("customer_order_id", flat=True)
        assert "".join(numbers) == expected
        assert ResyncRun.objects.get().trigger == "command"

    @pytest.mark.parametrize(
        "wrong",
        [
            [],
            ["--all", "--number", "a"],
            ["--account", "nobody"],
            ["--number", "nobody"],
            ["--reason", "nonsense"],
            ["--since", "yesterday"],
            ["--until", "2026-13-01"],
            ["--all", "--force-events", "--yes"],
            ["--all", "--force-events", "--trigger-events"],
        ],
    )
    def test_usage(self, wrong: list[str]) -> None:
        with pytest.raises(CommandError) as caught:
            run("bronto_resync", *wrong)
        assert caught.value.returncode == 2
        assert not ResyncRun.objects.exists()

    def test_a_dry_run_counts_and_does_nothing(self) -> None:
        before = list(Order.objects.order_by("pk").values())
        out = run("bronto_resync", "--all", "--dry-run")
        told = ["3 selected.", "1 would be sent.", "2 unchanged, not sent.", "1 rejected until now: refused."]
        assert [line for line in told if line not in out] == []
        assert "3 would be sent." in run("bronto_resync", "--all", "--dry-run", "--force")
        assert list(Order.objects.order_by("pk").values()) == before
        assert not ResyncRun.objects.exists()

    def test_options(self, bronto: FakeBronto) -> None:
        options = ["--force", "--send-tracking", "--trigger-events", "--force-events", "--yes"]
        run("bronto_resync", "--number", "a", *options)
        run("bronto_deliver", "--account", "default")
        assert (bronto.calls[-1][3]["trigger_events"], bronto.calls[-1][3]["force"]) == (True, True)

    def test_waiting(self, bronto: FakeBronto, monkeypatch: pytest.MonkeyPatch) -> None:
        answers: list[Any] = [None, errors.BadRequestError(status=400)]

        def work(seconds: float) -> None:
            bronto.script.append(answers.pop(0))
            run("bronto_deliver", "--account", "default")

        monkeypatch.setattr(bronto_resync, "time", SimpleNamespace(sleep=work, monotonic=time.monotonic))
        out = run("bronto_resync", "--number", "a", "--force", "--wait")
        assert out.endswith("1 synced.\n")
        with pytest.raises(CommandError, match="1 rejected") as caught:
            run("bronto_resync", "--number", "b", "--force", "--wait")
        assert caught.value.returncode == 1

    def test_waiting_says_that_nothing_was_sent(self, bronto: FakeBronto, monkeypatch: pytest.MonkeyPatch) -> None:
        def work(seconds: float) -> None:
            run("bronto_deliver", "--account", "default")

        sent = len(bronto.calls)
        monkeypatch.setattr(bronto_resync, "time", SimpleNamespace(sleep=work, monotonic=time.monotonic))
        out = run("bronto_resync", "--account", "default", "--wait")
        assert out.endswith("2 synced, 2 of them unchanged and not sent.\n")
        assert len(bronto.calls) == sent

    def test_waiting_says_what_stops_the_orders(self, monkeypatch: pytest.MonkeyPatch) -> None:
        steps = iter([{"paused": False, "held_until": timezone.now() + timedelta(hours=1)}, {"held_until": None}])

        def wait(seconds: float) -> None:
            AccountStatus.objects.filter(account="default").update(**next(steps, {}))
            run("bronto_deliver", "--account", "default")

        AccountStatus.objects.filter(account="default").update(paused=True, held_message="Bronto is away.")
        monkeypatch.setattr(bronto_resync, "time", SimpleNamespace(sleep=wait, monotonic=time.monotonic))
        paused, held, *_rest = run("bronto_resync", "--number", "a", "--force", "--wait").splitlines()[2:]
        assert paused == "0 of 1 done; account default is paused."
        assert re.fullmatch(r"0 of 1 done; account default is held until .*: Bronto is away\.", held)

    def test_an_unknown_reason_is_told_the_nearest(self) -> None:
        with pytest.raises(CommandError, match="Did you mean 'no_contact'"):
            run("bronto_resync", "--reason", "nocontact", "--dry-run")

    @pytest.mark.parametrize("reason", ["invalid", "invalid:currency"])
    def test_invalid_content(self, reason: str) -> None:
        Order.objects.filter(customer_order_id="a").update(sync_state="skipped", sync_reason="invalid:currency")
        assert "1 selected." in run("bronto_resync", "--reason", reason, "--dry-run")
        assert "0 selected." in run("bronto_resync", "--reason", "invalid:tid", "--dry-run")

    def test_a_bar_on_a_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bronto_orders.delivery.selections.CHUNK", 1)

        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        out = Terminal()
        call_command("bronto_resync", "--number", "a", "--number", "b", stdout=out)
        assert f"\r[{'#' * 30}] 2/2 queued" in out.getvalue()
        assert run("bronto_resync", "--all", verbosity=0) == ""


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
