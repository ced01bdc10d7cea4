from __future__ import annotations

import asyncio
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.cookies import SimpleCookie
from time import time
from types import SimpleNamespace

import pytest
from asgiref.sync import iscoroutinefunction, sync_to_async
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.base import SessionBase
from django.core.cache import cache
from django.core.exceptions import SynchronousOnlyOperation
from django.http import HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, AsyncRequestFactory, Client, RequestFactory
from django.urls import ResolverMatch, include, path
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from bronto_orders import client_ip, tracking
from bronto_orders.conf import TrackingSettings
from bronto_orders.keeping import SESSION_KEY
from bronto_orders.middleware import TrackingMiddleware
from bronto_orders.tracking import Note, Tracking
from bronto_orders.visitor import address, user_agent
from tests.test_tracking import DOCS_COOKIE, DOCS_TID, LINK_TID, FakeOrder, make_tid

COOKIE, COOKIE_AGE = TrackingSettings.cookie_name, TrackingSettings.cookie_age
LANDING = f"/?_bta_tid={DOCS_TID}"
COOKIES = {"Cookie": f"{DOCS_COOKIE}={LINK_TID}"}


def kept(tid):
    """Return what a session or cookie holds after a landing just now."""
    return tracking.pack(tracking.from_query(tid))


class Forbidden:
    """Fails as soon as anybody looks at it."""

    def __getattr__(self, name):
        pytest.fail(f"{name} was read")


class MemorySession(SessionBase):
    """Like one in the database: may be read in a thread or awaited, but not loaded in an event loop."""

    def __init__(self, **data):
        super().__init__("a-session-key")
        self.data, self.loads = data, 0

    def load(self):
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self.loads += 1
            return dict(self.data)
        raise SynchronousOnlyOperation

    async def aload(self):
        self.loads += 1
        return dict(self.data)


class BrokenSession(MemorySession):
    def load(self):
        raise ConnectionError(DOCS_TID)

    aload = load


def get(path="/", *, factory=RequestFactory, session=None, user=None, headers=None, **extra):
    request = factory().get(path, headers=headers, **extra)
    if session is not None:
        request.session = session
    if user is not None:
        request.user = user
    return request


def handle(request, view=lambda request: HttpResponse()):
    return TrackingMiddleware(view)(request)


def ahandle(request, view=None):
    async def empty(request):
        return HttpResponse()

    return asyncio.run(TrackingMiddleware(view or empty)(request))


def bronto(path="/", **given):
    """Return what a view finds in request.bronto."""
    handle(request := get(path, **given))
    return request.bronto


def order_in(request):
    """Return an order as it is when created while the request is handled."""
    order = FakeOrder()
    handle(request, lambda request: tracking.fill(order) or HttpResponse())
    return order


def refuse(request):
    return False


def explode(request):
    raise RuntimeError(DOCS_TID)


def configure(settings, **given):
    settings.BRONTO_ORDERS = {"TRACKING": given}


class TestShape:
    def test_is_sync_and_async(self):
        async def view(request): ...

        assert TrackingMiddleware.sync_capable
        assert TrackingMiddleware.async_capable
        assert not iscoroutinefunction(TrackingMiddleware(lambda request: None))
        assert iscoroutinefunction(TrackingMiddleware(view))

    def test_returns_the_response_itself(self):
        response = HttpResponse()

        async def view(request):
            return response

        assert handle(get(), lambda request: response) is response
        assert ahandle(get(factory=AsyncRequestFactory), view) is response


