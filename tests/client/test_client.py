from __future__ import annotations

import ast
import inspect
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from urllib.parse import unquote

import pytest

import bronto_orders
from bronto_orders import client as client_package
from bronto_orders import wire
from bronto_orders.client import BrontoClient
from bronto_orders.exceptions import BrontoConfigurationError, BrontoError, UnexpectedAnswerError, UnreadableAnswerError
from tests.client.conftest import in_threads
from tests.client.stub import SECRET, reply

OPTIONS = "createContact=false&triggerEvents=true&force=false&ignoreInvalidTid=false"
ODD_IDS = [
    "abc-123",
    "a/b",
    "a//b",
    "a b",
    "a+b",
    "a%2Fb",
    "a%b",
    "a?b#c",
    "a&b=c;d",
    "..",
    ".",
    "...",
    "../x",
    "~a_b-c.d",
    "Größe-日本-🛒",
    "a\\b",
    "a:b@c",
    "[1]{2}|^`\"<>'",
    "\x00\r\n\t",
    "customerOrderId",
]


@pytest.fixture
def answers(bronto):
    """Answer every order call with this."""

    def answer(*args: object, **kwargs: object) -> None:
        bronto.orders = lambda request, connection: reply(*args, **kwargs)

    return answer


@pytest.mark.parametrize(
    ("call", "method", "target"),
    [
        (lambda client: client.add({}), "POST", f"/orders?{OPTIONS}"),
        (lambda client: client.update("o-1", {}), "POST", f"/orders/o-1?{OPTIONS}"),
        (
            lambda client: client.update_by_customer_order_id("c-1", {}),
            "POST",
            f"/orders/customerOrderId/c-1?{OPTIONS}",
        ),
        (lambda client: client.get("o-1"), "GET", "/orders/o-1"),
        (lambda client: client.delete("o-1"), "DELETE", "/orders/o-1"),
        (lambda client: client.delete_by_customer_order_id("c-1"), "DELETE", "/orders/customerOrderId/c-1"),
    ],
)
def test_calls(bronto, client, call, method, target):
    result = call(client)
    assert result == (None if method == "DELETE" else {"orderId": "o-1"})
    (request,) = bronto.order_requests
    assert (request.method, request.target) == (method, target)
    assert request.headers["user-agent"] == f"bronto-orders/{bronto_orders.__version__}"
    assert request.headers["accept"] == "application/json"
    assert request.headers.get("content-type") == ("application/json" if method == "POST" else None)
    assert request.headers["authorization"].startswith("Bearer ")


@pytest.mark.parametrize("call", ["add", "update", "update_by_customer_order_id"])
@pytest.mark.parametrize("option", ["create_contact", "trigger_events", "force", "ignore_invalid_tid"])
@pytest.mark.parametrize("value", [True, False])
def test_options(bronto, client, call, option, value):
    getattr(client, call)(*["1"][: call != "add"], {}, **{option: value})
    name = option.split("_")[0] + "".join(word.title() for word in option.split("_")[1:])
    query = bronto.order_requests[0].target.partition("?")[2].split("&")
    assert f"{name}={'true' if value else 'false'}" in query
    assert [part.partition("=")[0] for part in query] == ["createContact", "triggerEvents", "force", "ignoreInvalidTid"]


@pytest.mark.parametrize("identifier", ODD_IDS)
@pytest.mark.parametrize("by_number", [False, True])
def test_ids_arrive_as_they_are(bronto, client, identifier, by_number):
    path = "/orders/customerOrderId/" if by_number else "/orders/"
    if by_number:
        client.update_by_customer_order_id(identifier, {})
        client.delete_by_customer_order_id(identifier)
    else:
        client.update(identifier, {})
        client.delete(identifier)
        client.get(identifier)
    for request in bronto.order_requests:
        target = request.target.partition("?")[0]
        assert target.startswith(path)
        segment = target.removeprefix(path)
        assert "/" not in segment
        assert segment not in {".", ".."}
        assert unquote(segment) == identifier


