"""A threaded HTTP/1.1 server for one WSGI application, which keeps connections alive and spoils answers on demand::

    with SandboxServer(application) as server:
        requests.get(server.base_url + "/_sandbox/orders")

Requests are read strictly by RFC 9112, so that none can be taken in two ways. A body, chunked or not, is read before
the application is called; an answer leaves in one piece when the application is done with it.
"""

from __future__ import annotations

import contextlib
import logging
import re
import selectors
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http import HTTPStatus
from io import BytesIO
from typing import Any, Self
from urllib.parse import unquote_to_bytes
from wsgiref.types import WSGIApplication

from bronto_orders.sandbox.cut import CUT_KEY, Cut
from bronto_orders.sandbox.wire import JSON_TYPE, REASON_HEADER, encode, error_body, one_line

logger = logging.getLogger(__name__)

LINE_LIMIT = 65536
CHUNK_LINE_LIMIT = 1024
FIELD_LIMIT = 100
#: The longest body that is handed on, one byte more than the sandbox takes. Of a longer one the application gets the
#: beginning at most, with a CONTENT_LENGTH over this limit, and is to refuse it.
BODY_LIMIT = 2 * 1024 * 1024 + 1
#: How much of such a body is read for nothing, so that a client that sends first and reads then gets its answer.
DISCARD_LIMIT = 32 * 1024 * 1024
PIECE = 65536
PAUSE = 0.02
LINGER_SECONDS = 2
STOP_SECONDS = 5

_TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105
_REQUEST_LINE = re.compile(rf"({_TOKEN}) ([^\x00-\x20\x7f]+) HTTP/([0-9])\.([0-9])")
_FIELD = re.compile(rf"({_TOKEN}):([^\x00-\x08\x0a-\x1f\x7f]*)")
_ORIGIN = re.compile("https?://[^/?]+", re.IGNORECASE)
_LENGTH = re.compile("[0-9]{1,18}")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[^\r\n]*)?\r\n")

_WHOLE = Cut()
_Headers = list[tuple[str, str]]


class SandboxServer:
    """Serves an application; listens from the moment it is made, answers from ``start`` to ``stop``.

    ``on_stop`` is called to wake the calls that sleep in the application.
    """

    def __init__(
        self,
        application: WSGIApplication,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        on_stop: Callable[[], object] | None = None,
    ) -> None:
        self.application = application
        self.stopping = threading.Event()
        self._on_stop = on_stop
        self._accepter: threading.Thread | None = None
        self._connections: list[_Connection] = []
        self._listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind((host, port))
            self._listener.listen(128)
            self._listener.settimeout(0)
            self._woken, self._waker = socket.socketpair()
        except BaseException:
            self._listener.close()
            raise
        self.server_address: tuple[str, int] = self._listener.getsockname()[:2]

    @property
    def base_url(self) -> str:
        """The address to give to a client, without a slash at its end."""
        host, port = self.server_address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def start(self) -> None:
        """Answer calls, in threads of their own."""
        self._accepter = threading.Thread(target=self._accept, name="sandbox", daemon=True)
        self._accepter.start()

    def stop(self) -> None:
        """End the open connections and all threads, and wait for them."""
        self.stopping.set()
        self._waker.close()
        if self._accepter is not None:
            self._accepter.join()
            self._accepter = None
            if self._on_stop is not None:
                self._on_stop()
        self._listener.close()
        self._woken.close()
        for connection in self._connections:
            connection.shut()
        deadline = time.monotonic() + STOP_SECONDS
        for connection in self._connections:
            connection.join(max(0, deadline - time.monotonic()))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.stop()

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while True:
                selector.select()
                if self.stopping.is_set():
                    return
                try:
                    client, address = self._listener.accept()
                except OSError:
                    # The client has gone again, or too many files are open, which may pass.
                    self.stopping.wait(PAUSE)
                    continue
                connection = _Connection(self, client, address[0])
                try:
                    connection.start()
                except RuntimeError:
                    # There can be no more threads, which may pass as well.
                    connection.close()
                    self.stopping.wait(PAUSE)
                    continue
                self._connections = [other for other in self._connections if other.is_alive()] + [connection]