class TestReading:
    def test_query(self):
        found = bronto(LANDING)
        assert (found.tid, found.source, found.note) == (DOCS_TID, "query", "")
        assert isinstance(found, Tracking)

    def test_query_of_an_async_request(self):
        ahandle(request := get(LANDING, factory=AsyncRequestFactory, headers=COOKIES))
        assert request.bronto.tid == DOCS_TID

    def test_percent_encoded_query_is_decoded_once(self):
        assert bronto("/?_bta_tid=" + DOCS_TID.replace(".", "%2E")).tid == DOCS_TID
        assert bronto("/?_bta_tid=" + DOCS_TID.replace(".", "%252E")).note == Note.MALFORMED

    def test_cookie(self):
        found = bronto(headers=COOKIES)
        assert (found.cookie_name, found.cookie_value, found.source) == (DOCS_COOKIE, LINK_TID, "cookie")

    def test_query_before_cookie(self):
        assert bronto(LANDING, headers=COOKIES).source == "query"

    def test_malformed_query_does_not_hide_the_cookie(self):
        assert bronto("/?_bta_tid=junk", headers=COOKIES).source == "cookie"

    def test_nothing(self):
        assert not bronto()
        assert bronto("/?x_bta_tid=1") == Tracking()

    def test_a_query_that_django_refuses_is_the_views_affair(self, settings, caplog):
        settings.DATA_UPLOAD_MAX_NUMBER_FIELDS = 1
        configure(settings, PERSIST="cookie")
        assert bronto(f"{LANDING}&a=1&b=2").note == Note.UNREADABLE
        assert "TooManyFieldsSent" in caplog.text

    def test_code_below_the_view_sees_the_same(self):
        handle(request := get(LANDING), lambda request: HttpResponse(tracking.current().tid == request.bronto.tid))
        assert tracking.current() is None
        assert request.bronto.tid == DOCS_TID

    @given(st.binary(max_size=300), st.binary(max_size=300))
    @hypothesis_settings(deadline=None)
    def test_survives_any_bytes(self, query, cookie):
        request = RequestFactory().get("/")
        request.environ["QUERY_STRING"] = request.META["QUERY_STRING"] = "_bta_tid=" + query.decode("latin-1")
        request.environ["HTTP_COOKIE"] = "tid_a=" + cookie.decode("latin-1")
        order = order_in(request)
        assert not order.tid or tracking.is_tid(order.tid)
        assert not order.tracking_cookie_value or tracking.is_tid(order.tracking_cookie_value)


class TestCost:
    """A request pays for nothing that nobody asks for."""

    @pytest.mark.parametrize("persist", [None, "session", "cookie"])
    def test_nothing_is_looked_at(self, settings, persist):
        configure(settings, PERSIST=persist, CONSENT="tests.nowhere.hook", CLIENT_IP="tests.nowhere.hook")
        request = get("/?a=1", session=Forbidden(), user=Forbidden(), headers=COOKIES)
        response = handle(request)
        assert "COOKIES" not in request.__dict__
        assert "GET" not in request.__dict__
        assert not response.cookies
        assert not response.has_header("Vary")

    def test_nothing_is_looked_at_on_a_landing_without_persist(self, settings):
        configure(settings, CONSENT="tests.nowhere.hook")
        request = get(LANDING, session=Forbidden(), user=Forbidden())
        response = handle(request)
        assert "GET" not in request.__dict__
        assert not response.cookies
        assert not response.has_header("Vary")

    @pytest.mark.parametrize("persist", [None, "cookie"])
    def test_reading_touches_no_session(self, settings, persist):
        configure(settings, PERSIST=persist)
        assert bronto(session=Forbidden(), user=Forbidden(), headers=COOKIES)

    def test_reads_once(self, settings):
        calls = []

        def view(request):
            assert tracking.current() is tracking.current()
            tracking.fill(FakeOrder())
            return HttpResponse()

        configure(settings, CONSENT=lambda request: calls.append(1) or True, PERSIST="session")
        request = get(session=(session := MemorySession()), headers=COOKIES)
        handle(request, view)
        assert request.bronto.source == "cookie"
        assert len(calls) == session.loads == 1


