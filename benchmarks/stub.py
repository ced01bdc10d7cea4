"""The remote end: a server that answers what the client needs after a set latency, and does nothing else.

``python -m benchmarks.stub --latency 0.05`` prints its address. One thread, one epoll, no parsing of bodies: an answer
is the order that came in with an id before it. So it is neither what limits a benchmark nor what is measured.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import select
import selectors
import socket
import subprocess
import sys
import time
import urllib.request
from collections import deque
from dataclasses import dataclass
from typing import Any

HOST = "127.0.0.1"
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
TOKEN = json.dumps({"access_token": "a" * 40, "refresh_token": "r" * 40, "token_type": "bearer", "expires_in": 3600})
MEMBERS = b'"createdDate":"2026-01-02T03:04:05.000Z","updatedDate":"2026-01-02T03:04:05.000Z","hasTracking":false'


class Server:
    """The stub itself; ``serve`` never returns."""

    def __init__(self, latency: float) -> None:
        self.latency = latency
        self.epoll = select.epoll()
        self.listener = socket.create_server((HOST, 0), backlog=1024)
        self.listener.setblocking(False)  # noqa: FBT003 - the socket module takes no keyword
        self.epoll.register(self.listener.fileno(), select.EPOLLIN)
        self.sockets: dict[int, socket.socket] = {}
        self.received: dict[int, bytes] = {}
        #: Answers in the order in which they are due: all wait equally long.
        self.waiting: deque[tuple[float, int, socket.socket, bytes]] = deque()
        self.counts = {"orders": 0, "tokens": 0, "connections": 0}
        self.number = 0

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.listener.getsockname()[1]}"

    def serve(self) -> None:
        """Answer requests until killed."""
        while True:
            pause = max(0.0, self.waiting[0][0] - time.monotonic()) if self.waiting else None
            # An epoll's own time-out is in milliseconds, which would be 2 % of 50 ms.
            select.select([self.epoll], [], [], pause)
            now = time.monotonic()
            while self.waiting and self.waiting[0][0] <= now:
                _due, descriptor, connection, answer = self.waiting.popleft()
                if self.sockets.get(descriptor) is connection:
                    self._send(connection, answer)
            for descriptor, _event in self.epoll.poll(0):
                if descriptor == self.listener.fileno():
                    self._accept()
                else:
                    self._receive(descriptor)

    def _accept(self) -> None:
        connection, _address = self.listener.accept()
        connection.setblocking(False)  # noqa: FBT003 - the socket module takes no keyword
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sockets[connection.fileno()] = connection
        self.epoll.register(connection.fileno(), select.EPOLLIN)
        self.counts["connections"] += 1

    def _receive(self, descriptor: int) -> None:
        connection = self.sockets[descriptor]
        try:
            data = connection.recv(262144)
        except OSError:
            data = b""
        if not data:
            del self.sockets[descriptor]
            self.received.pop(descriptor, None)
            connection.close()
            return
        if before := self.received.pop(descriptor, b""):
            data = before + data
        head, end, body = data.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if not end or (length and len(body) < int(length[1])):
            self.received[descriptor] = data
            return
        answer, delayed = self._answer(head, body)
        if delayed and self.latency:
            self.waiting.append((time.monotonic() + self.latency, descriptor, connection, answer))
        else:
            self._send(connection, answer)

    def _answer(self, head: bytes, body: bytes) -> tuple[bytes, bool]:
        if head.startswith(b"POST /orders"):
            self.counts["orders"] += 1
            self.number += 1
            status = b"201 Created" if head.startswith((b"POST /orders?", b"POST /orders ")) else b"200 OK"
            order = b'{"orderId":"%08x-0000-4000-8000-000000000000",%b' % (self.number, MEMBERS)
            return _response(status, order + (b"," if body[1:2] != b"}" else b"") + body[1:]), True
        if head.startswith(b"POST /oauth2/token"):
            self.counts["tokens"] += 1
            return _response(b"200 OK", TOKEN.encode()), True
        if head.startswith(b"GET /stub"):
            counts = {**self.counts, "waiting": len(self.waiting), "cpu": _cpu_seconds()}
            return _response(b"200 OK", json.dumps(counts).encode()), False
        return _response(b"404 Not Found", b"{}"), True

    @staticmethod
    def _send(connection: socket.socket, answer: bytes) -> None:
        try:
            sent = connection.send(answer)
        except OSError:
            return
        if sent != len(answer):
            raise RuntimeError("the client does not read its answers")


def _response(status: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Stub:
    """A stub in a process of its own, as a context manager."""

    def __init__(self, latency: float) -> None:
        self.latency = latency
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.stub", "--latency", str(latency)], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()

    def __enter__(self) -> Stub:
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:
            self._process.kill()

    def counts(self) -> dict[str, Any]:
        """Return how many orders, tokens and connections it has had, how many wait now, and its own CPU seconds."""
        with urllib.request.urlopen(f"{self.url}/stub", timeout=10) as answer:
            counts: dict[str, Any] = json.load(answer)
            return counts


@dataclass(frozen=True)
class Ceiling:
    """What the stub can do at most."""

    per_second: float
    cpu_seconds: float


def ceiling(body: bytes, *, seconds: float = 1.0, connections: int = 16) -> Ceiling:
    """Return how many orders a second the stub takes without latency, from a client cheaper than any real one."""
    call = b"POST /orders?x=y HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    with Stub(0) as stub, selectors.DefaultSelector() as selector:
        port = int(stub.url.rpartition(":")[2])
        before, answered = stub.counts(), 0
        for _ in range(connections):
            connection = socket.create_connection((HOST, port))
            selector.register(connection, selectors.EVENT_READ, connection)
            connection.sendall(call)
        started = time.perf_counter()
        while time.perf_counter() < started + seconds:
            for key, _event in selector.select(1):
                # An answer is one send of some 1.5 kB: it comes whole on loopback.
                key.data.recv(65536)
                answered += 1
                key.data.sendall(call)
        took = time.perf_counter() - started
        for key in list(selector.get_map().values()):
            key.data.close()
        after = stub.counts()
    return Ceiling(answered / took, (after["cpu"] - before["cpu"]) / (after["orders"] - before["orders"]))


def main() -> None:
    """Run the server."""
    parser = argparse.ArgumentParser(prog="benchmarks.stub", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer (default: none)")
    server = Server(parser.parse_args().latency)
    print(server.url, flush=True)
    server.serve()


if __name__ == "__main__":
    main()
