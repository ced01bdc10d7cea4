from __future__ import annotations

import contextlib
import os
import socket
import threading
import time

import pytest
import requests

from bronto_orders.client import deadline as deadline_module
from bronto_orders.client import transport as transport_module
from bronto_orders.client.deadline import Call, Deadline
from bronto_orders.client.transport import Transport, build_request
from bronto_orders.exceptions import DeadlineError, FateUnknownError, NotSentError
from bronto_orders.per_process import PerProcess
from tests.client.conftest import answering, in_threads, post, raises_in
from tests.client.stub import CERTIFICATE, reply


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nX-Filler: ", id="in the header"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", id="in the body"),
        pytest.param(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", id="in a body of no stated length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e7\r\n", id="in a chunk"),
    ],
)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_a_drip_ends_at_the_deadline(serve, start, tls):
    server = serve(lambda request, connection: serve_drip(connection, start), tls=tls)

    def serve_drip(connection: socket.socket, start: bytes) -> None:
        server.drip(connection, start)

    with raises_in(1.0, DeadlineError):
        post(server.url, total_timeout=0.3, verify=str(CERTIFICATE))


def test_a_drip_while_the_request_is_taken_ends_at_the_deadline(serve):
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stop = threading.Event()

    def sip() -> None:
        connection, _ = listener.accept()
        with contextlib.suppress(OSError), connection:
            while not stop.wait(0.05):
                connection.recv(1)

    threading.Thread(target=sip, daemon=True).start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    with contextlib.closing(Transport(total_timeout=0.4)) as transport, raises_in(1.0, DeadlineError):
        transport.send(build_request("POST", url, {}, b"x" * 20_000_000))
    stop.set()
    listener.close()


def test_a_refusal_counts_although_its_body_drips(serve):
    server = serve(
        lambda request, connection: server.drip(
            connection, b"HTTP/1.1 409 Conflict\r\nX-Reason: why\r\nContent-Length: 999\r\n\r\n"
        )
    )
    answer = post(server.url, total_timeout=0.3)
    assert (answer.status, answer.headers["X-Reason"], answer.body) == (409, "why", b"")


def test_no_answer_within_the_read_timeout(serve):
    server = serve(lambda request, connection: server.stopping.wait(5) and None)
    with raises_in(1.0, FateUnknownError) as caught:
        post(server.url, read_timeout=0.2)
    assert "TimeoutError" in str(caught.value)


def test_the_deadline_shortens_the_read_timeout(serve):
    server = serve(lambda request, connection: server.stopping.wait(5) and None)
    with raises_in(1.0, DeadlineError):
        post(server.url, total_timeout=0.2)


def test_nothing_is_sent_when_no_time_is_left(serve):
    server = serve(answering())
    with contextlib.closing(Transport()) as transport, raises_in(0.2, NotSentError) as caught:
        transport.send(build_request("GET", server.url, {}), deadline=Deadline(0))
    assert "the deadline had passed" in str(caught.value)
    assert server.received == []


def test_a_repeat_is_not_sent_when_no_time_is_left(serve):
    def repeat(response: requests.Response, **options: object) -> requests.Response:
        response.content  # noqa: B018 - reading it gives the connection back
        time.sleep(0.3)
        return response.connection.send(response.request, **options)

    def auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.register_hook("response", repeat)
        return request

    server = serve(answering(403))
    with contextlib.closing(Transport()) as transport, raises_in(1.0, NotSentError):
        transport.send(build_request("POST", server.url, {}), deadline=Deadline(0.2), auth=auth)
    assert len(server.received) == 1


def test_nothing_is_sent_when_time_runs_out_while_connecting(serve, monkeypatch):
    def slowly(*args: object, **kwargs: object) -> socket.socket:
        time.sleep(0.3)
        return connect(*args, **kwargs)

    connect = transport_module.create_connection
    monkeypatch.setattr(transport_module, "create_connection", slowly)
    server = serve(answering())
    with raises_in(0.6, NotSentError):
        post(server.url, total_timeout=0.2)
    assert server.received == []


def test_calls_wait_for_a_free_connection_no_longer_than_the_deadline(serve):
    server = serve(lambda request, connection: server.stopping.wait(0.6) or reply(200))
    with contextlib.closing(Transport(pool_size=1)) as transport:
        first = threading.Thread(target=transport.send, args=[build_request("GET", server.url, {})])
        first.start()
        time.sleep(0.1)
        with raises_in(0.4, NotSentError):
            transport.send(build_request("GET", server.url, {}), deadline=Deadline(0.2))
        first.join()
    assert len(server.received) == 1


