"""The one place where the failures of requests, urllib3, http.client and the operating system get their meaning.

What decides is whether a byte of the request may have left: the connection knows that (``Call.sent``), and if none
has, the failure is a NotSentError whatever its class. The tables serve the rest. They name every class of the two
libraries, so that a test can tell when a new version brings one that nobody has thought about.

The error raised instead carries no cause. Those of requests hold the request, and with it the access token, for
whoever prints, pickles or sends them on. Its text names the cause's type and, of a system error, the system's words.
"""

from __future__ import annotations

import http.client
import os
import re
import socket
import ssl
from collections.abc import Iterator
from typing import Final

import requests
import urllib3

from bronto_orders.client.deadline import Call
from bronto_orders.exceptions import (
    DeadlineError,
    FateUnknownError,
    NotSentError,
    TransportError,
    UnreadableAnswerError,
)

#: What a request can fail with below this package.
LOWER_ERRORS: Final = (
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,
)

#: Classes of ``requests.exceptions`` by name.
REQUESTS_ERRORS: Final[dict[str, type[TransportError]]] = {
    "RequestException": FateUnknownError,
    "ChunkedEncodingError": UnreadableAnswerError,
    "ConnectTimeout": NotSentError,
    "ConnectionError": FateUnknownError,
    "ContentDecodingError": UnreadableAnswerError,
    "HTTPError": FateUnknownError,
    "InvalidHeader": NotSentError,
    "InvalidJSONError": NotSentError,
    "InvalidProxyURL": NotSentError,
    "InvalidSchema": NotSentError,
    "InvalidURL": NotSentError,
    "JSONDecodeError": UnreadableAnswerError,
    "MissingSchema": NotSentError,
    "ProxyError": NotSentError,
    "ReadTimeout": FateUnknownError,
    "RetryError": FateUnknownError,
    "SSLError": FateUnknownError,
    "StreamConsumedError": UnreadableAnswerError,
    "Timeout": FateUnknownError,
    "TooManyRedirects": FateUnknownError,
    "URLRequired": NotSentError,
    "UnrewindableBodyError": FateUnknownError,
}

#: Classes of ``urllib3.exceptions`` by name.
URLLIB3_ERRORS: Final[dict[str, type[TransportError]]] = {
    "HTTPError": FateUnknownError,
    "BodyNotHttplibCompatible": UnreadableAnswerError,
    "ClosedPoolError": NotSentError,
    "ConnectTimeoutError": NotSentError,
    "DecodeError": UnreadableAnswerError,
    "EmptyPoolError": NotSentError,
    "FullPoolError": FateUnknownError,
    "HeaderParsingError": UnreadableAnswerError,
    "HostChangedError": NotSentError,
    "IncompleteRead": UnreadableAnswerError,
    "InvalidChunkLength": UnreadableAnswerError,
    # A header of the answer with two Content-Lengths, too.
    "InvalidHeader": FateUnknownError,
    "LocationParseError": NotSentError,
    "LocationValueError": NotSentError,
    "MaxRetryError": FateUnknownError,
    "NameResolutionError": NotSentError,
    "NewConnectionError": NotSentError,
    "PoolError": FateUnknownError,
    "ProtocolError": FateUnknownError,
    "ProxyError": NotSentError,
    "ProxySchemeUnknown": NotSentError,
    "ProxySchemeUnsupported": NotSentError,
    "ReadTimeoutError": FateUnknownError,
    "RequestError": FateUnknownError,
    "ResponseError": FateUnknownError,
    "ResponseNotChunked": UnreadableAnswerError,
    "SSLError": FateUnknownError,
    "TimeoutError": FateUnknownError,
    "TimeoutStateError": NotSentError,
    "URLSchemeUnknown": NotSentError,
    "UnrewindableBodyError": FateUnknownError,
}

#: Their common bases in the standard library; a class that is in no table means what its nearest listed base means.
STANDARD_ERRORS: Final[dict[type[BaseException], type[TransportError]]] = {
    http.client.HTTPException: FateUnknownError,
    OSError: FateUnknownError,
    ValueError: FateUnknownError,
}


def _known_errors() -> dict[type[BaseException], type[TransportError]]:
    known = dict(STANDARD_ERRORS)
    tables = ((requests.exceptions, REQUESTS_ERRORS), (urllib3.exceptions, URLLIB3_ERRORS))
    for module, table in tables:
        # Not every supported version has every class.
        known.update((getattr(module, name), meaning) for name, meaning in table.items() if hasattr(module, name))
    return known


_KNOWN_ERRORS: Final = _known_errors()
_TUNNEL_REFUSAL: Final = re.compile(r"Tunnel connection failed: (\d{3})\b")


def explain(error: Exception, call: Call) -> TransportError:
    """Return the error that stands for a failure of the layers below: a new one, without cause or context."""
    meaning = _meaning(type(error), sent=call.sent)
    cause = _describe(_root(error))
    if meaning is NotSentError:
        return NotSentError(_with_cause(NotSentError, "the deadline had passed" if call.late else cause))
    if call.late:
        return DeadlineError()
    if call.status is None:
        return meaning(_with_cause(meaning, cause))
    return UnreadableAnswerError(
        f"{_with_cause(UnreadableAnswerError, cause)} (HTTP {call.status})", status=call.status
    )


def _meaning(kind: type[BaseException], *, sent: bool | None) -> type[TransportError]:
    if sent is False:
        return NotSentError
    known = next((_KNOWN_ERRORS[base] for base in kind.__mro__ if base in _KNOWN_ERRORS), FateUnknownError)
    return FateUnknownError if sent and known is NotSentError else known


def _root(error: BaseException) -> BaseException:
    """Return the first cause: the last of the failures that are wrapped into one another."""
    seen = {id(error)}
    while (inner := next(_wrapped_in(error), None)) is not None and id(inner) not in seen:
        seen.add(id(inner))
        error = inner
    return error


def _wrapped_in(error: BaseException) -> Iterator[BaseException]:
    candidates = (getattr(error, "reason", None), *error.args, error.__cause__)
    return (candidate for candidate in candidates if isinstance(candidate, BaseException))


def _describe(error: BaseException) -> str:
    """Name the error without its own text, which may quote a header, an address or a body."""
    name = type(error).__name__
    if isinstance(error, ssl.SSLError):
        detail = getattr(error, "verify_message", None) or getattr(error, "reason", None)
    elif isinstance(error, socket.gaierror):
        detail = error.strerror
    elif isinstance(error, OSError) and isinstance(error.errno, int) and error.errno > 0:
        detail = os.strerror(error.errno)
    elif type(error) is OSError and (refusal := _TUNNEL_REFUSAL.match(str(error))):
        return f"the proxy refused the tunnel with status {refusal[1]}"
    else:
        detail = None
    return f"{name}: {detail}" if detail else name


def _with_cause(kind: type[TransportError], cause: str) -> str:
    sentence = (kind.__doc__ or "").strip().rstrip(".")
    return f"{sentence}: {cause}"
