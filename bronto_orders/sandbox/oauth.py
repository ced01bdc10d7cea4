"""The token endpoint. Its errors follow RFC 6749, as Bronto's are not documented (our choice)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import router, transaction
from django.http import HttpRequest
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from bronto_orders.sandbox.endpoint import Endpoint
from bronto_orders.sandbox.fields import parse_uuid
from bronto_orders.sandbox.models import AccessToken, Client, RefreshToken
from bronto_orders.sandbox.switches import SWITCHES
from bronto_orders.sandbox.wire import REASON_HEADER

FORM_TYPE = "application/x-www-form-urlencoded"
HEADERS = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class GrantError(Exception):
    """A grant refused, in the terms of RFC 6749 section 5.2."""

    def __init__(self, code: str, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.code, self.reason, self.status = code, reason, status


class TokenView(Endpoint):
    """``POST /oauth2/token`` (S1, S2)."""

    def post(self, request: Request) -> Response:
        try:
            return Response(issue(read_form(request._request)), headers=HEADERS)
        except GrantError as error:
            return Response(
                {"error": error.code, "error_description": error.reason},
                status=error.status,
                headers={**HEADERS, REASON_HEADER: error.reason},
            )


def read_form(request: HttpRequest) -> dict[str, str]:
    """Return the form in the body; a parameter given twice is an error (RFC 6749 section 3.2)."""
    if request.content_type != FORM_TYPE:
        raise GrantError("invalid_request", f"Content-Type must be {FORM_TYPE}")
    for name, values in request.POST.lists():
        if len(values) > 1 and name in ("grant_type", "client_id", "client_secret", "refresh_token"):
            raise GrantError("invalid_request", f"{name} is given twice")
    return request.POST.dict()


def issue(form: dict[str, str]) -> dict[str, Any]:
    """Check the client and the grant, and make a pair of tokens."""
    grant = form.get("grant_type")
    if not grant:
        raise GrantError("invalid_request", "grant_type is missing")
    client = _authenticate(form)
    if grant == "client_credentials":
        return _make_tokens(client)
    if grant == "refresh_token":
        return _refresh(client, form.get("refresh_token", ""))
    raise GrantError("unsupported_grant_type", "grant_type must be client_credentials or refresh_token")


def _authenticate(form: dict[str, str]) -> Client:
    client_id = form.get("client_id", "")
    client = None if "\x00" in client_id else Client.objects.filter(client_id=client_id).first()
    if client is None or not client.knows(form.get("client_secret", "")):
        raise GrantError("invalid_client", "the client id or the client secret is wrong", status=401)
    return client


def _refresh(client: Client, value: str) -> dict[str, Any]:
    if not value:
        raise GrantError("invalid_request", "refresh_token is missing")
    token_id = parse_uuid(value)
    with _transaction():
        if token_id is None or not _use_up(client, token_id):
            raise GrantError("invalid_grant", "the refresh token is unknown, used or expired")
        return _make_tokens(client)


def _use_up(client: Client, token_id: UUID) -> bool:
    # Deleted, not looked up: of two calls with one refresh token a single one gets tokens.
    used, _ = RefreshToken.objects.filter(token=token_id, client=client, expires_at__gt=timezone.now()).delete()
    return bool(used)


def _make_tokens(client: Client) -> dict[str, Any]:
    switches, moment = SWITCHES.now, timezone.now()
    with _transaction():
        for model in (AccessToken, RefreshToken):
            model.objects.filter(expires_at__lte=moment - timedelta(days=1)).delete()
        access = AccessToken.objects.create(
            client=client, expires_at=moment + timedelta(seconds=switches.accessTokenSeconds)
        )
        refresh = RefreshToken.objects.create(
            client=client, expires_at=moment + timedelta(seconds=switches.refreshTokenSeconds)
        )
    return {
        "access_token": str(access.token),
        "expires_in": switches.accessTokenSeconds,
        "refresh_token": str(refresh.token),
        "token_type": "bearer",
    }


def _transaction() -> transaction.Atomic:
    return transaction.atomic(using=router.db_for_write(AccessToken))
