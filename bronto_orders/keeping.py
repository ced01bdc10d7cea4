"""Where a landing's tid stays until checkout: in the session or in a signed cookie, as PERSIST says.

Nothing here asks for consent; whoever calls has done so.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

from bronto_orders.conf import TrackingSettings, bronto_settings
from bronto_orders.tracking import NOTHING, Source, Tracking, pack, unpack

SESSION_KEY = "bronto_orders.tracking"
COOKIE_SALT = "bronto_orders.tracking"


def find(request: HttpRequest) -> Tracking:
    """Return what was kept and is not older than COOKIE_AGE."""
    settings = bronto_settings.tracking
    if settings.persist == "session":
        kept = unpack(getattr(request, "session", {}).get(SESSION_KEY), Source.SESSION)
        oldest = datetime.now(UTC) - timedelta(seconds=settings.cookie_age)
        return kept if kept.seen_at and kept.seen_at >= oldest else NOTHING
    if settings.persist == "cookie":
        signed = request.get_signed_cookie(
            settings.cookie_name, default="", salt=COOKIE_SALT, max_age=settings.cookie_age
        )
        return unpack(signed, Source.SIGNED_COOKIE)
    return NOTHING


async def load(request: HttpRequest) -> None:
    """Have ``find`` make no query in the event loop."""
    if bronto_settings.tracking.persist == "session":
        await request.session.aget(SESSION_KEY)


def keep(request: HttpRequest, response: HttpResponseBase, clicked: Tracking) -> None:
    """Keep a tid until checkout."""
    settings = bronto_settings.tracking
    if settings.persist == "session":
        request.session[SESSION_KEY] = pack(clicked)
    elif settings.persist == "cookie":
        _set_cookie(request, response, clicked, settings)


async def akeep(request: HttpRequest, response: HttpResponseBase, clicked: Tracking) -> None:
    """Keep a tid until checkout, without a query in the event loop."""
    settings = bronto_settings.tracking
    if settings.persist == "session":
        await request.session.aset(SESSION_KEY, pack(clicked))
    elif settings.persist == "cookie":
        _set_cookie(request, response, clicked, settings)


def forget(request: HttpRequest, response: HttpResponseBase) -> None:
    """Keep nothing any more."""
    settings = bronto_settings.tracking
    if settings.persist == "session":
        request.session.pop(SESSION_KEY, None)
    elif settings.persist == "cookie":
        _delete_cookie(request, response, settings)


async def aforget(request: HttpRequest, response: HttpResponseBase) -> None:
    """Keep nothing any more, without a query in the event loop."""
    settings = bronto_settings.tracking
    if settings.persist == "session":
        await request.session.apop(SESSION_KEY, None)
    elif settings.persist == "cookie":
        _delete_cookie(request, response, settings)


def _set_cookie(
    request: HttpRequest, response: HttpResponseBase, clicked: Tracking, settings: TrackingSettings
) -> None:
    response.set_signed_cookie(
        settings.cookie_name,
        pack(clicked),
        salt=COOKIE_SALT,
        max_age=settings.cookie_age,
        secure=request.is_secure(),
        httponly=True,
        samesite="Lax",
    )
    # Else a cache might hand this shopper's cookie to the next one.
    patch_vary_headers(response, ["Cookie"])


def _delete_cookie(request: HttpRequest, response: HttpResponseBase, settings: TrackingSettings) -> None:
    if settings.cookie_name in request.COOKIES:
        response.delete_cookie(settings.cookie_name, samesite="Lax")
        patch_vary_headers(response, ["Cookie"])
