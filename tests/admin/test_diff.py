from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from bronto_orders import exceptions as errors
from bronto_orders import payloads, wire
from bronto_orders.delivery import comparison
from bronto_orders.diffing import Verdict
from bronto_orders.models import LineItem, Order
from tests.admin.conftest import FakeBronto, url
from tests.factories import LineItemFactory, OrderFactory

pytestmark = pytest.mark.django_db
TID = "3.Ag.AQ.AQ.AQ.AQ.AQ.t..l.AQ.n.VO4AkA.VO4AkA.G89Jow"


@pytest.fixture
def order() -> Order:
    return OrderFactory(customer_order_id="abc-1", items=2, shipping_details="Left at the door")


def page(client: Client, order: Order, query: str = "") -> Any:
    response = client.get(url("diff", order) + query)
    assert response.status_code == 200
    return response


def verdicts(response: Any) -> dict[str, str]:
    found = {row.name: row.verdict.value for row in response.context["rows"]}
    for block in response.context["items"]:
        found[block.whole.label] = str(block.whole.words)
        found.update({f"{block.whole.label}.{row.name}": row.verdict.value for row in block.rows})
    return found


def sentence(response: Any) -> str:
    text: str = response.context["sentence"]
    assert text in response.content.decode()
    return text


def test_an_order_in_sync(admin_client, bronto, order):
    bronto.take(order)
    response = page(admin_client, order)
    assert sentence(response) == "Bronto has the order as the shop has it."
    assert verdicts(response) == {}
    assert "bronto-diff" not in response.content.decode()
    assert "nothing is sent unless you choose to send it again" in response.content.decode()
    assert bronto.calls == [("get", order.bronto_order_id)]


def test_all_fields_are_shown_when_asked_for(admin_client, bronto, order):
    bronto.take(order)
    response = page(admin_client, order, "?all=1")
    found = verdicts(response)
    assert found["customerOrderId"] == "same"
    assert found["discountAmount"] == "equal"
    assert found["orderId"] == "set_by_bronto"
    assert len(response.context["items"]) == 2
    assert 'href="?">Show only differences' in response.content.decode()
    assert sentence(response) == "Bronto has the order as the shop has it."


def test_each_kind_of_difference_is_said(admin_client, bronto, order):
    answer = bronto.take(order)
    first, second = order.line_items.all()
    answer |= {"currency": "EUR", "subtotal": Decimal("9.99")}
    Order.objects.filter(pk=order.pk).update(currency="GBP", tax_amount=Decimal("1"))
    LineItem.objects.filter(pk=first.pk).update(quantity=3)
    LineItem.objects.filter(pk=second.pk).delete()
    LineItemFactory(order=order, sku="new", name="Tea", position=7)
    response = page(admin_client, order)
    assert verdicts(response) == {
        "currency": "conflict",
        "subtotal": "changed_there",
        "taxAmount": "changed_here",
        f"{first.sku} · Coffee Mug": "same",
        f"{first.sku} · Coffee Mug.quantity": "changed_here",
        f"{second.sku} · Coffee Mug": "removed here",
        "new · Tea": "added here",
    }
    assert sentence(response) == "The shop and Bronto differ in 6 places."
    content = response.content.decode()
    for text in ["<ins>GBP</ins>", "<del>USD</del>", "<ins>EUR</ins>", "<ins>1.00</ins>", "<del>0.28</del>"]:
        assert text in content
    assert set(response.context["verdicts"]) == {Verdict.CONFLICT, Verdict.CHANGED_HERE, Verdict.CHANGED_THERE}
    for verdict in response.context["verdicts"]:
        assert str(verdict.explanation).replace("'", "&#x27;") in content


def test_items_that_changed_at_bronto(admin_client, bronto, order):
    answer = bronto.take(order)
    first, second = answer["lineItems"]
    answer["lineItems"] = [{**second, "position": 0}, {**first, "position": 1}, {"sku": "extra", "position": 2}]
    words = list(verdicts(page(admin_client, order)).values())
    assert words == ["moved at Bronto", "added at Bronto"]
    answer["lineItems"] = [first]
    assert list(verdicts(page(admin_client, order)).values()) == ["removed at Bronto"]