class TestConsent:
    def test_hook_gets_the_request_and_may_allow(self, settings):
        configure(settings, CONSENT=lambda request: request.COOKIES.get("consent") == "yes")
        assert bronto(LANDING, headers={"Cookie": "consent=yes"}).tid == DOCS_TID
        assert bronto(LANDING) == Tracking(note=Note.NO_CONSENT)

    @pytest.mark.parametrize("answer", [False, None, 0, "", "no", "yes", 1])
    def test_only_true_is_consent(self, settings, answer):
        configure(settings, CONSENT=lambda request: answer)
        assert bronto(LANDING).note == Note.NO_CONSENT

    @pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
    def test_a_coroutine_is_no_consent(self, settings):
        async def hook(request):
            return False

        configure(settings, CONSENT=hook)
        assert bronto(LANDING).note == Note.NO_CONSENT

    def test_dotted_path(self, settings):
        configure(settings, CONSENT=f"{__name__}.refuse")
        assert bronto(LANDING).note == Note.NO_CONSENT

    @pytest.mark.parametrize("persist", [None, "session", "cookie"])
    def test_without_it_nothing_is_read_kept_or_sent(self, settings, persist):
        configure(settings, CONSENT=refuse, PERSIST=persist, CLIENT_IP="tests.nowhere.hook")
        request = get(LANDING, session=Forbidden(), user=Forbidden(), headers=COOKIES)
        order = FakeOrder()
        response = handle(request, lambda request: tracking.fill(order) or HttpResponse())
        assert order == FakeOrder()
        assert "COOKIES" not in request.__dict__
        assert not response.cookies
        assert not response.has_header("Vary")

    def test_without_it_an_async_read_touches_no_session(self, settings):
        configure(settings, CONSENT=refuse, PERSIST="session")
        ahandle(request := get(LANDING, factory=AsyncRequestFactory, session=Forbidden()))
        assert asyncio.run(request.abronto()).note == Note.NO_CONSENT

    @pytest.mark.parametrize("hook", ["tests.nowhere.hook", "explode"])
    def test_a_failing_hook_is_no_consent_and_is_logged(self, settings, caplog, hook):
        configure(settings, CONSENT=explode if hook == "explode" else hook, PERSIST="cookie")
        request = get(LANDING, REMOTE_ADDR="192.0.2.7")
        order = FakeOrder()
        response = handle(request, lambda request: tracking.fill(order) or HttpResponse())
        assert order == FakeOrder()
        assert request.bronto.note == Note.NO_CONSENT
        assert not response.cookies
        assert "counts as no consent" in caplog.text
        assert DOCS_TID not in caplog.text

    def test_wrong_settings_refuse_and_break_no_page(self, settings, caplog):
        configure(settings, PRESIST="cookie")
        assert order_in(get(LANDING)) == FakeOrder()
        assert "BrontoConfigurationError" in caplog.text

    def test_global_privacy_control(self, settings):
        configure(settings, CONSENT=lambda request: True, PERSIST="cookie")
        request = get(LANDING, headers={"Sec-GPC": "1", **COOKIES})
        assert not handle(request).cookies
        assert request.bronto == Tracking(note=Note.PRIVACY_CONTROL)
        assert order_in(request) == FakeOrder()

    @pytest.mark.parametrize("value", ["0", "", "true"])
    def test_other_values_of_the_header_mean_nothing(self, value):
        assert bronto(LANDING, headers={"Sec-GPC": value})

    def test_global_privacy_control_can_be_left_to_the_hook(self, settings):
        configure(settings, RESPECT_GPC=False)
        assert bronto(LANDING, headers={"Sec-GPC": "1"})