@pytest.mark.parametrize("call", ["get", "delete", "delete_by_customer_order_id"])
@pytest.mark.parametrize(
    ("identifier", "error"), [("", ValueError), (None, TypeError), (7, TypeError), (b"a", TypeError)]
)
def test_senseless_ids_are_refused(bronto, client, call, identifier, error):
    with pytest.raises(error):
        getattr(client, call)(identifier)
    with pytest.raises(error):
        client.update(identifier, {})
    assert bronto.server.received == []


def test_money_travels_exactly(bronto, client, answers):
    answers(201, b'{"orderId": "o-1", "grandTotal": 12345678901234567.89}')
    order = client.add({"grandTotal": Decimal("12345678901234567.89"), "a": [Decimal("3.90")]})
    assert bronto.order_requests[0].body == b'{"a":[3.9],"grandTotal":12345678901234567.89}'
    assert order["grandTotal"] == Decimal("12345678901234567.89")


def test_finished_json_is_sent_as_it_is(bronto, client):
    client.add(b'{ "b": 1.10 }')
    assert bronto.order_requests[0].body == b'{ "b": 1.10 }'
    assert bronto.order_requests[0].headers["content-length"] == "13"


@pytest.mark.parametrize("order", [None, "{}", ["a"], 7, {"a": object()}, {1: 2, "a": 3}])
def test_what_is_no_order_is_refused(bronto, client, order):
    with pytest.raises(TypeError):
        client.add(order)
    assert bronto.server.received == []


def test_every_kind_of_text_in_an_order(bronto, client):
    client.add({"name": "Größe 🛒 \x00 \u2028 \ud800"})
    assert wire.loads(bronto.order_requests[0].body) == {"name": "Größe 🛒 \x00 \u2028 \ud800"}


@pytest.mark.parametrize(
    ("criteria", "query"),
    [
        ({"customer_order_id": "a b/c&d=ü"}, "customerOrderId=a%20b%2Fc%26d%3D%C3%BC"),
        ({"cart_id": "7255c31c"}, "cartId=7255c31c"),
        ({"start_date": "2015-01-01", "end_date": date(2015, 1, 2)}, "startDate=2015-01-01&endDate=2015-01-02"),
        ({"start_date": datetime(2015, 1, 1, tzinfo=UTC)}, "startDate=2015-01-01T00%3A00%3A00%2B00%3A00"),
    ],
)
def test_search(bronto, client, answers, criteria, query):
    answers(200, [{"orderId": "1"}, {"orderId": "2"}])
    assert client.search(**criteria) == [{"orderId": "1"}, {"orderId": "2"}]
    (request,) = bronto.order_requests
    assert (request.method, request.target) == ("GET", f"/orders?{query}")


def test_a_search_without_result(client, answers):
    answers(204)
    assert client.search(customer_order_id="1") == []


@pytest.mark.parametrize(
    ("criteria", "error"),
    [
        ({}, TypeError),
        ({"cart_id": None}, TypeError),
        ({"customer_order_id": ""}, ValueError),
        ({"start_date": datetime(2015, 1, 1)}, ValueError),
    ],
)
def test_a_search_needs_criteria(bronto, client, criteria, error):
    with pytest.raises(error):
        client.search(**criteria)
    assert bronto.server.received == []


@pytest.mark.parametrize(
    ("call", "status"),
    [
        (lambda client: client.add({}), 200),
        (lambda client: client.add({}), 204),
        (lambda client: client.update("1", {}), 201),
        (lambda client: client.update("1", {}), 202),
        (lambda client: client.get("1"), 206),
        (lambda client: client.search(cart_id="1"), 201),
        (lambda client: client.delete("1"), 200),
        (lambda client: client.delete("1"), 202),
    ],
)
def test_a_success_that_the_call_does_not_know(client, answers, call, status):
    answers(status, {"orderId": "1"})
    with pytest.raises(UnexpectedAnswerError) as caught:
        call(client)
    assert caught.value.status == status


