from __future__ import annotations

import re
import shlex
import socket
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import requests
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.test import Client
from django.utils import timezone

from bronto_orders import exceptions as errors
from bronto_orders import payloads, wire
from bronto_orders.delivery import comparison, engine, remote
from bronto_orders.diffing import Verdict
from bronto_orders.models import AccountStatus, LineItem, Order
from tests.admin.conftest import FakeBronto, staff, url
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


def spoken(content: str) -> str:
    """What is read out where something is marked as new or old."""
    return re.sub(r'<(ins|del)><span class="bronto-hidden">(new|old): </span>(.*?)</\1>', r"\2:\3", content)


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
    assert "so nothing is sent unless somebody resyncs it" in response.content.decode()
    assert "Resync these differences" not in response.content.decode()
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
    for text in ["new:GBP", "old:USD", "new:EUR", "new:1.00", "old:0.28"]:
        assert text in spoken(content)
    shown = {verdict for verdict, _symbol in response.context["verdicts"]}
    assert shown == {Verdict.CONFLICT, Verdict.CHANGED_HERE, Verdict.CHANGED_THERE}
    for verdict in shown:
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
    assert content.count('<th scope="col" role="columnheader">') == 5
    assert '<th scope="row" role="rowheader">Currency <code>currency</code></th>' in content
    assert "<caption" in content
    assert '<span class="bronto-hidden">nothing</span>' in content
    assert "changed here" in content


def test_an_order_that_was_never_sent(admin_client, bronto, order):
    response = page(admin_client, order)
    assert sentence(response) == "Bronto does not have this order yet."
    assert set(verdicts(response).values()) == {"not_sent", "not sent yet"}
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
    assert sentence(page(admin_client, order)) == "Bronto no longer has this order. Resync it to add it again."
    Order.objects.filter(pk=order.pk).update(currency="EUR")
    assert sentence(page(admin_client, order)) == "Bronto no longer has this order. The next push adds it again."


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (errors.NotSentError(), "Bronto cannot be reached now."),
        (errors.DeadlineError(), "Bronto did not answer in time."),
        (errors.ServerError(status=503), "Bronto cannot be reached now."),
        (errors.TokenUnavailableError(), "Bronto cannot be reached now."),
        (errors.TokenRefusedError(), "Bronto refuses the account's credentials"),
        (errors.AuthenticationError(status=403), "Bronto refuses the account's credentials"),
        (errors.RateLimitedError(status=429), "Bronto asks for fewer requests."),
        (errors.BadRequestError(status=400, reason="no <b>"), "HTTP 400: no <b>."),
        (errors.UnexpectedAnswerError(status=302), "HTTP 302."),
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
    assert "not now" in content
    if sent:
        assert verdicts(response) == {"currency": "changed_here"}
        assert sentence(response) == "1 place has changed since Bronto last acknowledged the order."
        assert "old:USD" in spoken(content)
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
    assert "new:nobody" in spoken(content)
    assert "new:XXQ" in spoken(content)
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
def test_the_page_takes_six_queries(admin_client, bronto, django_assert_num_queries, items):
    order = OrderFactory(items=items)
    with django_assert_num_queries(6):  # session, user, order, tombstone, items, gate
        page(admin_client, order, "?all=1")


def test_resync_is_one_click_away(admin_client, bronto, order):
    content = page(admin_client, order).content.decode()
    assert f'href="{url("resync", order)}"' in content
    assert f'href="{url("change", order)}"' in content


def test_the_header_says_where_the_order_stands(admin_client, bronto, order):
    bronto.take(order)
    acknowledged = Order.objects.get()
    Order.objects.filter(pk=order.pk).update(
        acked_revision=1, revision=3, sync_message="No \u202econtact", sync_state="skipped"
    )
    content = page(admin_client, order).content.decode()
    assert acknowledged.synced_at is not None
    for text in ["abc-1", "default", "bronto-skipped", "3, acknowledged 1", "Read again", "No ⟨U+202E⟩contact"]:
        assert text in content
    Order.objects.filter(pk=order.pk).update(acked_revision=0, synced_at=None)
    content = page(admin_client, order).content.decode()
    assert "3, none acknowledged" in content
    assert "never" in content