class TestPersist:
    def test_off_by_default(self):
        response = handle(get(LANDING, session=Forbidden()))
        assert not response.cookies

    def test_session(self, settings):
        configure(settings, PERSIST="session")
        handle(get(LANDING, session=(session := MemorySession())))
        assert session.modified
        kept = MemorySession(**{SESSION_KEY: session[SESSION_KEY]})
        found = bronto(session=kept)
        assert (found.tid, found.source) == (DOCS_TID, "session")
        assert found.seen_at is not None

    def test_async_session_makes_no_query_in_the_event_loop(self, settings, caplog):
        configure(settings, PERSIST="session")
        ahandle(get(LANDING, factory=AsyncRequestFactory, session=(session := MemorySession())))
        assert session.modified
        assert DOCS_TID in session[SESSION_KEY]
        assert not caplog.records

    def test_async_view_awaits_what_was_kept(self, settings):
        configure(settings, PERSIST="session")
        found = []

        async def view(request):
            found.append(await request.abronto())
            found.append(request.bronto)
            return HttpResponse()

        ahandle(get(factory=AsyncRequestFactory, session=MemorySession(**{SESSION_KEY: kept(DOCS_TID)})), view)
        assert [tracking.tid for tracking in found] == [DOCS_TID, DOCS_TID]

    def test_what_cannot_be_read_in_the_event_loop_still_reaches_the_order(self, settings, caplog):
        configure(settings, PERSIST="session")
        order = FakeOrder()

        async def view(request):
            assert request.bronto.note == Note.UNREADABLE
            await sync_to_async(tracking.fill)(order)
            return HttpResponse()

        ahandle(get(factory=AsyncRequestFactory, session=MemorySession(**{SESSION_KEY: kept(DOCS_TID)})), view)
        assert order.tid == DOCS_TID
        assert "SynchronousOnlyOperation" in caplog.text

    def test_a_session_flushed_by_the_view_keeps_the_landing(self, settings):
        configure(settings, PERSIST="session")
        session = MemorySession()
        handle(get(LANDING, session=session), lambda request: request.session.clear() or HttpResponse())
        assert DOCS_TID in session[SESSION_KEY]

    @pytest.mark.parametrize("persist", ["session", "cookie"])
    @pytest.mark.parametrize("query", ["/?_bta_tid=junk", "/?_bta_tid=", "/?x_bta_tid=1", "/"])
    def test_keeps_only_what_came_well_formed_in_the_query(self, settings, caplog, persist, query):
        configure(settings, PERSIST=persist)
        for request, run in (
            (get(query, session=MemorySession(), headers=COOKIES), handle),
            (get(query, factory=AsyncRequestFactory, session=MemorySession(), headers=COOKIES), ahandle),
        ):
            assert not run(request).cookies
            assert not request.session.accessed
        assert not caplog.records

    def test_missing_session_is_logged_only(self, settings, caplog):
        configure(settings, PERSIST="session")
        assert handle(get(LANDING)).status_code == 200
        assert "AttributeError" in caplog.text
        assert bronto(headers=COOKIES).source == "cookie"

    def test_broken_session_is_logged_only(self, settings, caplog):
        configure(settings, PERSIST="session")
        assert handle(get(LANDING, session=BrokenSession())).status_code == 200
        assert bronto(session=BrokenSession()).note == Note.UNREADABLE
        ahandle(request := get(factory=AsyncRequestFactory, session=BrokenSession()))
        assert asyncio.run(request.abronto()).note == Note.UNREADABLE
        assert "ConnectionError" in caplog.text
        assert DOCS_TID not in caplog.text

    @pytest.mark.parametrize("run", [handle, ahandle])
    @pytest.mark.parametrize("secure", [True, False])
    def test_signed_cookie(self, settings, run, secure):
        configure(settings, PERSIST="cookie")
        factory = RequestFactory if run is handle else AsyncRequestFactory
        response = run(factory().get(LANDING, secure=secure))
        cookie = response.cookies[COOKIE]
        assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/")
        assert cookie["max-age"] == COOKIE_AGE == 2_592_000
        assert bool(cookie["secure"]) is secure
        assert response["Vary"] == "Cookie"
        found = bronto(headers={"Cookie": f"{COOKIE}={cookie.value}"})
        assert (found.tid, found.source) == (DOCS_TID, "signed_cookie")

    def test_forged_and_expired_cookies_are_nothing(self, settings, time_machine):
        configure(settings, PERSIST="cookie")
        time_machine.move_to(datetime.now(UTC))
        value = handle(get(LANDING)).cookies[COOKIE].value
        other_salt = HttpResponse()
        other_salt.set_signed_cookie(COOKIE, kept(DOCS_TID))
        for forged in (value.replace("VO4AkA", "VO4AkB"), kept(DOCS_TID), other_salt.cookies[COOKIE].value):
            assert bronto(headers={"Cookie": f"{COOKIE}={forged}"}) == Tracking()
        time_machine.shift(COOKIE_AGE - 60)
        assert bronto(headers={"Cookie": f"{COOKIE}={value}"})
        time_machine.shift(120)
        assert bronto(headers={"Cookie": f"{COOKIE}={value}"}) == Tracking()

    @pytest.mark.parametrize("persist", ["session", "cookie"])
    def test_name_and_lifetime_are_settings(self, settings, time_machine, persist):
        configure(settings, PERSIST=persist, COOKIE_NAME="shop-mail", COOKIE_AGE=3600)
        time_machine.move_to(datetime.now(UTC))
        response = handle(get(LANDING, session=(session := MemorySession())))
        headers = {"Cookie": f"shop-mail={response.cookies['shop-mail'].value}"} if persist == "cookie" else {}
        assert response.cookies.get("shop-mail", {"max-age": 3600})["max-age"] == 3600

        def found():
            return bronto(session=MemorySession(**dict(session.items())), headers=headers)

        time_machine.shift(3590)
        assert found().tid == DOCS_TID
        time_machine.shift(20)
        assert found() == Tracking()

    def test_nothing_kept_is_read_once_persist_is_off(self, settings):
        configure(settings, PERSIST="cookie")
        value = handle(get(LANDING)).cookies[COOKIE].value
        configure(settings)
        session = MemorySession(**{SESSION_KEY: kept(DOCS_TID)})
        assert not bronto(headers={"Cookie": f"{COOKIE}={value}"}, session=session)
        assert session.loads == 0

    def test_newest_of_kept_and_cookie(self, settings):
        configure(settings, PERSIST="session")
        session = {SESSION_KEY: kept(make_tid(1_700_000_000))}
        older = {"Cookie": f"tid_a={make_tid(1_600_000_000)}"}
        newer = {"Cookie": f"tid_a={make_tid(1_800_000_000)}"}
        assert bronto(session=MemorySession(**session), headers=older).source == "session"
        assert bronto(session=MemorySession(**session), headers=newer).source == "cookie"


