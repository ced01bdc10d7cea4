"""Telling of a campaign link from a page that came from a cache."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.throttling import SimpleRateThrottle

from bronto_orders import tracking
from bronto_orders.api import throttles
from bronto_orders.conf import TrackingSettings
from bronto_orders.keeping import SESSION_KEY
from tests.api.conftest import Api, kind, problems
from tests.test_tracking import DOCS_TID, LINK_TID

pytestmark = pytest.mark.django_db

URL = "/bronto/tracking/"
COOKIE = TrackingSettings.cookie_name
BOTH = pytest.mark.parametrize("persist", ["session", "cookie"])


@pytest.fixture(autouse=True)
def persist(request: pytest.FixtureRequest, settings: Any) -> str:
    """Where it is kept; in the session unless a test names others."""
    where: str = getattr(request, "param", None) or "session"
    configure(settings, PERSIST=where)
    return where


def configure(settings: Any, **given: Any) -> None:
    settings.BRONTO_ORDERS = {"TRACKING": given}


@pytest.fixture
def shopper() -> Api:
    """Somebody without a login, whose browser checks what browsers check."""
    found = Api(None)
    found.client.handler.enforce_csrf_checks = True
    return found


def kept(client: Client) -> str:
    """Return the tid that a request of this client finds."""
    seen: list[tracking.Tracking] = []
    request = client.get("/favicon.ico").wsgi_request
    seen.append(request.bronto)  # type: ignore[attr-defined]
    return seen[0].tid


def click(api: Api, tid: Any = DOCS_TID, **headers: str) -> Any:
    return api.call("POST", URL, {"tid": tid}, **headers)


@pytest.mark.parametrize("persist", ["session", "cookie"], indirect=True)
class TestKeeping:
    def test_keeps_what_a_landing_would_and_tells_nothing(self, shopper: Api, persist: str) -> None:
        answer = click(shopper)
        assert (answer.status_code, answer.content) == (204, b"")
        assert set(answer.cookies) == {"sessionid" if persist == "session" else COOKIE}
        assert "no-store" in answer["Cache-Control"]
        assert kept(shopper.client) == DOCS_TID

    def test_the_last_click_wins(self, shopper: Api, persist: str) -> None:
        assert click(shopper).status_code == click(shopper, LINK_TID).status_code == 204
        assert kept(shopper.client) == LINK_TID

    def test_nothing_without_consent_and_what_was_kept_is_forgotten(
        self, shopper: Api, settings: Any, persist: str
    ) -> None:
        click(shopper)
        configure(settings, PERSIST=persist, CONSENT=lambda request: False)
        assert (click(shopper, LINK_TID).status_code, kept(shopper.client)) == (204, "")
        configure(settings, PERSIST=persist)
        assert kept(shopper.client) == ""

    def test_nothing_under_global_privacy_control(self, shopper: Api, persist: str) -> None:
        answer = click(shopper, **{"Sec-GPC": "1"})
        assert (answer.status_code, dict(answer.cookies), kept(shopper.client)) == (204, {}, "")

    def test_consent_that_comes_later_is_in_time(self, shopper: Api, settings: Any, persist: str) -> None:
        configure(settings, PERSIST=persist, CONSENT=lambda request: "consent" in request.COOKIES)
        shopper.client.get(f"/favicon.ico?_bta_tid={DOCS_TID}")
        shopper.client.cookies["consent"] = "yes"
        assert kept(shopper.client) == ""
        click(shopper)
        assert kept(shopper.client) == DOCS_TID

    def test_forgets(self, shopper: Api, persist: str) -> None:
        click(shopper)
        assert (shopper.call("DELETE", URL).status_code, kept(shopper.client)) == (204, "")
        assert shopper.call("DELETE", URL).status_code == 204

    @pytest.mark.parametrize("tid", ["", "junk", None, 3, ["3"], DOCS_TID + "\n", DOCS_TID.replace(".", "%2E")])
    def test_takes_nothing_else(self, shopper: Api, persist: str, tid: Any) -> None:
        answer = click(shopper, tid)
        assert (answer.status_code, kind(answer), kept(shopper.client)) == (400, "invalid", "")
        assert problems(answer).keys() == {"tid"}
        assert not answer.cookies


def test_odd_bodies_are_refused_in_the_usual_shape(shopper: Api) -> None:
    assert problems(shopper.post(URL, {"tip": DOCS_TID})) == {"tid": "required", "tip": "unknown"}
    assert kind(shopper.call("POST", URL, b"{")) == "parse_error"
    assert kind(shopper.post(f"{URL}?tid={DOCS_TID}", {"tid": DOCS_TID})) == "invalid_parameters"
    assert (shopper.get(URL).status_code, SESSION_KEY in shopper.client.session) == (405, False)


def test_is_not_there_where_nothing_is_kept(shopper: Api, settings: Any) -> None:
    configure(settings)
    for method in ("POST", "DELETE"):
        answer = shopper.call(method, URL, {"tid": DOCS_TID})
        assert (answer.status_code, kind(answer)) == (404, "not_found")


class TestForgery:
    @pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://testserver.evil.example", "junk", ""])
    def test_other_sites_keep_nothing(self, shopper: Api, origin: str) -> None:
        for method in ("POST", "DELETE"):
            answer = shopper.call(method, URL, {"tid": DOCS_TID}, Origin=origin)
            assert (answer.status_code, kind(answer)) == (403, "permission_denied")
        assert kept(shopper.client) == ""

    @pytest.mark.parametrize("origin", ["http://testserver", "https://m.shop.example", "https://shop.example"])
    def test_the_shops_own_do(self, shopper: Api, settings: Any, origin: str) -> None:
        settings.CSRF_TRUSTED_ORIGINS = ["https://shop.example", "https://*.shop.example"]
        assert click(shopper, Origin=origin).status_code == 204
        assert kept(shopper.client) == DOCS_TID

    def test_the_signed_in_need_their_token(self, shopper: Api) -> None:
        shopper.client.force_login(User.objects.create_user("customer"))
        answer = click(shopper, Origin="http://testserver")
        assert (answer.status_code, kind(answer)) == (403, "permission_denied")
        assert kept(shopper.client) == ""
        token = "t" * 32
        shopper.client.cookies["csrftoken"] = token
        assert click(shopper, Origin="http://testserver", **{"X-CSRFToken": token}).status_code == 204
        assert kept(shopper.client) == DOCS_TID

    def test_other_content_types_are_not_read(self, shopper: Api) -> None:
        answer = shopper.client.post(URL, {"tid": DOCS_TID})
        assert answer.status_code == 415
        assert kept(shopper.client) == ""


def test_calls_are_limited_by_a_scope_of_their_own(
    shopper: Api, somebody: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SimpleRateThrottle, "THROTTLE_RATES", {throttles.LANDING: "2/day", throttles.READ: "1/day"})
    assert [click(shopper).status_code for _ in range(3)] == [204, 204, 429]
    assert somebody("view_order").get("/bronto/orders/").status_code == 200


def test_the_projects_logins_are_not_asked_for(shopper: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from rest_framework.permissions import IsAuthenticated

    from bronto_orders.api.views import View

    monkeypatch.setattr(View, "permission_classes", [IsAuthenticated])
    assert click(shopper).status_code == 204
