"""Several callers that write the same order at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, connections
from django.test import Client

from bronto_orders.api import upsert
from bronto_orders.models import LineItem, Order
from tests.api.conftest import URL, Api

pytestmark = pytest.mark.django_db(transaction=True)

CALLERS, ROUNDS = 6, 5


def at_once(call: Callable[[int], Any]) -> list[Any]:
    """Make the calls in threads that begin together."""
    gate = threading.Barrier(CALLERS)

    def run(index: int) -> Any:
        gate.wait()
        try:
            return call(index)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(CALLERS) as pool:
        return list(pool.map(run, range(CALLERS)))


def put(api: Api, url: str, body: str) -> int:
    client = Client()
    client.cookies = api.client.cookies
    return client.generic("PUT", url, body, "application/json").status_code


def test_a_new_order_put_by_several_is_one_order(shop: Api) -> None:
    for number in range(ROUNDS):
        url = f"{URL}race-{number}/"
        statuses = at_once(lambda index, url=url: put(shop, url, '{"grandTotal": 1, "lineItems": [{"sku": "1"}]}'))
        assert sorted(statuses) == [200] * (CALLERS - 1) + [201]
        order = Order.objects.get(customer_order_id=f"race-{number}")
        # Whoever came second found it as it should be.
        assert (order.revision, order.line_items.count()) == (1, 1)


def test_different_versions_put_by_several_end_in_one_of_them(shop: Api) -> None:
    for number in range(ROUNDS):
        url = f"{URL}race-{number}/"
        bodies = [
            f'{{"grandTotal": {index}, "lineItems": [{{"sku": "{index}-a"}}, {{"sku": "{index}-b"}}]}}'
            for index in range(CALLERS)
        ]
        statuses = at_once(lambda index, url=url, bodies=bodies: put(shop, url, bodies[index]))
        assert sorted(statuses) == [200] * (CALLERS - 1) + [201]
        order = Order.objects.get(customer_order_id=f"race-{number}")
        skus = list(order.line_items.values_list("sku", flat=True))
        assert order.grand_total is not None
        assert skus == [f"{int(order.grand_total)}-a", f"{int(order.grand_total)}-b"]
    assert LineItem.objects.count() == 2 * ROUNDS


def test_only_one_of_several_changes_the_revision_that_all_have_read(shop: Api) -> None:
    assert put(shop, f"{URL}1/", "{}") == 201

    def change(index: int) -> int:
        client = Client()
        client.cookies = shop.client.cookies
        body = f'{{"grandTotal": {index + 1}}}'
        return client.generic("PATCH", f"{URL}1/", body, "application/json", headers={"If-Match": '"1"'}).status_code

    assert sorted(at_once(change)) == [200] + [412] * (CALLERS - 1)
    assert Order.objects.get().revision == 2


@pytest.mark.parametrize("failures", [1, 2, 3])
@pytest.mark.parametrize("error", [IntegrityError, OperationalError])
def test_a_lost_race_is_run_again_but_not_for_ever(
    shop: Api, monkeypatch: pytest.MonkeyPatch, error: type[Exception], failures: int
) -> None:
    write, left = upsert._upsert, [error] * failures

    def lose(*arguments: Any) -> Any:
        if left:
            raise left.pop()
        return write(*arguments)

    monkeypatch.setattr(upsert, "_upsert", lose)
    if failures == upsert.TRIES:
        # Not the caller's fault: the project's own page for errors answers.
        with pytest.raises(error):
            shop.put("1", {})
    else:
        assert shop.put("1", {}).status_code == 201
    assert Order.objects.count() == (failures < upsert.TRIES)
