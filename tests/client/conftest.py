from __future__ import annotations

import contextlib
import pickle
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator

import pytest
from django.test import override_settings

from bronto_orders.client import BrontoClient
from bronto_orders.client.transport import Transport, build_request
from tests.client.stub import SECRET, FakeBronto, Handler, Server, reply


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers = []

    def start(handler: Handler, **options: bool) -> Server:
        servers.append(Server(handler, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def bronto() -> Iterator[FakeBronto]:
    fake = FakeBronto()
    yield fake
    fake.server.close()


@pytest.fixture
def make_client(bronto: FakeBronto) -> Iterator[Callable[..., BrontoClient]]:
    clients = []

    def make(**options: object) -> BrontoClient:
        options = {"api_url": bronto.url, "token_url": bronto.token_url, "total_timeout": 5.0} | options
        clients.append(BrontoClient("the-shop", SECRET, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(make_client: Callable[..., BrontoClient]) -> BrontoClient:
    return make_client()


@pytest.fixture
def shared_cache() -> Iterator[None]:
    backend = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": uuid.uuid4().hex}
    with override_settings(CACHES={"default": backend}):
        yield


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let that many seconds pass on both clocks of this process without waiting for them."""
    clocks = {name: getattr(time, name) for name in ("time", "monotonic")}
    passed = 0.0

    def pass_by(seconds: float) -> None:
        nonlocal passed
        passed += seconds
        for name, clock in clocks.items():
            monkeypatch.setattr(time, name, lambda clock=clock: clock() + passed)

    return pass_by


def in_threads(number: int, work: Callable[[int], object]) -> list[object]:
    """Do the work in that many threads at once and return what each returned or raised."""
    results: list[object] = [None] * number
    barrier = threading.Barrier(number)

    def run(index: int) -> None:
        barrier.wait()
        try:
            results[index] = work(index)
        except Exception as error:
            results[index] = error

    threads = [threading.Thread(target=run, args=[index]) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def all_that_shows(error: BaseException) -> str:
    """Return everything by which an error can give something away, its frames' variables in the package included."""
    shown = ["".join(traceback.format_exception(error)), str(error), repr(error), repr(vars(error))]
    shown.append(repr(pickle.dumps(error)))
    pending: list[BaseException | None] = [error]
    while pending:
        link = pending.pop()
        if link is None:
            continue
        pending += [link.__cause__, link.__context__]
        shown += [repr(link), repr(link.args), repr(vars(link))]
        for frame, _ in traceback.walk_tb(link.__traceback__):
            if "/tests/" not in frame.f_code.co_filename:
                shown += [repr(value) for value in frame.f_locals.values()]
    return "\n".join(shown)


def post(url: str, path: str = "/orders", **options: object):
    with contextlib.closing(Transport(**({"total_timeout": 5.0} | options))) as transport:
        return transport.send(build_request("POST", url + path, {"X-Test": "1"}, b"{}"))


def answering(*args: object, **kwargs: object):
    return lambda request, connection: reply(*args, **kwargs)


def raises_in(seconds: float, kind: type[Exception]):
    @contextlib.contextmanager
    def checked():
        began = time.monotonic()
        with pytest.raises(kind) as caught:
            yield caught
        assert time.monotonic() - began < seconds
        assert type(caught.value) is kind
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None

    return checked()