@pytest.mark.parametrize("run", [handle, ahandle])
@pytest.mark.parametrize("persist", ["session", "cookie"])
class TestForgetting:
    """CLEAR_AFTER_ORDER: what was kept serves one order."""

    @pytest.fixture(autouse=True)
    def settings_that_clear(self, settings, persist):
        configure(settings, PERSIST=persist, CLEAR_AFTER_ORDER=True)

    def visit(self, run, *, path="/", committed=True, kept_before=True):
        """Have an order created in a request; return the session and the response."""
        factory = RequestFactory if run is handle else AsyncRequestFactory
        landed = run(get(LANDING, factory=factory, session=(session := MemorySession())))
        cookie = landed.cookies.get(COOKIE)
        headers = {"Cookie": f"{COOKIE}={cookie.value}"} if cookie else {}
        later = MemorySession(**dict(session.items())) if kept_before else MemorySession()

        def view(request):
            tracking.fill(FakeOrder())
            if committed:
                tracking.active.get().order_committed()
            return HttpResponse()

        async def aview(request):
            return await sync_to_async(view)(request)

        request = get(path, factory=factory, session=later, headers=headers if kept_before else {})
        return later, run(request, view if run is handle else aview)

    def test_an_order_uses_it_up(self, run, persist):
        session, response = self.visit(run)
        assert SESSION_KEY not in session
        if persist == "cookie":
            assert (response.cookies[COOKIE].value, response.cookies[COOKIE]["max-age"]) == ("", 0)
            assert response["Vary"] == "Cookie"
        else:
            assert session.modified
            assert not response.cookies

    def test_an_order_that_was_not_committed_does_not(self, run, persist):
        session, response = self.visit(run, committed=False)
        assert (SESSION_KEY in session) is (persist == "session")
        assert not response.cookies

    def test_not_unless_it_is_set(self, run, persist, settings):
        configure(settings, PERSIST=persist)
        session, response = self.visit(run)
        assert (SESSION_KEY in session) is (persist == "session")
        assert not response.cookies

    def test_an_order_at_the_landing_itself_keeps_nothing(self, run, persist):
        session, response = self.visit(run, path=LANDING)
        assert SESSION_KEY not in session
        assert response.cookies.get(COOKIE, SimpleNamespace(value="")).value == ""

    def test_where_nothing_was_kept_nothing_is_written(self, run, persist):
        session, response = self.visit(run, kept_before=False)
        assert not session.modified
        assert not response.cookies
        assert not response.has_header("Vary")


