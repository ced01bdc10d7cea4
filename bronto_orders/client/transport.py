"""Sending one HTTP request and reading its answer: bounded in time and size, without hidden repeats.

What requests does not do by itself and this module adds: a deadline over the whole call, knowledge of whether the
request has left, a cap on the answer's size, sessions that do not survive a fork, and one family of errors.
"""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from requests.hooks import dispatch_hook
from requests.structures import CaseInsensitiveDict
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError
from urllib3.util.connection import allowed_gai_family, create_connection

from bronto_orders.client.deadline import Call, Deadline, TooLateError, running_call
from bronto_orders.client.failures import LOWER_ERRORS, explain
from bronto_orders.exceptions import BrontoError, DeadlineError, UnreadableAnswerError
from bronto_orders.per_process import PerProcess

#: Default cap on the body of an answer, in bytes after decoding.
MAX_ANSWER_BYTES: Final = 10 * 1024 * 1024
# A refusal's status and header say all that matters; its body is read for the reason alone.
_REFUSAL_BYTES: Final = 64 * 1024
# A connection that has been idle for longer is closed instead of used: the service may be closing it at this moment,
# and a request that meets that has an unknown fate.
_IDLE_SECONDS: Final = 20.0

Auth = Callable[[requests.PreparedRequest], requests.PreparedRequest]


@dataclass(slots=True)
class Answer:
    """A complete answer."""

    status: int
    #: The words beside the status code.
    phrase: str
    headers: CaseInsensitiveDict[str] = field(repr=False)
    #: The body as far as it was read: all of it when the status is 2xx, else its first 64 KiB at most.
    body: bytes = field(repr=False)


def build_request(
    method: str, url: str, headers: Mapping[str, str], body: bytes | str | None = None
) -> requests.PreparedRequest:
    """Return a request for exactly this URL.

    Session.prepare_request would undo percent-encoding where it sees no need for it, and ``..`` is an order number
    like any other.
    """
    request = requests.PreparedRequest()
    request.method = method
    request.url = url
    request.headers = CaseInsensitiveDict(headers)
    if body is not None:
        request.body = body
        request.headers["Content-Length"] = str(len(body if isinstance(body, bytes) else body.encode()))
    return request


class Transport:
    """Sends requests by a ``requests.Session`` of its own; safe to share between threads and over a fork.

    ``connect_timeout`` and ``read_timeout`` bound each wait, ``total_timeout`` the whole of a call, in seconds.
    ``pool_size`` is the greatest number of connections to one host; further calls wait for a free one.
    Proxies, netrc and certificate bundles are never taken from the environment.
    """

    def __init__(
        self,
        *,
        connect_timeout: float = 3.0,
        read_timeout: float = 10.0,
        total_timeout: float = 15.0,
        proxies: Mapping[str, str] | None = None,
        pool_size: int = 16,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        verify: bool | str = True,
    ) -> None:
        timeouts = {"connect_timeout": connect_timeout, "read_timeout": read_timeout, "total_timeout": total_timeout}
        for name, seconds in timeouts.items():
            if not 0 < seconds < math.inf:
                raise ValueError(f"{name} must be a positive number of seconds")
        if pool_size < 1 or max_answer_bytes < 1:
            raise ValueError("pool_size and max_answer_bytes must be at least 1")
        self.total_timeout = total_timeout
        self._timeouts = (connect_timeout, read_timeout)
        self._proxies = dict(proxies or {})
        self._pool_size = pool_size
        self._max_answer_bytes = max_answer_bytes
        self._verify = verify
        self._sessions = PerProcess(self._make_session)

    def send(
        self, request: requests.PreparedRequest, *, deadline: Deadline | None = None, auth: Auth | None = None
    ) -> Answer:
        """Send the request once and return the answer, whatever its status.

        Raises NotSentError if no byte of the request left, DeadlineError when the deadline passed after that,
        UnreadableAnswerError for a 2xx answer that is cut off, undecodable or too big, FateUnknownError otherwise;
        and what ``auth`` raises.
        """
        with Call(deadline or Deadline(self.total_timeout)) as call:
            try:
                return self._exchange(request if auth is None else auth(request), call)
            except BrontoError as error:
                failure = error
            except LOWER_ERRORS as error:
                failure = explain(error, call)
        # Raised out here and with a traceback that begins here, so that neither leads to frames that hold a token.
        try:
            raise failure.with_traceback(None)
        finally:
            del failure

    def close(self) -> None:
        """Close this process's connections. A later call opens new ones."""
        session = self._sessions.pop()
        if session is not None:
            session.close()

    def _exchange(self, request: requests.PreparedRequest, call: Call) -> Answer:
        options: dict[str, Any] = {
            "stream": True,
            "timeout": self._timeouts,
            "verify": self._verify,
            "cert": None,
            "proxies": self._proxies,
        }
        # As Session.send does it, without redirects, which are never followed, and cookies, which are never sent.
        response: requests.Response = self._sessions.get().get_adapter(str(request.url)).send(request, **options)
        response = dispatch_hook("response", request.hooks, response, **options)
        try:
            call.status = response.status_code
            body = self._read(response, call)
            return Answer(response.status_code, response.reason or "", response.headers, body)
        finally:
            response.close()

    def _read(self, response: requests.Response, call: Call) -> bytes:
        if not 200 <= response.status_code < 300:
            return read_refusal(response)
        body: bytes = response.raw.read(self._max_answer_bytes + 1, decode_content=True)
        if call.expired:
            # A body of no stated length ends with the connection, also when it was the watchdog that ended it.
            raise DeadlineError
        if len(body) > self._max_answer_bytes:
            raise UnreadableAnswerError(
                f"The answer has more than {self._max_answer_bytes} bytes", status=response.status_code
            )
        return body

    def _make_session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False
        adapter = _Adapter(max_retries=0, pool_maxsize=self._pool_size, pool_block=True)
        for scheme in ("http://", "https://"):
            session.mount(scheme, adapter)
        return session


