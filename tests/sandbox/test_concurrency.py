from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import requests

from tests.sandbox.service import Service, shop_path

THREADS = 8


@pytest.fixture
def at_once(service: Service) -> Callable[..., list[requests.Response]]:
    """Make one call from several threads at the same moment, each with its own connection."""
    headers = {"Authorization": f"Bearer {service.token}"}

    def run(path: str, bodies: list[Any], method: str = "POST") -> list[requests.Response]:
        barrier = Barrier(len(bodies))

        def call(body: Any) -> requests.Response:
            with requests.Session() as session:
                session.get(f"{service.base_url}/_sandbox/faults", timeout=30)
                barrier.wait(30)
                return session.request(method, service.base_url + path, json=body, headers=headers, timeout=60)

        with ThreadPoolExecutor(len(bodies)) as pool:
            return list(pool.map(call, bodies))

    return run


def test_one_of_many_adds_of_an_id_wins(service: Service, at_once):
    for turn in range(4):
        bodies = [{"customerOrderId": f"a{turn}", "grandTotal": number} for number in range(THREADS)]
        codes = Counter(answer.status_code for answer in at_once("/orders", bodies))
        assert codes == {201: 1, 409: THREADS - 1}
    assert len(service.orders()) == 4


def test_adds_of_different_ids_all_win(service: Service, at_once):
    body = {"emailAddress": "same@example.com", "status": "PROCESSED", "lineItems": [{}, {}]}
    bodies = [{**body, "customerOrderId": str(number)} for number in range(THREADS)]

    answers = at_once("/orders?createContact=true", bodies)

    assert [answer.status_code for answer in answers] == [201] * THREADS
    assert len(service.orders()) == THREADS
    assert len(service.control("GET", "contacts")) == 1
    assert len(service.requests()) == THREADS + 1


def test_updates_of_one_order_are_whole(service: Service, at_once):
    service.add({"customerOrderId": "a"})
    bodies = [
        {"status": "PROCESSED", "grandTotal": number, "subtotal": number, "lineItems": [{"quantity": number}] * number}
        for number in range(1, THREADS + 1)
    ]

    answers = at_once("/orders/customerOrderId/a", bodies)

    for answer in [*answers, service.call("GET", shop_path("a"))]:
        order = answer.json()
        number = order["grandTotal"]
        assert order["subtotal"] == number
        assert [line["quantity"] for line in order["lineItems"]] == [number] * number
    assert service.event_kinds() == ["orderAdded"], "only one of them made the order processed"


def test_adds_and_a_return_share_one_id(service: Service, at_once):
    bodies = [{"customerOrderId": "a"}] * 4
    with ThreadPoolExecutor(1) as pool:
        url = f"{service.base_url}/_sandbox/returns"
        taking = pool.submit(lambda: requests.post(url, json={"customerOrderId": "a"}, timeout=30))
        codes = [answer.status_code for answer in at_once("/orders", bodies)]

    taken = taking.result().status_code == 201
    assert codes.count(201) == (0 if taken else 1)
    assert len(service.orders()) == codes.count(201)


def test_refresh_token_is_used_once(service: Service, at_once):
    form = {
        "grant_type": "refresh_token",
        "client_id": "sandbox",
        "client_secret": "sandbox-secret",
        "refresh_token": service.grant()["refresh_token"],
    }
    with ThreadPoolExecutor(THREADS) as pool:
        url = f"{service.base_url}/oauth2/token"
        answers = pool.map(lambda _: requests.post(url, data=form, timeout=30).status_code, range(THREADS))

    assert Counter(answers) == {200: 1, 400: THREADS - 1}


def test_deletes_and_updates_mix(service: Service, at_once):
    service.add({"customerOrderId": "a"})

    codes = {answer.status_code for answer in at_once("/orders/customerOrderId/a", [{}] * 4, "DELETE")}

    assert codes == {204}
    assert service.orders() == []
