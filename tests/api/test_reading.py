"""Lists, single orders, comparisons, resyncs and accounts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from bronto_orders import exceptions
from bronto_orders.delivery.comparison import compare, report
from bronto_orders.delivery.erasure import erase_customer
from bronto_orders.models import AccountStatus, DbNow, Order, SyncState, Tombstone
from tests.admin.conftest import FakeBronto, bronto
from tests.api.conftest import READ, Api, kind, order_url, problems
from tests.factories import LineItemFactory, OrderFactory, acknowledge

__all__ = ["bronto"]  # the fixture

pytestmark = pytest.mark.django_db

LIST = "/bronto/orders/"
PERSONAL: dict[str, Any] = {
    "email_address": "jane@example.com",
    "origin_ip": "192.0.2.7",
    "origin_user_agent": "Mozilla/5.0 secret",
    "tid": "3.tid.secret",
}
SECRETS = ["jane@example.com", "192.0.2.7", "Mozilla/5.0 secret", "3.tid.secret"]


def numbers(response: Any) -> list[str]:
    assert response.status_code == 200, response.content
    return [order["customerOrderId"] for order in response.data["results"]]


@pytest.fixture
def reader(somebody: Callable[..., Api]) -> Api:
    return somebody(*READ, "view_diff", "resync_order")


def test_the_list_is_paged_by_key_newest_first_at_a_fixed_cost(reader: Api, django_assert_num_queries: Any) -> None:
    made = [OrderFactory(items=1).customer_order_id for _each in range(5)][::-1]
    seen, url = [], f"{LIST}?page_size=2"
    while url:
        # Session, user and two of permissions; orders and gates.
        with django_assert_num_queries(6) as queries:
            page = reader.get(url)
        assert not any("COUNT" in query["sql"] or "OFFSET" in query["sql"] for query in queries.captured_queries)
        seen += numbers(page)
        OrderFactory()
        url = page.data["next"]
    assert seen == made
    assert numbers(reader.get(page.data["previous"])) == made[2:4]
    with django_assert_num_queries(6):
        assert len(numbers(reader.get(f"{LIST}?page_size=500"))) == 8


def test_an_order_in_the_list(reader: Api) -> None:
    order = OrderFactory(customer_order_id="abc-1", **PERSONAL)
    acknowledge(order)
    (shown,) = reader.get(LIST).data["results"]
    assert shown.keys() == {
        "url", "account", "customerOrderId", "orderDate", "currency", "grandTotal", "sync", "explanation",
    }  # fmt: skip
    assert shown["url"] == "http://testserver/bronto/orders/default/abc-1/"
    assert shown["sync"].keys() == {
        "state", "reason", "message", "revision", "ackedRevision", "attempts", "nextTryAt", "syncedAt", "presence",
        "brontoOrderId", "brontoUpdatedAt", "hasTracking",
    }  # fmt: skip
    sync = shown["sync"]
    assert (sync["state"], sync["presence"], sync["nextTryAt"], sync["hasTracking"]) == (
        "synced",
        "present",
        None,
        True,
    )
    assert sync["syncedAt"].endswith("Z")


def test_the_next_try_is_told_while_there_is_one(reader: Api) -> None:
    order = OrderFactory()
    shown = reader.get(order_url(order.customer_order_id)).data["sync"]
    assert abs(datetime.fromisoformat(shown["nextTryAt"]) - datetime.now(UTC)) < timedelta(minutes=1)
    Order.objects.update(settle_until=DbNow(3600))
    later = reader.get(order_url(order.customer_order_id)).data["sync"]
    assert datetime.fromisoformat(later["nextTryAt"]) > datetime.now(UTC) + timedelta(minutes=50)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", "dcba"),
        ("state=rejected", "b"),
        ("state=synced", "c"),
        ("reason=invalid", "b"),
        ("reason=invalid:currency", "b"),
        ("reason=no_contact", ""),
        ("account=outlet", "d"),
        ("customer_order_id=a", "a"),
        ("bronto_order_id=0ad24370-96de-4922-9a53-954530fcbb64", "c"),
        ("has_tracking=true", "c"),
        ("has_tracking=false", "b"),
        ("has_tracking=unknown", "da"),
        ("synced_after=2026-02-01T12:00:00Z", "c"),
        ("synced_after=2026-02-01T12:00:01Z", ""),
        ("synced_before=2026-02-01T12:00:00Z", ""),
        ("synced_before=2026-02-02", "c"),
        ("order_date_after=2020-01-02T01:00:00+01:00", "dcb"),
        ("order_date_after=2020-01-02T01:00:00%2B01:00&order_date_before=2020-01-03", "b"),
        ("bronto_updated_after=2026-02-01&bronto_updated_before=2026-02-03", "c"),
        ("state=pending&account=default&format=json", "a"),
        ("state=pending&account=&format=json", ""),
    ],
)
def test_filters(reader: Api, query: str, found: str) -> None:
    orders = {
        number: OrderFactory(customer_order_id=number, order_date=datetime(2020, 1, day, tzinfo=UTC))
        for day, number in enumerate("abcd", start=1)
    }
    columns: dict[str, dict[str, Any]] = {
        "b": {"sync_state": "rejected", "sync_reason": "invalid:currency", "due_at": None, "has_tracking": False},
        "c": {"synced_at": datetime(2026, 2, 1, 12, tzinfo=UTC), "bronto_updated_at": datetime(2026, 2, 2, tzinfo=UTC)},
    }
    acknowledge(orders["c"])
    for number, values in columns.items():
        Order.objects.filter(pk=orders[number].pk).update(**values)
    Order.objects.filter(pk=orders["d"].pk).update(account="outlet")
    assert "".join(numbers(reader.get(f"{LIST}?{query}"))) == found


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("stat=synced", {"stat": "unknown"}),
        ("state=done&order_date_after=soon&x=1", {"state": "invalid", "order_date_after": "invalid", "x": "unknown"}),
        ("synced_after=2026-02-01T12:00:00", {"synced_after": "no_zone"}),
        ("state=synced&state=pending", {"state": "repeated"}),
        ("customer_order_id=%00", {"customer_order_id": "invalid"}),
        ("page_size=0", {"page_size": "min_value"}),
        ("page_size=501", {"page_size": "max_value"}),
        ("page_size=many", {"page_size": "invalid"}),
        ("cursor=x", {"cursor": "invalid"}),
        ("cursor=cD14", {"cursor": "invalid"}),  # p=x
        ("cursor=%C3%BC", {"cursor": "invalid"}),
    ],
)
def test_parameters_that_cannot_be_used(reader: Api, query: str, wrong: dict[str, str]) -> None:
    answer = reader.get(f"{LIST}?{query}")
    assert (answer.status_code, kind(answer), problems(answer)) == (400, "invalid_parameters", wrong)


def test_a_wrong_name_is_put_right(reader: Api) -> None:
    (error,) = reader.get(f"{LIST}?stat=synced").data["errors"]
    assert "“state”" in error["message"]
    OrderFactory(customer_order_id="1")
    answer = reader.get(order_url("1") + "?state=synced")
    assert problems(answer) == {"state": "unknown"}


def test_one_order_at_a_fixed_cost(reader: Api, django_assert_num_queries: Any) -> None:
    OrderFactory(customer_order_id="1", items=20)
    with django_assert_num_queries(4 + 3):  # signed in; order, items, gate
        answer = reader.get(order_url("1"))
    assert (answer.status_code, len(answer.data["order"]["lineItems"])) == (200, 20)
    assert answer["Cache-Control"] == "private, no-store"


def test_an_order_that_is_not_there(reader: Api) -> None:
    for url in (order_url("1"), order_url("1", "diff/"), "/bronto/order/?account=default&customer_order_id=1"):
        answer = reader.get(url)
        assert (answer.status_code, kind(answer)) == (404, "not_found")
    answer = reader.post(order_url("1", "resync/"))
    assert (answer.status_code, kind(answer)) == (404, "not_found")


def test_personal_data_is_for_those_who_may_see_it(
    reader: Api, somebody: Callable[..., Api], bronto: FakeBronto, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = OrderFactory(customer_order_id="1", **PERSONAL)
    answer = bronto.take(order)
    answer["contact"] = {"address": "jane@example.com"}
    answer["emailAddress"] = "jane@example.com "
    urls = [LIST, order_url("1"), order_url("1", "diff/?all=true")]
    for url in urls:
        text = reader.get(url).content.decode()
        assert not [secret for secret in SECRETS if secret in text]
    shown = reader.get(order_url("1")).data["order"]
    assert (shown["emailAddress"], shown["originIp"], shown["tid"], shown["trackingCookieName"]) == (
        "j…@example.com",
        "192.0.2.…",
        "•••",
        None,
    )
    assert reader.get(order_url("1", "diff/")).data["push"]["body"]["emailAddress"] == "j…@example.com"

    seen = User.has_perm
    monkeypatch.setattr(User, "has_perm", lambda user, name, obj=None: (
        name == "bronto_orders.view_personal_data" or seen(user, name, obj)
    ))  # fmt: skip
    assert reader.get(order_url("1")).data["order"]["emailAddress"] == "jane@example.com"
    text = reader.get(order_url("1", "diff/?all=true")).content.decode()
    assert [secret for secret in SECRETS if secret in text] == SECRETS


def test_a_comparison(reader: Api, bronto: FakeBronto) -> None:
    order = OrderFactory(customer_order_id="1", grand_total=5, shipping_details="")
    LineItemFactory(order=order, sku="7", name="Coffee Mug")
    bronto.take(order)["grandTotal"] = 6
    order.shipping_details = "by ship"
    order.save()
    answer = reader.get(order_url("1", "diff/"))
    assert answer.status_code == 200
    data = answer.data
    assert (data["brontoAnswered"], data["trouble"], data["invalid"], data["differences"]) == (True, "", "", 2)
    changes = {change["path"]: change for change in data["changes"]}
    assert changes.keys() == {"grandTotal", "shippingDetails"}
    total = changes["grandTotal"]
    assert (total["now"], total["lastSent"], total["remote"], total["verdict"]) == (5, 5, 6, "changed_there")
    assert changes["shippingDetails"]["verdict"] == "changed_here"
    assert (data["push"]["operation"], data["push"]["idle"]) == ("update", False)
    assert data["push"]["body"]["shippingDetails"] == "by ship"
    assert data["sentence"]
    every = {change["path"]: change for change in reader.get(order_url("1", "diff/?all=true")).data["changes"]}
    places = {"now": 0, "lastSent": 0, "remote": 0}
    assert every["lineItems[sku=7]"]["item"] == {"key": "sku=7", "sku": "7", "name": "Coffee Mug", **places}
    assert every["currency"]["verdict"] == "same"
    assert len(bronto.calls) == 2


def test_a_comparison_while_bronto_is_away_or_the_order_cannot_be_sent(reader: Api, bronto: FakeBronto) -> None:
    OrderFactory(customer_order_id="1", currency="XXQ")
    bronto.error = exceptions.ServerError(status=503)
    data = reader.get(order_url("1", "diff/")).data
    assert (data["brontoAnswered"], data["push"]) == (False, None)
    assert data["trouble"]
    assert "XXQ" in data["invalid"]


@pytest.mark.parametrize(
    ("body", "options"),
    [
        (None, {"trigger": "api", "trigger_events": False}),
        ({}, {"trigger": "api", "trigger_events": False}),
        ({"triggerEvents": True}, {"trigger": "api", "trigger_events": True}),
    ],
    ids=str,
)
def test_resync(reader: Api, body: Any, options: dict[str, Any]) -> None:
    acknowledge(OrderFactory(customer_order_id="1"))
    answer = reader.post(order_url("1", "resync/"), body)
    assert (answer.status_code, answer.data) == (202, {"queued": True, "alreadyQueued": False})
    order = Order.objects.get()
    assert (order.sync_state, order.resync_options, order.last_sent_hash) == (SyncState.PENDING, options, "h" * 64)
    assert reader.post(order_url("1", "resync/"), body).data == {"queued": False, "alreadyQueued": True}


def test_a_forced_resync_forgets_what_was_sent(reader: Api) -> None:
    acknowledge(OrderFactory(customer_order_id="1"))
    assert reader.post(order_url("1", "resync/"), {"force": True}).status_code == 202
    assert Order.objects.get().last_sent_hash == ""


@pytest.mark.parametrize(
    "body", [{"Force": True}, {"force": 1}, {"force": None}, {"triggerEvents": "yes"}, []], ids=str
)
def test_resync_options_that_cannot_be_taken(reader: Api, body: Any) -> None:
    acknowledge(OrderFactory(customer_order_id="1"))
    answer = reader.post(order_url("1", "resync/"), body)
    assert (answer.status_code, kind(answer)) == (400, "invalid")
    assert Order.objects.get().sync_state == SyncState.SYNCED


def test_accounts(somebody: Callable[..., Api]) -> None:
    OrderFactory(account="outlet")
    AccountStatus.objects.create(account="default", paused=True, held_reason="auth", held_until=DbNow(3600))
    answer = somebody("view_accountstatus").get("/bronto/accounts/")
    assert answer.status_code == 200
    default, outlet = answer.data
    assert (default["account"], default["configured"], default["paused"], default["heldReason"]) == (
        "default", True, True, "auth",
    )  # fmt: skip
    assert default["heldUntil"].endswith("Z")
    assert default["counts"] == {"pending": 0, "sending": 0, "synced": 0, "rejected": 0, "skipped": 0}
    assert (outlet["account"], outlet["configured"], outlet["counts"]["pending"]) == ("outlet", False, 1)
    assert outlet["oldestDueSeconds"] >= 0


def test_an_idle_push_is_told_as_the_command_tells_it(reader: Api, bronto: FakeBronto) -> None:
    bronto.take(OrderFactory(customer_order_id="1"))
    for idle in (True, False):
        data = reader.get(order_url("1", "diff/")).data
        told = report(compare(Order.objects.get()))["next_push"]
        assert data["push"]["idle"] is told["idle"] is idle
        Order.objects.update(shipping_details="by ship")


class TestErased:
    @pytest.fixture(autouse=True)
    def erased(self, db: None) -> None:
        acknowledge(OrderFactory(customer_order_id="1", email_address="jane@example.com"))
        erase_customer("jane@example.com")

    def test_bronto_may_have_it_until_it_has_confirmed(self, reader: Api, django_assert_num_queries: Any) -> None:
        for presence in ("unsure", "absent"):
            with django_assert_num_queries(4 + 4):  # signed in; order, items, gate, tombstone
                shown = reader.get(order_url("1")).data
            assert shown["sync"]["presence"] == presence
            assert ("still to confirm" in shown["explanation"]) is (presence == "unsure")
            assert reader.get(LIST).data["results"][0]["sync"] == shown["sync"]
            Tombstone.objects.update(due_at=None, done_at=timezone.now())

    def test_is_not_compared(self, reader: Api, bronto: FakeBronto) -> None:
        data = reader.get(order_url("1", "diff/?all=true")).data
        assert data["sentence"] == "The customer was erased; the order is never sent again."
        assert (data["brontoAnswered"], data["changes"], data["push"], bronto.calls) == (False, [], None, [])

    def test_is_not_resynced(self, reader: Api) -> None:
        answer = reader.post(order_url("1", "resync/"))
        assert (answer.status_code, kind(answer)) == (409, "erased")
        assert Order.objects.get().sync_state == SyncState.SKIPPED