@pytest.mark.parametrize(
    ("gate", "text", "asked"),
    [
        ({"paused": True}, "The account “default” is paused.", True),
        ({"held_reason": "outage"}, "is held now, and its orders wait with it. Bronto is away.", True),
        ({"held_reason": "auth"}, "Bronto refuses the account&#x27;s credentials", False),
        ({"held_reason": "throttled"}, "Bronto has asked for a pause", False),
        ({"held_reason": "auth", "held_until": datetime(2026, 1, 1, tzinfo=UTC), "paused": True}, "is paused", True),
    ],
)
def test_a_held_account(admin_client, bronto, order, gate, text, asked):
    bronto.take(order)
    columns = {"held_until": timezone.now() + timedelta(hours=1), "held_message": "Bronto is away.", **gate}
    AccountStatus.objects.create(account="default", **columns)
    Order.objects.filter(pk=order.pk).update(currency="EUR")
    response = page(admin_client, order)
    assert text in response.content.decode()
    assert verdicts(response) == {"currency": "changed_here"}
    assert bool(bronto.calls) is asked


def test_a_bronto_that_does_not_answer_does_not_hang_the_page(admin_client, order, settings, monkeypatch):
    monkeypatch.setattr(remote, "PATIENCE", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        nobody = f"http://127.0.0.1:{silent.getsockname()[1]}"
        settings.BRONTO_ORDERS = {"ACCOUNTS": {"default": {"API_URL": nobody, "TOKEN_URL": f"{nobody}/token"}}}
        started = time.monotonic()
        content = page(admin_client, order).content.decode()
    assert time.monotonic() - started < 3
    assert "Try again in a moment." in content
    assert "not read" in content


def test_a_thousand_items_fold_and_come_page_by_page(admin_client, bronto):
    order = OrderFactory()
    LineItem.objects.bulk_create(
        LineItem(order=order, position=position, sku="same", quantity=position + 1) for position in range(1000)
    )
    answer = bronto.take(order)
    started = time.monotonic()
    assert verdicts(page(admin_client, order)) == {}
    answer["lineItems"] = [{**item, "quantity": item["quantity"] + 5000} for item in answer["lineItems"]]
    response = page(admin_client, order)
    assert time.monotonic() - started < 10  # two pages; a few tenths of a second each on an idle machine
    assert sentence(response) == "The shop and Bronto differ in 1000 places."
    assert len(response.context["items"]) == 100
    assert "Line items 1 to 100 of 1000" in response.content.decode()
    assert 'href="?page=2"' in response.content.decode()
    last = page(admin_client, order, "?all=1&page=10")
    assert "Line items 901 to 1000 of 1000" in last.content.decode()
    assert 'href="?all=1&amp;page=9"' in last.content.decode()
    assert len(page(admin_client, order, "?page=nonsense").context["items"]) == 100


def test_long_values_can_be_opened(admin_client, bronto, order):
    bronto.take(order)
    text = "<b>" + "x" * 500
    Order.objects.filter(pk=order.pk).update(shipping_details=text)
    content = page(admin_client, order).content.decode()
    whole = content.partition('<details class="bronto-whole">')[2].partition("</details>")[0]
    assert "&lt;b&gt;" + "x" * 500 in whole


def test_the_command_leaves_the_token_out(admin_client, bronto, order, settings):
    settings.BRONTO_ORDERS = {
        "ACCOUNTS": {"default": {"API_URL": "https://api.example/v1/", "CLIENT_SECRET": "hush", "CREATE_CONTACT": True}}
    }
    Order.objects.filter(pk=order.pk).update(shipping_details="It's $HOME `x`\n@")
    response = page(admin_client, order)
    words = shlex.split(response.context["curl"])
    assert words[:4] == [
        "curl", "--request", "POST",
        "https://api.example/v1/orders?createContact=true&triggerEvents=true&force=false&ignoreInvalidTid=true",
    ]  # fmt: skip
    assert "Authorization: Bearer $TOKEN" in words
    assert words[-1] == response.context["raw_body"]
    assert wire.loads(words[-1])["shippingDetails"] == "It's $HOME `x`\n@"
    assert "hush" not in response.content.decode()


@pytest.mark.parametrize("number", ["abc-1", "a/b c?", "..", "ü"])
@pytest.mark.parametrize("known", ["new", "by number", "by id"])
@pytest.mark.parametrize("forced", [True, False])
def test_body_and_command_are_what_the_engine_sends(
    admin_client, bronto_sandbox_mounted, settings, monkeypatch, number, known, forced
):
    settings.BRONTO_ORDERS = {"ACCOUNTS": {"default": bronto_sandbox_mounted.account}}
    order = OrderFactory(customer_order_id=number, items=2, shipping_details="x", tid=TID)
    if known != "new":
        engine.deliver("default")
        Order.objects.filter(pk=order.pk).update(**({} if known == "by id" else {"bronto_order_id": ""}))
        Order.objects.filter(pk=order.pk).update(shipping_details="", currency="EUR")
        if forced:
            engine.deliver("default")
            Order.objects.filter(pk=order.pk).update(**({} if known == "by id" else {"bronto_order_id": ""}))
    shown = page(admin_client, order).context
    if forced:
        admin_client.post(url("diff_push", order), {"what": "all"})
    sent: list[Any] = []
    send = requests.adapters.HTTPAdapter.send

    def overhear(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        sent.append(request)
        return send(self, request, *args, **kwargs)

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", overhear)
    engine.deliver("default")
    [push] = [request for request in sent if request.method == "POST" and "/orders" in request.url]
    words = shlex.split(shown["curl"])
    assert push.body == shown["raw_body"].encode()
    assert words[3] == push.url
    headers = dict(word.split(": ", 1) for word in words if ": " in word and not word.startswith("{"))
    assert {name: push.headers[name] for name in headers if name != "Authorization"} == {
        name: value for name, value in headers.items() if name != "Authorization"
    }


class TestButtons:
    @pytest.fixture
    def changed_there(self, bronto: FakeBronto, order: Order) -> Order:
        bronto.take(order)["currency"] = "EUR"
        return order

    def said(self, response: Any) -> list[str]:
        assert response.status_code == 302
        return [str(message) for message in get_messages(response.wsgi_request)]

    def test_are_there_for_differences(self, admin_client, changed_there):
        content = page(admin_client, changed_there).content.decode()
        for text in ["Resync these differences", "Resync all", "Accept Bronto's as is", "Resync with options"]:
            assert text in content
        assert content.count("csrfmiddlewaretoken") >= 3

    def test_resync_these_differences(self, admin_client, bronto, changed_there):
        for expected in ["Queued. Look again in a moment.", "The order was queued already"]:
            response = admin_client.post(url("diff_push", changed_there), {"what": "differences"})
            assert response["Location"] == url("diff", changed_there)
            assert self.said(response)[-1].startswith(expected)
        order = Order.objects.get()
        assert (order.sync_state, order.last_sent_hash) == ("pending", "")
        assert order.resync_options == {"trigger": f"admin:{User.objects.get().pk}", "trigger_events": False}
        [entry] = LogEntry.objects.all()
        assert entry.object_id == str(order.pk)
        assert entry.change_message == "Queued to be sent to Bronto again, from the comparison."

    def test_resync_of_nothing(self, admin_client, bronto, order):
        bronto.take(order)
        response = admin_client.post(url("diff_push", order), {"what": "differences"})
        assert self.said(response) == ["Nothing differs any more, and nothing was queued."]
        bronto.error = errors.NotSentError()
        response = admin_client.post(url("diff_push", order), {"what": "differences"})
        assert self.said(response)[-1].endswith("So nobody knows what differs, and nothing was queued.")
        assert Order.objects.get().sync_state == "synced"
        assert not LogEntry.objects.exists()

    def test_resync_of_what_is_missing(self, admin_client, bronto, changed_there):
        bronto.orders.clear()
        self.said(admin_client.post(url("diff_push", changed_there), {"what": "differences"}))
        assert Order.objects.get().sync_state == "pending"

    def test_resync_all_needs_no_bronto(self, admin_client, bronto, changed_there):
        bronto.error = errors.NotSentError()
        self.said(admin_client.post(url("diff_push", changed_there), {"what": "all"}))
        assert Order.objects.get().sync_state == "pending"
        assert bronto.calls == []

    def test_accept(self, admin_client, bronto, changed_there):
        seen = page(admin_client, changed_there).context["comparison"].seen
        for expected in ["Accepted as Bronto has it.", "Nothing differs that could be accepted."]:
            response = admin_client.post(url("diff_accept", changed_there), {"seen": seen})
            assert self.said(response)[-1].startswith(expected)
        response = page(admin_client, changed_there)
        assert sentence(response) == "Bronto differs in 1 place, which has been accepted as it is."
        assert verdicts(response) == {"currency": "accepted"}
        assert "Accept Bronto's as is" not in response.content.decode()
        assert LogEntry.objects.get().change_message == "Accepted the order as Bronto has it."

    def test_accept_says_why_not(self, admin_client, bronto, changed_there):
        Order.objects.filter(pk=changed_there.pk).update(currency="GBP")
        response = admin_client.post(url("diff_accept", changed_there), {"seen": ""})
        assert self.said(response)[0].startswith("Nothing was accepted. The order is about to be sent.")
        assert not LogEntry.objects.exists()

    @pytest.mark.parametrize("verb", ["diff_push", "diff_accept"])
    def test_an_order_that_is_deleted_just_now_is_not_found(
        self, admin_client, bronto, changed_there, verb, monkeypatch
    ):
        def found(model_admin: Any, request: Any, object_id: str) -> Order:
            order = Order.objects.get(pk=object_id)
            Order.objects.all().delete()
            return order

        monkeypatch.setattr("bronto_orders.admin.base.OrderPages.order_or_404", found)
        assert admin_client.post(url(verb, changed_there), {"what": "all"}).status_code == 404

    @pytest.mark.parametrize("verb", ["diff_push", "diff_accept"])
    def test_are_not_for_get_nor_for_everybody(self, bronto, changed_there, verb):
        before = list(Order.objects.values())
        people = [["view_order", "view_diff"], ["view_order", "resync_order"], ["view_diff", "resync_order"]]
        for number, permissions in enumerate(people):
            client = staff(*permissions, username=f"staff{number}")
            assert client.post(url(verb, changed_there), {"what": "all"}).status_code == 403
        client = staff("view_order", "view_diff", username="looker")
        assert "<form" not in page(client, changed_there).content.decode().partition('id="content-main"')[2]
        may = staff("view_order", "view_diff", "resync_order", username="may")
        assert may.get(url(verb, changed_there)).status_code == 405
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(User.objects.get(username="may"))
        assert strict.post(url(verb, changed_there), {"what": "all"}).status_code == 403
        assert Client().post(url(verb, changed_there)).status_code == 302
        assert list(Order.objects.values()) == before


def test_personal_data_is_nowhere_without_the_permission(bronto, order):
    texts = {
        "email_address": "masked@example.com", "origin_ip": "203.0.113.7", "origin_user_agent": "Masked/1.0",
        "tid": TID, "tracking_cookie_value": "masked-value",
    }  # fmt: skip
    bronto.take(order)
    Order.objects.filter(pk=order.pk).update(**texts)
    response = page(staff("view_order", "view_diff"), order)
    content = response.content.decode()
    assert verdicts(response)["emailAddress"] == "changed_here"
    assert [text for text in texts.values() if text in content] == []
    assert "shopper" not in content
    assert "Personal data is masked here" in content
    assert wire.loads(response.context["raw_body"])["emailAddress"] == "m…@example.com"


def test_what_nobody_knows_the_meaning_of_is_masked_in_items_too(bronto, order):
    answer = bronto.take(order)
    answer["lineItems"][0]["giftNote"] = answer["orderNote"] = "For Jane, with love"
    people = [["view_order", "view_diff"], ["view_order", "view_diff", "view_personal_data"]]
    pages = [page(staff(*names, username=f"s{n}"), order, "?all=1") for n, names in enumerate(people)]
    assert [response.content.decode().count("For Jane") for response in pages] == [0, 2]
