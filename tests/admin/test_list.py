from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from itertools import product

import pytest
from django.contrib.admin import site
from django.test import Client
from django.utils import timezone

from bronto_orders import exceptions as errors
from bronto_orders.admin import columns
from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import policy
from bronto_orders.models import Order, Presence, SyncAttempt, SyncState
from tests.admin.conftest import LIST, staff, url
from tests.factories import OrderFactory

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_bronto")]
TID = "3.Ag.AQ.AQ.AQ.AQ.AQ.t..l.AQ.n.VO4AkA.VO4AkA.G89Jow"


def park(order: Order, state: SyncState = SyncState.SYNCED, **delivery: object) -> Order:
    Order.objects.filter(pk=order.pk).update(sync_state=state, due_at=None, **delivery)
    return order


def listed(client: Client, query: str = "") -> list[str]:
    changelist = client.get(LIST + query).context["cl"]
    return [order.customer_order_id for order in changelist.result_list]


def row(client: Client, query: str = "") -> str:
    return client.get(LIST + query).content.decode()


def test_a_row_tells_how_the_order_stands(admin_client):
    order = OrderFactory(customer_order_id="abc-9", currency="USD", grand_total=Decimal("1234.5"))
    park(order, SyncState.REJECTED, sync_reason="id_taken", attempts=3, synced_at=timezone.now() - timedelta(hours=5))
    page = row(admin_client)
    for text in ["abc-9", "default", "1234.50 USD", "bronto-rejected", ">rejected<", "order number taken", "5 h ago"]:
        assert text in page
    assert f'href="{url("diff", order)}"' in page


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"grand_total": Decimal("12800"), "currency": "JPY"}, "12800 JPY"),
        ({"grand_total": Decimal("1.2345"), "currency": "KWD"}, "1.235 KWD"),
        ({"grand_total": Decimal("1.5"), "currency": "XXQ"}, "1.50 XXQ"),
        ({"grand_total": Decimal("1.5"), "currency": ""}, "1.50"),
        ({"grand_total": None}, columns.EMPTY),
    ],
)
def test_totals_are_written_as_the_currency_is(fields, expected):
    assert columns.total(Order(**fields)) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"has_tracking": True}, "yes"),
        ({"has_tracking": True, "tid": TID}, "yes"),
        ({"has_tracking": False}, "no"),
        ({"has_tracking": None}, "no"),
        ({"has_tracking": None, "tid": TID}, "not sent yet"),
        ({"has_tracking": False, "tracking_cookie_value": TID}, "not taken"),
    ],
)
def test_tracking_says_whether_bronto_took_it(fields, expected):
    assert expected in columns.tracking(Order(**fields))


@pytest.mark.parametrize(
    ("state", "due_in", "expected"),
    [
        (SyncState.PENDING, timedelta(minutes=4, seconds=30), "in 4 min"),
        (SyncState.PENDING, timedelta(seconds=30.5), "in 30 s"),
        (SyncState.PENDING, timedelta(days=3, hours=1), "in 3 d"),
        (SyncState.PENDING, timedelta(seconds=-1), ">now<"),
        (SyncState.SENDING, timedelta(seconds=30), columns.EMPTY),
        (SyncState.SYNCED, None, columns.EMPTY),
    ],
)
def test_next_try(state, due_in, expected):
    due_at = None if due_in is None else timezone.now() + due_in
    assert expected in columns.next_try(Order(sync_state=state, due_at=due_at))


def test_moments_without_time_zones(settings):
    settings.USE_TZ = False
    assert "ago" in columns.past(timezone.now() - timedelta(minutes=1))


def test_reasons_have_words():
    assert columns.reason("invalid:order_date") == "invalid order date"
    assert columns.reason("no_contact") == "no contact"
    assert columns.reason("something_new") == "something_new"
    assert columns.reason("") == ""
    assert "bronto-odd" in columns.state_badge("odd")


