"""The bytes on the connection, which no client library would send or show."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

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
        ("POST /orders HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n5\nabcde\n0\n\n", 411),
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
