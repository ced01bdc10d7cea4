"""How many calls a second the sandbox answers on one core: ``python -m benchmarks.sandbox [--check]``.

The server has a core to itself and this program another, so that the load is not what limits it. Each figure is the
median of five rounds. With ``--check`` the exit code is 1 when the adds stay below the target.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import itertools
import json
import os
import platform
import re
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[1]
TARGET = 500
ROUNDS = 5
CONNECTIONS = 4
ANSWER_SECONDS = 10
SANDBOX = [sys.executable, "-m", "bronto_orders.sandbox", "--port", "0"]
GUNICORN = [sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", "--workers", "1", "--keep-alive", "60"]
GUNICORN += ["--threads", str(CONNECTIONS), "bronto_orders.sandbox.wsgi:application"]
EMPTY = """
import threading
from bronto_orders.sandbox.server import SandboxServer

def application(environ, start_response):
    environ["wsgi.input"].read()
    start_response("204 No Content", [])
    return []

with SandboxServer(application) as server:
    print(server.base_url, flush=True)
    threading.Event().wait()
"""
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
PORT = re.compile(r"http://127\.0\.0\.1:\d+")


def _line_item(number: int, price: float) -> dict[str, object]:
    return {
        "name": "Coffee Mug",
        "description": "A cool coffee mug",
        "category": "Kitchen Stuffs",
        "other": "5oz",
        "imageUrl": f"http://www.example.com/images/{number:07}.jpg",
        "productUrl": f"http://www.example.com/products/{number:07}",
        "sku": f"{number:07}",
        "quantity": 1,
        "totalPrice": price,
        "unitPrice": price,
        "salePrice": price,
    }


# The example order of Bronto's page on adding one, with three line items in the place of one.
ORDER = {
    "customerOrderId": "bench-########",
    "cartId": "7255c31c-39ac-4611-a2b7-974b0ebfa555",
    "emailAddress": "customer-########@email.com",
    "currency": "USD",
    "grandTotal": 12.25,
    "discountAmount": 0,
    "taxAmount": 0.28,
    "subtotal": 11.97,
    "lineItems": [_line_item(3105, 3.99), _line_item(3106, 4.99), _line_item(3107, 2.99)],
    "orderDate": "2015-01-01",
    "status": "PROCESSED",
    "originIp": "127.0.0.1",
    "originUserAgent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_9_4) AppleWebKit/537.36 (KHTML, like Gecko)",
    "trackingCookieName": "tid_blkycggbjquivddbiddxylaufhfdbkj",
    "trackingCookieValue": "3.Ag.AQ.AQ.AQ.AQ.AQ.t..l.AQ.n.VO4AkA.VO4AkA.G89Jow",
    "shippingAmount": 0,
    "shippingDate": "2015-01-02",
    "shippingDetails": "Free next day shipping",
    "shippingTrackingUrl": "http://www.shipping.com/1234",
}


class Connection:
    """One client, which sends a call once the answer to the last has come."""

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        self.socket = socket.create_connection((parts.hostname, parts.port), ANSWER_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""

    def receive(self, status: int) -> bool:
        """Read what has come; whether that completes an answer, which must have this status."""
        self._received += self.socket.recv(65536)
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 %d " % status):
            raise RuntimeError(f"expected status {status}, got {self._received[:500]!r}")
        length = LENGTH.search(head)
        if not end or (length and len(body) < int(length[1])):
            return False
        self._received = b""
        return True


class Server:
    """A child process that serves, on a core of its own."""

    def __init__(self, name: str, command: list[str], cores: list[int], directory: str) -> None:
        self.name = name
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])}
        pin(cores[0])
        self._child = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=directory
        )
        pin(cores[-1])
        assert self._child.stdout is not None
        lines = []
        for line in self._child.stdout:
            lines.append(line)
            if found := PORT.search(line):
                self.base_url = found[0]
                return
        raise RuntimeError(f"{name} did not start: {''.join(lines)}")

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *args: object) -> None:
        with self._child:
            self._child.terminate()

    def token(self) -> str:
        form = b"grant_type=client_credentials&client_id=sandbox&client_secret=sandbox-secret"
        with urllib.request.urlopen(f"{self.base_url}/oauth2/token", form, timeout=ANSWER_SECONDS) as answer:
            return str(json.load(answer)["access_token"])

    def measure(self, what: str, calls: Iterator[bytes], status: int, seconds: float) -> float:
        """Print and return the calls a second, the median of some rounds."""
        with contextlib.ExitStack() as stack:
            connections = [Connection(self.base_url) for _ in range(CONNECTIONS)]
            for connection in connections:
                stack.callback(connection.socket.close)
            _round(connections, calls, status, seconds / 5)
            rates = [_round(connections, calls, status, seconds) for _ in range(ROUNDS)]
        median = statistics.median(rates)
        print(f"{self.name + ', ' + what:<48}{median:>8.0f}/s   ({min(rates):.0f} to {max(rates):.0f})", flush=True)
        return median


def _round(connections: list[Connection], calls: Iterator[bytes], status: int, seconds: float) -> float:
    answered = 0
    with selectors.DefaultSelector() as selector:
        started = time.perf_counter()
        for connection in connections:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.socket.sendall(next(calls))
        while selector.get_map():
            ready = selector.select(ANSWER_SECONDS)
            if not ready:
                raise RuntimeError("no answer came")
            for key, _ in ready:
                if not key.data.receive(status):
                    continue
                answered += 1
                if time.perf_counter() < started + seconds:
                    key.data.socket.sendall(next(calls))
                else:
                    selector.unregister(key.data.socket)
        return answered / (time.perf_counter() - started)


def _calls(line: str, token: str, body: str | None = None, last: int | None = None) -> Iterator[bytes]:
    """The bytes of one call after another, with a number for each ``########``, the same for all in one call."""
    head = f"{line} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: benchmark\r\nAccept: */*\r\n"
    head += f"Authorization: Bearer {token}\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    template = f"{head}\r\n{body or ''}".encode("ascii")
    for number in itertools.count() if last is None else itertools.cycle(range(last)):
        yield template.replace(b"########", b"%08d" % number)