class TestOrders:
    @pytest.mark.parametrize(
        ("given", "note"),
        [
            ({}, Note.NO_CLICK),
            ({"headers": {"Sec-GPC": "1"}}, Note.PRIVACY_CONTROL),
            ({"headers": {"Cookie": "tid_a=junk"}}, Note.MALFORMED),
            ({"user": SimpleNamespace(is_staff=True), "headers": COOKIES}, Note.STAFF),
            (
                {
                    "user": SimpleNamespace(is_authenticated=True, is_staff=False),
                    "session": MemorySession(hijack_history=["1"]),
                    "headers": COOKIES,
                },
                Note.IMPERSONATED,
            ),
        ],
    )
    def test_say_why_they_have_no_tracking(self, given, note):
        order = order_in(get(**given))
        assert (order.attribution_source, order.attribution_seen_at, order.attribution_note) == ("", None, note)

    def test_say_that_there_was_no_consent(self, settings):
        configure(settings, CONSENT=refuse)
        assert order_in(get(LANDING, headers=COOKIES)).attribution_note == Note.NO_CONSENT

    def test_say_by_what_they_were_attributed(self, settings):
        configure(settings, PERSIST="session")
        order = order_in(get(LANDING))
        assert (order.attribution_source, order.attribution_note) == ("query", "")
        assert (datetime.now(UTC) - order.attribution_seen_at).total_seconds() < 60
        order = order_in(get(session=MemorySession(**{SESSION_KEY: f"{int(time()) - 999}:{DOCS_TID}"})))
        assert order.attribution_source == "session"
        assert 990 < (datetime.now(UTC) - order.attribution_seen_at).total_seconds() < 1100
        assert order_in(get(headers=COOKIES)).attribution_source == "cookie"

    def test_fills_tracking_address_and_user_agent(self):
        order = order_in(get(LANDING, REMOTE_ADDR="192.0.2.7", headers={"User-Agent": "Browser"}))
        assert order == FakeOrder(tid=DOCS_TID, origin_ip="192.0.2.7", origin_user_agent="Browser")

    def test_fills_address_and_user_agent_without_tracking(self):
        order = order_in(get(REMOTE_ADDR="192.0.2.7", headers={"User-Agent": "Browser"}))
        assert order == FakeOrder(origin_ip="192.0.2.7", origin_user_agent="Browser")

    @pytest.mark.parametrize(
        "user",
        [
            AnonymousUser(),
            SimpleNamespace(is_authenticated=True, is_staff=False),
            SimpleNamespace(is_authenticated=True),
        ],
    )
    def test_shoppers(self, user):
        assert order_in(get(LANDING, user=user)).tid == DOCS_TID
        assert order_in(get(LANDING, user=user, session=MemorySession())).tid == DOCS_TID

    def test_never_for_staff(self):
        assert order_in(get(LANDING, user=SimpleNamespace(is_staff=True))) == FakeOrder()

    @pytest.mark.parametrize("key", ["hijack_history", "_impersonate", "loginas_from_user"])
    def test_never_for_staff_acting_as_a_customer(self, key):
        user = SimpleNamespace(is_authenticated=True, is_staff=False)
        assert order_in(get(LANDING, user=user, session=MemorySession(**{key: ["1"]}))) == FakeOrder()

    @pytest.mark.parametrize("app_names", [["admin"], ["shop", "admin"]])
    def test_never_in_the_admin(self, app_names):
        request = get(LANDING, user=Forbidden())
        request.resolver_match = ResolverMatch(refuse, (), {}, app_names=app_names)
        assert order_in(request) == FakeOrder()

    def test_staff_may_still_look(self):
        assert bronto(LANDING, user=SimpleNamespace(is_staff=True)).tid == DOCS_TID

    def test_who_the_user_is_is_asked_only_for_an_order(self):
        handle(get(LANDING, user=Forbidden()), lambda request: bool(tracking.current()) and HttpResponse())

    def test_a_broken_session_does_not_break_the_order(self, settings, caplog):
        configure(settings, PERSIST="session")
        user = SimpleNamespace(is_authenticated=True, is_staff=False)
        assert order_in(get(user=user, session=BrokenSession(), REMOTE_ADDR="192.0.2.7")) == FakeOrder()
        assert "ConnectionError" in caplog.text
        assert "192.0.2.7" not in caplog.text


class TestClientIp:
    def test_remote_addr_by_default_and_nothing_else(self):
        assert address(get(REMOTE_ADDR="192.0.2.7", headers={"X-Forwarded-For": "203.0.113.1"})) == "192.0.2.7"
        request = get()
        del request.META["REMOTE_ADDR"]
        assert address(request) is None

    @pytest.mark.parametrize(("text", "expected"), [(" ::ffff:192.0.2.7 ", "192.0.2.7"), ("unknown", None), (7, None)])
    def test_a_hook_decides_and_its_answer_is_parsed(self, settings, text, expected):
        configure(settings, CLIENT_IP=lambda request: text)
        assert address(get(REMOTE_ADDR="198.51.100.9")) == expected

    def test_behind_proxies(self, settings):
        configure(settings, CLIENT_IP=client_ip.behind(proxies=1))
        assert address(get(headers={"X-Forwarded-For": "10.0.0.1, 203.0.113.1"})) == "203.0.113.1"
        assert address(get()) is None

    @pytest.mark.parametrize("hook", ["tests.nowhere.hook", "explode"])
    def test_a_failing_hook_gives_none_and_is_logged(self, settings, caplog, hook):
        configure(settings, CLIENT_IP=explode if hook == "explode" else hook)
        assert address(get(REMOTE_ADDR="192.0.2.7")) is None
        assert "CLIENT_IP" in caplog.text
        assert DOCS_TID not in caplog.text


class TestUserAgent:
    @pytest.mark.parametrize(
        ("header", "expected"),
        [
            ("Browser/1.0 (X11)", "Browser/1.0 (X11)"),
            ("a\x00b\tc\x7fd\x85e\u2028f\ud800g", "abcdefg"),
            ("  spaced  ", "spaced"),
            ("Ünïcode", "Ünïcode"),
            ("x" * 5000, "x" * 1024),
            ("", ""),
        ],
    )
    def test_is_printable_and_short(self, header, expected):
        request = get()
        request.META["HTTP_USER_AGENT"] = header
        assert user_agent(request) == expected

    def test_may_be_missing(self):
        assert user_agent(get()) == ""


