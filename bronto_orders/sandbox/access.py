"""Who may call: bearer tokens and scopes. Every failure is a 403, never a 401 (H:auth)."""

from __future__ import annotations

from typing import Any, cast

from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from bronto_orders.sandbox.fields import parse_uuid
from bronto_orders.sandbox.models import READ_SCOPE, WRITE_SCOPE, AccessToken
from bronto_orders.sandbox.refusals import Forbidden


class BearerAuthentication(BaseAuthentication):
    """Takes ``Authorization: Bearer <access token>`` (S0)."""

    def authenticate(self, request: Request) -> tuple[Any, AccessToken]:
        header = request.META.get("HTTP_AUTHORIZATION", "")
        scheme, _, value = header.partition(" ")
        if not header:
            raise Forbidden("no Authorization header")
        if scheme.lower() != "bearer":
            raise Forbidden("the Authorization scheme must be Bearer")
        return None, self._find(value.strip())

    def _find(self, value: str) -> AccessToken:
        token_id = parse_uuid(value)
        tokens = AccessToken.objects.select_related("client")
        token = None if token_id is None else tokens.filter(token=token_id).first()
        if token is None:
            raise Forbidden("the access token is unknown")
        if token.is_expired:
            raise Forbidden("the access token has expired")
        return token


class HasScope(BasePermission):
    """Reading needs the read scope, everything else the write scope (S1, S2, H:get)."""

    def has_permission(self, request: Request, view: Any) -> bool:
        scope = READ_SCOPE if request.method in SAFE_METHODS else WRITE_SCOPE
        token = cast(AccessToken, request.auth)
        if not token.client.allows(scope):
            raise Forbidden(f"the access token lacks the scope {scope}")
        return True
