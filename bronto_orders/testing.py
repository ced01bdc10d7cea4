"""For tests of shops that use this app, and for its own.

In the project's ``conftest.py``::

    pytest_plugins = ["bronto_orders.testing"]

gives the fixtures ``bronto_sandbox`` and ``bronto_sandbox_mounted``; the factories below are imported as usual. Needs
pytest and factory-boy, which are not dependencies of the app. docs/testing.md shows a shop's own test.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import factory
import pytest
import requests
from django.db import DEFAULT_DB_ALIAS
from requests.adapters import HTTPAdapter

from bronto_orders.conf import DEFAULT_ACCOUNT
from bronto_orders.sandbox.adapter import SandboxAdapter
from bronto_orders.sandbox.faults import wire_name
from bronto_orders.sandbox.server import SandboxServer
from bronto_orders.sandbox.service import Service
from bronto_orders.sandbox.wsgi import Application

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
    """A sandbox of Bronto's Orders service: what it has seen, and how it is to misbehave. See docs/testing.md."""

    client_id = "sandbox"
    client_secret = "sandbox-secret"  # noqa: S105 - the documented default

    def __init__(self, base_url: str, session: requests.Session | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self.session = session or requests.Session()
        # Proxies of the environment are for other places.
        self.session.trust_env = False

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
        """The orders that it holds, as its API shows them, oldest first."""
        return self._list("orders")

    @property
    def events(self) -> list[dict[str, Any]]:
        """The workflow events that would have fired: the customer may have been mailed once for each."""
        return self._list("events")

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The calls that it has answered, oldest first, token requests included, secrets masked."""
        return self._list("requests")

    @property
    def contacts(self) -> list[dict[str, Any]]:
        """The contacts that it knows: address, status and date."""
        return self._list("contacts")

    def add_contact(self, email_address: str, status: str = "active") -> None:
        """Make a contact, or change the status of the one there is."""
        self._control("POST", "contacts", {"emailAddress": email_address, "status": status})

    def add_return(self, customer_order_id: str) -> None:
        """Let a return take an id, so that no order can have it."""
        self._control("POST", "returns", {"customerOrderId": customer_order_id})

    def fail_next(self, count: int = 1, **fault: Any) -> None:
        """Let the next calls of the orders API fail, after the faults that are staged already.

        ``fault`` is one of docs/sandbox.md with its keys in snake_case; ``path``, ``method`` and ``customer_order_id``
        say which calls, ``retry_after`` sets that header: ``fail_next(status=429, retry_after=7)``,
        ``fail_next(2, drop=True, apply="after")``, ``fail_next(timeout=True, customer_order_id="abc-123")``.
        """
        self.add_fault(count=count, **fault)

    def add_fault(self, **fault: Any) -> None:
        """Let calls of the orders API fail by a rule, written as for ``fail_next``, until it is spent or cleared."""
        self._control("POST", "faults", [_wire_fault(fault)])

    def set_faults(self, *faults: dict[str, Any]) -> None:
        """Let calls fail by these rules, as docs/sandbox.md writes them, and by no others."""
        self._control("PUT", "faults", list(faults))

    def break_down(self, preset: str = "outage") -> None:
        """Misbehave by a preset of docs/sandbox.md, such as ``rate-limit``, and by nothing else."""
        self._control("POST", "presets", {"name": preset})

    def recover(self) -> None:
        """Take back all faults."""
        self._control("DELETE", "faults")

    def switch(self, **switches: Any) -> None:
        """Turn switches of docs/sandbox.md: ``switch(orderDateOnUpdate="refuse")``."""
        self._control("PUT", "switches", switches)

    def revoke_tokens(self) -> None:
        """Let every access token that was issued be refused from now on."""
        self._control("POST", "tokens/revoke")

    def reset(self) -> None:
        """Empty it, clear all faults and turn back all switches; tokens that were issued stay valid."""
        self._control("POST", "reset")

    def _list(self, path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._control("GET", path)
        return found

    def _control(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.session.request(method, f"{self.base_url}/_sandbox/{path}", json=body, timeout=10)
        if answer.status_code == requests.codes.bad_request:
            raise ValueError(answer.headers["X-Reason"])
        answer.raise_for_status()
        return answer.json() if answer.content else None


def _wire_fault(fault: dict[str, Any]) -> dict[str, Any]:
    wire = {wire_name(name): value for name, value in fault.items()}
    match = {
        "path": "/orders",
        **{name: wire.pop(name) for name in ("path", "method", "customerOrderId") if name in wire},
    }
    if "retryAfter" in wire:
        wire["headers"] = {**wire.get("headers", {}), "Retry-After": str(wire.pop("retryAfter"))}
    return {"match": match, **wire}


def deliver_all(account: str = DEFAULT_ACCOUNT, *, using: str = DEFAULT_DB_ALIAS) -> None:
    """Deliver all that is owed, now: as if the waits for a later try were over, and so were the account's holds.

    Orders and deletions. For tests that recover from a fault. A pause that a person made stands. Raises AssertionError
    when something is still owed after ten rounds, as it is while the fault lasts.
    """
    from bronto_orders.delivery import engine
    from bronto_orders.models import AccountStatus, DbNow, Order, Tombstone

    owed = Order.objects.using(using).owed().filter(account=account)
    deletions = Tombstone.objects.using(using).owed().filter(account=account)
    for _ in range(10):
        open_gate = {"held_until": None, "held_reason": "", "breaker_state": AccountStatus.Breaker.CLOSED}
        AccountStatus.objects.using(using).filter(pk=account).update(**open_gate, consecutive_failures=0)
        owed.filter(lease_token=None).update(due_at=DbNow(), settle_until=None)
        deletions.filter(lease_token=None).update(due_at=DbNow())
        engine.deliver(account, using=using)
        if not owed.exists() and not deletions.exists():
            return
    left = f"{owed.count()} orders and {deletions.count()} deletions"
    raise AssertionError(f"{left} of the account {account!r} are still owed")


@pytest.fixture
def bronto_sandbox() -> Iterator[Sandbox]:
    """A sandbox of this test alone, on a loopback port, which other processes can reach as well."""
    with (
        contextlib.closing(Service()) as service,
        SandboxServer(Application(service), on_stop=service.faults.wake) as server,
        requests.Session() as session,
    ):
        yield Sandbox(server.base_url, session)


@pytest.fixture
def bronto_sandbox_mounted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A sandbox of this test alone, without a socket: whatever this process asks of it by ``requests`` is led there."""
    # A name for each test, so that nothing that was kept for one serves another.
    base_url = f"https://{uuid.uuid4().hex}.bronto.test"
    send = HTTPAdapter.send
    with contextlib.closing(Service()) as service, requests.Session() as session:
        adapter = SandboxAdapter(service)

        def lead(self: HTTPAdapter, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
            if (request.url or "").startswith(f"{base_url}/"):
                return adapter.send(request, *args, **kwargs)
            return send(self, request, *args, **kwargs)

        monkeypatch.setattr(HTTPAdapter, "send", lead)
        yield Sandbox(base_url, session)