class TestContext:
    def test_ends_with_the_response(self):
        handle(get(LANDING), lambda request: tracking.current() and HttpResponse())
        assert tracking.current() is None

    def test_ends_with_an_exception(self):
        async def view(request):
            raise ZeroDivisionError

        def raises(request):
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            handle(get(LANDING), raises)
        assert tracking.current() is None

        async def main():
            with pytest.raises(ZeroDivisionError):
                await TrackingMiddleware(view)(get(LANDING, factory=AsyncRequestFactory))
            return tracking.current()

        assert asyncio.run(main()) is None

    def test_ends_with_a_cancelled_request(self):
        async def view(request):
            await asyncio.sleep(60)

        async def request_then_look():
            try:
                await TrackingMiddleware(view)(get(LANDING, factory=AsyncRequestFactory))
            except asyncio.CancelledError:
                return tracking.current()

        async def main():
            task = asyncio.create_task(request_then_look())
            await asyncio.sleep(0)
            task.cancel()
            return await task

        assert asyncio.run(main()) is None

    def test_a_stream_is_sent_outside_of_it(self):
        seen = []

        def body():
            seen.append(tracking.current())
            yield b"x"

        async def abody():
            seen.append(tracking.current())
            yield b"x"

        assert list(handle(get(LANDING), lambda request: StreamingHttpResponse(body()))) == [b"x"]

        async def view(request):
            return StreamingHttpResponse(abody())

        async def main():
            response = await TrackingMiddleware(view)(get(LANDING, factory=AsyncRequestFactory))
            return [part async for part in response]

        assert asyncio.run(main()) == [b"x"]
        assert seen == [None, None]

    def test_a_task_that_nobody_waits_for_outlives_it(self):
        """It runs in a copy of the request's context, and may run for ever."""
        tasks = []

        async def go_on(answered):
            in_request = tracking.current()
            await answered.wait()
            tracking.fill(order := FakeOrder())
            tracking.announce("default")
            return in_request.tid, tracking.current(), order

        async def main():
            async def view(request):
                tasks.append(asyncio.create_task(go_on(answered)))
                await asyncio.sleep(0)
                return HttpResponse()

            answered = asyncio.Event()
            await TrackingMiddleware(view)(get(LANDING, factory=AsyncRequestFactory))
            answered.set()
            return await tasks[0]

        tid, after, order = asyncio.run(main())
        assert (tid, after, order, order.attribution_note) == (DOCS_TID, None, FakeOrder(), "")

    def test_a_request_inside_a_request_gives_the_outer_one_back(self):
        inner = get(f"/?_bta_tid={LINK_TID}")

        def view(request):
            handle(inner, lambda request: HttpResponse(tracking.current().tid))
            return HttpResponse(tracking.current().tid)

        assert handle(get(LANDING), view).content.decode() == DOCS_TID

    def test_interleaved_async_requests_do_not_leak(self):
        async def view(request):
            await asyncio.sleep(random.random() / 100)
            before = tracking.current().tid
            await asyncio.sleep(random.random() / 100)
            in_thread = FakeOrder()
            await sync_to_async(tracking.fill, thread_sensitive=False)(in_thread)
            if before.endswith("w0"):
                raise ZeroDivisionError
            return HttpResponse(f"{before} {in_thread.tid} {in_thread.origin_ip}")

        middleware = TrackingMiddleware(view)

        async def one(number):
            tid, address = f"3{'.' * 13}.w{number}", f"192.0.2.{number % 256}"
            request = AsyncRequestFactory().get(f"/?_bta_tid={tid}")
            request.META["REMOTE_ADDR"] = address
            if number == 0:
                with pytest.raises(ZeroDivisionError):
                    await middleware(request)
            else:
                assert (await middleware(request)).content.decode() == f"{tid} {tid} {address}"
            return tracking.current()

        async def main():
            return await asyncio.gather(*map(one, range(300)))

        assert set(asyncio.run(main())) == {None}

    def test_threads_do_not_leak(self):
        barrier = threading.Barrier(8)

        def one(number):
            tid = f"3{'.' * 13}.w{number}"

            def view(request):
                barrier.wait()
                return HttpResponse(tracking.current().tid)

            seen = [handle(get(f"/?_bta_tid={tid}"), view).content.decode() for _ in range(20)]
            return set(seen) == {tid} and tracking.current() is None

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(one, range(8)))


def checkout(request):
    order = FakeOrder()
    tracking.fill(order)
    return HttpResponse(f"{order.tid or order.tracking_cookie_value} {order.origin_ip}")


