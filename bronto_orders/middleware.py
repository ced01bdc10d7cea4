"""The middleware that reads where a shopper came from, and lets orders created in the request know it.

Requests pay only for what they ask: until somebody reads ``request.bronto`` or inserts an order, no hook runs, and no
cookie, session or user is looked at. The one exception is a landing (``_bta_tid`` in the query) with PERSIST set.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.utils.functional import SimpleLazyObject

from bronto_orders.conf import bronto_settings
from bronto_orders.tracking import (
    NOTHING,
    QUERY_PARAMETER,
    Forgiving,
    Origin,
    Tracking,
    active,
    from_query,
    pack,
    read,
    unpack,
)

SESSION_KEY = "bronto_orders.tracking"
SIGNED_COOKIE = "bronto_orders_tid"
SIGNED_COOKIE_SALT = "bronto_orders.tracking"
#: Seconds that the signed cookie lives (our choice): 30 days.
SIGNED_COOKIE_AGE = 30 * 24 * 60 * 60
#: Characters.
MAX_USER_AGENT_LENGTH = 1024

#: Why a Tracking is empty.
NO_CONSENT = "no consent"
PRIVACY_CONTROL = "global privacy control"
UNREADABLE = "unreadable"

#: What django-hijack, django-impersonate and django-loginas leave in the session while staff act as a customer.
IMPERSONATION_KEYS = ("hijack_history", "_impersonate", "loginas_from_user")

#: Control characters, line separators, and lone surrogates, which no database takes.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class TrackingMiddleware:
    """Set ``request.bronto``, and make the request's origin known to orders that are created while it is handled.

    Belongs after SessionMiddleware and AuthenticationMiddleware. What a streaming response does after it was returned
    is no longer part of the request.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self.__acall__(request)
        attribution = attach(request)
        token = active.set(attribution)
        try:
            response = cast(HttpResponseBase, self.get_response(request))
        finally:
            active.reset(token)
        if has_landed(request):
            attribution.keep(response)
        return response

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        attribution = attach(request)
        token = active.set(attribution)
        try:
            response = cast(HttpResponseBase, await self.get_response(request))
        finally:
            active.reset(token)
        if has_landed(request):
            await attribution.akeep(response)
        return response


def attach(request: HttpRequest) -> RequestAttribution:
    """Set ``request.bronto`` (lazy) and ``request.abronto`` (the same, awaited) and return what stands behind them."""
    attribution = RequestAttribution(request)
    request.bronto = SimpleLazyObject(lambda: attribution.tracking)  # type: ignore[attr-defined]
    request.abronto = attribution.aread  # type: ignore[attr-defined]
    return attribution


def has_landed(request: HttpRequest) -> bool:
    """Tell whether the query may hold a tid, without parsing it."""
    return QUERY_PARAMETER in request.META.get("QUERY_STRING", "")


