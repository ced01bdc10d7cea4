from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from urllib.parse import urlencode

import pytest
from django.contrib.admin import site
from django.test import Client
from django.utils import formats, timezone, translation

from bronto_orders.admin import columns, pagination
from bronto_orders.models import Order, SyncAttempt, SyncState
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
    order = OrderFactory(customer_order_id="abc-9", currency="USD", grand_total=Decimal("1234.5"))  # of 2 January 2026
    park(order, SyncState.REJECTED, sync_reason="id_taken", attempts=3, synced_at=timezone.now() - timedelta(hours=5))
    page = row(admin_client)
    for text in ["abc-9", "default", "1234.50 USD", "bronto-rejected", ">rejected<", "order number taken", "5 h ago",
                 "01/02/2026"]:  # fmt: skip
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
        ({"has_tracking": None, "tid": TID, "bronto_order_id": "b1"}, "not known"),
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


def test_newest_first(admin_client):
    orders = OrderFactory.create_batch(3)
    assert listed(admin_client) == [order.customer_order_id for order in reversed(orders)]


def test_filters(admin_client, settings):
    settings.BRONTO_ORDERS = {"ACCOUNTS": {"default": {}, "outlet": {}}}
    park(OrderFactory(customer_order_id="synced", tid=TID), has_tracking=True, bronto_order_id="b1")
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
        "?bronto_id=yes": ["synced"],
        "?bronto_id=no": ["new", "dropped", "invalid", "refused"],
        "?bronto_id=nonsense": ["new", "dropped", "invalid", "refused", "synced"],
        "?sync_state__exact=rejected&reason=refused&account=outlet&tracking=no": ["refused"],
    }.items():
        assert listed(admin_client, query) == expected, query


def test_account_filter_is_there_for_several_accounts_only(admin_client, settings):
    assert "?account=" not in row(admin_client)
    settings.BRONTO_ORDERS = {"ACCOUNTS": {"default": {}, "outlet": {}}}
    assert "?account=outlet" in row(admin_client)
    settings.BRONTO_ORDERS = {"ACCOUNTS": "wrong"}
    assert "?account=" not in row(admin_client)


AGES = {
    "minutes": timedelta(minutes=5),
    "hours": timedelta(hours=5),
    "days": timedelta(days=5),
    "weeks": timedelta(days=20),
    "months": timedelta(days=90),
    "years": timedelta(days=500),
    "none": None,
}


@pytest.mark.parametrize(("parameter", "column"), [("last_sent", "synced_at"), ("ordered", "order_date")])
def test_ranges_of_dates_show_the_newest_first(admin_client, parameter, column):
    now = timezone.now()
    for name, age in AGES.items():
        park(OrderFactory(customer_order_id=name), **{column: None if age is None else now - age})
    names = list(AGES)
    for value, expected in {
        "hour": names[:1], "day": names[:2], "week": names[:3], "month": names[:4], "year": names[:5],
        "older": ["years"], "never": ["none"], "nonsense": names[::-1],
    }.items():  # fmt: skip
        assert listed(admin_client, f"?{parameter}={value}") == expected, value


def test_a_range_beside_what_is_rare_keeps_the_newest_first(admin_client):
    for number, days in enumerate([1, 3, 2]):
        date = timezone.now() - timedelta(days=days)
        park(OrderFactory(customer_order_id=str(number)), SyncState.REJECTED, sync_reason="refused", order_date=date)
    assert listed(admin_client, "?ordered=week") == ["0", "2", "1"]
    assert listed(admin_client, "?ordered=week&sync_state__exact=rejected") == ["2", "1", "0"]
    assert listed(admin_client, "?ordered=week&reason=refused") == ["2", "1", "0"]
    assert listed(admin_client, "?ordered=week&sync_state__exact=rejected&o=10") == ["1", "2", "0"]


