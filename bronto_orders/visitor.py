"""What one request tells of its visitor: the last click, consent, address and user agent, and whether it is staff.

Everything is read late and at most once: until somebody looks at ``tracking`` or an order is inserted, no hook runs,
and no cookie, session or user is looked at.
"""

from __future__ import annotations

import re

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from bronto_orders import client_ip, keeping
from bronto_orders.conf import bronto_settings
from bronto_orders.tracking import (
    NOTHING,
    QUERY_PARAMETER,
    Forgiving,
    Note,
    Origin,
    Tracking,
    from_query,
    read,
)

#: Characters.
MAX_USER_AGENT_LENGTH = 1024

#: What django-hijack, django-impersonate and django-loginas leave in the session while staff act as a customer.
IMPERSONATION_KEYS = ("hijack_history", "_impersonate", "loginas_from_user")

#: Control characters, line separators, and lone surrogates, which no database takes.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Visitor:
    """The attribution of the orders that are created while a request is handled."""

    __slots__ = ("_refusal", "_tracking", "has_ordered", "is_over", "request")

    def __init__(self, request: HttpRequest) -> None:
        self.request = request
        #: Whether an order was created, and committed.
        self.has_ordered = False
        #: Whether the response is there.
        self.is_over = False
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
            self._tracking = read(
                query=self._query(), cookies=self.request.COOKIES, kept=lambda: keeping.find(self.request)
            )
        return Tracking(note=Note.UNREADABLE) if self._tracking is None else self._tracking

    def read(self) -> Tracking:
        """Return ``tracking``."""
        return self.tracking

    async def aread(self) -> Tracking:
        """Return ``tracking`` from async code, where a session in the database must be awaited."""
        with Forgiving("The session cannot be read for tracking"):
            if self._tracking is None and not self.refusal():
                await keeping.load(self.request)
        return self.tracking

    def origin(self) -> Origin:
        """Return what a new order takes over: a note alone without consent, and when staff are at work."""
        if note := self.refusal() or staff(self.request):
            return Origin(Tracking(note=note))
        return Origin(self.tracking, ip=address(self.request), user_agent=user_agent(self.request))

    def order_committed(self) -> None:
        self.has_ordered = True

    def refusal(self) -> str:
        """Return why nothing may be read, kept or sent; empty when all may. A failing CONSENT hook refuses."""
        if self._refusal is None:
            # A failure is not remembered, for the same reason as in ``tracking``.
            with Forgiving("CONSENT cannot be asked, which counts as no consent"):
                self._refusal = ask(self.request)
        return Note.NO_CONSENT if self._refusal is None else self._refusal

    def settle(self, response: HttpResponseBase) -> None:
        """Keep a landing's tid, or forget what was kept, once the response is there."""
        with Forgiving("The landing's tid cannot be kept"):
            if self._is_done():
                keeping.forget(self.request, response)
            elif clicked := self._to_keep():
                keeping.keep(self.request, response, clicked)

    async def asettle(self, response: HttpResponseBase) -> None:
        """Do what ``settle`` does, without a query in the event loop."""
        with Forgiving("The landing's tid cannot be kept"):
            if self._is_done():
                await keeping.aforget(self.request, response)
            elif clicked := self._to_keep():
                await keeping.akeep(self.request, response, clicked)

    def _is_done(self) -> bool:
        return self.has_ordered and bronto_settings.tracking.clear_after_order

    def _to_keep(self) -> Tracking:
        return from_query(self._query()) if bronto_settings.tracking.persist and not self.refusal() else NOTHING

    def _query(self) -> str | None:
        # The query string itself first: most hold none, and need not be parsed.
        there = QUERY_PARAMETER in self.request.META.get("QUERY_STRING", "")
        return self.request.GET.get(QUERY_PARAMETER) if there else None


def ask(request: HttpRequest) -> str:
    """Return why the visitor's tracking may not be used; empty when it may. Raises what the CONSENT hook raises.

    Only True is consent: a coroutine or the text "no" would be true as well.
    """
    settings = bronto_settings.tracking
    if settings.respect_gpc and request.META.get("HTTP_SEC_GPC", "").strip() == "1":
        return Note.PRIVACY_CONTROL
    hook = settings.consent_hook
    return "" if hook is None or hook(request) is True else Note.NO_CONSENT


def staff(request: HttpRequest) -> str:
    """Return the note of what staff are at: in the admin, with a staff account, or acting as a customer."""
    match = request.resolver_match
    if match is not None and "admin" in match.app_names:
        return Note.STAFF
    user = getattr(request, "user", None)
    if getattr(user, "is_staff", False):
        return Note.STAFF
    session = getattr(request, "session", {}) if getattr(user, "is_authenticated", False) else {}
    return Note.IMPERSONATED if any(session.get(key) for key in IMPERSONATION_KEYS) else ""


def address(request: HttpRequest) -> str | None:
    """Return the visitor's address, from the CLIENT_IP hook if there is one; None when it is no address."""
    with Forgiving("The CLIENT_IP hook failed"):
        hook = bronto_settings.tracking.client_ip_hook
        return client_ip.parse(hook(request) if hook else request.META.get("REMOTE_ADDR"))
    return None


def user_agent(request: HttpRequest) -> str:
    """Return the User-Agent header, printable and cut to its first 1,024 characters."""
    return _UNPRINTABLE.sub("", request.META.get("HTTP_USER_AGENT", "")).strip()[:MAX_USER_AGENT_LENGTH]
