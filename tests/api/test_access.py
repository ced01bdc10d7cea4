"""Who may call what, how often, and what they are told when they may not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.utils import translation
from rest_framework.authentication import BasicAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.throttling import ScopedRateThrottle, SimpleRateThrottle

from bronto_orders.api import throttles, urls, views
from bronto_orders.models import Order, SyncState
from tests.admin.conftest import FakeBronto, bronto
from tests.api.conftest import Api, kind, order_url
from tests.factories import OrderFactory, acknowledge

__all__ = ["bronto"]  # the fixture

pytestmark = pytest.mark.django_db

LIST, ACCOUNTS = "/bronto/orders/", "/bronto/accounts/"
#: Who is there, and what they get: list, order, diff, resync, accounts, PUT of a new order, PUT and PATCH of one.
PEOPLE: dict[str, tuple[list[str], tuple[int, ...]]] = {
    "nobody in particular": ([], (403, 403, 403, 403, 403, 403, 403, 403)),
    "reader": (["view_order"], (200, 200, 403, 403, 403, 403, 403, 403)),
    "comparer": (["view_order", "view_diff"], (200, 200, 200, 403, 403, 403, 403, 403)),
    "comparer who may not read": (["view_diff"], (403, 403, 403, 403, 403, 403, 403, 403)),
    "resyncer": (["view_order", "resync_order"], (200, 200, 403, 202, 403, 403, 403, 403)),
    "resyncer who may not read": (["resync_order"], (403, 403, 403, 403, 403, 403, 403, 403)),
    "watchman": (["view_accountstatus"], (403, 403, 403, 403, 200, 403, 403, 403)),
    "checkout": (["add_order"], (403, 403, 403, 403, 403, 201, 403, 403)),
    "warehouse": (["change_order"], (403, 403, 403, 403, 403, 403, 200, 200)),
}


def calls(api: Api) -> list[Any]:
    """Make one call of each kind; there is an order ``1``."""
    return [
        api.get(LIST),
        api.get(order_url("1")),
        api.get(order_url("1", "diff/")),
        api.post(order_url("1", "resync/")),
        api.get(ACCOUNTS),
        api.put("2", {}),
        api.put("1", {"grandTotal": 7}),
        api.patch("1", {"grandTotal": 8}),
    ]


@pytest.fixture
def order() -> Order:
    order = OrderFactory(customer_order_id="1", grand_total=5)
    acknowledge(order)
    return order


@pytest.mark.parametrize("who", PEOPLE)
def test_users_get_what_their_permissions_say(
    bronto: FakeBronto, order: Order, somebody: Callable[..., Api], who: str
) -> None:
    permissions, expected = PEOPLE[who]
    answers = calls(somebody(*permissions))
    assert tuple(answer.status_code for answer in answers) == expected
    assert {kind(answer) for answer in answers if answer.status_code == 403} == {"permission_denied"}
    assert bool(bronto.calls) is (expected[2] == 200)
    order.refresh_from_db()
    assert (order.grand_total == 5) is (expected[7] == 403)
    assert (order.sync_state == SyncState.SYNCED) is (expected[3] == expected[7] == 403)
    assert Order.objects.count() == (2 if expected[5] == 201 else 1)


def test_the_anonymous_get_nothing(bronto: FakeBronto, order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    for answer in calls(Api(None)):
        assert (answer.status_code, kind(answer)) == (403, "not_authenticated")
    monkeypatch.setattr(views.View, "authentication_classes", [BasicAuthentication])
    for answer in calls(Api(None)):
        assert (answer.status_code, kind(answer)) == (401, "not_authenticated")
        assert answer["WWW-Authenticate"].startswith("Basic")
    assert not bronto.calls
    order.refresh_from_db()
    assert (order.grand_total, Order.objects.count()) == (5, 1)


def test_a_session_needs_its_csrf_token(order: Order, api: Api) -> None:
    api.client.handler.enforce_csrf_checks = True
    answer = api.put("1", {})
    assert (answer.status_code, kind(answer)) == (403, "permission_denied")
    order.refresh_from_db()
    assert order.grand_total == 5


def test_the_projects_own_permissions_count_too(
    bronto: FakeBronto, order: Order, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NotThisOne(BasePermission):
        def has_object_permission(self, request: Any, view: Any, obj: Any) -> bool:
            return str(obj.customer_order_id) != "1"

    monkeypatch.setattr(views.View, "permission_classes", [NotThisOne])
    assert [answer.status_code for answer in calls(api)] == [200, 403, 403, 403, 200, 201, 403, 403]
    order.refresh_from_db()
    assert (order.grand_total, order.sync_state) == (5, SyncState.SYNCED)


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (throttles.READ, [200, 429, 200, 202, 429, 201, 200, 200]),
        (throttles.WRITE, [200, 200, 200, 202, 200, 429, 429, 429]),
        (throttles.REMOTE, [200, 200, 200, 202, 200, 201, 200, 200]),
    ],
)
def test_calls_are_limited_by_scope(
    bronto: FakeBronto, order: Order, api: Api, monkeypatch: pytest.MonkeyPatch, scope: str, expected: list[int]
) -> None:
    monkeypatch.setattr(SimpleRateThrottle, "THROTTLE_RATES", {scope: "1/day"})
    answers = calls(api)
    assert [answer.status_code for answer in answers] == expected
    again = api.get(order_url("1", "diff/"))
    assert again.status_code == (429 if scope == throttles.REMOTE else 200)
    for answer in [*answers, again]:
        if answer.status_code == 429:
            assert kind(answer) == "throttled"
            assert int(answer["Retry-After"]) > 80_000


def test_the_projects_own_scoped_throttle_needs_no_rate_of_ours(
    order: Order, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SimpleRateThrottle, "THROTTLE_RATES", {throttles.READ: None})
    monkeypatch.setattr(views.View, "throttle_classes", [ScopedRateThrottle])
    assert [api.get(LIST).status_code for _call in range(3)] == [200, 200, 200]
    assert throttles.ScopeThrottle.THROTTLE_RATES == {throttles.READ: None}


def test_every_scope_has_a_rate() -> None:
    assert set(throttles.RATES) == {throttles.READ, throttles.WRITE, throttles.REMOTE, throttles.LANDING}


@pytest.mark.parametrize(
    ("body", "media_type", "status", "problem"),
    [
        (b"", "application/json", 400, "parse_error"),
        (b"{", "application/json", 400, "parse_error"),
        (b'{"grandTotal": NaN}', "application/json", 400, "parse_error"),
        (b'{"grandTotal": 1e99999999999999999999}', "application/json", 400, "parse_error"),
        (b'{"grandTotal": ' + b"9" * 5_000 + b"}", "application/json", 400, "parse_error"),
        (b"[" * 100_000, "application/json", 400, "parse_error"),
        (b"\xff\xfe\xfd", "application/json", 400, "parse_error"),
        (b'{"shippingDetails": "' + b"x" * 2_700_000 + b'"}', "application/json", 413, "too_large"),
        (b"grandTotal=1", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_bodies_that_cannot_be_read(
    order: Order, api: Api, body: bytes, media_type: str, status: int, problem: str
) -> None:
    response: Any = api.client.generic("PUT", order_url("1"), body, media_type)
    response.data = response.json()
    assert (response.status_code, kind(response)) == (status, problem)
    order.refresh_from_db()
    assert order.grand_total == 5


def test_methods_and_types_that_are_not_there(order: Order, api: Api) -> None:
    for method, url in (("DELETE", order_url("1")), ("POST", LIST), ("GET", order_url("1", "resync/"))):
        answer = api.call(method, url)
        assert (answer.status_code, kind(answer)) == (405, "method_not_allowed")
    answer = api.get(LIST, accept="text/html")
    assert (answer.status_code, kind(answer)) == (406, "not_acceptable")
    assert api.client.head(LIST).status_code == 200


def test_problems_are_told_in_the_readers_language(api: Api, settings: Any) -> None:
    english = api.get(order_url("1")).data["detail"]
    settings.MIDDLEWARE = ["django.middleware.locale.LocaleMiddleware", *settings.MIDDLEWARE]
    german = Api(None)
    german.client.cookies = api.client.cookies
    with translation.override("en"):  # and what the middleware activates ends with it
        answer = german.get(order_url("1"), accept_language="de")
    assert answer.status_code == 404
    assert answer.data["detail"] != english


def test_no_transaction_is_open_around_a_view() -> None:
    views_of_ours = [pattern.callback for pattern in urls.urlpatterns]
    assert [view._non_atomic_requests for view in views_of_ours] == [{"default"}] * len(views_of_ours)  # type: ignore[attr-defined]
