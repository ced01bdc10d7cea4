"""The sandbox without a socket: an adapter that ``requests`` mounts in the place of the network."""

from __future__ import annotations

import errno
import io
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from http.client import RemoteDisconnected
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3 import HTTPResponse
from urllib3.exceptions import ProtocolError

from bronto_orders.sandbox.messages import BODY_LIMIT, Answer, Request
from bronto_orders.sandbox.service import Service

HERE = "127.0.0.1"


class SandboxAdapter(BaseAdapter):
    """Leads the calls of a ``requests.Session`` to a sandbox in this process::

        session = requests.Session()
        session.mount("https://bronto.test", SandboxAdapter(Service()))

    Faults strike as they would on a connection: the same exceptions are raised, and a call that its client has given
    up goes on and may take effect later. Of the time-outs the one for reading counts.
    """

    def __init__(self, service: Service) -> None:
        super().__init__()
        self.service = service

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: FBT001, FBT002 - the signature is requests' own
        timeout: Any = None,
        verify: bool | str = True,  # noqa: FBT001, FBT002
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Answer a request; raises what ``HTTPAdapter.send`` would."""
        answer = self._wait_for_answer(request, timeout[1] if isinstance(timeout, tuple) else timeout)
        end = answer.cut.end if answer.cut is not None else None
        if end == "truncate" and not answer.body:
            end = "drop"
        if end == "drop":
            error: Exception = RemoteDisconnected("Remote end closed connection without response")
        elif end == "reset":
            error = ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        else:
            response = HTTPAdapter().build_response(request, _raw_response(request, answer, cut=end == "truncate"))
            if not stream:
                response.content  # noqa: B018 - reading it is what not to stream means
            return response
        raise requests.ConnectionError(ProtocolError("Connection aborted.", error), request=request)

    def close(self) -> None:
        """There is nothing to close."""

    def _wait_for_answer(self, request: requests.PreparedRequest, patience: float | None) -> Answer:
        call = read_request(request)
        if not self.service.faults:
            return self.service.answer(call)
        answers: list[Answer] = []
        thread = Thread(target=lambda: answers.append(self._answer(call)), daemon=True)
        thread.start()
        thread.join(patience)
        if not answers:
            raise requests.ReadTimeout(f"Read timed out. (read timeout={patience})", request=request)
        return answers[0]

    def _answer(self, call: Request) -> Answer:
        answer = self.service.answer(call)
        if answer.cut is not None:
            self.service.faults.sleep(answer.cut.drip_seconds)
        return answer


def read_request(request: requests.PreparedRequest) -> Request:
    """The call in a prepared request."""
    url = urlsplit(request.url or "")
    body = _read_body(request.body)
    headers = {name.lower(): _text(value) for name, value in request.headers.items()}
    return Request(
        method=request.method or "",
        path=url.path or "/",
        query=url.query,
        headers={"host": url.netloc, **headers},
        body=body if len(body) <= BODY_LIMIT else None,
        remote_address=HERE,
        base_url=f"{url.scheme}://{url.netloc}",
    )


def _read_body(body: Any) -> bytes:
    if body is None:
        return b""
    if isinstance(body, (str, bytes)):
        return body.encode("utf-8") if isinstance(body, str) else body
    if hasattr(body, "read"):
        return _read_body(body.read())
    pieces: Iterable[Any] = body
    return b"".join(map(_read_body, pieces))


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _raw_response(request: requests.PreparedRequest, answer: Answer, *, cut: bool) -> HTTPResponse:
    headers = dict(answer.headers)
    if answer.status != HTTPStatus.NO_CONTENT:
        headers["Content-Length"] = str(len(answer.body))
    return HTTPResponse(
        body=io.BytesIO(answer.body[: len(answer.body) // 2] if cut else answer.body),
        headers=headers,
        status=answer.status,
        version=11,
        reason=answer.phrase,
        preload_content=False,
        enforce_content_length=True,
        request_method=request.method,
        request_url=request.url,
    )
