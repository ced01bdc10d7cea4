from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from bronto_orders.client import redaction
from bronto_orders.delivery import personal
from bronto_orders.models import Order, SyncAttempt
from tests.admin.conftest import LIST, fields_of, staff, url
from tests.factories import OrderFactory

PERSONAL: dict[str, Any] = {
    "email_address": "jane.doe@example.com",
    "origin_ip": "203.0.113.77",
    "origin_user_agent": "Mozilla/5.0 (secretive)",
    "tid": "3.Ag.AQ.AQ.AQ.AQ.AQ.t..l.AQ.n.VO4AkA.VO4AkA.G89Jow",
    "tracking_cookie_value": "cookie-of-jane",
}


@pytest.fixture
def order(no_bronto: None) -> Order:
    return OrderFactory(customer_order_id="abc-1", **PERSONAL)


def seen(client: Client, order: Order) -> str:
    SyncAttempt.objects.create(
        order=order, account="default", revision=1, operation="add", trigger="signal", started_at=timezone.now(),
        duration_ms=1, outcome="accepted",
        request_excerpt=redaction.redacted_body('{"emailAddress": "jane.doe@example.com"}'),
    )  # fmt: skip
    pages = [LIST, url("change", order), f"{LIST}?q=abc-1"]
    return "".join(client.get(page).content.decode() for page in pages)


@pytest.mark.django_db
@pytest.mark.parametrize("permissions", [["view_order"], ["view_order", "change_order"]])
def test_without_the_permission_all_that_is_personal_is_masked(order: Order, permissions: list[str]) -> None:
    page = seen(staff(*permissions), order)
    assert [value for value in PERSONAL.values() if value in page] == []
    for text in ["j…@example.com", "203.0.113.…", "E-mail address:"]:
        assert text in page


@pytest.mark.django_db
@pytest.mark.parametrize("permissions", [["view_order"], ["view_order", "change_order"]])
def test_with_the_permission_all_is_shown(order: Order, permissions: list[str]) -> None:
    page = seen(staff(*permissions, "view_personal_data"), order)
    assert [value for value in PERSONAL.values() if value not in page] == []


@pytest.mark.django_db
def test_saving_what_one_may_not_see_changes_none_of_it(order: Order) -> None:
    client = staff("view_order", "change_order")
    page = client.get(url("change", order))
    assert not PERSONAL.keys() & page.context["adminform"].form.fields.keys()
    assert "grand_total" in page.context["adminform"].form.fields
    forged = {name: "j…@example.com" if name == "email_address" else "" for name in PERSONAL}
    data = {**fields_of(page), **forged, "order_source": "PHONE"}
    assert client.post(url("change", order), data).status_code == 302
    order.refresh_from_db()
    assert {name: getattr(order, name) for name in PERSONAL} == PERSONAL
    assert order.order_source == "PHONE"


@pytest.mark.django_db
def test_who_adds_an_order_types_it_all() -> None:
    fields = staff("view_order", "add_order").get(f"{LIST}add/").context["adminform"].form.fields
    assert set(personal.COLUMNS) <= fields.keys()


@pytest.mark.django_db
def test_addresses_are_found_in_full_only(order: Order) -> None:
    client = staff("view_order")
    for term, count in {"jane.doe@example.com": 1, "jane": 0, "@example.com": 0, "jane.doe@example": 0}.items():
        assert len(client.get(LIST, {"q": term}).context["cl"].result_list) == count, term


HINTS = [
    "email_address__startswith=jane", "email_address=jane.doe@example.com", "origin_ip__gt=203.0.113.1",
    "tid__regex=^3", "last_sent__emailAddress__startswith=j", "last_sent_hash=x",
]  # fmt: skip


@pytest.mark.django_db
@pytest.mark.parametrize("hint", HINTS)
def test_the_list_cannot_be_narrowed_by_what_one_may_not_see(order: Order, hint: str) -> None:
    client, trusted = staff("view_order"), staff("view_order", "view_personal_data", username="trusted")
    assert client.get(f"{LIST}?{hint}").status_code == 400
    assert trusted.get(f"{LIST}?{hint}").status_code == 200
    assert client.get(f"{LIST}?shipped__exact=0").status_code == 200
