"""A threaded HTTP/1.1 server for the sandbox, which keeps connections alive and can cut them on demand.

In a process whose Django settings have the sandbox installed it may run in a thread::

    with SandboxServer() as server:
        requests.get(server.base_url + "/_sandbox/orders")
"""

from __future__ import annotations

import contextlib
import logging
import socket
import socketserver
import threading
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any
from wsgiref import simple_server
from wsgiref.headers import Headers

from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.core.servers.basehttp import ServerHandler, ThreadedWSGIServer, WSGIRequestHandler

from bronto_orders.sandbox.cut import CUT_KEY, Cut

logger = logging.getLogger(__name__)

LINE_LIMIT = 65536
DISCARD_LIMIT = 32 * 1024 * 1024
STOP_SECONDS = 5


class SandboxRequest(WSGIRequest):
    """A request that knows its URLs, whatever the project's ROOT_URLCONF is."""

    urlconf = "bronto_orders.sandbox.urls"


class SandboxApplication(WSGIHandler):
    """The sandbox as a WSGI application."""

    request_class = SandboxRequest


class AnswerHandler(ServerHandler):
    """Writes one answer, whole or cut as its call was told to be."""

    request_handler: ConnectionHandler
    environ: dict[str, Any] | None
    headers: Headers
    result: Iterable[bytes] | None
    status: str | None

    def cleanup_headers(self) -> None:
        super().cleanup_headers()
        if (self.status or "").startswith("204"):
            del self.headers["Content-Length"]

    def finish_response(self) -> None:
        cut = (self.environ or {}).get(CUT_KEY)
        try:
            self._send(b"".join(self.result or ()), cut)
        finally:
            self.close()

    def close(self) -> None:
        # What is left of a body is read in pieces, so that a client still sending gets to see the answer.
        left = DISCARD_LIMIT
        while left > 0 and (piece := self.get_stdin().read(min(left, LINE_LIMIT))):
            left -= len(piece)
        if left <= 0:
            self.request_handler.close_connection = True
        simple_server.ServerHandler.close(self)

    def _send(self, body: bytes, cut: Cut | None) -> None:
        if cut is not None:
            self.request_handler.close_connection = True
        if cut == "drop" or (cut == "truncate" and not body):
            return
        # Without a length the connection would have to be closed to mark the end.
        self.headers["Content-Length"] = str(len(body))
        self.send_headers()
        if self.request_handler.command != "HEAD":
            self._write(body if cut is None else body[: len(body) // 2])
        self._flush()


class ConnectionHandler(WSGIRequestHandler):
    """Serves the requests of one connection, one after another."""

    # The head and the body of an answer leave together: sent apart, Nagle's algorithm holds back the body.
    wbufsize = LINE_LIMIT
    disable_nagle_algorithm = True

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(LINE_LIMIT + 1)
        if len(self.raw_requestline) > LINE_LIMIT:
            self.requestline = self.request_version = self.command = ""
            self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)
        elif self.parse_request() and self._can_tell_length():
            handler = AnswerHandler(self.rfile, self.wfile, self.get_stderr(), self.get_environ())
            handler.request_handler = self
            handler.run(self.server.get_app())  # type: ignore[attr-defined]

    def get_environ(self) -> dict[str, Any]:
        if self.path.startswith(("http://", "https://")):
            self.path = "/" + self.path.split("/", 3)[3] if self.path.count("/") > 2 else "/"
        return {**super().get_environ(), "REQUEST_URI": self.path}

    def handle_expect_100(self) -> bool:
        going_on = super().handle_expect_100()
        self.wfile.flush()
        return going_on

    def finish(self) -> None:
        # Closing writes out what is left, which fails, and skips the rest, when the client has gone.
        for stream in (self.wfile, self.rfile):
            with contextlib.suppress(OSError):
                stream.close()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        from bronto_orders.sandbox.wire import REASON_HEADER, encode, error_body, one_line

        reason = message or HTTPStatus(code).phrase
        body = encode(error_body(int(code), reason)).encode("ascii")
        self.close_connection = True
        # A request line that cannot be read counts as HTTP/0.9, whose answers have no head.
        self.request_version = self.protocol_version
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.send_header(REASON_HEADER, one_line(reason))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        logger.debug(format, *args)

    def _can_tell_length(self) -> bool:
        """Refuse a body whose end is not known, before it is taken for the next request."""
        if "Transfer-Encoding" in self.headers:
            self.send_error(HTTPStatus.LENGTH_REQUIRED, "send the body with a Content-Length")
            return False
        lengths = self.headers.get_all("Content-Length", [])
        if len(lengths) > 1 or not all(length.isascii() and length.isdigit() for length in lengths):
            self.send_error(HTTPStatus.BAD_REQUEST, "the Content-Length is not a number")
            return False
        return True


class SandboxServer(ThreadedWSGIServer):
    """The sandbox, listening from the moment it is made and answering from ``start`` to ``stop``."""

    request_queue_size = 128

    def __init__(self, host: str = "127.0.0.1", port: int = 0, **kwargs: Any) -> None:
        self._connections: set[socket.socket] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        super().__init__((host, port), ConnectionHandler, ipv6=":" in host, **kwargs)

    @property
    def base_url(self) -> str:
        """The address to give to a client, without a slash at its end."""
        host = str(self.server_address[0])
        return f"http://[{host}]:{self.server_port}" if ":" in host else f"http://{host}:{self.server_port}"

    def server_bind(self) -> None:
        # Not HTTPServer's: that one looks the host's name up, which can take seconds.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def start(self) -> None:
        """Answer calls in a thread of its own."""
        self.set_app(SandboxApplication())
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), name="sandbox", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, the sleeping faults and the open connections, and wait for them."""
        if self._thread is not None:
            from bronto_orders.sandbox.faults import FAULTS

            self.shutdown()
            self._thread.join()
            self._thread = None
            FAULTS.wake()
        self.server_close()
        with self._changed:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._changed.wait_for(lambda: not self._connections, timeout=STOP_SECONDS)

    def __enter__(self) -> SandboxServer:
        self.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.stop()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        with self._changed:
            self._connections.add(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._changed:
                self._connections.discard(request)
                self._changed.notify_all()
