from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from django.utils import timezone

from bronto_orders.admin.columns import EMPTY, failed_tries
from bronto_orders.admin.items import EDITABLE, NumberField
from bronto_orders.models import LineItem, Order, SyncAttempt, SyncState
from tests.admin.conftest import LIST, fields_of, staff, url
from tests.factories import LineItemFactory, OrderFactory
from tests.test_tracking import DOCS_TID

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_bronto")]


def attempt(order: Order, **fields: Any) -> SyncAttempt:
    defaults = {
        "account": order.account, "revision": 1, "operation": "add", "trigger": "signal",
        "started_at": timezone.now(), "duration_ms": 12, "outcome": "accepted",
    }  # fmt: skip
    return SyncAttempt.objects.create(order=order, **{**defaults, **fields})


def test_saving_the_form_untouched_changes_no_value(admin_client):
    order = OrderFactory(items=2, grand_total=Decimal("4.2700"))
    before = Order.objects.values().get(pk=order.pk)
    items = list(LineItem.objects.values())
    page = admin_client.get(url("change", order))
    response = admin_client.post(url("change", order), fields_of(page))
    assert response.status_code == 302, response.context["errors"]
    after = Order.objects.values().get(pk=order.pk)
    assert {name for name in before if before[name] != after[name]} <= {"revision"}
    assert list(LineItem.objects.values()) == items


def test_a_change_marks_the_order_and_leaves_delivery_alone(admin_client):
    order = OrderFactory(items=1)
    Order.objects.filter(pk=order.pk).update(
        sync_state=SyncState.SYNCED, due_at=None, last_sent={"a": 1}, bronto_order_id="b"
    )
    data = fields_of(admin_client.get(url("change", order)))
    sent = {"email_address": "new@example.com", "sync_state": "rejected", "bronto_order_id": "mine", "account": "other"}
    assert admin_client.post(url("change", order), {**data, **sent}).status_code == 302
    order.refresh_from_db()
    assert (order.email_address, order.sync_state, order.bronto_order_id) == ("new@example.com", "pending", "b")
    assert (order.account, order.due_at is None, order.last_sent) == ("default", False, {"a": 1})


def opened(client: Client, order: Order) -> dict[str, Any]:
    page = client.get(url("change", order))
    (revision,) = re.findall(r'name="bronto_revision" value="(.*?)"', page.content.decode())
    return {**fields_of(page), "bronto_revision": revision}


@pytest.mark.parametrize("change", [{"shipped": True}, {"order_date": datetime(2026, 5, 6, tzinfo=UTC)}])
def test_a_form_that_is_out_of_date_puts_nothing_back(admin_client, change):
    order = OrderFactory(items=1)
    data = opened(admin_client, order)
    Order.objects.filter(pk=order.pk).update(**change)
    for _ in range(2):
        response = admin_client.post(url("change", order), data)
        assert "Nothing was saved: the order has been changed" in response.content.decode()
        assert f'name="bronto_revision" value="{data["bronto_revision"]}"' in response.content.decode()
    order.refresh_from_db()
    assert {name: getattr(order, name) for name in change} == change
    again = {**opened(admin_client, order), "email_address": "new@example.com"}
    assert admin_client.post(url("change", order), again).status_code == 302
    order.refresh_from_db()
    assert order.email_address == "new@example.com"
    assert {name: getattr(order, name) for name in change} == change


def test_items_of_a_form_that_is_out_of_date_put_nothing_back(admin_client):
    order = OrderFactory(items=1)
    data = opened(admin_client, order)
    order.line_items.update(quantity=7)
    Order.objects.mark_changed()  # by the item, were this a transaction of its own
    response = admin_client.post(url("change", order), data)
    assert "Nothing was saved: the order has been changed" in response.content.decode()
    assert order.line_items.get().quantity == 7


def test_saving_twice_is_harmless(admin_client):
    order = OrderFactory(items=1)
    data = {**opened(admin_client, order), "email_address": "new@example.com", "line_items-0-sku": "other"}
    for _ in range(2):
        assert admin_client.post(url("change", order), data).status_code == 302
    assert order.line_items.get().sku == "other"
    added = {"line_items-TOTAL_FORMS": "2", "line_items-1-position": "1", "line_items-1-quantity": "1"}
    data = {**opened(admin_client, order), **added, "line_items-1-sku": "new"}
    assert admin_client.post(url("change", order), data).status_code == 302
    Order.objects.mark_changed()  # by the item, were this a transaction of its own
    assert admin_client.post(url("change", order), data).status_code == 200
    assert order.line_items.count() == 2