class _Connection(threading.Thread):
    """Serves the calls of one connection, one after another."""

    def __init__(self, server: SandboxServer, client: socket.socket, address: str) -> None:
        super().__init__(name="sandbox connection", daemon=True)
        self._server = server
        self._closing = threading.Lock()
        self._environ = {
            "SCRIPT_NAME": "",
            "REMOTE_ADDR": address,
            "SERVER_NAME": server.server_address[0],
            "SERVER_PORT": str(server.server_address[1]),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.errors": sys.stderr,
            "wsgi.input_terminated": True,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        self._socket = client
        # Neither the listener's mode nor a default that the host program has set is meant for this one.
        client.settimeout(None)
        self._file = client.makefile("rb")

    def run(self) -> None:
        try:
            # An error of the socket means that the client has gone or that the server stops.
            with contextlib.suppress(OSError):
                # Else the pieces of a slow answer would wait for one another's acknowledgement.
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while self._file.peek(1) and self._serve_call():
                    pass
                self._linger()
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the socket."""
        self._file.close()
        with self._closing:
            self._socket.close()

    def shut(self) -> None:
        """End the connection from another thread."""
        # The lock keeps the descriptor from being closed, and given to another file, in between.
        with self._closing, contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _linger(self) -> None:
        # Closing while the client still sends would reset the connection and could cost it the answer.
        self._socket.shutdown(socket.SHUT_WR)
        self._socket.settimeout(LINGER_SECONDS)
        deadline = time.monotonic() + LINGER_SECONDS
        while self._socket.recv(PIECE) and time.monotonic() < deadline:
            pass

    def _serve_call(self) -> bool:
        """Answer the next call; return whether another may follow."""
        try:
            environ = self._read_head()
            unread = self._read_body(environ)
        except _Unsound as trouble:
            self._socket.sendall(b"".join(_render(*_error(*trouble.args))))
            return False
        method = environ["REQUEST_METHOD"]
        options = {option.strip() for option in environ.get("HTTP_CONNECTION", "").lower().split(",")}
        stays = "close" not in options and (environ["SERVER_PROTOCOL"] != "HTTP/1.0" or "keep-alive" in options)
        head, body = self._call(environ, method, stays=stays)
        return self._send(head, body, environ.get(CUT_KEY) or _WHOLE) and stays and _discard(unread)

    def _read_head(self) -> dict[str, Any]:
        """The environment, but for the body."""
        # An empty line may come first: there have been clients that end their bodies with one.
        line = self._line(414) or self._line(414)
        if (match := _REQUEST_LINE.fullmatch(line)) is None:
            raise _Unsound(400, "malformed request line")
        method, target, major, minor = match.groups()
        if major != "1":
            raise _Unsound(505, "HTTP/1.1 is required")
        if origin := _ORIGIN.match(target):
            target = target[origin.end() :]
            target = target if target.startswith("/") else f"/{target}"
        if not target.startswith("/"):
            raise _Unsound(400, "malformed request target")
        path, _, query = target.partition("?")
        environ: dict[str, Any] = {
            **self._environ,
            "REQUEST_METHOD": method,
            "REQUEST_URI": target,
            "PATH_INFO": unquote_to_bytes(path.encode("latin-1")).decode("latin-1") if "%" in path else path,
            "QUERY_STRING": query,
            "SERVER_PROTOCOL": "HTTP/1.0" if minor == "0" else "HTTP/1.1",
        }
        for name, value in self._fields():
            environ[name] = f"{environ[name]},{value}" if name in environ else value
        if minor != "0" and ("HTTP_HOST" not in environ or "," in environ["HTTP_HOST"]):
            raise _Unsound(400, "one Host header is required")
        environ.setdefault("CONTENT_TYPE", "")
        return environ

    def _fields(self) -> Iterator[tuple[str, str]]:
        for _ in range(FIELD_LIMIT + 1):
            line = self._line(431)
            if not line:
                return
            if (match := _FIELD.fullmatch(line)) is None:
                raise _Unsound(400, "malformed header")
            name = match[1].upper().replace("-", "_")
            # A name with an underscore of its own would pass for the one that has a hyphen there.
            if "_" not in match[1]:
                yield name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}", match[2].strip(" \t")
        raise _Unsound(431, "too many headers")

    def _line(self, too_long: int) -> str:
        line = self._file.readline(LINE_LIMIT + 1)
        if len(line) > LINE_LIMIT:
            raise _Unsound(too_long, f"a line is longer than {LINE_LIMIT} bytes")
        if not line.endswith(b"\n"):
            raise _Unsound(400, "the request ends early")
        return line[: -2 if line.endswith(b"\r\n") else -1].decode("latin-1")

    def _read_body(self, environ: dict[str, Any]) -> Iterator[bytes]:
        """Put the body into the environment; return what is left of one that is too long."""
        coding = environ.pop("HTTP_TRANSFER_ENCODING", None)
        given = environ.get("CONTENT_LENGTH", "0")
        if _LENGTH.fullmatch(given) is None:
            raise _Unsound(400, "the Content-Length is not a number")
        if coding is None:
            pieces = self._pieces(int(given))
        elif "CONTENT_LENGTH" in environ or environ["SERVER_PROTOCOL"] == "HTTP/1.0":
            raise _Unsound(400, "Transfer-Encoding beside a Content-Length or in HTTP/1.0")
        elif coding.lower() != "chunked":
            raise _Unsound(501, "no Transfer-Encoding but chunked is understood")
        else:
            pieces = self._chunks()
        if environ.get("HTTP_EXPECT", "").lower() == "100-continue" and environ["SERVER_PROTOCOL"] != "HTTP/1.0":
            self._socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = bytearray()
        if int(given) <= BODY_LIMIT:
            while len(body) <= BODY_LIMIT and (piece := next(pieces, b"")):
                body += piece
        environ["CONTENT_LENGTH"] = given if coding is None else str(len(body))
        environ["wsgi.input"] = BytesIO(body)
        return pieces

    def _pieces(self, length: int) -> Iterator[bytes]:
        while length:
            piece = self._file.read(min(length, PIECE))
            if not piece:
                raise _Unsound(400, "the body ends early")
            length -= len(piece)
            yield piece

    def _chunks(self) -> Iterator[bytes]:
        while match := _CHUNK_LINE.fullmatch(self._file.readline(CHUNK_LINE_LIMIT)):
            if size := int(match[1], 16):
                yield from self._pieces(size)
                if self._file.read(2) != b"\r\n":
                    break
            else:
                list(self._fields())  # the trailers mean nothing here
                return
        raise _Unsound(400, "malformed chunk")

    def _call(self, environ: dict[str, Any], method: str, *, stays: bool) -> tuple[bytes, bytes]:
        """Have the application answer; return head and body."""
        started: list[tuple[str, _Headers]] = []
        written: list[bytes] = []

        def start_response(status: str, headers: _Headers, exc_info: object = None, /) -> Callable[[bytes], object]:
            if started and exc_info is None:
                raise RuntimeError("start_response was called twice")
            started[:] = [(status, headers)]
            return written.append

        try:
            result = self._server.application(environ, start_response)
            try:
                written.extend(result)
            finally:
                if hasattr(result, "close"):
                    result.close()
            return _render(*started[0], b"".join(written), method, stays=stays)
        except Exception:
            logger.exception("the application failed")
            return _render(*_error(500, "internal error of the sandbox"), method, stays=stays)

    def _send(self, head: bytes, body: bytes, cut: Cut) -> bool:
        """Send an answer, cut as is wanted; return whether the connection is still good."""
        if cut.end == "reset":
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raise ConnectionAbortedError  # straight to the close, which resets
        if cut.end == "drop" or (cut.end == "truncate" and not body):
            return False
        if cut.end == "truncate":
            body = body[: len(body) // 2]
        count = min(len(body), round(cut.drip_seconds / PAUSE))
        self._socket.sendall(head if count else head + body)
        for number in range(count):
            if self._server.stopping.wait(cut.drip_seconds / count):
                return False
            self._socket.sendall(body[len(body) * number // count : len(body) * (number + 1) // count])
        return cut.end is None


class _Unsound(Exception):
    """A request that cannot be read for sure: the status and the reason to answer with before the connection ends."""


def _discard(pieces: Iterator[bytes]) -> bool:
    """Read what is left of a body; return whether its end was reached."""
    left = DISCARD_LIMIT
    with contextlib.suppress(_Unsound):
        while left > 0 and (piece := next(pieces, b"")):
            left -= len(piece)
        return left > 0
    return False


def _error(status: int, reason: str) -> tuple[str, _Headers, bytes]:
    headers = [("Content-Type", JSON_TYPE), (REASON_HEADER, one_line(reason))]
    return f"{status} {HTTPStatus(status).phrase}", headers, encode(error_body(status, reason)).encode("ascii")


def _render(
    status: str, headers: _Headers, body: bytes, method: str = "", *, stays: bool = False
) -> tuple[bytes, bytes]:
    """The head and the body as they are sent."""
    given = {name.lower(): value for name, value in headers}
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers if name.lower() != "content-length")]
    if "date" not in given:
        lines.append(f"Date: {formatdate(usegmt=True)}")
    length = given.get("content-length", len(body)) if method == "HEAD" else len(body)
    if status.startswith(("204", "304")):
        body = b""
    else:
        lines.append(f"Content-Length: {length}")
    lines.append(f"Connection: {'keep-alive' if stays else 'close'}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1"), b"" if method == "HEAD" else body