def test_a_page_instead_of_an_order(client, answers):
    answers(200, b"<html>Log in to Wi-Fi</html>", {"Content-Type": "text/html; charset=utf-8"})
    with pytest.raises(UnreadableAnswerError) as caught:
        client.get("1")
    assert str(caught.value) == "The answer is not JSON (HTTP 200, text/html, 28 bytes)"


def test_a_redirect_is_unexpected(bronto, client, answers):
    answers(307, b"", {"Location": "/elsewhere"})
    with pytest.raises(UnexpectedAnswerError):
        client.add({})
    assert len(bronto.order_requests) == 1


def test_one_client_serves_many_threads(bronto, client):
    results = in_threads(24, lambda index: [client.update(f"{index}-{turn}", {}) for turn in range(10)])
    assert results == [[{"orderId": "o-1"}] * 10] * 24
    assert len({request.target for request in bronto.order_requests}) == 240
    assert max(request.connection for request in bronto.server.received) <= 16


def test_it_shows_its_url_only(bronto, client):
    assert repr(client) == str(client) == f"<BrontoClient {bronto.url}>"


def test_the_url_may_have_a_path_and_a_slash(bronto, make_client):
    make_client(api_url=f"{bronto.url}/v1/").get("1")
    assert bronto.order_requests[0].target == "/v1/orders/1"


def test_international_host_names_are_encoded():
    assert "xn--mller-kva.example" in repr(BrontoClient("a", "b", api_url="https://müller.example"))


@pytest.mark.parametrize("name", ["api_url", "token_url"])
@pytest.mark.parametrize(
    "url",
    [
        "",
        "rest.bronto.com",
        "//rest.bronto.com",
        "ftp://rest.bronto.com",
        "http://",
        "https:///orders",
        "https://user:pw@rest.bronto.com",
        "https://rest.bronto.com?a=b",
        "https://rest.bronto.com#a",
        "https://rest.bronto.com:99999",
        "https://*.bronto.com",
        "https://[::1",
    ],
)
def test_senseless_urls_are_refused(name, url):
    with pytest.raises(ValueError, match=name) as caught:
        BrontoClient("id", SECRET, **{name: url})
    frames = []
    link = caught.value.__traceback__.tb_next
    while link:
        frames.append(repr(link.tb_frame.f_locals))
        link = link.tb_next
    assert len(frames) == 2
    assert not [frame for frame in frames if SECRET in frame]


def test_options_are_passed_on():
    with pytest.raises(ValueError, match="total_timeout"):
        BrontoClient("id", SECRET, total_timeout=0)


def test_a_context_manager_closes(bronto):
    with BrontoClient("a", "b", api_url=bronto.url, token_url=bronto.token_url) as client:
        client.get("1")
        client.get("1")
    client.get("1")
    assert [request.connection for request in bronto.order_requests] == [1, 1, 2]


def test_options_are_keywords():
    for name, method in inspect.getmembers(BrontoClient, inspect.isfunction):
        for parameter in inspect.signature(method).parameters.values():
            if parameter.default is not parameter.empty:
                assert parameter.kind is parameter.KEYWORD_ONLY, (name, parameter)


def test_public_names_are_exported_and_documented():
    assert client_package.__all__ == sorted(client_package.__all__)
    for name in client_package.__all__:
        assert getattr(client_package, name).__doc__
    for name, method in inspect.getmembers(BrontoClient, inspect.isfunction):
        assert method.__doc__ or name.startswith("_")


def test_configuration_errors_are_none_of_ours():
    assert not issubclass(BrontoConfigurationError, BrontoError)


ALLOWED = (
    "bronto_orders.client",
    "bronto_orders.exceptions",
    "bronto_orders.per_process",
    "bronto_orders.wire",
    "django.core.cache",
    "django.db.connections",  # a cache may be a table
)


def test_the_client_knows_nothing_of_the_rest_of_the_package():
    for path in Path(client_package.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                if name.startswith(("bronto_orders", "django")):
                    assert name.startswith(ALLOWED) or name == "bronto_orders.__version__", (path.name, name)
