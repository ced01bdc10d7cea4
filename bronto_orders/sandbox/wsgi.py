"""The sandbox as a WSGI application, for its own server and any other.

``gunicorn --workers 1 --threads 16 bronto_orders.sandbox.wsgi`` serves one with its orders in memory; name an SQLite
file in the environment variable ``BRONTO_SANDBOX_DATABASE`` to keep them, or to have several workers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from bronto_orders.sandbox.cut import CUT_KEY
from bronto_orders.sandbox.messages import BODY_LIMIT, Request
from bronto_orders.sandbox.service import Service, shared_service
from bronto_orders.sandbox.store import IN_MEMORY

Environment = dict[str, Any]
StartResponse = Callable[..., Any]


class Application:
    """Serves one sandbox."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def __call__(self, environ: Environment, start_response: StartResponse) -> Iterable[bytes]:
        answer = self.service.answer(read_request(environ))
        if answer.cut is not None:
            environ[CUT_KEY] = answer.cut
        if answer.status != HTTPStatus.NO_CONTENT:
            answer.headers["Content-Length"] = str(len(answer.body))
        start_response(f"{answer.status} {answer.phrase}", list(answer.headers.items()))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]


def read_request(environ: Environment) -> Request:
    """The call in a WSGI environment."""
    headers = {name[5:].lower().replace("_", "-"): value for name, value in environ.items() if name.startswith("HTTP_")}
    headers["content-type"] = environ.get("CONTENT_TYPE") or ""
    return Request(
        method=environ["REQUEST_METHOD"],
        path=raw_path(environ, environ.get("SCRIPT_NAME", ""), _decoded_path(environ)),
        query=environ.get("QUERY_STRING", ""),
        headers=headers,
        body=_read_body(environ),
        remote_address=environ.get("REMOTE_ADDR", ""),
        base_url=f"{environ['wsgi.url_scheme']}://{environ.get('HTTP_HOST', '')}{environ.get('SCRIPT_NAME', '')}",
    )


def raw_path(environ: Mapping[str, Any], mount: str, path: str) -> str:
    """The path as it was sent, below the place where the sandbox is mounted; ``path`` is the same decoded.

    WSGI hands applications a decoded path, in which ``a%2Fb`` cannot be told from ``a/b``. The sandbox's own server
    passes the raw one along in ``REQUEST_URI`` (as uWSGI does; gunicorn calls it ``RAW_URI``). Under a server that
    passes neither, the decoded path has to do, and a slash is taken for part of a shop's id.
    """
    raw: str = environ.get("REQUEST_URI") or environ.get("RAW_URI") or ""
    if raw:
        return "/" + "/".join(raw.partition("?")[0].split("/")[mount.count("/") + 1 :])
    head, found, tail = path.lstrip("/").partition("orders/customerOrderId/")
    return f"/{found}{quote(tail, safe='')}" if found and not head else quote("/" + path.lstrip("/"))


def _decoded_path(environ: Environment) -> str:
    path: str = environ.get("PATH_INFO", "")
    return path.encode("latin-1").decode("utf-8", "replace")


def _read_body(environ: Environment) -> bytes | None:
    """The body, None if it is over the limit. One that is shorter than announced is what came of it."""
    length = environ.get("CONTENT_LENGTH") or "0"
    if "CONTENT_LENGTH" not in environ and environ.get("wsgi.input_terminated"):
        # Other servers pass a chunked body on without a length, and end the stream where it ends.
        chunked: bytes = environ["wsgi.input"].read(BODY_LIMIT + 1)
        return chunked if len(chunked) <= BODY_LIMIT else None
    if not length.isascii() or not length.isdigit() or len(length) > 18 or int(length) > BODY_LIMIT:
        return None
    try:
        body: bytes = environ["wsgi.input"].read(int(length))
    except OSError:
        return b""
    return body


def application(environ: Environment, start_response: StartResponse) -> Iterable[bytes]:
    """A sandbox for this process, made with the first call."""
    service = shared_service(os.environ.get("BRONTO_SANDBOX_DATABASE", IN_MEMORY))
    return Application(service)(environ, start_response)
