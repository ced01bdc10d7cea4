from __future__ import annotations

import io
import json
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from bronto_orders import exceptions as errors
from bronto_orders.delivery import remote
from bronto_orders.delivery.erasure import erase_customer
from bronto_orders.models import AccountStatus, Order
from tests.admin.conftest import FakeBronto
from tests.factories import OrderFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def bronto(monkeypatch: pytest.MonkeyPatch) -> FakeBronto:
    fake = FakeBronto()
    monkeypatch.setattr(remote, "client_for", lambda account: fake)
    return fake


@pytest.fixture
def order(bronto: FakeBronto) -> Order:
    order: Order = OrderFactory(
        customer_order_id="abc-1", email_address="jane@example.com", items=2, shipping_details="Left\tat\nthe door"
    )
    bronto.take(order)
    return order


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(*args: str, out: io.StringIO | None = None) -> tuple[int, list[str]]:
    """Return the exit code and the lines printed."""
    out = out or io.StringIO()
    code = 0
    try:
        call_command("bronto_diff", *args, stdout=out, no_color=True)
    except SystemExit as end:
        code = int(str(end.code))
    except CommandError as error:
        code = error.returncode
    return code, out.getvalue().splitlines()


def test_the_same(order: Order) -> None:
    assert run("abc-1") == (0, ["Bronto has the order as the shop has it."])
    code, lines = run("abc-1", "--all")
    assert code == 0
    assert "customerOrderId\tabc-1\tabc-1\tabc-1\tsame" in lines
    assert "shippingDetails\t" + "\t".join(["Left⟨U+0009⟩at⏎the door"] * 3) + "\tsame" in lines


def test_differences_for_other_programs(order: Order, bronto: FakeBronto) -> None:
    bronto.orders[order.bronto_order_id]["subtotal"] = Decimal("9.9")
    order.line_items.all()[1].delete()
    Order.objects.filter(pk=order.pk).update(currency="EUR")
    code, lines = run("abc-1")
    assert code == 1
    assert lines[:4] == [
        "The shop and Bronto differ in 3 places.",
        "Field\tNow\tLast sent\tBronto\tVerdict",
        "currency\tEUR\tUSD\tUSD\tchanged here",
        "subtotal\t3.99\t3.99\t9.90\tchanged at Bronto",
    ]
    assert lines[4].endswith("\t\tline 2, 1 pcs.\tline 2, 1 pcs.\tremoved here")
    assert len(lines) == 5


def test_differences_for_people(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    Order.objects.filter(pk=order.pk).update(shipping_details="x" * 200 + "here", currency="EUR")
    code, lines = run("abc-1", out=Terminal())
    assert code == 1
    header = next(line for line in lines if line.startswith("Field"))
    assert all(line[header.index("Now")] == first for line, first in zip(lines[2:4], "Ex", strict=True))
    assert max(map(len, lines)) <= 100


def test_json_has_stable_keys(order: Order) -> None:
    Order.objects.filter(pk=order.pk).update(currency="EUR", grand_total=Decimal("10.50"))
    code, lines = run("abc-1", "--json")
    document: dict[str, Any] = json.loads("\n".join(lines))
    assert code == 1
    assert list(document) == [
        "account", "customer_order_id", "bronto_order_id", "state", "revision", "acked_revision", "synced_at",
        "read_at", "at_bronto", "trouble", "invalid", "sentence", "differences", "accepted", "changes", "next_push",
    ]  # fmt: skip
    assert document["differences"] == 2
    assert document["next_push"]["body"]["grandTotal"] == 10.5
    [currency] = [change for change in document["changes"] if change["path"] == "currency"]
    assert currency == {
        "path": "currency", "sku": None, "field": "currency", "now": "EUR", "last_sent": "USD", "bronto": "USD",
        "verdict": "changed_here", "differs": True,
    }  # fmt: skip


def test_nobody_knows(order: Order, bronto: FakeBronto) -> None:
    assert run("abc-2") == (2, [])
    bronto.error = errors.NotSentError()
    code, lines = run("abc-1")
    assert (code, lines) == (2, ["Nothing has changed since Bronto last acknowledged the order."])
    code, lines = run("abc-1", "--json")
    document = json.loads("\n".join(lines))
    assert code == 2
    assert document["at_bronto"] is None
    assert document["trouble"] == "Bronto cannot be reached now. Try again in a moment."


def test_a_refused_account_is_not_asked(order: Order, bronto: FakeBronto) -> None:
    AccountStatus.objects.create(account="default", held_reason="auth", held_until="2999-01-01T00:00Z")
    assert run("abc-1")[0] == 2
    assert bronto.calls == []


def test_deleted_at_bronto(order: Order, bronto: FakeBronto) -> None:
    bronto.orders.clear()
    assert run("abc-1") == (1, ["Bronto no longer has this order. Resync it to add it again."])


def test_one_number_in_several_accounts(order: Order, bronto: FakeBronto, settings: Any) -> None:
    settings.BRONTO_ORDERS = {"ACCOUNTS": {"default": {}, "eu": {}}}
    OrderFactory(customer_order_id="abc-1", account="eu")
    with pytest.raises(CommandError, match="default, eu"):
        call_command("bronto_diff", "abc-1")
    assert run("abc-1", "--account", "default")[0] == 0
    bronto.orders.clear()
    assert run("abc-1", "--account", "eu")[1][0] == "Bronto does not have this order yet."


def test_an_order_that_cannot_be_sent(order: Order) -> None:
    Order.objects.filter(pk=order.pk).update(email_address="nobody")
    code, lines = run("abc-1")
    assert code == 1
    assert "The order cannot be sent as it is. This is not an e-mail address. Correct it." in lines


@pytest.mark.usefixtures("order")
def test_an_order_whose_customer_was_erased(bronto: FakeBronto, capsys: pytest.CaptureFixture[str]) -> None:
    erase_customer("jane@example.com")
    Order.objects.all().mark()  # somebody brings it back
    assert run("abc-1") == (2, [])
    code, lines = run("abc-1", "--json")
    report = json.loads("\n".join(lines))
    assert (code, report["sentence"]) == (2, "The customer was erased; the order is never sent again.")
    assert (report["changes"], report["next_push"], bronto.calls) == ([], None, [])