@pytest.mark.parametrize("count", [EDITABLE, EDITABLE + 1, 1000])
def test_orders_with_many_items_can_be_saved(admin_client, count, django_assert_max_num_queries):
    order = OrderFactory(items=count)
    with django_assert_max_num_queries(9):
        page = admin_client.get(url("change", order))
    assert len(page.context["inline_admin_formsets"][0].formset.forms) == EDITABLE
    is_long = count > EDITABLE
    assert ("none can be changed here" in page.content.decode()) is is_long
    assert ("line_items-0-sku" in page.content.decode()) is not is_long
    data = {**fields_of(page), "email_address": "new@example.com", "line_items-0-quantity": "7"}
    if is_long:
        data |= {"line_items-0-DELETE": "on"}
    assert admin_client.post(url("change", order), data).status_code == 302
    order.refresh_from_db()
    assert (order.email_address, order.line_items.count()) == ("new@example.com", count)
    assert order.line_items.filter(quantity=7).exists() is not is_long


def test_items_are_edited_with_the_order(admin_client):
    order = OrderFactory(items=1)
    data = fields_of(admin_client.get(url("change", order)))
    added = {"line_items-TOTAL_FORMS": "2", "line_items-1-position": "1", "line_items-1-sku": "new"}
    changed = {"line_items-0-quantity": "2.5", "line_items-1-quantity": "1"}
    assert admin_client.post(url("change", order), {**data, **added, **changed}).status_code == 302
    assert [(item.sku, item.quantity) for item in order.line_items.all()][1:] == [("new", 1)]
    assert order.line_items.all()[0].quantity == Decimal("2.5")


def test_adding_an_order_offers_the_accounts_and_hides_delivery(admin_client, settings):
    settings.BRONTO_ORDERS = {"ACCOUNTS": {"outlet": {}, "default": {}}}
    page = admin_client.get(f"{LIST}add/")
    form = page.context["adminform"].form
    assert form.fields["account"].choices == [("default", "default"), ("outlet", "outlet")]
    assert "Delivery to Bronto" not in page.content.decode()
    data = {**fields_of(page), "customer_order_id": "by-hand", "account": "outlet"}
    assert admin_client.post(f"{LIST}add/", data).status_code == 302
    assert Order.objects.get().account == "outlet"


def test_a_wrong_setting_does_not_break_the_form(admin_client, settings):
    settings.BRONTO_ORDERS = {"ACCOUNTS": []}
    assert admin_client.get(f"{LIST}add/").context["adminform"].form.fields["account"].max_length == 64


@pytest.mark.parametrize(
    ("places", "value", "shown"),
    [
        (4, Decimal("4.2700"), "4.27"),
        (4, Decimal("4.0000"), "4.00"),
        (4, Decimal("4.1234"), "4.1234"),
        (4, Decimal("1200"), "1200.00"),
        (4, Decimal("-0.5000"), "-0.50"),
        (3, Decimal("1.000"), "1"),
        (3, Decimal("10.000"), "10"),
        (3, Decimal("100"), "100"),
        (3, Decimal("2.500"), "2.5"),
        (3, "typed", "typed"),
        (3, Decimal("NaN"), Decimal("NaN")),
        (3, None, None),
    ],
)
def test_numbers_lose_the_zeros_of_their_column(places, value, shown):
    assert str(NumberField(decimal_places=places).prepare_value(value)) == str(shown)


def test_bookkeeping_is_not_shown(admin_client):
    page = admin_client.get(url("change", OrderFactory())).content.decode()
    for name in ["lease_token", "lease_revision", "flips", "last_sent_hash", "resync_revision", "acked_revision"]:
        assert name not in page


