"""The answers that are not a yes, each with the status the documents give it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class Refusal(Exception):
    """A call the service turns down; the reason goes out in ``X-Reason`` (S1, S2, H:search)."""

    status: ClassVar[int]

    def __init__(self, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.headers = headers or {}


class Malformed(Refusal):
    """Something in the body or the parameters is wrong (S1, S2, H:search)."""

    status = 400


class Forbidden(Refusal):
    """Any failure of token or scope: 403, never 401 (H:auth)."""

    status = 403


class Missing(Refusal):
    """No order with this id (C:m26), or no such path."""

    status = 404


class NotAllowed(Refusal):
    """The path knows other methods (our choice; updates are POST, never PUT or PATCH: S1)."""

    status = 405

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__("the method is not allowed here", {"Allow": ", ".join(allowed)})


class Conflict(Refusal):
    """The id is taken, or the e-mail address has no contact (S1, S2)."""

    status = 409


class TooLarge(Refusal):
    """The body is over the limit (our choice)."""

    status = 413


class WrongMediaType(Refusal):
    """The body is not ``application/json`` in UTF-8 (our choice)."""

    status = 415


class GivenUp(Refusal):
    """The sandbox was reset, or ends, while a fault held the call back."""

    status = 503

    def __init__(self) -> None:
        super().__init__("the sandbox was reset")
