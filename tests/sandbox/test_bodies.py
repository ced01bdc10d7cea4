from __future__ import annotations

import pytest

from tests.sandbox.service import Service, reason

JSON = {"Content-Type": "application/json"}
BROKEN = {
    "empty": b"",
    "cut off": b'{"customerOrderId": "a"',
    "trailing": b'{"customerOrderId": "a"} x',
    "array": b'[{"customerOrderId": "a"}]',
    "string": b'"a"',
    "null": b"null",
    "number": b"5",
    "form": b"customerOrderId=a",
    "NaN": b'{"customerOrderId": "a", "grandTotal": NaN}',
    "Infinity": b'{"customerOrderId": "a", "grandTotal": Infinity}',
    "-Infinity": b'{"customerOrderId": "a", "unknown": -Infinity}',
    "1e400": b'{"customerOrderId": "a", "grandTotal": 1e400}',
    "-1e400": b'{"customerOrderId": "a", "lineItems": [{"quantity": -1e400}]}',
    "1e-400": b'{"customerOrderId": "a", "grandTotal": 1e-400}',
    "huge exponent": b'{"customerOrderId": "a", "grandTotal": 1e99999999999999999999}',
    "huge unknown exponent": b'{"customerOrderId": "a", "unknown": 1e99999999999999999999}',
    "5000 digits": b'{"customerOrderId": "a", "grandTotal": ' + b"9" * 5000 + b"}",
    "5000 places": b'{"customerOrderId": "a", "grandTotal": 0.' + b"1" * 5000 + b"}",
    "zero of 500 digits": b'{"customerOrderId": "a", "grandTotal": 0e500}',
    "lone surrogate": b'{"customerOrderId": "a\\ud800"}',
    "lone surrogate in a text": b'{"customerOrderId": "a", "shippingDetails": "\\udfff"}',
    "lone surrogate in an address": b'{"customerOrderId": "a", "emailAddress": "a@\\ud800.com"}',
    "lone surrogate in a line": b'{"customerOrderId": "a", "lineItems": [{"sku": "\\ud83d"}]}',
    "raw control character": b'{"customerOrderId": "a\n"}',
    "NUL": b'{"customerOrderId": "a\\u0000"}',
    "raw NUL": b'{"customerOrderId": "a"}\x00',
    "duplicate key": b'{"customerOrderId": "a", "customerOrderId": "b"}',
    "duplicate inner key": b'{"customerOrderId": "a", "lineItems": [{"sku": "1", "sku": "1"}]}',
    "duplicate odd key": '{"customerOrderId": "a", "\\ud800ü\\n": 1, "\\ud800ü\\n": 2}'.encode(),
    "not UTF-8": b'{"customerOrderId": "\xff"}',
    "UTF-16": '{"customerOrderId": "a"}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"customerOrderId": "a"}',
    "deep array": b'{"customerOrderId": ' + b"[" * 100_000,
    "deep object": b'{"a":' * 100_000,
    "deep and whole": b'{"customerOrderId": "a", "unknown": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}
BAD_IDS = [BROKEN["lone surrogate"], BROKEN["NUL"]]


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN.keys())
def test_broken_body(service: Service, body):
    service.add({"customerOrderId": "there"})

    reason(service.call("POST", "/orders", data=body, headers=JSON), 400)
    answer = service.call("POST", "/orders/customerOrderId/there", data=body, headers=JSON)
    # In an update an id is ignored, whatever it holds.
    assert answer.status_code == (200 if body in BAD_IDS else 400)
    assert [order["customerOrderId"] for order in service.orders()] == ["there"]


@pytest.mark.parametrize("depth", [10, 400])
def test_ignored_fields_may_be_deep(service: Service, depth):
    body = b'{"customerOrderId": "a", "unknown": ' + b"[" * depth + b"]" * depth + b"}"

    assert service.call("POST", "/orders", data=body, headers=JSON).status_code == 201


def test_ignored_numbers_may_be_long(service: Service):
    body = b'{"customerOrderId": "a", "unknown": ' + b"9" * 10_000 + b"}"

    assert service.call("POST", "/orders", data=body, headers=JSON).status_code == 201


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json5",
        "",
        "json",
    ],
)
def test_wrong_content_type(service: Service, content_type):
    body = b'{"customerOrderId": "a"}'

    assert "Content-Type" in reason(
        service.call("POST", "/orders", data=body, headers={"Content-Type": content_type}), 415
    )
    assert service.orders() == []


@pytest.mark.parametrize("charset", ["utf-16", "latin-1", "nonsense"])
def test_wrong_charset(service: Service, charset):
    headers = {"Content-Type": f"application/json; charset={charset}"}

    assert "UTF-8" in reason(service.call("POST", "/orders", data=b"{}", headers=headers), 415)


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON", "application/json; charset=UTF-8"])
def test_right_content_type_and_any_accept(service: Service, content_type):
    for number, accept in enumerate(("application/json", "text/plain", "text/html", "nonsense", "")):
        headers = {"Content-Type": content_type, "Accept": accept}
        body = f'{{"customerOrderId": "{number}"}}'

        answer = service.call("POST", "/orders?format=html", data=body, headers=headers)

        assert answer.status_code == 201
        assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("path", ["/orders", "/orders/customerOrderId/there", "/oauth2/token"])
def test_body_over_the_limit(service: Service, path):
    service.add({"customerOrderId": "there"})
    body = b'{"customerOrderId": "a", "unknown": "' + b"x" * (2 * 1024 * 1024) + b'"}'

    assert "larger than" in reason(service.call("POST", path, data=body, headers=JSON), 413)
    assert len(service.orders()) == 1
    assert service.call("GET", "/orders/customerOrderId/there").status_code == 200


def test_body_far_over_the_limit(service: Service):
    reason(service.call("POST", "/orders", data=b" " * (20 * 1024 * 1024), headers=JSON), 413)


def test_body_at_the_limit(service: Service):
    start, end = b'{"customerOrderId": "a", "unknown": "', b'"}'
    body = start + b"x" * (2 * 1024 * 1024 - len(start) - len(end)) + end

    assert service.call("POST", "/orders", data=body, headers=JSON).status_code == 201


def test_too_many_parameters(service: Service):
    query = "&".join(f"p{number}=1" for number in range(1500))

    reason(service.call("GET", f"/orders?{query}"), 400)
    reason(service.call("POST", f"/orders?{query}", json={"customerOrderId": "a"}), 400)


def test_get_with_a_body(service: Service):
    service.add()

    assert service.call("GET", "/orders/customerOrderId/abc-123", data=b"not json", headers=JSON).status_code == 200
    assert service.call("GET", "/orders/customerOrderId/abc-123").status_code == 200