def test_items_that_moved_here(admin_client, bronto, order):
    bronto.take(order)
    first = order.line_items.all()[0]
    LineItem.objects.filter(pk=first.pk).update(position=9)
    assert list(verdicts(page(admin_client, order)).values()) == ["moved here"]


def test_the_table_can_be_read_without_seeing_it(admin_client, bronto, order):
    bronto.take(order)
    Order.objects.filter(pk=order.pk).update(currency="EUR", shipping_details="")
    content = page(admin_client, order).content.decode().partition('class="bronto-table bronto-diff"')[2]
    assert content.count('<th scope="col">') == 5
    assert '<th scope="row">Currency <code>currency</code></th>' in content
    assert "<caption" in content
    assert '<span class="bronto-hidden">nothing</span>' in content
    assert "changed here" in content


def test_an_order_that_was_never_sent(admin_client, bronto, order):
    response = page(admin_client, order)
    assert sentence(response) == "Bronto does not have this order yet."
    assert set(verdicts(response).values()) == {"not_sent", "not sent"}
    assert bronto.calls == [("search", "abc-1")]
    assert "(add)" in response.content.decode()
    assert "&quot;customerOrderId&quot;: &quot;abc-1&quot;" in response.content.decode()


def test_an_order_that_bronto_has_without_our_knowing(admin_client, bronto, order):
    bronto.orders = {"x": {"customerOrderId": "abc-10"}, "y": {"customerOrderId": "abc-1", "currency": "EUR"}}
    response = page(admin_client, order)
    found = verdicts(response)
    assert found["currency"] == "not_sent"
    assert "customerOrderId" not in found
    assert sentence(response).startswith("The shop and Bronto differ in ")


def test_one_difference_is_one_place(admin_client, bronto, order):
    bronto.take(order)["currency"] = "EUR"
    assert sentence(page(admin_client, order)) == "The shop and Bronto differ in 1 place."


def test_an_order_that_was_deleted_at_bronto(admin_client, bronto, order):
    bronto.take(order)
    bronto.orders.clear()
    assert sentence(page(admin_client, order)) == "Bronto no longer has this order. The next push adds it again."


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (errors.NotSentError(), "Bronto cannot be reached now."),
        (errors.DeadlineError(), "Bronto cannot be reached now."),
        (errors.ServerError(status=503), "Bronto cannot be reached now."),
        (errors.TokenUnavailableError(), "Bronto cannot be reached now."),
        (errors.TokenRefusedError(), "Bronto refuses the account's credentials"),
        (errors.AuthenticationError(status=403), "Bronto refuses the account's credentials"),
        (errors.RateLimitedError(status=429), "Bronto asks for fewer requests."),
        (errors.BadRequestError(status=400, reason="no <b>"), "HTTP 400): no <b>."),
        (errors.UnexpectedAnswerError(status=302), "(HTTP 302)."),
    ],
)
@pytest.mark.parametrize("sent", [True, False])
def test_a_bronto_in_trouble_leaves_the_local_columns(admin_client, bronto, order, error, trouble, sent):
    if sent:
        bronto.take(order)
    Order.objects.filter(pk=order.pk).update(currency="EUR")
    bronto.error = error
    response = page(admin_client, order)
    content = response.content.decode()
    assert trouble.replace("'", "&#x27;").replace("<b>", "&lt;b&gt;") in content
    assert "not read" in content
    assert "Bronto was asked at" not in content
    if sent:
        assert verdicts(response) == {"currency": "changed_here"}
        assert sentence(response) == "1 place has changed since Bronto last acknowledged the order."
        assert "<del>USD</del>" in content
    else:
        assert sentence(response) == "Bronto has acknowledged nothing of this order yet."


def test_nothing_changed_while_bronto_is_down(admin_client, bronto, order):
    bronto.take(order)
    bronto.error = errors.NotSentError()
    assert sentence(page(admin_client, order)) == "Nothing has changed since Bronto last acknowledged the order."


@pytest.mark.parametrize(
    "accounts",
    [
        {},
        "wrong",
        {"default": {"CLIENT_SECRET": 5, "API_URL": "ftp://secret"}},
        {"default": {"API_URL": "https://user:secret@rest.example"}},
    ],
)
def test_an_account_that_is_not_configured(admin_client, order, settings, accounts):
    settings.BRONTO_ORDERS = {"ACCOUNTS": accounts}
    content = page(admin_client, order).content.decode()
    assert "The account “default” is not configured properly, so Bronto cannot be asked." in content
    assert "secret" not in content


