"""``push_attempted``: one signal for each request, once its result is committed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from bronto_orders import exceptions as errors
from bronto_orders.delivery import engine
from bronto_orders.models import DbNow, Order, SyncAttempt
from bronto_orders.signals import push_attempted
from tests.factories import OrderFactory
from tests.fakes import FakeBronto

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def seen() -> Iterator[list[dict[str, Any]]]:
    seen: list[dict[str, Any]] = []

    def receive(sender: type, signal: object, **kwargs: Any) -> None:
        assert sender is SyncAttempt
        assert SyncAttempt.objects.filter(order=kwargs["order_id"], outcome=kwargs["outcome"]).exists()
        assert not connection.in_atomic_block
        seen.append(kwargs)
        raise RuntimeError("a receiver that fails hurts nobody")

    push_attempted.connect(receive)
    yield seen
    push_attempted.disconnect(receive)


def deliver(**options: Any) -> dict[str, int]:
    return engine.deliver("default", **options).counts


def test_what_it_tells(bronto: FakeBronto, seen: list[dict[str, Any]]) -> None:
    order = OrderFactory()
    assert deliver(trigger="signal") == {"accepted": 1}
    (told,) = seen
    assert 0 <= told.pop("seconds") < 5
    assert told == {
        "order_id": order.pk,
        "account": "default",
        "operation": "add",
        "outcome": "accepted",
        "http_status": 201,
        "trigger": "signal",
        "using": "default",
    }
    assert all(type(told[name]) is str for name in ("operation", "outcome"))


@pytest.mark.parametrize(
    ("answer", "outcome", "http_status"),
    [
        (errors.BadRequestError(status=400), "rejected", 400),
        (errors.ServerError(status=503), "deferred", 503),
        (errors.RateLimitedError(status=429), "deferred", 429),
        (errors.AuthenticationError(status=403), "held", 403),
        (errors.DeadlineError(), "unknown", None),
        (errors.NotSentError(), "deferred", None),
    ],
    ids=str,
)
def test_whatever_the_result(
    bronto: FakeBronto, seen: list[dict[str, Any]], answer: errors.BrontoError, outcome: str, http_status: int | None
) -> None:
    OrderFactory()
    bronto.always = answer
    deliver()
    assert [(told["outcome"], told["http_status"]) for told in seen] == [(outcome, http_status)]


def test_one_for_each_request(bronto: FakeBronto, seen: list[dict[str, Any]]) -> None:
    order = OrderFactory()
    bronto.orders[order.customer_order_id] = {"orderId": "b-1", "customerOrderId": order.customer_order_id}
    deliver()
    assert [(told["operation"], told["outcome"]) for told in seen] == [("add", "redirected"), ("update", "accepted")]


def test_none_without_a_request(bronto: FakeBronto, seen: list[dict[str, Any]]) -> None:
    order = OrderFactory()
    deliver()
    seen.clear()
    order.save()
    OrderFactory(currency="XXX")
    assert deliver() == {"unchanged": 1, "skipped": 1}
    assert seen == []


def test_also_when_the_lease_was_lost(bronto: FakeBronto, seen: list[dict[str, Any]]) -> None:
    order = OrderFactory()

    def steal() -> None:
        Order.objects.filter(pk=order.pk).update(lease_token=uuid.uuid4(), due_at=DbNow(100))
        connection.close()

    bronto.script.append(steal)
    deliver()
    assert [told["outcome"] for told in seen] == ["lease_lost"]