def test_the_watchdog_leaves_a_connection_alone_that_serves_another_call(serve):
    def answer(request: object, connection: object) -> bytes:
        time.sleep(0.4 if len(server.received) == 2 else 0)
        return reply(200, b"ok")

    server = serve(answer)
    with contextlib.closing(Transport()) as transport:
        transport.send(build_request("GET", server.url, {}), deadline=Deadline(0.2))
        assert transport.send(build_request("GET", server.url, {})).body == b"ok"
    assert {request.connection for request in server.received} == {1}


def test_a_drip_on_a_connection_in_use_again_ends_at_the_deadline(serve):
    def answer(request: object, connection: socket.socket) -> bytes | None:
        if len(server.received) == 1:
            return reply(200)
        return server.drip(connection, b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n")

    server = serve(answer)
    with contextlib.closing(Transport()) as transport:
        transport.send(build_request("GET", server.url, {}))
        with raises_in(1.0, DeadlineError):
            transport.send(build_request("GET", server.url, {}), deadline=Deadline(0.3))
    assert {request.connection for request in server.received} == {1}


def test_the_watchdog_leaves_a_connection_alone_that_a_longer_call_gave_back(serve):
    def answer(request: object, connection: object) -> bytes:
        time.sleep(0.5 if len(server.received) == 2 else 0)
        return reply(200, b"ok")

    server = serve(answer)
    given_back = threading.Event()

    def dally(response: requests.Response, **options: object) -> None:
        response.content  # noqa: B018 - reading it gives the connection back
        given_back.set()
        time.sleep(0.4)

    def auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.register_hook("response", dally)
        return request

    def call(index: int) -> object:
        if index == 0:
            return transport.send(build_request("GET", server.url, {}), deadline=Deadline(0.2), auth=auth).status
        given_back.wait()
        return transport.send(build_request("GET", server.url, {})).body

    with contextlib.closing(Transport(pool_size=1)) as transport:
        results = in_threads(2, call)
    assert isinstance(results[0], DeadlineError)
    assert results[1] == b"ok"
    assert {request.connection for request in server.received} == {1}


def test_a_socket_that_comes_too_late_is_shut_down_at_once():
    ours, theirs = socket.socketpair()
    with ours, theirs, Call(Deadline(0.01)) as call:
        time.sleep(0.05)
        call.guard(ours)
        theirs.settimeout(1)
        assert theirs.recv(1) == b""


def test_one_watchdog_serves_all_and_keeps_no_calls(serve):
    server = serve(answering())
    post(server.url)
    watchdog = deadline_module._watchdogs.get()
    thread = watchdog._thread
    in_threads(4, lambda _: post(server.url))
    assert deadline_module._watchdogs.get() is watchdog
    assert watchdog._thread is thread
    assert thread.is_alive()
    assert not watchdog._calls


def test_without_a_watchdog_nothing_is_sent(serve, monkeypatch):
    def refuse(thread: object) -> None:
        raise RuntimeError("can't start new thread")

    server = serve(answering())
    monkeypatch.setattr(deadline_module, "_watchdogs", PerProcess(deadline_module.Watchdog))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(NotSentError):
            post(server.url)
    assert server.received == []
    assert post(server.url).status == 200


def test_many_deadlines_at_once(serve):
    server = serve(lambda request, connection: server.drip(connection, b"HTTP/1.1 200 OK\r\n", forever=b"x"))
    with contextlib.closing(Transport(pool_size=20)) as transport:

        def call(index: int) -> float:
            seconds = 0.5 + 0.03 * (index % 10)
            began = time.monotonic()
            with pytest.raises(DeadlineError):
                transport.send(build_request("GET", server.url, {}), deadline=Deadline(seconds))
            return time.monotonic() - began - seconds

        overshoots = in_threads(20, call)
    assert max(overshoots) < 0.3


def test_values_per_process(monkeypatch):
    value = PerProcess(object)
    mine = value.get()
    assert value.get() is mine
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert value.get() is not mine
    monkeypatch.undo()
    assert value.pop() is mine
    assert value.pop() is None
