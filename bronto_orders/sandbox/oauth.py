"""Tokens: who gets one and what it allows (S0, S1, S2, H:auth)."""

from __future__ import annotations

import hashlib
import hmac
import uuid
from datetime import timedelta
from typing import Any, Final

from bronto_orders.sandbox.clock import Clock
from bronto_orders.sandbox.fields import parse_uuid
from bronto_orders.sandbox.messages import Answer, Request, read_pairs
from bronto_orders.sandbox.refusals import Forbidden, Malformed, NotAllowed
from bronto_orders.sandbox.store import Client, Store
from bronto_orders.sandbox.switches import SwitchBoard
from bronto_orders.sandbox.wire import FORM_TYPE, REASON_HEADER

READ_SCOPE: Final = "orders/carts-read"
WRITE_SCOPE: Final = "orders/carts-write"
SCOPES: Final = (READ_SCOPE, WRITE_SCOPE)
DEFAULT_CLIENT_ID: Final = "sandbox"
DEFAULT_CLIENT_SECRET: Final = "sandbox-secret"  # noqa: S105 - public, and printed in the documentation
ACCESS: Final = "access"
REFRESH: Final = "refresh"

_HEADERS: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_READING: Final = ("GET", "HEAD", "OPTIONS")
_FIELDS: Final = ("grant_type", "client_id", "client_secret", "refresh_token")
_KEPT_AFTER_EXPIRY: Final = timedelta(days=1)


class GrantError(Exception):
    """A grant refused, in the terms of RFC 6749 section 5.2, as Bronto's own are not documented (our choice)."""

    def __init__(self, code: str, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.code, self.reason, self.status = code, reason, status


class Desk:
    """Gives out tokens and checks them."""

    def __init__(self, store: Store, switches: SwitchBoard, clock: Clock) -> None:
        self._store, self._switches, self._clock = store, switches, clock

    def answer(self, request: Request) -> Answer:
        """``POST /oauth2/token``."""
        request.check_size()
        if request.method != "POST":
            raise NotAllowed(("POST",))
        try:
            return Answer.json(self._issue(_read_form(request)), headers=_HEADERS)
        except GrantError as error:
            if self._switches["tokenErrors"] == "forbidden":
                raise Forbidden(error.reason) from None
            body = {"error": error.code, "error_description": error.reason}
            return Answer.json(body, error.status, {**_HEADERS, REASON_HEADER: error.reason})

    def authorize(self, request: Request) -> None:
        """Check the bearer token and its scope; every failure is a 403, never a 401 (H:auth)."""
        header = request.headers.get("authorization", "")
        scheme, _, value = header.partition(" ")
        if not header:
            raise Forbidden("no Authorization header")
        if scheme.lower() != "bearer":
            raise Forbidden("the Authorization scheme must be Bearer")
        token = parse_uuid(value.strip())
        found = None if token is None else self._store.find_token(ACCESS, token)
        if found is None:
            raise Forbidden("the access token is unknown")
        _, expires_at, scopes = found
        if self._has_expired(expires_at):
            raise Forbidden("the access token has expired")
        # Reading needs the read scope, everything else the write scope (S1, S2, H:get).
        scope = READ_SCOPE if request.method in _READING else WRITE_SCOPE
        if scope not in scopes:
            raise Forbidden(f"the access token lacks the scope {scope}")

    def revoke(self, *kinds: str) -> list[int]:
        """End all tokens of these kinds; return how many there were of each."""
        with self._store.transaction():
            return [self._store.delete_tokens(kind) for kind in kinds]

    def _issue(self, form: dict[str, str]) -> dict[str, Any]:
        grant = form.get("grant_type")
        if not grant:
            raise GrantError("invalid_request", "grant_type is missing")
        client = self._authenticate(form)
        if grant == "client_credentials":
            with self._store.transaction():
                return self._make_tokens(client)
        if grant == "refresh_token":
            return self._refresh(client, form.get("refresh_token", ""))
        raise GrantError("unsupported_grant_type", "grant_type must be client_credentials or refresh_token")

    def _authenticate(self, form: dict[str, str]) -> Client:
        client = self._store.find_client(form.get("client_id", ""))
        given = digest(form.get("client_secret", ""))
        if client is None or not hmac.compare_digest(client.secret_digest, given):
            raise GrantError("invalid_client", "the client id or the client secret is wrong", status=401)
        return client

    def _refresh(self, client: Client, value: str) -> dict[str, Any]:
        if not value:
            raise GrantError("invalid_request", "refresh_token is missing")
        token = parse_uuid(value)
        with self._store.transaction():
            found = None if token is None else self._store.find_token(REFRESH, token)
            if token is None or found is None or found[0] != client.client_id or self._has_expired(found[1]):
                raise GrantError("invalid_grant", "the refresh token is unknown, used or expired")
            if self._switches["refreshTokens"] == "keep":
                return self._make_tokens(client, kept=token)
            self._store.delete_token(token)
            return self._make_tokens(client)

    def _has_expired(self, expires_at: float) -> bool:
        return expires_at <= self._clock.now().timestamp()

    def _make_tokens(self, client: Client, kept: str | None = None) -> dict[str, Any]:
        now = self._clock.now()
        made = {ACCESS: str(uuid.uuid4()), REFRESH: kept or str(uuid.uuid4())}
        for kind, token in made.items():
            self._store.delete_tokens(kind, expired_at=now - _KEPT_AFTER_EXPIRY)
            if token != kept:
                expires_at = now + timedelta(seconds=self._switches[f"{kind}TokenSeconds"])
                self._store.add_token(kind, token, client.client_id, expires_at)
        token_type = self._switches["tokenType"]
        return {
            "access_token": made[ACCESS],
            "expires_in": self._switches["accessTokenSeconds"],
            "refresh_token": made[REFRESH],
            **({} if token_type == "absent" else {"token_type": token_type}),  # noqa: S105
        }


def digest(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _read_form(request: Request) -> dict[str, str]:
    """Return the form in the body; a parameter given twice is an error (RFC 6749 section 3.2)."""
    if request.content_type[0] != FORM_TYPE:
        raise GrantError("invalid_request", f"Content-Type must be {FORM_TYPE}")
    try:
        pairs = read_pairs((request.body or b"").decode("latin-1"))
    except Malformed as error:
        raise GrantError("invalid_request", error.reason) from None
    for name in _FIELDS:
        if sum(name == given for given, _ in pairs) > 1:
            raise GrantError("invalid_request", f"{name} is given twice")
    return dict(pairs)
