"""The strictest Content-Security-Policy that a site might put in front of the admin."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

OWN = ("style-src", "script-src", "img-src", "connect-src", "font-src", "form-action")
POLICY = "; ".join(["default-src 'none'", *(f"{directive} 'self'" for directive in OWN)])


class StrictPolicy:
    """Puts the policy on every answer that has none."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", POLICY)
        return response