def read_refusal(response: requests.Response) -> bytes:
    """Return the beginning of the body of an answer that is not 2xx, empty when it cannot be read."""
    try:
        body: bytes = response.raw.read(_REFUSAL_BYTES, decode_content=True)
    except LOWER_ERRORS:
        return b""
    return body


def _current_call() -> Call:
    call = running_call()
    if call is None:
        raise RuntimeError("connections of this package serve calls of its transport only")
    return call


class _Connection(HTTPConnection):
    """A connection that tells the current call which socket it uses and when a request leaves on it."""

    idle_since = 0.0
    _parts: list[bytes] | None = None

    def connect(self) -> None:
        super().connect()
        _current_call().guard(self.sock)

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Collect header and body and send them as one: a second system call would cost a tenth of the whole."""
        self._parts = []
        try:
            super().request(*args, **kwargs)
            request = b"".join(self._parts)
        finally:
            self._parts = None
        if self.sock is None:
            self.connect()
        _current_call().leave()
        self.send(request)

    def send(self, data: Any) -> None:
        if self._parts is None:
            super().send(data)
        else:
            self._parts.append(data)

    def _tunnel(self) -> None:
        super()._tunnel()
        if _current_call().expired:
            # To http.client, a connection that ends within the proxy's header only ends the header.
            raise TooLateError

    def _new_conn(self) -> socket.socket:
        """Connect to the first of the host's addresses that answers; all of them share the deadline."""
        call = _current_call()
        failure: OSError = OSError("the host has no address")
        try:
            found = socket.getaddrinfo(self._dns_host, self.port, allowed_gai_family(), socket.SOCK_STREAM)
            for host in dict.fromkeys(str(address[0]) for *_, address in found):
                left = call.deadline.left()
                if left <= 0:
                    raise TooLateError
                try:
                    return self._connect_to(host, left, call)
                except OSError as error:
                    failure = error
        except OSError as error:
            failure = error
        raise NewConnectionError(self, "no connection") from failure

    def _connect_to(self, host: str, left: float, call: Call) -> socket.socket:
        timeout = left if self.timeout is None else min(self.timeout, left)
        sock = create_connection((host, self.port), timeout, self.source_address, self.socket_options)
        call.guard(sock)
        return sock


class _TLSConnection(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    """A pool that waits for a free connection no longer than the call has time."""

    ConnectionCls = _Connection

    def _get_conn(self, timeout: float | None = None) -> Any:
        call = _current_call()
        connection: Any = super()._get_conn(max(call.deadline.left(), 0))
        call.sent = False
        if connection.sock is not None:
            if time.monotonic() - connection.idle_since > _IDLE_SECONDS:
                connection.close()
            else:
                call.guard(connection.sock)
        return connection

    def _put_conn(self, conn: Any) -> None:
        if conn is not None:
            # From here on it may be another call's.
            _current_call().guard(None)
            conn.idle_since = time.monotonic()
        super()._put_conn(conn)


class _TLSPool(_Pool, HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


_POOLS: Final[dict[str, Any]] = {"http": _Pool, "https": _TLSPool}


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: FBT001, FBT002 - the signature is requests' own
        timeout: Any = None,
        verify: Any = True,  # noqa: FBT002
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        call = _current_call()
        call.sent = None
        left = call.deadline.left()
        if left <= 0:
            raise requests.exceptions.ConnectTimeout
        connect, read = timeout
        return super().send(request, stream, (min(connect, left), min(read, left)), verify, cert, proxies)
