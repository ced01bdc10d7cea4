"""The answers that are not a yes, each with the status the documents give it."""

from __future__ import annotations

from rest_framework import status
from rest_framework.exceptions import APIException


class Refusal(APIException):
    """A call the service turns down; the reason goes out in ``X-Reason`` (S1, S2, H:search)."""

    def __init__(self, reason: str) -> None:
        super().__init__(detail=reason)
        self.reason = reason


class Malformed(Refusal):
    """Something in the body or the parameters is wrong (S1, S2, H:search)."""

    status_code = status.HTTP_400_BAD_REQUEST


class Forbidden(Refusal):
    """Any failure of token or scope: 403, never 401 (H:auth)."""

    status_code = status.HTTP_403_FORBIDDEN


class Missing(Refusal):
    """No order with this id (C:m26), or no such path."""

    status_code = status.HTTP_404_NOT_FOUND


class Conflict(Refusal):
    """The id is taken, or the e-mail address has no contact (S1, S2)."""

    status_code = status.HTTP_409_CONFLICT


class TooLarge(Refusal):
    """The body is over the limit (our choice)."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE


class WrongMediaType(Refusal):
    """The body is not ``application/json`` in UTF-8 (our choice)."""

    status_code = status.HTTP_415_UNSUPPORTED_MEDIA_TYPE