class RequestAttribution:
    """What one request tells of where its orders come from. Everything is read late and at most once."""

    __slots__ = ("_refusal", "_tracking", "request")

    def __init__(self, request: HttpRequest) -> None:
        self.request = request
        self._refusal: str | None = None
        self._tracking: Tracking | None = None

    @property
    def tracking(self) -> Tracking:
        """The shopper's last click; empty without consent. Never raises."""
        if self._tracking is not None:
            return self._tracking
        if refusal := self.refusal():
            return Tracking(note=refusal)
        # A failure is not remembered: what may not query in the event loop can be asked again later, in a thread.
        with Forgiving("Tracking cannot be read; async code should use 'await request.abronto()'"):
            self._tracking = read(query=self._query(), cookies=self.request.COOKIES, kept=self._kept)
        return Tracking(note=UNREADABLE) if self._tracking is None else self._tracking

    async def aread(self) -> Tracking:
        """Return ``tracking`` from async code, where a session in the database must be awaited."""
        with Forgiving("The session cannot be read for tracking"):
            if self._tracking is None and bronto_settings.tracking.persist == "session" and not self.refusal():
                await self.request.session.aget(SESSION_KEY)
        return self.tracking

    def origin(self) -> Origin | None:
        """Return what a new order takes over; None without consent, and when staff are at work."""
        if self.refusal() or is_by_staff(self.request):
            return None
        return Origin(self.tracking, ip=client_ip(self.request), user_agent=user_agent(self.request))

    def refusal(self) -> str:
        """Return why nothing may be read, kept or sent; empty when all may. A failing CONSENT hook refuses."""
        if self._refusal is None:
            # A failure is not remembered, for the same reason as in ``tracking``.
            with Forgiving("CONSENT cannot be asked, which counts as no consent"):
                self._refusal = ask(self.request)
        return NO_CONSENT if self._refusal is None else self._refusal

    def keep(self, response: HttpResponseBase) -> None:
        """Keep a landing's tid where PERSIST says."""
        with Forgiving("The landing's tid cannot be kept"):
            where, text = self._to_keep()
            if where == "session":
                self.request.session[SESSION_KEY] = text
            elif where == "cookie":
                self._set_cookie(response, text)

    async def akeep(self, response: HttpResponseBase) -> None:
        """Keep a landing's tid where PERSIST says, without a query in the event loop."""
        with Forgiving("The landing's tid cannot be kept"):
            where, text = self._to_keep()
            if where == "session":
                await self.request.session.aset(SESSION_KEY, text)
            elif where == "cookie":
                self._set_cookie(response, text)

    def _to_keep(self) -> tuple[str | None, str]:
        persist = bronto_settings.tracking.persist
        clicked = from_query(self._query()) if persist and not self.refusal() else NOTHING
        return (persist, pack(clicked)) if clicked else (None, "")

    def _set_cookie(self, response: HttpResponseBase, text: str) -> None:
        response.set_signed_cookie(
            SIGNED_COOKIE,
            text,
            salt=SIGNED_COOKIE_SALT,
            max_age=SIGNED_COOKIE_AGE,
            secure=self.request.is_secure(),
            httponly=True,
            samesite="Lax",
        )
        # Else a cache might hand this shopper's cookie to the next one.
        patch_vary_headers(response, ["Cookie"])

    def _query(self) -> str | None:
        return self.request.GET.get(QUERY_PARAMETER) if has_landed(self.request) else None

    def _kept(self) -> Tracking:
        persist = bronto_settings.tracking.persist
        if persist == "session":
            return unpack(getattr(self.request, "session", {}).get(SESSION_KEY), "session")
        if persist == "cookie":
            signed = self.request.get_signed_cookie(
                SIGNED_COOKIE, default="", salt=SIGNED_COOKIE_SALT, max_age=SIGNED_COOKIE_AGE
            )
            return unpack(signed, "signed_cookie")
        return NOTHING


def ask(request: HttpRequest) -> str:
    """Return why the visitor's tracking may not be used; empty when it may. Raises what the CONSENT hook raises.

    Only True is consent: a coroutine or the text "no" would be true as well.
    """
    settings = bronto_settings.tracking
    if settings.respect_gpc and request.META.get("HTTP_SEC_GPC", "").strip() == "1":
        return PRIVACY_CONTROL
    hook = settings.consent_hook
    return "" if hook is None or hook(request) is True else NO_CONSENT


def is_by_staff(request: HttpRequest) -> bool:
    """Tell whether staff are at work: in the admin, with a staff account, or acting as a customer."""
    match = request.resolver_match
    if match is not None and "admin" in match.app_names:
        return True
    user = getattr(request, "user", None)
    if getattr(user, "is_staff", False):
        return True
    session = getattr(request, "session", {}) if getattr(user, "is_authenticated", False) else {}
    return any(session.get(key) for key in IMPERSONATION_KEYS)


def client_ip(request: HttpRequest) -> str | None:
    """Return the visitor's address, from the CLIENT_IP hook if there is one; None when it is no address."""
    with Forgiving("The CLIENT_IP hook failed"):
        hook = bronto_settings.tracking.client_ip_hook
        return parse_ip(hook(request) if hook else request.META.get("REMOTE_ADDR"))
    return None


def parse_ip(text: str | None) -> str | None:
    """Return an address in its canonical form: without zone, and as IPv4 where IPv6 only wraps it."""
    try:
        address = ip_address(str(text).strip().partition("%")[0])
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)


def user_agent(request: HttpRequest) -> str:
    """Return the User-Agent header, printable and cut to its first 1,024 characters."""
    return _UNPRINTABLE.sub("", request.META.get("HTTP_USER_AGENT", "")).strip()[:MAX_USER_AGENT_LENGTH]