@pytest.mark.parametrize(
    ("term", "found"),
    [
        ("abc-77", ["abc-77"]),
        ("ABC-77", ["abc-77"]),
        ("abc-", ["ABC-8", "abc-77"]),
        (" abc-77 ", ["abc-77"]),
        ("bc-7", []),
        ("0ad24370-96de-4922-9a53-954530fcbb64", ["abc-77"]),
        ("0AD24370-96DE-4922-9A53-954530FCBB64", ["abc-77"]),
        ("0ad24370-96de", []),
        ("jane@example.com", ["abc-77"]),
        ("JANE@EXAMPLE.COM", ["abc-77"]),
        ("jane@example", []),
        ("by@hand", ["by@hand"]),
        ("100%", []),
        ("", ["by@hand", "ABC-8", "abc-77"]),
        ("  ", ["by@hand", "ABC-8", "abc-77"]),
    ],
)
def test_search(admin_client, term, found):
    order = OrderFactory(customer_order_id="abc-77", email_address="Jane@Example.com")
    park(order, bronto_order_id="0ad24370-96de-4922-9a53-954530fcbb64")
    OrderFactory(customer_order_id="ABC-8", email_address="x@example.com")
    OrderFactory(customer_order_id="by@hand", email_address="")
    assert listed(admin_client, f"?{urlencode({'q': term})}") == found


class TestManyOrders:
    """Counting stops, and so does paging; what cannot be sorted by an index is not offered."""

    @pytest.fixture(autouse=True)
    def few_are_many(self, monkeypatch):
        monkeypatch.setattr(pagination, "LIMIT", 120)

    def test_counting_stops(self, admin_client):
        Order.objects.bulk_create(Order(customer_order_id=str(number)) for number in range(121))
        response = admin_client.get(LIST)
        page = response.content.decode()
        assert str(response.context["cl"].result_count) == "≥120"
        for text in ["≥120 orders", "Select all ≥120 orders", "All ≥120 selected"]:
            assert text in page
        assert response.context["cl"].paginator.num_pages == 3
        assert len(listed(admin_client, "?p=3")) == 20
        assert admin_client.get(f"{LIST}?p=4")["Location"].endswith("?e=1")

    def test_what_is_counted_to_its_end_is_exact(self, admin_client):
        Order.objects.bulk_create(Order(customer_order_id=str(number)) for number in range(120))
        assert "120 orders" in row(admin_client)
        assert "≥" not in row(admin_client)

    def test_thousands_are_grouped_where_a_project_says_so(self, settings):
        settings.USE_THOUSAND_SEPARATOR = True
        with translation.override("en"):
            assert formats.localize(pagination.AtLeast(10_000)) == "≥10,000"

    def test_no_column_is_sorted_without_an_index(self, admin_client):
        changelist = admin_client.get(LIST).context["cl"]
        indexed = {index.fields[0] for index in Order._meta.indexes if index.fields}
        for name in changelist.list_display:
            if name in changelist.sortable_by:
                assert changelist.get_ordering_field(name) in indexed

    def test_no_facets_are_counted(self, admin_client):
        assert "_facets" not in row(admin_client)
        assert "show_counts" not in row(admin_client)


@pytest.mark.parametrize(
    "query",
    ["", "?q=abc", "?q=a@example.com", "?p=1", "?o=-5", "?sync_state__exact=pending", "?reason=invalid:",
     "?account=default", "?last_sent=never", "?ordered=older", "?tracking=unsent", "?bronto_id=no", "?_facets=True"],
)  # fmt: skip
def test_each_way_of_narrowing_takes_five_queries(admin_client, django_assert_num_queries, query):
    OrderFactory.create_batch(3)
    with django_assert_num_queries(5):
        assert admin_client.get(LIST + query).status_code == 200


@pytest.mark.parametrize("count", [1, 40])
def test_the_list_takes_five_queries(admin_client, django_assert_num_queries, count):
    OrderFactory.create_batch(count, items=2)
    with django_assert_num_queries(5):  # session, user, count, orders, accounts that are stopped
        page = row(admin_client)
    assert page.count("bronto-pending") == count


def test_the_list_reads_no_long_columns(admin_client, django_assert_num_queries):
    OrderFactory()
    with django_assert_num_queries(5) as captured:
        row(admin_client)
    (orders,) = (query["sql"] for query in captured if "last_sent_hash" in query["sql"])
    assert '"last_sent",' not in orders
    assert "origin_user_agent" not in orders


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


@pytest.mark.parametrize(
    "query", ["reason=%00", "account=%00", "sync_state__exact=%00", "customer_order_id=a%00", f"resync_run={'9' * 30}"]
)
def test_what_no_database_can_look_up_is_told_as_any_other_slip(admin_client, query):
    OrderFactory()
    response = admin_client.get(f"{LIST}?{query}")
    # PostgreSQL compares numbers of any size.
    assert response.status_code == 302 or "resync_run" in query
    assert admin_client.get(f"{LIST}?{query}", follow=True).status_code == 200


def test_admin_passes_its_checks():
    assert [problem for model_admin in site._registry.values() for problem in model_admin.check()] == []
