from __future__ import annotations

import io
import sys
import threading
import time
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import override_settings

from bronto_orders.management.commands import bronto_erase
from bronto_orders.models import AccountStatus, Order, Tombstone
from bronto_orders.testing import deliver_all
from tests.factories import OrderFactory
from tests.fakes import FakeBronto

pytestmark = pytest.mark.django_db(transaction=True)

EMAIL = "jane@example.com"


def erase(*args: Any) -> str:
    out = io.StringIO()
    call_command("bronto_erase", *args, stdout=out)
    return out.getvalue()


def left() -> list[str]:
    return sorted(Order.objects.exclude(email_address="").values_list("email_address", flat=True))


@override_settings(BRONTO_ORDERS={"ACCOUNTS": {"default": {}, "eu": {}}})
def test_says_what_it_did_without_the_address() -> None:
    OrderFactory.create_batch(2, email_address=EMAIL)
    OrderFactory(email_address=EMAIL, account="eu")
    OrderFactory(email_address="john@example.com")
    said = erase(EMAIL)
    assert said == "Orders erased here, and to be deleted at Bronto: 3 (default: 2; eu: 1).\n"
    assert left() == ["john@example.com"]
    assert set(Tombstone.objects.values_list("trigger", flat=True)) == {"command"}
    assert erase(EMAIL) == "Orders erased here, and to be deleted at Bronto: 0.\n"


def test_a_dry_run_changes_nothing() -> None:
    OrderFactory(email_address=EMAIL)
    assert erase(EMAIL, "--dry-run", "--wait") == "Orders would be erased: 1 (default: 1).\n"
    assert left() == [EMAIL]
    assert not Tombstone.objects.exists()


def test_addresses_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    for address in (EMAIL, "jim@example.com", "john@example.com"):
        OrderFactory(email_address=address)
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{EMAIL}\n\n JIM@example.com \n"))
    erase("-")
    assert left() == ["john@example.com"]


@override_settings(BRONTO_ORDERS={"ACCOUNTS": {"default": {}, "eu": {}}})
def test_one_account() -> None:
    OrderFactory(email_address=EMAIL)
    OrderFactory(email_address=EMAIL, account="eu")
    assert "1 (eu: 1)" in erase(EMAIL, "--account", "eu")


@pytest.mark.parametrize("wrong", [[""], [" "], [EMAIL, "--account", "nobody"]])
def test_wrong_calls(wrong: list[str]) -> None:
    OrderFactory(email_address="")
    with pytest.raises(CommandError) as caught:
        erase(*wrong)
    assert caught.value.returncode == 1
    assert EMAIL not in str(caught.value)
    assert not Tombstone.objects.exists()


def test_waits_until_bronto_has_confirmed(bronto: FakeBronto, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bronto_erase, "PAUSE_SECONDS", 0.05)
    OrderFactory(email_address=EMAIL)
    deliver_all()

    def work() -> None:
        time.sleep(0.3)
        deliver_all()
        connection.close()

    worker = threading.Thread(target=work)
    worker.start()
    assert erase(EMAIL, "--wait").endswith("Bronto has confirmed all deletions.\n")
    worker.join()
    assert bronto.orders == {}


def test_does_not_wait_for_ever(bronto: FakeBronto) -> None:
    OrderFactory(email_address=EMAIL)
    with pytest.raises(CommandError, match="1 wait and 0 were refused") as caught:
        erase(EMAIL, "--wait", "0.1")
    assert caught.value.returncode == 2


def test_says_what_the_deletions_wait_for(bronto: FakeBronto) -> None:
    OrderFactory(email_address=EMAIL)
    AccountStatus.objects.create(account="default", paused=True)
    AccountStatus.objects.create(account="eu", paused=True)
    with pytest.raises(CommandError, match=r"0 were refused; account default is paused\. The admin"):
        erase(EMAIL, "--wait", "0.1")


def test_a_refused_deletion_is_told_of(bronto: FakeBronto) -> None:
    OrderFactory(email_address=EMAIL)
    erase(EMAIL)
    Tombstone.objects.update(due_at=None, message="Bronto refused to delete the order: no.")
    with pytest.raises(CommandError, match="0 wait and 1 were refused") as caught:
        erase(EMAIL, "--wait")
    assert caught.value.returncode == 2
