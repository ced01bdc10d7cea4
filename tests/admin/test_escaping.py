from __future__ import annotations

from datetime import timedelta
from typing import Any

import django
import pytest
from django.db import models
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from bronto_orders import exceptions as errors
from bronto_orders.models import AccountStatus, LineItem, Order, SyncAttempt
from tests.admin.conftest import LIST, url
from tests.factories import LineItemFactory, OrderFactory

pytestmark = pytest.mark.django_db

HOSTILE = "\"'></td></pre><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7|add:7 }}\u202e"
MARKS = ["<script>alert(1)", "<img src=x", "</td></pre>"]
#: Columns with rules of their own, which the database or the form would not let such a text into.
TAME = {"sync_state", "presence", "origin_ip", "operation", "outcome", "breaker_state"}


def hostile_texts(model: type[models.Model]) -> dict[str, str]:
    """Return a value for each text column of a model, as long as the column takes."""
    return {
        field.name: HOSTILE[: field.max_length or None]
        for field in model._meta.concrete_fields
        if isinstance(field, models.CharField | models.TextField) and field.name not in TAME
    }


@pytest.fixture
def order() -> Order:
    order: Order = LineItemFactory(order=OrderFactory()).order
    texts = hostile_texts(Order)
    document = {"currency": HOSTILE, HOSTILE: HOSTILE, "lineItems": [{"sku": HOSTILE, "name": HOSTILE, HOSTILE: 1}]}
    Order.objects.filter(pk=order.pk).update(**texts, last_sent=document, sync_state="rejected", due_at=None)
    LineItem.objects.filter(order=order).update(**hostile_texts(LineItem))
    SyncAttempt.objects.create(
        order=order, revision=1, started_at=timezone.now(), duration_ms=1, operation="add", outcome="accepted",
        differences=[HOSTILE], **hostile_texts(SyncAttempt),
    )  # fmt: skip
    AccountStatus.objects.create(held_until=timezone.now() + timedelta(hours=1), **hostile_texts(AccountStatus))
    order.refresh_from_db()
    return order


def assert_harmless(response: Any, *, shows: str = "&lt;script&gt;alert(1)") -> None:
    content = response.content.decode()
    assert response.status_code == 200
    assert [mark for mark in MARKS if mark in content] == []
    assert shows in content
    assert "style=" not in content.partition("<body")[2].replace('style="display:none"', "")


def test_pages_of_the_order(admin_client, bronto, order):
    for page in [LIST, url("change", order), url("resync", order), url("diff", order), url("history", order)]:
        assert_harmless(admin_client.get(page))
    data = {"action": "resync_selected", "_selected_action": [order.pk], "select_across": HOSTILE}
    assert_harmless(admin_client.post(f"{LIST}?q=&e=1", {**data, "select_across": "0"}))


def test_what_bronto_answers(admin_client, bronto, order):
    bronto.orders[order.bronto_order_id] = {
        "currency": HOSTILE, HOSTILE: HOSTILE, "states": {HOSTILE: [HOSTILE]}, "tid": {"a": HOSTILE},
        "lineItems": [{"sku": HOSTILE, "name": HOSTILE, "quantity": HOSTILE}, HOSTILE, None], "orderId": HOSTILE,
    }  # fmt: skip
    for query in ("", "?all=1"):
        assert_harmless(admin_client.get(url("diff", order) + query))


@pytest.mark.parametrize("query", ["", "?all=1"])
@pytest.mark.parametrize(
    "answer",
    [
        {"currency": "\ud800", "\udfff": 1, "lineItems": [{"sku": "\ud800", "name": "\udc00"}]},
        {"states": "odd", "lineItems": {"a": 1}, "grandTotal": [1], "orderDate": {}},
        {"lineItems": [1, None, [], {"position": "first"}, {"position": True, "quantity": {}}]},
        {},
    ],
)
def test_odd_answers_are_shown(admin_client, bronto, order, answer, query):
    bronto.orders[order.bronto_order_id] = answer
    assert_harmless(admin_client.get(url("diff", order) + query))


def test_reasons_that_bronto_gives(admin_client, bronto, order):
    bronto.error = errors.BadRequestError(status=400, reason=HOSTILE)
    assert_harmless(admin_client.get(url("diff", order)))


def test_pages_of_the_journal(admin_client: Client, order: Order):
    attempt = SyncAttempt.objects.get()
    account = AccountStatus.objects.get()
    base = "/admin/bronto_orders"
    for page in ["syncattempt/", f"syncattempt/{attempt.pk}/change/", "accountstatus/"]:
        assert_harmless(admin_client.get(f"{base}/{page}"))
    assert_harmless(admin_client.get(reverse("admin:bronto_orders_accountstatus_change", args=[account.pk])))


def test_messages_after_a_resync(admin_client, order):
    response = admin_client.post(url("resync", order), {"mode": "changed"}, follow=True)
    assert_harmless(response)


def test_own_pages_have_no_inline_script_or_style(admin_client, bronto, order):
    pages = [url("resync", order), url("diff", order) + "?all=1"]
    for page in pages:
        content = admin_client.get(page).content.decode()
        own = content.partition('id="content-main"')[2].partition('id="footer"')[0]
        assert own
        assert "<script" not in own
        assert " style=" not in own
        assert " onclick" not in own


@pytest.mark.skipif(django.VERSION < (6, 0), reason="Django has no CSP of its own yet")
def test_a_strict_policy_is_kept(admin_client, bronto, order, settings):
    from django.utils.csp import CSP

    settings.SECURE_CSP = {"default-src": [CSP.NONE], "style-src": [CSP.NONCE], "script-src": [CSP.NONCE]}
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.csp.ContentSecurityPolicyMiddleware"]
    processors = settings.TEMPLATES[0]["OPTIONS"]["context_processors"]
    options = {"context_processors": [*processors, "django.template.context_processors.csp"]}
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "OPTIONS": options}]
    response = admin_client.get(url("diff", order))
    nonce = str(response.context["csp_nonce"])
    assert f'admin.css" nonce="{nonce}">' in response.content.decode()
    assert f"'nonce-{nonce}'" in response["Content-Security-Policy"]
