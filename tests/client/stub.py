from __future__ import annotations

import atexit
import contextlib
import itertools
import json
import shutil
import socket
import ssl
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs

import trustme


def make_certificate() -> Path:
    """Write a certificate for this machine, with its key and its authority, to a file that ends with the process."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    folder = Path(tempfile.mkdtemp(prefix="bronto-orders-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file = folder / "localhost.pem"
    file.write_bytes(issued.private_key_and_cert_chain_pem.bytes() + authority.cert_pem.bytes())
    return file


CERTIFICATE = make_certificate()


@dataclass
class Received:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}


def reply(status: int = 200, body: object = b"", headers: dict[str, str] | None = None, phrase: str = "Words") -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} {phrase}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if status != 204:
        lines.append(f"Content-Length: {len(content)}")
    return "\r\n".join([*lines, "", ""]).encode() + content


# A handler returns the bytes to send, or does the sending itself on the socket and returns None to have it closed.
Handler = Callable[[Received, socket.socket], "bytes | None"]


class Server:
    """A threaded HTTP server on a loopback port that does with its sockets whatever its handler says."""

    def __init__(self, handler: Handler, *, tls: bool = False) -> None:
        self.handler = handler
        self.received: list[Received] = []
        self.stopping = threading.Event()
        self._connections = itertools.count(1)
        self._sockets: set[socket.socket] = set()
        self._tls = None
        if tls:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(CERTIFICATE)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https://localhost' if tls else 'http://127.0.0.1'}:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.stopping.set()
        # Closing alone would leave accept() waiting.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._sockets):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=[connection, next(self._connections)], daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.callback(connection.close)
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
                stack.callback(connection.close)
            self._sockets.add(connection)
            stack.callback(self._sockets.discard, connection)
            for request in self._requests(connection, number):
                self.received.append(request)
                answer = self.handler(request, connection)
                if answer is None:
                    return
                connection.sendall(answer)

    def _requests(self, connection: socket.socket, number: int) -> Iterator[Received]:
        stream = connection.makefile("rb")
        with contextlib.closing(stream):
            while (line := stream.readline()).endswith(b" HTTP/1.1\r\n") or line.endswith(b" HTTP/1.0\r\n"):
                method, target, _ = line.decode("latin-1").split(" ", 2)
                headers = {}
                while (header := stream.readline().decode("latin-1").strip()) != "":
                    name, _, value = header.partition(":")
                    headers[name.lower()] = value.strip()
                body = stream.read(int(headers.get("content-length", 0)))
                yield Received(method, target, headers, body, number)

    def drip(self, connection: socket.socket, start: bytes, *, forever: bytes = b"x", every: float = 0.05) -> None:
        connection.sendall(start)
        while not self.stopping.wait(every):
            connection.sendall(forever)


SECRET = "s3cr3t-of-the-shop"


@dataclass
class FakeBronto:
    """The token endpoint and the order calls, with switches for all that can go wrong with tokens."""

    expires_in: object = 3600
    refuse_refresh: bool = False
    token_status: int = 200
    token_delay: float = 0.0
    orders: Callable[[Received, socket.socket], bytes | None] | None = None
    token_requests: list[Received] = field(default_factory=list)
    good_tokens: dict[str, float] = field(default_factory=dict)
    good_refresh_tokens: set[str] = field(default_factory=set)
    refusals: int = 0
    server: Server = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.server = Server(self.handle)

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def token_url(self) -> str:
        return f"{self.url}/oauth2/token"

    @property
    def order_requests(self) -> list[Received]:
        return [request for request in self.server.received if request.target != "/oauth2/token"]

    @property
    def grants(self) -> list[str]:
        return [request.form["grant_type"] for request in self.token_requests]

    def revoke(self) -> None:
        self.good_tokens.clear()

    def handle(self, request: Received, connection: socket.socket) -> bytes | None:
        if request.target == "/oauth2/token":
            return self.issue(request)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if time.monotonic() > self.good_tokens.get(token, 0):
            self.refusals += 1
            return reply(403, headers={"X-Reason": "Access denied"})
        if self.orders is not None:
            return self.orders(request, connection)
        if request.method == "DELETE":
            return reply(204)
        return reply(201 if request.target.startswith("/orders?") else 200, {"orderId": "o-1"})

    def issue(self, request: Received) -> bytes:
        with self._lock:
            self.token_requests.append(request)
        self.server.stopping.wait(self.token_delay)
        if self.token_status != 200:
            return reply(self.token_status, {"error": "invalid_client"})
        form = request.form
        if form["grant_type"] == "refresh_token":
            with self._lock:
                known = form["refresh_token"] in self.good_refresh_tokens
                self.good_refresh_tokens.discard(form["refresh_token"])
            if self.refuse_refresh or not known:
                return reply(400, {"error": "invalid_grant"})
        access, refresh = str(uuid.uuid4()), str(uuid.uuid4())
        lifetime = self.expires_in if isinstance(self.expires_in, int | float) else 3600
        self.good_tokens[access] = time.monotonic() + lifetime
        self.good_refresh_tokens.add(refresh)
        return reply(200, {"access_token": access, "refresh_token": refresh, "expires_in": self.expires_in})
