from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from bronto_orders import payloads, wire
from bronto_orders.delivery import remote
from bronto_orders.exceptions import NotFoundError
from bronto_orders.models import Order, Presence, SyncState

LIST = "/admin/bronto_orders/order/"


class FakeBronto:
    """Stands where the client stands: knows orders by Bronto's ID, or fails as told."""

    def __init__(self) -> None:
        self.orders: dict[str, dict[str, Any]] = {}
        self.error: Exception | None = None
        self.calls: list[tuple[str, str]] = []

    def get(self, order_id: str) -> dict[str, Any]:
        self.calls.append(("get", order_id))
        if self.error:
            raise self.error
        if order_id not in self.orders:
            raise NotFoundError(status=404)
        return self.orders[order_id]

    def search(self, *, customer_order_id: str) -> list[dict[str, Any]]:
        self.calls.append(("search", customer_order_id))
        if self.error:
            raise self.error
        return [one for one in self.orders.values() if one.get("customerOrderId") == customer_order_id]

    def take(self, order: Order) -> dict[str, Any]:
        """Have the order as it is now, acknowledged, and return the answer that Bronto gives from now on."""
        document = payloads.build_document(order, order.line_items.all(), now=datetime.now(UTC))
        bronto_id = f"0ad24370-0000-0000-0000-{order.pk:012}"
        Order.objects.filter(pk=order.pk).update(
            sync_state=SyncState.SYNCED,
            due_at=None,
            presence=Presence.PRESENT,
            last_sent=wire.storable(document),
            last_sent_hash=payloads.fingerprint(wire.dumps(document), "default"),
            bronto_order_id=bronto_id,
            synced_at=datetime.now(UTC),
            has_tracking=False,
        )
        order.refresh_from_db()
        items = [{**item, "other": None, "position": index} for index, item in enumerate(document["lineItems"])]
        answer = {"discountAmount": 0, "shippingDetails": None, **document, "lineItems": items, "orderId": bronto_id}
        answer.pop("tid", None)
        self.orders[bronto_id] = answer
        return answer


@pytest.fixture
def bronto(monkeypatch: pytest.MonkeyPatch) -> FakeBronto:
    fake = FakeBronto()
    monkeypatch.setattr(remote, "client_for", lambda account: fake)
    return fake


@pytest.fixture
def no_bronto(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(account: object) -> None:
        raise AssertionError("Bronto was asked.")

    monkeypatch.setattr(remote, "client_for", refuse)


def staff(*codenames: str, username: str = "staff") -> Client:
    """Return a browser in which somebody with just these permissions is logged in."""
    user = User.objects.create_user(username, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client = Client()
    client.force_login(user)
    return client


def url(verb: str, order: Order) -> str:
    return reverse(f"admin:bronto_orders_order_{verb}", args=[order.pk])


def fields_of(response: Any) -> dict[str, Any]:
    """Return what a browser would post from the form, untouched."""
    forms = [response.context["adminform"].form]
    for inline in response.context["inline_admin_formsets"]:
        forms += [inline.formset.management_form, *inline.formset.forms]
    data: dict[str, Any] = {}
    for form in forms:
        for bound in form:
            value = bound.value()
            widget = bound.field.widget
            parts = widget.decompress(value) if hasattr(widget, "decompress") else [value]
            names = [f"{bound.html_name}_{n}" for n in range(len(parts))] if len(parts) > 1 else [bound.html_name]
            data.update(
                {name: part for name, part in zip(names, parts, strict=True) if part is not None and part is not False}
            )
    return data