def test_attempts_are_shown_newest_first_twenty_at_a_time(admin_client, django_assert_num_queries):
    order = OrderFactory(items=3)
    jane = User.objects.get()
    for number in range(45):
        attempt(order, revision=number + 1, trigger=f"admin:{jane.pk}", decision=f"Decision {number}.", http_status=200)
    attempt(OrderFactory(), decision="Of another order.")
    ContentType.objects.get_for_model(Order)  # cached from then on
    # Session, user, order, how many items, items, attempts, people, gate, newest attempt.
    with django_assert_num_queries(9):
        response = admin_client.get(url("change", order))
    page = response.content.decode()
    shown = response.context["attempts"]
    assert [one.revision for one in shown.attempts] == list(range(45, 25, -1))
    assert "Decision 44." in page
    assert f">{jane.get_username()}</td>" in page
    assert "Newest attempts" not in page
    for older in (range(25, 5, -1), range(5, 0, -1)):
        assert "Older attempts" in page
        response = admin_client.get(url("change", order), {"attempts_before": shown.older})
        page, shown = response.content.decode(), response.context["attempts"]
        assert [one.revision for one in shown.attempts] == list(older)
        assert '<a href="?#bronto-history">Newest attempts</a>' in page
    assert "Older attempts" not in page
    assert "Of another order." not in page


@pytest.mark.parametrize(("before", "count"), [("1", 0), ("x", 1), ("", 1), ("²", 1), ("-1", 1), ("9" * 50, 1)])
def test_an_odd_page_of_attempts(admin_client, before, count):
    order = OrderFactory()
    one = attempt(order)
    response = admin_client.get(url("change", order), {"attempts_before": str(one.pk) if before == "1" else before})
    assert len(response.context["attempts"].attempts) == count
    assert ("There are no older attempts." in response.content.decode()) is (count == 0)
    assert "Nothing has been sent yet." not in response.content.decode()


def test_an_attempt_tells_all_that_was_exchanged(admin_client):
    order = OrderFactory()
    attempt(
        order, outcome="unknown", reason="No answer.", request_excerpt="{ask}", answer_excerpt="{say}",
        duration_ms=10_400, trigger="sweep", operation="update", http_status=503, decision="Trying again.",
    )  # fmt: skip
    page = admin_client.get(url("change", order)).content.decode()
    for text in ["No answer.", "{ask}", "{say}", "<details>", "10.4 s", ">schedule<", ">update<", ">503<",
                 "fate unknown", "Trying again."]:  # fmt: skip
        assert text in page


@pytest.mark.parametrize(
    ("trigger", "words"),
    [("signal", "change in the shop"), ("api", "API"), ("command", "command"), ("admin:999", "somebody in the admin"),
     ("admin:jane", "somebody in the admin"), ("admin:", "somebody in the admin"), ("odd", "odd")],
)  # fmt: skip
def test_triggers_are_shown_in_words(admin_client, trigger, words):
    order = OrderFactory()
    attempt(order, trigger=trigger)
    assert f">{words}</td>" in admin_client.get(url("change", order)).content.decode()


def test_a_sentence_says_how_the_order_stands(admin_client):
    order = OrderFactory()
    page = admin_client.get(url("change", order)).content.decode()
    assert '<p class="bronto-explanation bronto-explanation-pending">Waiting to be sent; it goes out' in page
    assert "bronto-explanation" not in admin_client.get(f"{LIST}add/").content.decode()


def test_a_new_order_says_that_nothing_was_sent(admin_client):
    page = admin_client.get(url("change", OrderFactory())).content.decode()
    assert "Nothing has been sent yet." in page
    assert ">None<" not in page


def test_accepted_with_other_values_is_a_warning(admin_client):
    order = OrderFactory()
    attempt(order, differences=["shippingAmount"])
    assert "accepted, but changed" in admin_client.get(url("change", order)).content.decode()


def test_an_order_can_be_deleted_with_its_attempts(admin_client):
    order = OrderFactory(items=1)
    attempt(order)
    page = admin_client.get(url("delete", order)).content.decode()
    assert "required to delete" not in page
    assert admin_client.post(url("delete", order), {"post": "yes"}).status_code == 302
    assert not Order.objects.exists()


def test_deleting_still_needs_the_permission():
    order = OrderFactory()
    assert staff("view_order", "change_order").post(url("delete", order), {"post": "yes"}).status_code == 403
    assert Order.objects.exists()


def test_who_may_only_view_sees_the_form_without_fields():
    order = LineItemFactory().order
    response = staff("view_order", "view_lineitem").get(url("change", order))
    assert response.status_code == 200
    assert response.context["adminform"].form.fields == {}
    assert url("resync", order) not in response.content.decode()
    assert url("diff", order) not in response.content.decode()


def test_the_buttons_are_links_to_pages(admin_client):
    order = OrderFactory()
    page = admin_client.get(url("change", order)).content.decode()
    assert f'<a href="{url("resync", order)}">Resync</a>' in page
    assert f'<a href="{url("diff", order)}">Diff</a>' in page


