from __future__ import annotations

from decimal import Decimal

import pytest
import responses
from requests.structures import CaseInsensitiveDict

from bronto_orders.client import BrontoClient, MemoryTokenStore, Token
from bronto_orders.client.answers import conflict_class, order_in, orders_in, require, retry_after, unwrap_reason
from bronto_orders.client.tokens import store_key
from bronto_orders.client.transport import Answer
from bronto_orders.exceptions import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    DuplicateOrderError,
    NotFoundError,
    RateLimitedError,
    ServerError,
    UnexpectedAnswerError,
    UnknownContactError,
    UnreadableAnswerError,
)

URL = "https://rest.example"
TOKEN_URL = "https://auth.example/token"


def answer(status: int = 200, body: bytes = b"", phrase: str = "Phrase", **headers: str) -> Answer:
    return Answer(status, phrase, CaseInsensitiveDict({k.replace("_", "-"): v for k, v in headers.items()}), body)


def refusal(*args: object, **kwargs: str) -> APIError:
    with pytest.raises(APIError) as caught:
        require(answer(*args, **kwargs), expected=299)
    return caught.value


@pytest.fixture
def mocked():
    """A client that has a token already, and the mock that answers it."""
    store = MemoryTokenStore()
    store.save(store_key(TOKEN_URL, "id", "secret"), Token("access", None, 1, 3600))
    with (
        responses.RequestsMock() as mock,
        BrontoClient("id", "secret", api_url=URL, token_url=TOKEN_URL, token_store=store) as client,
    ):
        yield client, mock


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (101, UnexpectedAnswerError),
        (200, UnexpectedAnswerError),
        (202, UnexpectedAnswerError),
        (204, UnexpectedAnswerError),
        (301, UnexpectedAnswerError),
        (304, UnexpectedAnswerError),
        (400, BadRequestError),
        (404, NotFoundError),
        (405, BadRequestError),
        (408, ServerError),
        (409, ConflictError),
        (413, BadRequestError),
        (418, BadRequestError),
        (422, BadRequestError),
        (429, RateLimitedError),
        (500, ServerError),
        (501, ServerError),
        (503, ServerError),
        (599, ServerError),
        (600, UnexpectedAnswerError),
    ],
)
def test_statuses_of_an_add(mocked, status, kind):
    client, mock = mocked
    mock.post(
        f"{URL}/orders",
        body="" if status == 204 else "{}",
        status=status,
        headers={"X-Reason": "because", "Retry-After": "7"},
    )
    with pytest.raises(APIError) as caught:
        client.add({"customerOrderId": "1"})
    error = caught.value
    assert type(error) is kind
    assert (error.status, error.reason, error.retry_after) == (status, "because", 7.0)
    assert str(error).endswith(f"(HTTP {status}): because")


@pytest.mark.parametrize("status", [401, 403])
def test_statuses_of_a_refused_token(status):
    assert type(refusal(status)) is AuthenticationError


@pytest.mark.parametrize("header", ["X-Reason", "x-reason", "X-REASON"])
def test_the_reason_header_in_any_case(mocked, header):
    client, mock = mocked
    mock.post(f"{URL}/orders/1", status=400, headers={header: "orderDate is before 2000"}, body='{"message": "other"}')
    with pytest.raises(BadRequestError) as caught:
        client.update("1", {})
    assert caught.value.reason == "orderDate is before 2000"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ServiceExceptionMessage{siteId=12, statusCode=409, reason=Order exists}", "Order exists"),
        (
            "ServiceExceptionMessage{siteId=1, statusCode=400, reason=a, b {c}, d=e and reason=f}",
            "a, b {c}, d=e and reason=f",
        ),
        ("ServiceExceptionMessage{siteId=1, statusCode=400, reason=cut off", "cut off"),
        ("ServiceExceptionMessage{siteId=1, statusCode=400, reason=null}", ""),
        ("ServiceExceptionMessage{siteId=1}", "ServiceExceptionMessage{siteId=1}"),
        ("  plain, words {kept}  ", "plain, words {kept}"),
        ("", ""),
        ("null", ""),
    ],
)
def test_wrapped_reasons(text, reason):
    assert unwrap_reason(text) == reason


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"reason": "one", "message": "two"}', "one"),
        (b'{"message": "two"}', "two"),
        (b'{"error": "four", "error_description": "three"}', "three"),
        (b'{"error": {"no": "text"}}', "Phrase"),
        (b'{"error": "four"}', "four"),
        (b'"just text"', "just text"),
        (b"ServiceExceptionMessage{siteId=1, statusCode=400, reason=inner}", "inner"),
        (b"plain\r\n  words", "plain words"),
        (b"[1, 2]", "Phrase"),
        (b"<html><body>502 Bad Gateway</body></html>", "Phrase"),
        (b"", "Phrase"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"[" * 30_000, "[" * 499 + "…"),
        (b"1e999999999999999999999999", "1e999999999999999999999999"),
    ],
)
def test_without_the_header_the_body_or_the_phrase_is_the_reason(body, reason):
    assert refusal(400, body).reason == reason


