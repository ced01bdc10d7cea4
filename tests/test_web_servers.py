"""Two hundred shoppers at once, each by a link of their own: behind an async server and behind a threaded one."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any

import pytest
import uvicorn
from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import path

from bronto_orders import tracking
from bronto_orders.client_ip import behind
from bronto_orders.models import Order

pytestmark = [
    pytest.mark.slow,
    pytest.mark.urls(__name__),
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(300),
]

SHOPPERS = 200
#: So often does each of them buy.
ROUNDS = 2
PATIENCE = 60


class Crowd:
    """Lets requests go on once so many are under way, so that all of them are at once."""

    def __init__(self, size: int) -> None:
        self.size, self.here = size, 0
        self.changed = threading.Condition()
        self.complete = asyncio.Event()

    def wait(self) -> None:
        with self.changed:
            self.here += 1
            self.changed.notify_all()
            assert self.changed.wait_for(lambda: self.here >= self.size, PATIENCE)

    async def await_(self) -> None:
        self.here += 1
        if self.here >= self.size:
            self.complete.set()
        await asyncio.wait_for(self.complete.wait(), PATIENCE)


crowd = Crowd(0)
#: Database servers have fewer connections than there are shoppers.
few = threading.BoundedSemaphore(30)


def seen() -> str:
    current = tracking.current()
    return current.tid or current.cookie_value if current else ""


def place(request: HttpRequest) -> Order:
    # Not a word of tracking: as a shop's own code does it.
    with few:
        try:
            return Order.objects.create(customer_order_id=request.GET["number"], processed=True)
        finally:
            connection.close()


def buy(request: HttpRequest) -> HttpResponse:
    crowd.wait()
    place(request)
    return HttpResponse(seen())


async def abuy(request: HttpRequest) -> HttpResponse:
    await crowd.await_()
    before = seen()
    order = await sync_to_async(place)(request)
    await asyncio.sleep(0)
    assert seen() == before == (order.tid or order.tracking_cookie_value)
    return HttpResponse(before)


urlpatterns = [path("buy/", buy), path("abuy/", abuy)]


@pytest.fixture
def threaded() -> Iterator[int]:
    """Django's own server with a thread for each connection; the port that it listens at."""

    class Quiet(WSGIRequestHandler):
        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadedWSGIServer(("127.0.0.1", 0), Quiet)
    server.request_queue_size = SHOPPERS
    server.socket.listen(SHOPPERS)
    server.set_app(WSGIHandler())
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def asynchronous() -> Iterator[int]:
    """Uvicorn with its one event loop; the port that it listens at."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=SHOPPERS)
    config = uvicorn.Config(ASGIHandler(), lifespan="off", log_config=None, http="h11", ws="none", loop="asyncio")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join()
    listener.close()


def tid(shopper: int) -> str:
    return f"3{'.' * 13}.shopper{shopper}"


def shop(port: int, url: str, how: Callable[[int], tuple[str, dict[str, str]]]) -> list[str]:
    """Have everybody buy at once; return what each was told, by their number."""
    global crowd

    def one(shopper: int, number: int) -> str:
        query, headers = how(shopper)
        address = f"203.0.113.{shopper}, 2001:db8::1:{shopper:x}"
        server = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        headers = {"User-Agent": f"Browser {shopper}", "X-Forwarded-For": address, "Connection": "close", **headers}
        server.request("GET", f"{url}?number={number}{query}", headers=headers)
        answer = server.getresponse()
        body = answer.read().decode()
        server.close()
        return body if answer.status == 200 else f"{answer.status}: {body[:200]}"

    told = []
    with ThreadPoolExecutor(SHOPPERS) as pool:
        for round_ in range(ROUNDS):
            crowd = Crowd(SHOPPERS)
            numbers = range(round_ * SHOPPERS, (round_ + 1) * SHOPPERS)
            told += pool.map(one, range(SHOPPERS), numbers)
    return told


def by_link(shopper: int) -> tuple[str, dict[str, str]]:
    return f"&_bta_tid={tid(shopper)}", {}


def by_cookie(shopper: int) -> tuple[str, dict[str, str]]:
    return "", {"Cookie": f"tid_{shopper}={tid(shopper)}"}


@pytest.mark.parametrize(
    ("server", "url"), [("threaded", "/buy/"), ("asynchronous", "/buy/"), ("asynchronous", "/abuy/")]
)
@pytest.mark.parametrize("how", [by_link, by_cookie])
def test_every_order_carries_its_own_shoppers_tracking(
    request: pytest.FixtureRequest, settings: Any, server: str, url: str, how: Any
) -> None:
    settings.BRONTO_ORDERS = {**settings.BRONTO_ORDERS, "TRACKING": {"CLIENT_IP": behind(proxies=1)}}
    port = request.getfixturevalue(server)
    told = shop(port, url, how)
    assert told == [tid(shopper) for shopper in range(SHOPPERS)] * ROUNDS
    orders = {int(order.customer_order_id): order for order in Order.objects.all()}
    assert sorted(orders) == list(range(SHOPPERS * ROUNDS))
    for number, order in orders.items():
        shopper = number % SHOPPERS
        assert (order.tid or order.tracking_cookie_value) == tid(shopper)
        assert order.tracking_cookie_name == ("" if how is by_link else f"tid_{shopper}")
        assert (order.origin_ip, order.origin_user_agent) == (f"2001:db8::1:{shopper:x}", f"Browser {shopper}")
    assert tracking.current() is None