def pin(core: int) -> None:
    """Keep this process, and the children it starts from now on, on a core, where the system can do that."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0, 1]


def run(seconds: float) -> float:
    """Measure all there is to measure; return the adds a second of the sandbox as it is started by default."""
    cores = _cores()
    print(f"Python {platform.python_version()}, {len(cores)} cores, {CONNECTIONS} connections, {ROUNDS} rounds")
    if len(cores) < 2:
        print("There is one core only, which the load takes part of: the figures are too low.")
    body = json.dumps(ORDER)
    add = "POST /orders?createContact=true"
    by_id = "/orders/customerOrderId/bench-########"
    with tempfile.TemporaryDirectory() as directory:

        def serve(name: str, command: list[str]) -> Server:
            return Server(name, command, cores, directory)

        with serve("empty application", [sys.executable, "-c", EMPTY]) as server:
            ceiling = server.measure("the same calls", _calls(add, "x", body), 204, seconds)
        with serve("sandbox", SANDBOX) as server:
            token = server.token()
            adds = server.measure("adds", _calls(add, token, body), 201, seconds)
            print(f"    target {TARGET}/s: {'reached' if adds >= TARGET else 'MISSED'}; {adds / ceiling:.1%} of empty")
            server.measure("gets", _calls(f"GET {by_id}", token, last=100), 200, seconds)
            server.measure("updates", _calls(f"POST {by_id}", token, body, last=100), 200, seconds)
        with serve("sandbox in a file", [*SANDBOX, "--database", str(Path(directory, "kept.sqlite3"))]) as server:
            server.measure("adds", _calls(add, server.token(), body), 201, seconds)
        if importlib.util.find_spec("gunicorn") is None:
            print("gunicorn: not installed")
        else:
            with serve("gunicorn", GUNICORN) as server:
                server.measure("adds", _calls(add, server.token(), body), 201, seconds)
    return adds


def main() -> int:
    """Run the program; return its exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.sandbox", description="Measure the sandbox on one core.")
    parser.add_argument("--check", action="store_true", help=f"fail below {TARGET} adds a second")
    parser.add_argument("--seconds", type=float, default=1, help="the length of a round (default: %(default)s)")
    options = parser.parse_args()
    adds = run(options.seconds)
    return 1 if options.check and adds < TARGET else 0


if __name__ == "__main__":
    sys.exit(main())