async def acheckout(request):
    order = FakeOrder()
    await sync_to_async(tracking.fill)(order)
    return HttpResponse(f"{order.tid or order.tracking_cookie_value} {order.origin_ip}")


def error(request):
    raise ZeroDivisionError


def page(request):
    page.rendered += 1
    return HttpResponse(f"page {page.rendered}")


page.rendered = 0


urlpatterns = [
    path("page/", page),
    path("checkout/", checkout),
    path("acheckout/", acheckout),
    path("error/", error),
    path("back-office/", include(([path("", checkout)], "admin"))),
]


class TestWholeStack:
    """Through Django's own handlers, sessions in signed cookies, no database."""

    @pytest.fixture(autouse=True)
    def stack(self, settings):
        settings.ROOT_URLCONF = __name__
        settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
        settings.MIDDLEWARE = [
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "bronto_orders.middleware.TrackingMiddleware",
        ]

    def fetch(self, client, path):
        if isinstance(client, Client):
            return client.get(path)
        return asyncio.run(client.get(path))

    @pytest.mark.parametrize("client_class", [Client, AsyncClient])
    @pytest.mark.parametrize("page", ["/checkout/", "/acheckout/"])
    @pytest.mark.parametrize("persist", ["session", "cookie"])
    def test_from_landing_to_checkout(self, settings, client_class, page, persist):
        configure(settings, PERSIST=persist)
        client = client_class()
        assert self.fetch(client, page).content.decode() == " 127.0.0.1"
        landing = self.fetch(client, f"{page}?_bta_tid={DOCS_TID}")
        assert set(landing.cookies) == {COOKIE if persist == "cookie" else settings.SESSION_COOKIE_NAME}
        assert landing["Vary"] == "Cookie"
        response = self.fetch(client, page)
        assert response.content.decode() == f"{DOCS_TID} 127.0.0.1"
        assert not response.cookies
        assert tracking.current() is None

    @pytest.mark.parametrize("client_class", [Client, AsyncClient])
    def test_cookie_set_by_the_script(self, client_class):
        client = client_class()
        client.cookies = SimpleCookie({DOCS_COOKIE: LINK_TID})
        assert self.fetch(client, "/checkout/").content.decode() == f"{LINK_TID} 127.0.0.1"

    @pytest.mark.parametrize("client_class", [Client, AsyncClient])
    def test_back_office(self, client_class):
        assert self.fetch(client_class(), f"/back-office/{LANDING[1:]}").content.decode() == " None"

    @pytest.mark.parametrize("client_class", [Client, AsyncClient])
    def test_an_error_page_leaves_nothing_behind(self, client_class):
        client = client_class(raise_request_exception=False)
        assert self.fetch(client, f"/error/{LANDING[1:]}").status_code == 500
        assert tracking.current() is None


class TestCaches:
    """A page that can be cached stays so: Django's own cache middleware, ours inside it."""

    @pytest.fixture(autouse=True)
    def stack(self, settings):
        settings.ROOT_URLCONF = __name__
        settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
        settings.MIDDLEWARE = [
            "django.middleware.cache.UpdateCacheMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "bronto_orders.middleware.TrackingMiddleware",
            "django.middleware.cache.FetchFromCacheMiddleware",
        ]
        cache.clear()
        page.rendered = 0
        yield
        cache.clear()

    @pytest.mark.parametrize("persist", [None, "session", "cookie"])
    @pytest.mark.parametrize("client_class", [Client, AsyncClient])
    def test_the_second_visitor_is_served_from_the_cache(self, settings, client_class, persist):
        configure(settings, PERSIST=persist, CLEAR_AFTER_ORDER=True)

        def visit(**cookies):
            client = client_class()
            client.cookies = SimpleCookie(cookies)
            return TestWholeStack().fetch(client, "/page/")

        first, second = visit(), visit(**{DOCS_COOKIE: LINK_TID, COOKIE: "whatever"})
        assert first.content == second.content == b"page 1"
        assert not first.has_header("Vary")
        assert not second.cookies

    @pytest.mark.parametrize("persist", ["session", "cookie"])
    def test_what_is_kept_for_one_visitor_reaches_no_other(self, settings, persist):
        configure(settings, PERSIST=persist)
        address = f"/page/?_bta_tid={DOCS_TID}"
        assert Client().get(address).cookies
        stranger = Client()
        stranger.cookies = SimpleCookie({"known": "visitor"})
        answer = stranger.get(address)
        assert answer.content == b"page 2"
        assert Client().get("/page/").content == b"page 3"
        assert not Client().get("/page/").cookies
