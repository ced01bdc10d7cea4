"""What visitors say to being tracked. The demo takes silence for a yes, so that its inbox works; a shop must not."""

from __future__ import annotations

from django.http import HttpRequest

COOKIE = "bronto_demo_privacy"
REFUSED = "refused"


def consent(request: HttpRequest) -> bool:
    return request.COOKIES.get(COOKIE) != REFUSED
