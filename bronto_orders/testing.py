"""For tests of shops that use this app, and for its own.

In the project's ``conftest.py``::

    pytest_plugins = ["bronto_orders.testing"]

gives the fixture ``bronto_sandbox``; the factories below are imported as usual. Needs pytest and factory-boy, which
are not dependencies of the app.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import factory
import pytest
import requests

if TYPE_CHECKING:
    from bronto_orders.models import LineItem, Order

    OrderBase = factory.django.DjangoModelFactory[Order]
    LineItemBase = factory.django.DjangoModelFactory[LineItem]
else:
    OrderBase = LineItemBase = factory.django.DjangoModelFactory


class LineItemFactory(LineItemBase):
    """A line item, of a new order unless ``order`` is given."""

    class Meta:
        model = "bronto_orders.LineItem"

    order = factory.SubFactory("bronto_orders.testing.OrderFactory")
    name = "Coffee Mug"
    sku = factory.Sequence(lambda number: f"{number:07}")
    quantity = 1
    unit_price = Decimal("3.99")
    sale_price = Decimal("3.99")
    total_price = Decimal("3.99")


class OrderFactory(OrderBase):
    """A processed order of the default account; ``OrderFactory(items=3)`` adds three line items."""

    class Meta:
        model = "bronto_orders.Order"
        skip_postgeneration_save = True

    customer_order_id = factory.Sequence(lambda number: f"abc-{number}")
    email_address = factory.Sequence(lambda number: f"shopper{number}@example.com")
    order_date = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    currency = "USD"
    grand_total = Decimal("4.27")
    subtotal = Decimal("3.99")
    tax_amount = Decimal("0.28")
    processed = True

    @factory.post_generation
    def items(self, create: bool, extracted: int | None, **kwargs: Any) -> None:  # noqa: FBT001 - factory_boy's signature
        for position in range(extracted or 0) if create else ():
            LineItemFactory(order=self, position=position)


class Sandbox:
    """A running sandbox: a Bronto of its own, in a process of its own."""

    client_id = "sandbox"
    client_secret = "sandbox-secret"  # noqa: S105 - the documented default

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url

    @property
    def account(self) -> dict[str, Any]:
        """Settings for BRONTO_ORDERS["ACCOUNTS"] that lead here."""
        return {
            "CLIENT_ID": self.client_id,
            "CLIENT_SECRET": self.client_secret,
            "API_URL": self.base_url,
            "TOKEN_URL": f"{self.base_url}/oauth2/token",
            "CREATE_CONTACT": True,
        }

    @property
    def orders(self) -> list[dict[str, Any]]:
        """The orders that it holds, as its API shows them."""
        found: list[dict[str, Any]] = self._control("GET", "orders")
        return found

    @property
    def events(self) -> list[dict[str, Any]]:
        """The workflow events that would have fired."""
        found: list[dict[str, Any]] = self._control("GET", "events")
        return found

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The calls that it has answered, oldest first, token requests included."""
        found: list[dict[str, Any]] = self._control("GET", "requests")
        return found

    def set_faults(self, *faults: dict[str, Any]) -> None:
        """Let calls fail by these rules from now on, and by no others; see docs/sandbox.md for their form."""
        self._control("PUT", "faults", list(faults))

    def fail_next(self, count: int = 1, **fault: Any) -> None:
        """Let the next calls of the orders API fail: ``fail_next(status=503)``, ``fail_next(2, drop=True)``."""
        self.set_faults({"match": {"path": "/orders"}, "count": count, **fault})

    def revoke_tokens(self) -> None:
        """Let every access token that was issued be refused from now on."""
        self._control("POST", "tokens/revoke")

    def reset(self) -> None:
        """Empty it and clear all faults; tokens that were issued stay valid."""
        self._control("POST", "reset")

    def _control(self, method: str, path: str, body: Any = None) -> Any:
        answer = requests.request(method, f"{self.base_url}/_sandbox/{path}", json=body, timeout=10)
        answer.raise_for_status()
        return answer.json() if answer.content else None


@pytest.fixture(scope="session")
def bronto_sandbox_server() -> Iterator[Sandbox]:
    """A sandbox for the whole test run."""
    command = [sys.executable, "-m", "bronto_orders.sandbox", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own program
        try:
            base_url = process.stdout.readline().strip() if process.stdout else ""
            if not base_url:
                pytest.fail(f"The sandbox did not start (exit code {process.wait()}); its errors are above.")
            yield Sandbox(base_url)
        finally:
            process.terminate()


@pytest.fixture
def bronto_sandbox(bronto_sandbox_server: Sandbox) -> Sandbox:
    """An empty sandbox: ``base_url``, ``client_id``, ``client_secret``, and what it has seen."""
    bronto_sandbox_server.reset()
    return bronto_sandbox_server