def test_whatever_the_policy_decides_has_words():
    made = [
        error(status=409) if issubclass(error, errors.APIError) else error()
        for error in policy.TABLE
        if error is not type(None)
    ]
    choices = product(made, policy.Operation, Presence, (1, 99), (0, 9), (True, False), (None, True, False))
    settings = bronto_settings.delivery
    for error, operation, presence, attempts, flips, lack, found in choices:
        exchange = policy.Exchange(
            error=error, operation=operation, presence=presence, attempts=attempts, flips=flips,
            contact_may_lack=lack, found=found,
        )  # fmt: skip
        code = policy.decide(exchange, settings, healthy=True).reason
        assert not code or code in columns.REASONS


def test_newest_first(admin_client):
    orders = OrderFactory.create_batch(3)
    assert listed(admin_client) == [order.customer_order_id for order in reversed(orders)]


def test_filters(admin_client, settings):
    settings.BRONTO_ORDERS = {"ACCOUNTS": {"default": {}, "outlet": {}}}
    park(OrderFactory(customer_order_id="synced", tid=TID), has_tracking=True)
    park(OrderFactory(customer_order_id="refused", account="outlet"), SyncState.REJECTED, sync_reason="refused")
    park(OrderFactory(customer_order_id="invalid"), SyncState.SKIPPED, sync_reason="invalid:currency")
    park(OrderFactory(customer_order_id="dropped", tid=TID), has_tracking=False)
    OrderFactory(customer_order_id="new", tracking_cookie_value=TID)
    for query, expected in {
        "?sync_state__exact=rejected": ["refused"],
        "?reason=refused": ["refused"],
        "?reason=invalid:": ["invalid"],
        "?account=outlet": ["refused"],
        "?tracking=yes": ["synced"],
        "?tracking=refused": ["dropped"],
        "?tracking=unsent": ["new"],
        "?tracking=no": ["invalid", "refused"],
        "?tracking=nonsense": ["new", "dropped", "invalid", "refused", "synced"],
    }.items():
        assert listed(admin_client, query) == expected, query


def test_account_filter_is_there_for_several_accounts_only(admin_client, settings):
    assert "?account=" not in row(admin_client)
    settings.BRONTO_ORDERS = {"ACCOUNTS": {"default": {}, "outlet": {}}}
    assert "?account=outlet" in row(admin_client)
    settings.BRONTO_ORDERS = {"ACCOUNTS": "wrong"}
    assert "?account=" not in row(admin_client)


@pytest.mark.parametrize("term", ["abc-77", "bc-7", "0ad24370-96de", "jane@example", "JANE@EXAMPLE.COM"])
def test_search(admin_client, term):
    OrderFactory(customer_order_id="other", email_address="x@example.com")
    order = OrderFactory(customer_order_id="abc-77", email_address="jane@example.com")
    park(order, bronto_order_id="0ad24370-96de-4922-9a53-954530fcbb64")
    assert listed(admin_client, f"?q={term}") == ["abc-77"]


@pytest.mark.parametrize("count", [1, 40])
def test_the_list_takes_four_queries(admin_client, django_assert_num_queries, count):
    OrderFactory.create_batch(count, items=2)
    with django_assert_num_queries(4):  # session, user, count, orders
        page = row(admin_client)
    assert page.count("bronto-pending") == count


def test_the_list_reads_no_long_columns(admin_client, django_assert_num_queries):
    OrderFactory()
    with django_assert_num_queries(4) as captured:
        row(admin_client)
    assert "last_sent_hash" in captured[-1]["sql"]
    assert '"last_sent",' not in captured[-1]["sql"]
    assert "origin_user_agent" not in captured[-1]["sql"]


@pytest.mark.parametrize("count", [1, 30])
def test_the_attempts_list_takes_four_queries(admin_client, django_assert_num_queries, count):
    for order in OrderFactory.create_batch(count):
        SyncAttempt.objects.create(
            order=order, account="default", revision=1, operation="add", trigger="signal",
            started_at=timezone.now(), duration_ms=12, outcome="accepted",
        )  # fmt: skip
    with django_assert_num_queries(4):
        assert admin_client.get("/admin/bronto_orders/syncattempt/").status_code == 200


def test_without_the_permission_there_is_no_diff_link():
    order = OrderFactory()
    assert url("diff", order) not in row(staff("view_order"))
    assert url("diff", order) in row(staff("view_order", "view_diff", username="other"))


def test_admin_passes_its_checks():
    assert [problem for model_admin in site._registry.values() for problem in model_admin.check()] == []