def test_reasons_are_redacted_and_shortened():
    error = refusal(400, X_Reason="no contact bob@example.com " + "x" * 1000)
    assert error.reason.startswith("no contact [e-mail] xxx")
    assert len(error.reason) == 500
    assert "bob" not in str(error)


def test_reasons_in_utf_8():
    assert refusal(400, X_Reason="Größe".encode().decode("latin-1")).reason == "Größe"
    assert refusal(400, X_Reason="Größe").reason == "Größe"


@pytest.mark.parametrize(
    "words",
    [
        "An order with this customerOrderId already exists",
        "Order ABC-1 already exists.",
        "order exists",
        "DUPLICATE ORDER",
        "Duplicate key: abc-123",
        "The customer order id abc-123 is in use",
        "customer_order_id must be unique",
        "A Return exists with that id",
        "Conflict on customerOrderId",
        "This ID has already been used",
        "ID is taken",
    ],
)
def test_conflicts_of_the_number(words):
    assert conflict_class(words) is DuplicateOrderError


@pytest.mark.parametrize(
    "words",
    [
        "No contact found for the given email address",
        "Contact does not exist",
        "Unknown contact; set createContact=true",
        "Could not find a Contact with that e-mail",
        "Email is not known",
        "CONTACT NOT FOUND",
        "no such recipient",
    ],
)
def test_conflicts_of_the_contact(words):
    assert conflict_class(words) is UnknownContactError


@pytest.mark.parametrize(
    "words",
    [
        "",
        "Conflict",
        "null",
        "An order for this contact already exists",
        "No contact for customerOrderId abc-123",
        "The request could not be completed",
        "x" * 100_000,
    ],
)
def test_conflicts_of_which_nobody_knows(words):
    assert conflict_class(words) is ConflictError


def test_a_conflict_is_told_apart_by_its_body_too():
    assert type(refusal(409, b'{"message": "order already exists"}')) is DuplicateOrderError
    assert type(refusal(409, phrase="Conflict")) is ConflictError


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": " 120 "}, 120.0),
        ({"Retry-After": "99999999999"}, 99999999999.0),
        ({"Retry-After": "9" * 400}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "1.5"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "²"}, None),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "Sun, 06 Nov 1994 08:49:37 GMT", "Date": "Sun, 06 Nov 1994 08:48:37 GMT"}, 60.0),
        ({"Retry-After": "Sun, 06 Nov 1994 08:49:37 GMT", "Date": "Sun, 06 Nov 1994 08:50:37 GMT"}, 0.0),
        ({"Retry-After": "Sun, 06 Nov 1994 08:49:37 -0000", "Date": "Sun, 06 Nov 1994 08:48:37 GMT"}, 60.0),
        ({"Retry-After": "Sun, 06 Nov 1994 08:49:37 GMT", "Date": "garbage"}, 77.0),
        ({"Retry-After": "Sun, 06 Nov 1994 08:49:37 GMT"}, 77.0),
        ({"Retry-After": "Sun, 99 Nov 1994 08:49:37 GMT"}, None),
        ({"Retry-After": "Sun, 06 Nov 99999999999 08:49:37 GMT"}, None),
    ],
)
def test_retry_after(headers, seconds):
    assert retry_after(CaseInsensitiveDict(headers), now=784111777.0 - 77) == seconds


def test_retry_after_by_this_machines_clock():
    assert retry_after({"Retry-After": "Wed, 01 Jan 2300 00:00:00 GMT"}) > 1e9


def test_an_order_with_exact_numbers():
    order = order_in(answer(201, b'{"orderId": "a", "grandTotal": 4.270000000000000001}'), expected=201)
    assert order == {"orderId": "a", "grandTotal": Decimal("4.270000000000000001")}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Welcome to our captive portal</html>",
        b'{"orderId": "a"',
        b'{"grandTotal": NaN, "orderId": "a"}',
        b"null",
        b"[]",
        b'["a"]',
        b"{}",
        b'{"orderId": 7}',
        b'{"orderId": null}',
        b'{"orderId": ""}',
        b"[" * 100_000,
        b"\xff",
        b'{"orderId": "a", "grandTotal": 1e99999999999999999999}',
    ],
)
def test_an_answer_that_is_no_order(body):
    with pytest.raises(UnreadableAnswerError) as caught:
        order_in(answer(200, body), expected=200)
    assert caught.value.status == 200
    assert "captive" not in str(caught.value)


def test_orders_found():
    assert orders_in(answer(200, b'[{"orderId": "a"}, {"orderId": "b"}]')) == [{"orderId": "a"}, {"orderId": "b"}]
    assert orders_in(answer(200, b"[]")) == []
    assert orders_in(answer(204, b"")) == []


@pytest.mark.parametrize("body", [b"", b"{}", b'{"orderId": "a"}', b"[1]", b'[{"orderId": "a"}, {}]', b"null"])
def test_an_answer_that_is_no_list_of_orders(body):
    with pytest.raises(UnreadableAnswerError):
        orders_in(answer(200, body))


def test_an_answer_shows_neither_header_nor_body():
    assert repr(answer(200, b"secret", "OK", X="secret")) == "Answer(status=200, phrase='OK')"
