"""Everything that can go wrong between the shop and Bronto.

::

    BrontoError
    ├── TransportError                no usable answer came back
    │   ├── NotSentError              the request never left: refused, DNS, TLS, connect time-out
    │   └── FateUnknownError          it left, and nobody knows whether it took effect
    │       ├── DeadlineError         the total deadline passed
    │       └── UnreadableAnswerError an answer that cannot be read: cut off, not JSON, too big
    ├── TokenError                    the token endpoint gave no token
    │   ├── TokenRefusedError         client id or secret refused
    │   └── TokenUnavailableError     token endpoint down, busy or unreadable
    └── APIError                      Bronto answered, and the answer is no
        ├── BadRequestError           400, 413, 422 and any 4xx not named below
        ├── AuthenticationError       401, 403, also after one new token
        ├── NotFoundError             404
        ├── ConflictError             409
        │   ├── DuplicateOrderError   an order or a return holds the customerOrderId
        │   └── UnknownContactError   nobody has this e-mail address, and createContact is off
        ├── RateLimitedError          429
        ├── ServerError               408 and 5xx
        └── UnexpectedAnswerError     1xx, 3xx and any 2xx that the call does not know

Errors of the shop's own configuration are ``BrontoConfigurationError``. It is not a ``BrontoError``: code that
survives an ill Bronto must not swallow a typing mistake in the settings.

Each class docstring is the error's default message. No message, attribute or repr holds a secret, a token or an
e-mail address.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from django.core.exceptions import ImproperlyConfigured


class BrontoError(Exception):
    """The exchange with Bronto failed."""

    #: Whether the same request may succeed later without anybody changing anything.
    retryable: ClassVar[bool] = False

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class TransportError(BrontoError):
    """No usable answer came back."""

    retryable = True


class NotSentError(TransportError):
    """The request could not be sent; Bronto never saw it."""


class FateUnknownError(TransportError):
    """The connection failed after the request was sent; nobody knows whether it took effect."""


class DeadlineError(FateUnknownError):
    """No complete answer arrived within the total deadline."""


class UnreadableAnswerError(FateUnknownError):
    """An answer arrived that cannot be read; nobody knows whether the request took effect."""

    def __init__(self, message: str = "", *, status: int | None = None) -> None:
        #: HTTP status code of that answer, None when even the status line could not be read.
        self.status = status
        super().__init__(message)


class TokenError(BrontoError):
    """The token endpoint gave no access token."""


class TokenRefusedError(TokenError):
    """The token endpoint refused the client ID or secret."""


class TokenUnavailableError(TokenError):
    """The token endpoint cannot be reached or does not answer properly."""

    retryable = True


class APIError(BrontoError):
    """Bronto refused the request."""

    def __init__(self, message: str = "", *, status: int, reason: str = "", retry_after: float | None = None) -> None:
        #: HTTP status code.
        self.status = status
        #: The service's own words: the X-Reason header, or what stands for it in the body; redacted.
        self.reason = reason
        #: Seconds that the service asked to wait (Retry-After in either form), None when it did not ask.
        self.retry_after = retry_after
        super().__init__(message)

    def __str__(self) -> str:
        text = f"{super().__str__()} (HTTP {self.status})"
        return f"{text}: {self.reason}" if self.reason else text

    def __reduce__(self) -> tuple[Callable[..., APIError], tuple[object, ...]]:
        # The inherited way calls the class with ``args`` alone, which lacks the status. Celery pickles errors.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[APIError], args: tuple[object, ...], state: dict[str, object]) -> APIError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class BadRequestError(APIError):
    """Bronto refused the content of the request."""


class AuthenticationError(APIError):
    """Bronto refused the access token, even a new one: check the credentials and their scopes."""


class NotFoundError(APIError):
    """Bronto has no such order."""


class ConflictError(APIError):
    """Bronto sees a conflict."""


class DuplicateOrderError(ConflictError):
    """Bronto already has an order or a return with this customerOrderId."""


class UnknownContactError(ConflictError):
    """Bronto has no contact with the order's e-mail address, and creating contacts is switched off."""


class RateLimitedError(APIError):
    """Bronto asks for fewer requests."""

    retryable = True


class ServerError(APIError):
    """Bronto failed to handle the request."""

    retryable = True


class UnexpectedAnswerError(APIError):
    """Bronto answered in a way that its documents do not know."""


class BrontoConfigurationError(ImproperlyConfigured):
    """The BRONTO_ORDERS setting is wrong."""
