"""The bytes on the connection, which no client library would send or show: the whole sandbox, then the bare server."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock
from urllib.parse import urlsplit
from wsgiref.types import WSGIApplication
from wsgiref.validate import validator

import psutil
import pytest

from bronto_orders.sandbox import server as server_module
from bronto_orders.sandbox.cut import CUT_KEY, Cut
from bronto_orders.sandbox.server import SandboxServer
from tests.sandbox.service import Service


class Wire:
    """A bare connection."""

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout=20)
        self.file = self.socket.makefile("rb")

    def send(self, text: str) -> None:
        self.socket.sendall(text.replace("\n", "\r\n").encode("latin-1"))

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        status = int(self.file.readline().split()[1])
        headers = {}
        while line := self.file.readline().strip().decode():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return status, headers, self.file.read(int(headers.get("content-length", 0)))

    def is_closed(self) -> bool:
        return self.file.read(1) == b""

    def close(self) -> None:
        self.file.close()
        self.socket.close()


@pytest.fixture
def wire(service: Service) -> Iterator[Wire]:
    wire = Wire(service.base_url)
    yield wire
    wire.close()


def test_connection_is_kept_alive(service: Service, wire: Wire):
    for _ in range(3):
        wire.send(f"GET /orders?customerOrderId=a HTTP/1.1\nHost: x\nAuthorization: Bearer {service.token}\n\n")
        assert wire.answer()[0] == 204
        wire.send("GET /_sandbox/orders HTTP/1.1\nHost: x\n\n")
        assert wire.answer()[2] == b"[]"
        wire.send("POST /orders HTTP/1.1\nHost: x\nContent-Length: 5\n\nabcde")
        assert wire.answer()[0] == 403


def test_connection_is_closed_on_request(wire: Wire):
    wire.send("GET /_sandbox/orders HTTP/1.1\nHost: x\nConnection: close\n\n")

    assert wire.answer()[0] == 200
    assert wire.is_closed()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("POST /orders HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\nfive\nabcde\n0\n\n", 400),
        ("POST /orders HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\nContent-Length: 5\n\n0\n\n", 400),
        ("POST /orders HTTP/1.1\nHost: x\nTransfer-Encoding: gzip, chunked\n\n0\n\n", 501),
        ("POST /orders HTTP/1.1\nHost: x\nContent-Length: five\n\nabcde", 400),
        ("POST /orders HTTP/1.1\nHost: x\nContent-Length: -5\n\n", 400),
        ("POST /orders HTTP/1.1\nHost: x\nContent-Length: 1\nContent-Length: 2\n\nab", 400),
        ("GET /" + "x" * 70_000 + " HTTP/1.1\nHost: x\n\n", 414),
        ("GET /orders HTTP/1.1\nHost: x\n" + "X-Pad: 1\n" * 200 + "\n", 431),
        ("GET /orders HTTP/1.1\nHost: x\nX-Long: " + "x" * 70_000 + "\n\n", 431),
        ("GET /orders HTTP/9.9\nHost: x\n\n", 505),
        ("nonsense\n\n", 400),
        ("GET /a b c HTTP/1.1\n\n", 400),
    ],
)
def test_unsound_requests(wire: Wire, head, status):
    wire.send(head)

    got, headers, body = wire.answer()
    assert got == status
    assert headers["x-reason"]
    assert b'"reason"' in body
    assert wire.is_closed()


def test_absolute_path(service: Service, wire: Wire):
    wire.send(f"GET {service.base_url}/_sandbox/orders HTTP/1.1\nHost: x\n\n")

    assert wire.answer()[2] == b"[]"


def test_path_in_raw_bytes(service: Service, wire: Wire):
    service.add({"customerOrderId": "ü"})
    path = "/orders/customerOrderId/ü".encode().decode("latin-1")

    wire.send(f"GET {path} HTTP/1.1\nHost: x\nAuthorization: Bearer {service.token}\n\n")

    assert wire.answer()[0] == 200


@pytest.mark.parametrize("customer_order_id", [".", ".."])
def test_id_that_client_libraries_take_for_a_step(service: Service, wire: Wire, customer_order_id):
    service.add({"customerOrderId": customer_order_id})
    path = "/orders/customerOrderId/" + customer_order_id.replace(".", "%2E")

    wire.send(f"GET {path} HTTP/1.1\nHost: x\nAuthorization: Bearer {service.token}\n\n")

    status, _, body = wire.answer()
    assert status == 200
    assert f'"customerOrderId":"{customer_order_id}"'.encode() in body


def test_head_has_no_body(wire: Wire):
    wire.send("HEAD /_sandbox/orders HTTP/1.1\nHost: x\n\nGET /_sandbox/orders HTTP/1.1\nHost: x\n\n")

    assert wire.file.readline().split()[1] == b"405"
    while wire.file.readline().strip():
        pass
    assert wire.answer()[2] == b"[]"


def test_expectation_is_met(service: Service, wire: Wire):
    body = '{"customerOrderId":"a"}'
    wire.send(
        f"POST /orders HTTP/1.1\nHost: x\nAuthorization: Bearer {service.token}\nContent-Type: application/json\n"
        f"Content-Length: {len(body)}\nExpect: 100-continue\n\n"
    )
    assert wire.answer()[0] == 100
    wire.send(body)
    assert wire.answer()[0] == 201


def test_chunked_body_makes_an_order(service: Service, wire: Wire):
    wire.send(
        f"POST /orders HTTP/1.1\nHost: x\nAuthorization: Bearer {service.token}\nContent-Type: application/json\n"
        'Transfer-Encoding: chunked\n\n13\n{"customerOrderId":\n4\n"a"}\n0\n\n'
    )

    assert wire.answer()[0] == 201
    assert service.orders()[0]["customerOrderId"] == "a"


def test_client_that_goes_away(service: Service, wire: Wire):
    wire.send(
        f"POST /orders HTTP/1.1\nHost: x\nAuthorization: Bearer {service.token}\nContent-Type: application/json\n"
        'Content-Length: 100\n\n{"customerOrderId":"a"'
    )
    wire.socket.shutdown(socket.SHUT_WR)

    assert wire.answer()[0] == 400
    assert service.orders() == []


def test_dropped_connection_sends_not_one_byte(service: Service, wire: Wire):
    token = service.token
    service.stage({"drop": True})

    wire.send(f"GET /orders?customerOrderId=a HTTP/1.1\nHost: x\nAuthorization: Bearer {token}\n\n")

    assert wire.is_closed()


def test_answer_comes_in_one_piece(service: Service, wire: Wire):
    """Head and body apart would meet Nagle's algorithm and the client's delayed acknowledgement."""
    wire.send("GET /_sandbox/switches HTTP/1.1\nHost: x\n\n")
    data = wire.socket.recv(65536)

    assert data.startswith(b"HTTP/1.1 200")
    assert data.endswith(b"}")


# From here on it is the server alone, with small applications.

GET = "GET / HTTP/1.1\nHost: x\n\n"
CHUNKED = "POST / HTTP/1.1\nHost: x\nTransfer-Encoding: Chunked\n\n"
LIMIT = 2 * 1024 * 1024


@pytest.fixture
def serve() -> Iterator[Callable[..., Wire]]:
    with contextlib.ExitStack() as stack:

        def serve(application: WSGIApplication, *arguments: Any) -> Wire:
            server = stack.enter_context(SandboxServer(application, *arguments))
            wire = Wire(server.base_url)
            stack.callback(wire.close)
            return wire

        yield serve


def echo(environ, start_response):
    """The body back to the client, up to a limit."""
    length = int(environ["CONTENT_LENGTH"])
    start_response("200 OK" if length <= LIMIT else "413 Too Large", [("X-Length", str(length))])
    return [environ["wsgi.input"].read() if length <= LIMIT else b"too large"]


def saying(*body: bytes, status: str = "200 OK", headers: tuple = (), cut: Cut | None = None) -> WSGIApplication:
    def application(environ, start_response):
        start_response(status, list(headers))
        yield from body
        environ[CUT_KEY] = cut

    return application


@pytest.mark.parametrize(
    ("chunks", "body"),
    [
        ("5\nabcde\n0\n\n", b"abcde"),
        ("0\n\n", b""),
        ("2\nab\n1\nc\n00\n\n", b"abc"),
        ('A\n0123456789\na;x=1;y="z"\n0123456789\n0 ; last\n\n', b"0123456789" * 2),
        ("2\n\n\n0\nX-Sum: 5\nX-Other: 6\n\n", b"\r\n"),
        ("1ffff\n" + "x" * 0x1FFFF + "\n0\n\n", b"x" * 0x1FFFF),
    ],
)
def test_chunked_body(serve, chunks, body):
    wire = serve(echo)
    for _ in range(2):
        wire.send(CHUNKED + chunks)

        status, headers, got = wire.answer()
        assert (status, headers["x-length"], got) == (200, str(len(body)), body)


def test_chunked_body_that_comes_slowly(serve):
    wire = serve(echo)
    for char in CHUNKED + "3\nabc\n0;x\nX-Sum: 5\n\n":
        wire.send(char)
        time.sleep(0.001)

    assert wire.answer()[2] == b"abc"


@pytest.mark.parametrize(
    ("unsound", "status"),
    [
        (CHUNKED + "x\nabcde\n0\n\n", 400),
        (CHUNKED + "\n\n", 400),
        (CHUNKED + "-1\na\n0\n\n", 400),
        (CHUNKED + "0x1\na\n0\n\n", 400),
        (CHUNKED + " 1\na\n0\n\n", 400),
        (CHUNKED + "1 1\na\n0\n\n", 400),
        (CHUNKED + "1" * 17 + "\na\n0\n\n", 400),
        (CHUNKED + "1;" + "x" * 2000 + "\na\n0\n\n", 400),
        (CHUNKED + "1\nab\n0\n\n", 400),
        (CHUNKED + "2\na\n0\n\n", 400),
        (CHUNKED + "0\nno trailer\n\n", 400),
        (CHUNKED + "0\n" + "X-Pad: 1\n" * 200 + "\n", 431),
        (CHUNKED.replace("Chunked", "gzip") + "0\n\n", 501),
        (CHUNKED.replace("Chunked", "gzip, chunked") + "0\n\n", 501),
        (CHUNKED.replace("Chunked", "") + "0\n\n", 501),
        (CHUNKED.replace("Chunked", "chunked\nTransfer-Encoding: chunked") + "0\n\n", 501),
        (CHUNKED.replace("Chunked", "chunked\nContent-Length: 5") + "0\n\n", 400),
        (CHUNKED.replace("Chunked", "\x0bchunked") + "0\n\n", 400),
        (CHUNKED.replace("Encoding:", "Encoding :") + "0\n\n", 400),
        (CHUNKED.replace("HTTP/1.1", "HTTP/1.0") + "0\n\n", 400),
        ("POST / HTTP/1.1\nHost: x\nContent-Length: 5\nContent-Length: 5\n\nabcde", 400),
        ("POST / HTTP/1.1\nHost: x\nContent-Length:\nContent-Length: 5\n\nabcde", 400),
        ("POST / HTTP/1.1\nHost: x\nContent-Length: +5\n\nabcde", 400),
        ("POST / HTTP/1.1\nHost: x\nContent-Length: " + "9" * 5000 + "\n\nabcde", 400),
        ("GET / HTTP/1.1\n\n", 400),
        ("GET / HTTP/1.1\nHost: x\nHost: y\n\n", 400),
        ("GET / HTTP/1.1\nHost: x\n folded\n\n", 400),
        ("GET / HTTP/1.1\nHost: x\nX-A: a\rb\n\n", 400),
        ("GET / HTTP/1.1\nHost: x\nX-A" + " " * 60_000 + "\n\n", 400),
        ("GET a HTTP/1.1\nHost: x\n\n", 400),
        ("GET /\n\n", 400),
    ],
)
def test_request_that_could_be_taken_in_two_ways(serve, unsound, status):
    wire = serve(echo)
    wire.send(unsound + GET)

    assert wire.answer()[0] == status
    assert wire.is_closed()


@pytest.mark.parametrize("start", ["", "5", "5\n", "5\nab", "5\nabcde", "5\nabcde\n0\n", "5\nabcde\n0\nX-Sum"])
def test_chunked_body_that_ends_early(serve, start):
    wire = serve(echo)
    wire.send(CHUNKED + start)
    wire.socket.shutdown(socket.SHUT_WR)

    assert wire.answer()[0] == 400
    assert wire.is_closed()


@pytest.mark.parametrize(
    "request_",
    [
        CHUNKED + f"{LIMIT * 2:x}\n{'x' * LIMIT * 2}\n0\n\n",
        f"POST / HTTP/1.1\nHost: x\nContent-Length: {LIMIT * 2}\n\n{'x' * LIMIT * 2}",
    ],
    ids=["chunked", "with a length"],
)
def test_body_far_over_the_limit(serve, monkeypatch, request_):
    wire = serve(echo)
    for _ in range(2):
        wire.send(request_)
        assert wire.answer()[2] == b"too large"
    wire.send(CHUNKED + "5\nabcde\n0\n\n")
    assert wire.answer()[2] == b"abcde"

    monkeypatch.setattr(server_module, "DISCARD_LIMIT", 100_000)
    wire.send(request_)
    assert wire.answer()[2] == b"too large"
    assert wire.is_closed()


def test_body_over_the_limit_that_breaks_off(serve):
    wire = serve(echo)
    wire.send(CHUNKED + f"{LIMIT * 2:x}\n{'x' * LIMIT * 2}no end\n")

    assert wire.answer()[2] == b"too large"
    assert wire.is_closed()


@pytest.mark.parametrize(("length", "status"), [(LIMIT, 200), (LIMIT + 1, 413)])
def test_body_about_the_limit(serve, length, status):
    wire = serve(echo)
    wire.send(CHUNKED + f"{length:x}\n{'x' * length}\n0\n\n")

    got, headers, _ = wire.answer()
    assert (got, headers["x-length"]) == (status, str(length))


unread = pytest.mark.parametrize("unread", ["", GET, "x" * 20_000], ids=["nothing", "a request", "nonsense"])


@unread
def test_reset(serve, unread):
    wire = serve(saying(b"body", cut=Cut("reset")))
    wire.send(GET + unread)

    with pytest.raises(ConnectionResetError):
        wire.file.read(1)


@unread
def test_drop(serve, unread):
    wire = serve(saying(b"body", cut=Cut("drop", drip_seconds=60)))
    wire.send(GET + unread)

    assert wire.is_closed()


@unread
def test_truncate(serve, unread):
    wire = serve(saying(b"01234", b"56789", cut=Cut("truncate", drip_seconds=0.1)))
    wire.send(GET + unread)

    status, headers, body = wire.answer()
    assert (status, headers["content-length"], body) == (200, "10", b"01234")
    assert wire.is_closed()


@pytest.mark.parametrize(
    ("request_", "status", "body"),
    [(GET, "200 OK", b""), (GET, "204 No Content", b""), ("HEAD / HTTP/1.1\nHost: x\n\n", "200 OK", b"body")],
)
def test_truncate_without_a_body(serve, request_, status, body):
    wire = serve(saying(body, status=status, cut=Cut("truncate")))
    wire.send(request_)

    assert wire.is_closed()


@pytest.mark.parametrize("body", [b"0123456789", b"x" * 100_000], ids=len)
def test_drip(serve, body):
    wire = serve(saying(body, cut=Cut(drip_seconds=0.3)))
    for _ in range(2):
        started = time.monotonic()
        wire.send(GET)

        assert wire.socket.recv(65536).endswith(b"\r\n\r\n")
        pieces = [wire.socket.recv(len(body))]
        while sum(map(len, pieces)) < len(body):
            pieces.append(wire.socket.recv(len(body)))
        assert b"".join(pieces) == body
        assert len(pieces) > 3
        assert 0.25 < time.monotonic() - started < 5


def test_drip_without_a_body(serve):
    wire = serve(saying(status="204 No Content", cut=Cut(drip_seconds=60)))
    wire.send(GET)

    assert wire.answer()[0] == 204


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("sandbox")]


def test_stop_ends_idle_and_busy_connections():
    entered, woken = threading.Event(), threading.Event()

    def application(environ, start_response):
        if environ["PATH_INFO"] == "/busy":
            entered.set()
            woken.wait(60)
        environ[CUT_KEY] = Cut(drip_seconds=60 if environ["PATH_INFO"] == "/slow" else 0)
        start_response("200 OK", [])
        return [b"the body"]

    with contextlib.ExitStack() as stack:
        with SandboxServer(application, on_stop=woken.set) as server:
            new, idle, slow, busy = wires = [Wire(server.base_url) for _ in range(4)]
            for wire in wires:
                stack.callback(wire.close)
            idle.send(GET)
            assert idle.answer()[0] == 200
            slow.send(GET.replace("/", "/slow", 1))
            assert slow.file.readline() == b"HTTP/1.1 200 OK\r\n"
            busy.send(GET.replace("/", "/busy", 1))
            assert entered.wait(10)
            started = time.monotonic()
        assert time.monotonic() - started < 3
        assert threads() == []
        assert new.is_closed()
        assert idle.is_closed()
        assert b"body" not in slow.file.read()
        busy.file.read()
    with pytest.raises(ConnectionRefusedError):
        Wire(server.base_url)


def test_many_starts_leave_nothing_behind():
    files = psutil.Process().num_fds()
    for _ in range(100):
        with SandboxServer(echo) as server, contextlib.closing(Wire(server.base_url)) as wire:
            wire.send(GET)
            assert wire.answer()[0] == 200

    assert threads() == []
    assert psutil.Process().num_fds() <= files


def test_too_many_threads_pass(serve):
    wire = serve(echo)
    wire.send(GET)
    assert wire.answer()[0] == 200
    with mock.patch.object(server_module._Connection, "start", side_effect=RuntimeError("can't start new thread")):
        refused = Wire("http://{}:{}".format(*wire.socket.getpeername()))
        assert refused.is_closed()
        refused.close()

    with contextlib.closing(Wire("http://{}:{}".format(*wire.socket.getpeername()))) as later:
        later.send(GET)
        assert later.answer()[0] == 200


def test_calls_before_the_start_are_kept():
    server = SandboxServer(echo)
    try:
        with contextlib.closing(Wire(server.base_url)) as wire:
            wire.send(GET)
            server.start()
            assert wire.answer()[0] == 200
    finally:
        server.stop()


def test_stop_without_a_start_and_twice():
    calls: list[int] = []
    server = SandboxServer(echo, on_stop=lambda: calls.append(1))
    server.stop()
    server.stop()

    assert calls == []


def test_port_that_is_taken():
    server = SandboxServer(echo)
    try:
        with pytest.raises(OSError, match="in use"):
            SandboxServer(echo, *server.server_address)
    finally:
        server.stop()


def test_default_timeout_of_the_program_does_not_count(serve):
    socket.setdefaulttimeout(0.05)
    try:
        wire = serve(echo)
        wire.send(GET)
        assert wire.answer()[0] == 200
    finally:
        socket.setdefaulttimeout(None)
    time.sleep(0.1)
    wire.send(GET)
    assert wire.answer()[0] == 200


def test_ipv6(serve):
    try:
        wire = serve(echo, "::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    wire.send(GET)

    assert wire.answer()[0] == 200


@pytest.mark.parametrize(
    "request_",
    [GET, CHUNKED + "5\nabcde\n0\n\n", "PUT /a%2Fb?c=d HTTP/1.0\nContent-Type: text/plain\nContent-Length: 5\n\nabcde"],
)
def test_validator(serve, request_):
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])) or b"nothing"]

    wire = serve(validator(application))
    wire.send(request_)

    status, _, body = wire.answer()
    assert (status, body) == (200, b"abcde" if "abcde" in request_ else b"nothing")


@pytest.mark.parametrize(
    ("target", "uri", "path", "query"),
    [
        ("/a%2Fb/%C3%BC?c=%20&d", "/a%2Fb/%C3%BC?c=%20&d", "/a/b/\xc3\xbc", "c=%20&d"),
        ("/\xfc?\xfc", "/\xfc?\xfc", "/\xfc", "\xfc"),
        ("//a/../b?c?d", "//a/../b?c?d", "//a/../b", "c?d"),
        ("http://x/a?b=http://y/", "/a?b=http://y/", "/a", "b=http://y/"),
        ("HTTPS://x:80?b", "/?b", "/", "b"),
        ("http://x", "/", "/", ""),
    ],
)
def test_environment(serve, target, uri, path, query):
    def application(environ, start_response):
        start_response("200 OK", [])
        return [json.dumps({key: value for key, value in environ.items() if isinstance(value, str)}).encode()]

    wire = serve(application)
    wire.send(f"FOO {target} HTTP/1.1\nHost: x\nX-One:  1 \nX-Two: a\nx-two: b\nX_One: 2\nContent-Type: a/b\n\n")

    environ = json.loads(wire.answer()[2])
    port = environ.pop("SERVER_PORT")
    assert int(port) == wire.socket.getpeername()[1]
    assert environ == {
        "REQUEST_METHOD": "FOO",
        "REQUEST_URI": uri,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "127.0.0.1",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_TYPE": "a/b",
        "CONTENT_LENGTH": "0",
        "HTTP_HOST": "x",
        "HTTP_X_ONE": "1",
        "HTTP_X_TWO": "a,b",
        "wsgi.url_scheme": "http",
    }


@pytest.mark.parametrize(
    ("status", "sent", "length"),
    [("200 OK", "4", "4"), ("200 OK", None, "4"), ("200 OK", "9", "4"), ("204 No Content", "0", None)],
)
def test_length_of_the_answer(serve, status, sent, length):
    wire = serve(saying(b"bo", b"dy", status=status, headers=(("Content-Length", sent),) if sent else ()))
    for _ in range(2):
        wire.send(GET)

        got, headers, body = wire.answer()
        assert (got, headers.get("content-length"), body) == (int(status[:3]), length, b"body" if length else b"")


@pytest.mark.parametrize(("sent", "length"), [((), b"4"), ((("content-length", "9"),), b"9")])
def test_head(serve, sent, length):
    wire = serve(saying(b"body", headers=sent))
    wire.send(GET.replace("GET", "HEAD"))

    assert wire.file.readline() == b"HTTP/1.1 200 OK\r\n"
    assert b"content-length: " + length in [line.strip().lower() for line in iter(wire.file.readline, b"\r\n")]
    wire.send(GET)
    assert wire.answer()[2] == b"body"


def test_date(serve):
    own = serve(saying(headers=(("Date", "Sat, 01 Jan 2000 00:00:00 GMT"),)))
    none = serve(saying())
    for wire in (own, none):
        wire.send(GET)

    assert own.answer()[1]["date"] == "Sat, 01 Jan 2000 00:00:00 GMT"
    assert none.answer()[1]["date"].endswith(" GMT")


@pytest.mark.parametrize(
    ("version", "connection", "stays"),
    [
        ("1.1", "", True),
        ("1.1", "Keep-Alive, Close", False),
        ("1.2", "TE", True),
        ("1.0", "", False),
        ("1.0", "Keep-Alive", True),
    ],
)
def test_connection_stays_or_is_closed(serve, version, connection, stays):
    wire = serve(echo)
    wire.send(f"\nGET / HTTP/{version}\nHost: x\nConnection: {connection}\n\n")

    assert wire.answer()[1]["connection"] == ("keep-alive" if stays else "close")
    wire.send(GET)
    assert wire.answer()[0] == 200 if stays else wire.is_closed()


def raising(environ, start_response):
    start_response("200 OK", [])
    raise ValueError("a bug")


def silent(environ, start_response):
    return [b"body"]


def repeating(environ, start_response):
    start_response("200 OK", [])
    start_response("200 OK", [])
    return []


@pytest.mark.parametrize("application", [raising, silent, repeating, saying(headers=(("X-A", "\u20ac"),))])
def test_application_that_fails(serve, caplog, application):
    wire = serve(application)
    for _ in range(2):
        wire.send(GET)
        status, headers, body = wire.answer()
        assert (status, json.loads(body)) == (500, {"reason": headers["x-reason"], "status": 500})

    assert [(record.levelno, record.message) for record in caplog.records] == [
        (logging.ERROR, "the application failed")
    ] * 2


def test_application_that_thinks_better_of_it_writes_and_closes(serve):
    closed: list[bool] = []

    class Result(list):
        def close(self):
            closed.append(True)

    def application(environ, start_response):
        start_response("200 OK", [])
        try:
            raise ValueError
        except ValueError:
            write = start_response("409 Conflict", [], sys.exc_info())
        write(b"bo")
        return Result([b"dy"])

    wire = serve(application)
    wire.send(GET)

    status, _, body = wire.answer()
    assert (status, body, closed) == (409, b"body", [True])


def test_clients_that_leave_before_their_answer(serve):
    wire = serve(saying(b"x" * 10_000_000))
    for _ in range(3):
        with socket.create_connection(wire.socket.getpeername()) as hasty:
            hasty.sendall(GET.replace("\n", "\r\n").encode())
    wire.send(GET)

    assert len(wire.answer()[2]) == 10_000_000


def test_server_needs_no_django():
    code = "import sys, bronto_orders.sandbox.server; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
