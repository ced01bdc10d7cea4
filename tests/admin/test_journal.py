from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone

from bronto_orders.admin import AccountStatusAdmin, SyncAttemptAdmin
from bronto_orders.models import AccountStatus, SyncAttempt
from tests.admin.conftest import staff, url
from tests.factories import OrderFactory

pytestmark = pytest.mark.django_db
ATTEMPTS = "/admin/bronto_orders/syncattempt/"
ACCOUNTS = "/admin/bronto_orders/accountstatus/"


@pytest.fixture
def attempt() -> SyncAttempt:
    return SyncAttempt.objects.create(
        order=OrderFactory(customer_order_id="abc-5"), account="default", revision=1, operation="update",
        trigger="sweep", started_at=timezone.now(), duration_ms=12, http_status=400, outcome="rejected",
        reason="x" * 100, request_excerpt='{"currency":"XXQ"}', differences=["currency", "subtotal"],
    )  # fmt: skip


def test_attempts_are_listed_and_found_by_order_number(admin_client, attempt):
    page = admin_client.get(f"{ATTEMPTS}?q=abc-5").content.decode()
    for text in ["abc-5", ">rejected<", ">schedule<", url("change", attempt.order), "x" * 59 + "…"]:
        assert text in page
    assert "1 attempt" in page
    assert "0 attempts" in admin_client.get(f"{ATTEMPTS}?q=abc-6").content.decode()


def test_people_are_named_with_one_query(admin_client, django_assert_num_queries):
    order, people = OrderFactory(), [User.objects.create_user(name) for name in ("jane", "june")]
    for person in [*people, *people]:
        SyncAttempt.objects.create(
            order=order, account="default", revision=1, operation="add", trigger=f"admin:{person.pk}",
            started_at=timezone.now(), duration_ms=12, outcome="accepted",
        )  # fmt: skip
    with django_assert_num_queries(5):  # session, user, count, attempts, people
        page = admin_client.get(ATTEMPTS).content.decode()
    assert (page.count(">jane<"), page.count(">june<")) == (2, 2)
    attempt = SyncAttempt.objects.filter(trigger=f"admin:{people[0].pk}")[0]
    assert ">jane<" in admin_client.get(f"{ATTEMPTS}{attempt.pk}/change/").content.decode()


def test_an_attempt_shows_what_was_asked(admin_client, attempt):
    page = admin_client.get(f"{ATTEMPTS}{attempt.pk}/change/").content.decode()
    assert '<pre class="bronto-excerpt">{&quot;currency&quot;:&quot;XXQ&quot;}</pre>' in page
    assert "currency, subtotal" in page
    assert "x" * 100 in page


def test_what_is_empty_is_shown_as_empty(admin_client, attempt):
    SyncAttempt.objects.update(request_excerpt="", differences=[], http_status=None)
    AccountStatus.objects.create(account="default")
    for page in [f"{ATTEMPTS}{attempt.pk}/change/", f"{ACCOUNTS}default/change/"]:
        assert ">None<" not in admin_client.get(page).content.decode()


def test_nobody_writes_the_journal(admin_client, attempt):
    status = AccountStatus.objects.create(account="default")
    for page in [f"{ATTEMPTS}add/", f"{ACCOUNTS}add/"]:
        assert admin_client.get(page).status_code == 403
    for page in [f"{ATTEMPTS}{attempt.pk}/", f"{ACCOUNTS}{status.pk}/"]:
        assert admin_client.post(f"{page}delete/", {"post": "yes"}).status_code == 403
        assert admin_client.post(f"{page}change/", {"reason": "y", "paused": "on"}).status_code == 403
    assert AccountStatus.objects.get() == status
    assert SyncAttempt.objects.get().reason == "x" * 100


def test_the_journal_needs_its_permission(attempt):
    assert staff("view_order").get(ATTEMPTS).status_code == 403
    assert staff("view_syncattempt", username="other").get(ATTEMPTS).status_code == 200


def test_where_orders_have_no_admin_attempts_have_no_links(settings, attempt):
    settings.ROOT_URLCONF = "django.contrib.staticfiles.urls"
    assert SyncAttemptAdmin(SyncAttempt, AdminSite()).order_link(attempt) == "abc-5"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "open"),
        ({"paused": True}, "paused"),
        ({"held_until": timedelta(minutes=1), "held_reason": "auth"}, "held"),
        ({"held_until": -timedelta(minutes=1)}, "open"),
        ({"breaker_state": "open"}, "probing"),
    ],
)
def test_gate(admin_client, fields, expected):
    if "held_until" in fields:
        fields = {**fields, "held_until": timezone.now() + fields["held_until"]}
    status = AccountStatus.objects.create(account="default", **fields)
    assert f">{expected}<" in AccountStatusAdmin(AccountStatus, admin.site).gate(status)
    page = admin_client.get(ACCOUNTS).content.decode()
    assert f">{expected}<" in page
    assert ("credentials refused" in page) is ("held_reason" in fields)
    assert admin_client.get(reverse("admin:bronto_orders_accountstatus_change", args=["default"])).status_code == 200