class TestAttribution:
    """The form says in words by what an order was attributed, or why it was not."""

    @pytest.mark.parametrize(
        ("columns", "words"),
        [
            ({"tid": DOCS_TID, "attribution_source": "query"}, "The campaign link itself, 3 h ago"),
            ({"tid": DOCS_TID, "attribution_source": "session"}, "A campaign link, kept in the session, 3 h ago"),
            (
                {"tracking_cookie_name": "tid_a", "tracking_cookie_value": DOCS_TID, "attribution_source": "cookie"},
                "The cookie of Bronto's script, 3 h ago",
            ),
            (
                {"tid": DOCS_TID, "attribution_source": "explicit", "attribution_seen_at": None},
                "Given with the order",
            ),
            ({"tid": DOCS_TID, "attribution_source": "erp_import", "attribution_seen_at": None}, "Erp import"),
            ({"tid": DOCS_TID, "attribution_seen_at": None}, "–"),  # noqa: RUF001
            ({"attribution_note": "no_consent"}, "There was no consent"),
            ({"attribution_note": "staff"}, "Staff placed the order"),
            ({"attribution_note": "an_own_reason"}, "An own reason"),
            ({}, "The order was not made in a shopper's visit"),
        ],
    )
    def test_in_words(self, admin_client, columns, words):
        seen_at = timezone.now() - timedelta(hours=3, minutes=5)
        order = OrderFactory(**{"tid": "", "attribution_seen_at": seen_at, **columns})
        content = admin_client.get(url("change", order)).content.decode()
        shown = re.sub(r"<[^>]*>", "", content)
        assert words in unescape(shown)
        assert ('name="attribution_source"' in content) is False

    def test_is_not_asked_for_when_an_order_is_added(self, admin_client):
        assert "ttribution" not in admin_client.get(f"{LIST}add/").content.decode()

    def test_hostile_codes_are_text(self, admin_client):
        order = OrderFactory(tid=DOCS_TID, attribution_source="<script>alert(1)</script>")
        other = OrderFactory(tid="", attribution_note="<script>alert(2)</script>")
        for one in (order, other):
            assert "<script>alert" not in admin_client.get(url("change", one)).content.decode()

    @pytest.mark.parametrize(
        ("columns", "told"),
        [
            ({"has_tracking": False}, True),
            ({"has_tracking": True}, False),
            ({"has_tracking": None}, False),
            ({"has_tracking": False, "tid": ""}, False),
        ],
    )
    def test_tracking_that_bronto_did_not_take_is_told_with_what_to_do(self, admin_client, columns, told):
        order = OrderFactory(tid=DOCS_TID)
        Order.objects.filter(pk=order.pk).update(sync_state="synced", due_at=None, **columns)
        content = admin_client.get(url("change", order)).content.decode()
        assert ("but not its tracking" in content) is told
        assert ("This one names the site 2." in content) is told
        listed = admin_client.get(f"{LIST}?tracking=refused").context["cl"].result_count
        assert listed == int(told)

    def test_tracking_that_cannot_be_read_names_no_site(self, admin_client):
        order = OrderFactory(tid="made up")
        Order.objects.filter(pk=order.pk).update(sync_state="synced", due_at=None, has_tracking=False)
        content = admin_client.get(url("change", order)).content.decode()
        assert "but not its tracking" in content
        assert "names the site" not in content


@pytest.mark.parametrize(
    ("on_delete", "text"),
    [
        ("keep", "Deleting the order here deletes nothing at Bronto."),
        ("delete", "The order is deleted at Bronto, too, if Bronto has it."),
    ],
)
def test_the_page_that_asks_says_what_a_deletion_means_at_bronto(admin_client, settings, on_delete, text):
    settings.BRONTO_ORDERS = {**settings.BRONTO_ORDERS, "PRIVACY": {"ON_DELETE": on_delete}}
    assert f"<p>{text}</p>" in admin_client.get(url("delete", OrderFactory())).content.decode()


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        ({"sync_state": "pending", "attempts": 2}, "2"),
        ({"sync_state": "sending", "attempts": 2}, "1"),  # the second is under way
        ({"sync_state": "rejected", "attempts": 0, "due_at": None}, EMPTY),
    ],
    ids=["waiting", "sending", "at rest"],
)
def test_tries_that_have_failed(columns: dict[str, Any], shown: str) -> None:
    assert failed_tries(Order(**{"due_at": timezone.now(), **columns})) == shown
