"""A hold for refused credentials or a wrong address ends when the account's settings change."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import override_settings
from django.utils import timezone

from bronto_orders import exceptions as errors
from bronto_orders import signals
from bronto_orders.delivery import engine
from bronto_orders.models import AccountStatus, DbNow, Order
from tests.factories import OrderFactory
from tests.fakes import FakeBronto

pytestmark = pytest.mark.django_db(transaction=True)

AUTH = errors.AuthenticationError(status=403, reason="scope")
REDIRECT = errors.UnexpectedAnswerError(status=301)


def deliver(**account: Any) -> dict[str, int]:
    Order.objects.owed().update(due_at=DbNow(-1))
    given = {"CLIENT_ID": "key", "CLIENT_SECRET": "old-secret", **account}
    with override_settings(BRONTO_ORDERS={"ACCOUNTS": {"default": given}}):
        return engine.deliver("default").counts


@pytest.mark.parametrize("answer", [AUTH, REDIRECT], ids=["credentials", "address"])
@pytest.mark.parametrize(
    "change",
    [
        {"CLIENT_SECRET": "new"},
        {"CLIENT_ID": "new"},
        {"API_URL": "https://new.example.com"},
        {"TOKEN_URL": "https://new.example.com"},
        {"PROXIES": {"https": "http://user:pw@proxy"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_other_settings_are_tried_at_once(
    bronto: FakeBronto, answer: errors.BrontoError, change: dict[str, Any]
) -> None:
    OrderFactory()
    bronto.script.append(answer)
    assert deliver() == {"held": 1}
    assert deliver() == {}
    assert deliver(**change) == {"accepted": 1}
    status = AccountStatus.objects.get()
    assert (status.held_until, status.held_reason, status.refused_settings) == (None, "", "")


def test_the_release_is_told_once(bronto: FakeBronto) -> None:
    OrderFactory.create_batch(2)
    told: list[str] = []

    def tell(account: str, **kwargs: Any) -> None:
        told.append(account)

    bronto.always = AUTH
    deliver()
    bronto.always = None
    signals.account_released.connect(tell)
    try:
        deliver(CLIENT_SECRET="new")
    finally:
        signals.account_released.disconnect(tell)
    assert told == ["default"]


@pytest.mark.parametrize("last", ["held", "deferred"])
def test_the_refused_orders_are_among_those_tried(bronto: FakeBronto, last: str) -> None:
    OrderFactory()
    if last == "deferred":
        assert deliver() == {"accepted": 1}
        OrderFactory()
    bronto.script.append(AUTH)
    assert deliver() == {last: 1}
    AccountStatus.objects.update(held_until=DbNow(30), refused_settings="old")
    with override_settings(BRONTO_ORDERS={"ACCOUNTS": {"default": {"CLIENT_SECRET": "new"}}}):
        assert engine.deliver("default").counts == {"accepted": 1}


def test_what_does_not_decide_about_access_changes_nothing(bronto: FakeBronto) -> None:
    OrderFactory()
    bronto.script.append(AUTH)
    deliver()
    assert deliver(CONCURRENCY=3, TOTAL_TIMEOUT=10.0, TRIGGER_EVENTS=False) == {}


@pytest.mark.parametrize(
    "answer", [errors.RateLimitedError(status=429, retry_after=60), errors.NotSentError()], ids=["throttled", "outage"]
)
def test_other_holds_stand(bronto: FakeBronto, answer: errors.BrontoError) -> None:
    OrderFactory.create_batch(8)
    bronto.always = answer
    deliver()
    assert AccountStatus.objects.get().held_until > timezone.now()
    assert deliver(CLIENT_SECRET="new") == {}


def test_a_pause_stands(bronto: FakeBronto) -> None:
    OrderFactory()
    bronto.script.append(AUTH)
    deliver()
    AccountStatus.objects.update(paused=True)
    assert deliver(CLIENT_SECRET="new") == {}


def test_new_settings_may_be_refused_as_well(bronto: FakeBronto) -> None:
    OrderFactory()
    bronto.always = AUTH
    deliver()
    assert deliver(CLIENT_SECRET="new") == {"held": 1}
    assert deliver(CLIENT_SECRET="new") == {}


def test_no_secret_is_stored(bronto: FakeBronto) -> None:
    OrderFactory()
    bronto.always = AUTH
    deliver()
    assert "old-secret" not in str(vars(AccountStatus.objects.get()))
