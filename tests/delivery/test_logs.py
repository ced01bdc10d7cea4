"""What the logs tell: which order of which account, and nothing about the customer."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import DataError, connection

from bronto_orders import exceptions as errors
from bronto_orders.delivery import engine, preparing
from bronto_orders.models import Order
from tests.factories import OrderFactory
from tests.fakes import FakeBronto

pytestmark = pytest.mark.django_db(transaction=True)

ADDRESS = "shopper@example.com"
Trouble = Callable[[FakeBronto, pytest.MonkeyPatch], None]


def building_fails(bronto: FakeBronto, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(order: Order, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(order.email_address)

    monkeypatch.setattr(preparing, "build_document", build)


def bronto_quotes_it(bronto: FakeBronto, monkeypatch: pytest.MonkeyPatch) -> None:
    bronto.always = errors.BadRequestError(status=400, reason=f"emailAddress: {ADDRESS} is not valid")


def the_client_fails(bronto: FakeBronto, monkeypatch: pytest.MonkeyPatch) -> None:
    def step() -> None:
        raise RuntimeError(ADDRESS)

    bronto.always = step


def the_look_up_fails(bronto: FakeBronto, monkeypatch: pytest.MonkeyPatch) -> None:
    def search(**criteria: str) -> None:
        raise errors.BadRequestError(status=400, reason=ADDRESS)

    bronto.always = errors.ConflictError(status=409, reason=ADDRESS)
    monkeypatch.setattr(bronto, "search", search)


def the_lease_is_lost(bronto: FakeBronto, monkeypatch: pytest.MonkeyPatch) -> None:
    def step() -> None:
        Order.objects.update(lease_token=None, lease_revision=None)
        connection.close()

    bronto.always = step


def the_database_refuses(bronto: FakeBronto, monkeypatch: pytest.MonkeyPatch) -> None:
    """In words that quote the value, as some do."""

    def refuse(execute: Any, sql: str, *args: Any) -> Any:
        if sql.startswith("INSERT") and "bronto_orders_syncattempt" in sql:
            raise DataError(f"invalid value: {ADDRESS}")
        return execute(sql, *args)

    connection.execute_wrappers.append(refuse)


@pytest.mark.parametrize(
    "trouble",
    [
        building_fails,
        bronto_quotes_it,
        the_client_fails,
        the_look_up_fails,
        the_lease_is_lost,
        the_database_refuses,
    ],
)
def test_trouble_with_one_order(
    bronto: FakeBronto, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, trouble: Trouble
) -> None:
    order = OrderFactory(email_address=ADDRESS)
    trouble(bronto, monkeypatch)
    try:
        with caplog.at_level(logging.DEBUG):
            engine.deliver("default")
    finally:
        connection.execute_wrappers.clear()
    about_it = [record for record in caplog.records if re.search(r"\border \d", record.getMessage(), re.IGNORECASE)]
    assert about_it
    assert {(vars(record)["order_id"], vars(record)["account"]) for record in about_it} == {(order.pk, "default")}
    # Tracebacks and whatever came in ``extra`` are seen as well.
    assert "@" not in caplog.text
    assert "@" not in "".join(str(vars(record)) for record in caplog.records)