def test_the_real_client_is_asked(admin_client, order, settings):
    nobody = "http://127.0.0.1:1"
    settings.BRONTO_ORDERS = {"ACCOUNTS": {"default": {"API_URL": nobody, "TOKEN_URL": f"{nobody}/token"}}}
    assert "Bronto cannot be reached now." in page(admin_client, order).content.decode()


def test_an_invalid_order_shows_what_is_wrong_and_the_values_as_typed(admin_client, bronto, order):
    bronto.take(order)
    LineItem.objects.filter(pk=order.line_items.all()[0].pk).update(name="")
    Order.objects.filter(pk=order.pk).update(currency="XXQ", email_address="nobody")
    response = page(admin_client, order)
    content = response.content.decode()
    assert "The order cannot be sent as it is. This is not an e-mail address. Correct it." in content
    assert verdicts(response)["emailAddress"] == "changed_here"
    assert "<ins>nobody</ins>" in content
    assert "<ins>XXQ</ins>" in content
    assert "What the next push would send" not in content


def test_the_body_is_the_one_that_the_engine_would_send(admin_client, bronto, order):
    bronto.take(order)
    Order.objects.filter(pk=order.pk).update(shipping_details="", tid=TID, grand_total=Decimal("10.50"))
    order = Order.objects.get()
    body = page(admin_client, order).context["body"]
    document = payloads.build_document(order, order.line_items.all(), now=timezone.now())
    expected = payloads.update_body(document, order.last_sent, certain=True, with_order_date=False, with_tracking=True)
    assert wire.loads(body) == wire.loads(wire.dumps(expected))
    assert '"grandTotal": 10.5,' in body
    assert '"shippingDetails": null' in body
    assert TID in body
    assert "orderDate" not in body


def test_the_body_follows_the_account_and_what_bronto_took(admin_client, bronto, order, settings):
    settings.BRONTO_ORDERS = {"ACCOUNTS": {"default": {"UPDATE_ORDER_DATE": True}}}
    bronto.take(order)
    Order.objects.filter(pk=order.pk).update(has_tracking=True, tid=TID, order_date=datetime(2026, 5, 1, tzinfo=UTC))
    response = page(admin_client, Order.objects.get())
    assert "orderDate" in response.context["body"]
    assert TID not in response.context["body"]
    assert verdicts(response) == {"orderDate": "changed_here", "tid": "cannot_change"}


def test_what_an_update_cannot_change_is_said(admin_client, bronto, order):
    bronto.take(order)
    Order.objects.filter(pk=order.pk).update(order_date=order.order_date + timedelta(days=1), customer_order_id="abc-2")
    assert verdicts(page(admin_client, order)) == {"customerOrderId": "cannot_change", "orderDate": "cannot_change"}


def test_unsettled_orders_are_not_idle(order):
    FakeBronto().take(order)
    document = payloads.build_document(order, order.line_items.all(), now=timezone.now())
    assert comparison.next_push(order, document, with_order_date=False).idle
    order.settle_until = timezone.now()
    assert not comparison.next_push(order, document, with_order_date=False).idle


def test_it_changes_nothing(admin_client, bronto, order):
    bronto.take(order)
    before = list(Order.objects.values())
    page(admin_client, order)
    assert list(Order.objects.values()) == before
    for method in ("post", "put", "delete"):
        assert getattr(admin_client, method)(url("diff", order)).status_code == 405
    assert admin_client.head(url("diff", order)).status_code == 200


@pytest.mark.parametrize("object_id", ["999999", "nonsense", "a/b"])
def test_an_unknown_order_is_not_found(admin_client, bronto, object_id):
    assert admin_client.get(f"/admin/bronto_orders/order/{object_id}/diff/").status_code == 404


@pytest.mark.parametrize("items", [1, 20])
def test_the_page_takes_four_queries(admin_client, bronto, django_assert_num_queries, items):
    order = OrderFactory(items=items)
    with django_assert_num_queries(4):  # session, user, order, items
        page(admin_client, order, "?all=1")


def test_resync_is_one_click_away(admin_client, bronto, order):
    content = page(admin_client, order).content.decode()
    assert f'href="{url("resync", order)}"' in content
    assert f'href="{url("change", order)}"' in content
