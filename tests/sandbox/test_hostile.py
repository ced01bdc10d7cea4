"""Calls that mean harm: each is refused with a reason and leaves nothing, or is stored and given back unchanged."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPResponse
from urllib.parse import quote, urlsplit

import psutil
import pytest
import requests

from tests.sandbox.service import Process, Service, reason, shop_path

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
MB = 1_000_000
DEPTH = 100_000

ORDER_TEXTS = [
    "contactId",
    "deliveryId",
    "messageId",
    "originUserAgent",
    "shippingDetails",
    "shippingTrackingUrl",
]
LINE_TEXTS = ["category", "description", "imageUrl", "name", "other", "productUrl", "sku"]
FORMATTED = [
    "cartId",
    "currency",
    "emailAddress",
    "grandTotal",
    "lineItems",
    "orderDate",
    "originIp",
    "shippingDate",
    "states",
    "status",
    "tid",
]
HALF_CHARACTERS_AND_NUL = ["\\ud800", "\\udfff", "\\udc00\\ud800", "\\ud83d x", "\\u0000", "a\\u0000b"]
TEXTS = {
    "C0 controls": "".join(map(chr, range(1, 32))),
    "C1 controls": "".join(map(chr, range(127, 160))),
    "line ends": "a\r\nb\nc\rd\u2028e\u2029f\x85g",
    "invisible": "\ufeff\u200b\u202e\u2066\u00ad\ufffe\uffff\U0010ffff",
    "SQL": "'; DROP TABLE orders; -- \" OR '1'='1' UNION SELECT * FROM sqlite_master;\\",
    "LIKE": "%_[a-z]*?\\%",
    "HTML": "<script>alert(1)</script><img src=x onerror=alert(1)>&lt;b&gt;]]><!--",
    "templates": "{{7*7}} ${jndi:ldap://127.0.0.1/a} %s %n {0} $(id) `id` #{1}",
    "paths": "../../../../etc/passwd\\..\\..\\con",
    "header": "x\r\nX-Evil: 1\r\nSet-Cookie: evil=1\r\n\r\n<html>",
    "JSON": '","customerOrderId":"evil","x":"\\u0000\\ud800',
    "not Latin": "日本語 🛒 \u0430\u0440\u0440le e\u0301 \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "spaces": " \t\u00a0\u3000 ",
}


@pytest.fixture(autouse=True)
def still_sound(service: Service) -> Iterator[None]:
    yield
    with contextlib.closing(Service(service.base_url)) as afterwards:
        assert afterwards.add({"customerOrderId": "afterwards"}).status_code == 201
        assert all(call["status"] < 500 for call in afterwards.requests() if not call["fault"])


def post(service: Service, path: str, data: str | bytes, **headers: str) -> requests.Response:
    return service.call("POST", path, data=data, headers={**JSON, **headers})


def refuse_everywhere(service: Service, data: str | bytes, status: int, **headers: str) -> None:
    there = service.add({"customerOrderId": "there"}).json()
    for path in ("/orders", "/orders?createContact=true", shop_path("there"), f"/orders/{there['orderId']}"):
        reason(post(service, path, data, **headers), status)
    assert service.orders() == [there]
    assert service.control("GET", "contacts") == []


def control(service: Service, method: str, name: str, data: str | bytes) -> requests.Response:
    return service.session.request(method, f"{service.base_url}/_sandbox/{name}", data=data, headers=JSON, timeout=30)


class TestBodies:
    @pytest.mark.parametrize("name", ["unknown", "lineItems", "shippingDetails", "states"])
    @pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
    def test_deep(self, service: Service, name, opened, closed):
        text = f'{{"customerOrderId": "a", "{name}": ' + opened * DEPTH + "1" + closed * DEPTH + "}"

        refuse_everywhere(service, text, 400)
        refuse_everywhere_in_control(service, text)

    @pytest.mark.parametrize("data", [b"[" * DEPTH, b"[" * DEPTH + b"]" * DEPTH, b'{"a":' * DEPTH, b"[1," * DEPTH])
    def test_deep_from_the_start(self, service: Service, data):
        refuse_everywhere(service, data, 400)
        refuse_everywhere_in_control(service, data)

    @pytest.mark.parametrize(
        "literal", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e-400", "9" * 10_000, "0." + "9" * 10_000]
    )
    def test_numbers(self, service: Service, literal):
        for field in ('"grandTotal": %s', '"lineItems": [{}, {"unitPrice": %s}]', '"grandTotal": "%s"'):
            refuse_everywhere(service, '{"customerOrderId": "a", ' + field % literal + "}", 400)
            service.reset()

    @pytest.mark.parametrize("literal", ["1e999999999", "-1e999999999999999999999", "1e-999999999", "0e999999999"])
    def test_exponents(self, service: Service, literal):
        started = time.monotonic()
        refuse_everywhere(service, '{"customerOrderId": "a", "grandTotal": ' + literal + "}", 400)
        assert time.monotonic() - started < 20

    def test_number_that_fills_the_body(self, service: Service):
        digits = "9" * 2 * MB

        started = time.monotonic()
        refuse_everywhere(service, '{"customerOrderId": "a", "grandTotal": ' + digits + "}", 400)
        assert post(service, "/orders", '{"customerOrderId": "b", "unknown": ' + digits + "}").status_code == 201
        assert time.monotonic() - started < 20

    @pytest.mark.parametrize("name", ["customerOrderId", "unknown\\ud800", ""])
    @pytest.mark.parametrize("place", ["%s", '"lineItems": [{}, {%s}]', '"states": {%s}', '"x": [[{"y": {%s}}]]'])
    def test_key_given_twice(self, service: Service, name, place):
        twice = f'"{name}": null, "a": 1, "{name}": null'

        refuse_everywhere(service, '{"shippingDetails": "x", ' + place % twice + "}", 400)
        refuse_everywhere_in_control(service, '{"x": 1, ' + place % twice + "}")

    def test_key_given_twice_in_other_letters(self, service: Service):
        refuse_everywhere(service, '{"customerOrderId": "a", "custom\\u0065rOrderId": "b"}', 400)

    def test_many_keys(self, service: Service):
        keys = ",".join(f'"k{number}":1' for number in range(150_000))

        answer = post(service, "/orders", '{"customerOrderId": "a",' + keys + "}")

        assert answer.status_code == 201
        assert service.orders() == [answer.json()]

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b" \n",
            b"[]",
            b'["customerOrderId"]',
            b'[{"customerOrderId": "a"}]',
            b'"customerOrderId"',
            b"null",
            b"true",
            b"0",
            b"\x00",
            b'{"customerOrderId": "a"}\x00',
            b'{"customerOrderId": "a"}{"customerOrderId": "b"}',
            b'{"customerOrderId": "a",}',
            b"{'customerOrderId': 'a'}",
            b'{"customerOrderId": "a" /* */}',
            b'{"customerOrderId": "a\x01"}',
            b'{"customerOrderId": "\\x41"}',
            b'\xef\xbb\xbf{"customerOrderId": "a"}',
            b'{"customerOrderId": "\xff\xfe"}',
            b'{"customerOrderId": "\xc0\xaf"}',
            b'{"customerOrderId": "\xed\xa0\x80"}',
            b'{"unknown": "\xf5\x80\x80\x80"}',
            '{"customerOrderId": "ü"}'.encode("latin-1"),
            '{"customerOrderId": "a"}'.encode("utf-16"),
            '{"customerOrderId": "a"}'.encode("utf-16-le"),
            '{"customerOrderId": "a"}'.encode("utf-32"),
            b"<order><customerOrderId>a</customerOrderId></order>",
            b"customerOrderId=a",
        ],
    )
    def test_what_is_no_object(self, service: Service, data):
        refuse_everywhere(service, data, 400)
        # An empty list of rules is fine, and so is the body of a revocation that is left out.
        if data not in (b"", b"[]"):
            refuse_everywhere_in_control(service, data)

    @pytest.mark.parametrize(
        "content_type",
        [
            "text/plain",
            "text/json",
            "application/xml",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "multipart/form-data; boundary=" + "x" * 5000,
            "application/json-patch+json",
            "application/",
            "/json",
            ";",
            "application/json/json",
            "application/json; charset=utf-7",
            "application/json; charset=" + "x" * 5000,
            "x" * 5000,
            "application/\xfcjson",
        ],
    )
    def test_content_types(self, service: Service, content_type):
        refuse_everywhere(service, b'{"customerOrderId": "a"}', 415, **{"Content-Type": content_type})

    @pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "gzip, gzip", "nonsense"])
    def test_encoded(self, service: Service, encoding):
        bomb = gzip.compress(b'{"customerOrderId": "a", "unknown": "' + b"x" * 10 * MB + b'"}')
        assert len(bomb) < 20_000
        for data in (gzip.compress(b'{"customerOrderId": "a"}'), bomb):
            answer = post(service, "/orders", data, **{"Content-Encoding": encoding})
            reason(answer, answer.status_code)
            assert answer.status_code in (400, 415)
        assert service.orders() == []

        answer = post(service, "/orders", b'{"customerOrderId": "plain"}', **{"Content-Encoding": encoding})
        assert answer.status_code in (201, 400, 415)
        assert service.orders() == ([answer.json()] if answer.status_code == 201 else [])

    def test_ten_megabytes(self, service: Service):
        data = b'{"customerOrderId": "a", "shippingDetails": "' + b"x" * 10 * MB + b'"}'

        refuse_everywhere(service, data, 413)
        for method, name in CONTROL_CALLS:
            assert control(service, method, name, data).status_code == 413
        assert [order["customerOrderId"] for order in service.orders()] == ["there"]

    def test_many_line_items(self, service: Service):
        order = service.add({"customerOrderId": "a", "lineItems": [{"quantity": n} for n in range(10_000)]}).json()
        assert [line["quantity"] for line in order["lineItems"]] == list(range(10_000))
        assert service.call("GET", shop_path("a")).json() == order
        service.reset()

        refuse_everywhere(service, json.dumps({"customerOrderId": "b", "lineItems": [{}] * 10_001}), 400)


class TestTexts:
    @pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
    def test_every_free_text_is_kept(self, service: Service, text):
        body = {
            "customerOrderId": text,
            **dict.fromkeys([*ORDER_TEXTS, "orderSource"], text),
            "lineItems": [dict.fromkeys(LINE_TEXTS, text)] * 2,
            text: text,
        }
        added = service.add(body)
        assert added.status_code == 201, added.text
        order = added.json()
        assert order["customerOrderId"] == text
        assert {name: order[name] for name in ORDER_TEXTS} == dict.fromkeys(ORDER_TEXTS, text)
        for line in order["lineItems"]:
            assert {name: line[name] for name in LINE_TEXTS} == dict.fromkeys(LINE_TEXTS, text)

        updated = service.update_by_shop_id(text, {name: body[name] for name in [*ORDER_TEXTS, "lineItems"]})
        order["updatedDate"] = updated.json()["updatedDate"]
        found = service.search(customerOrderId=text)
        for answer in (added, updated, found, service.call("GET", shop_path(text))):
            assert answer.headers["Content-Type"] == "application/json"
        assert updated.json() == found.json()[0] == order
        assert service.orders() == [order]

    @pytest.mark.parametrize("name", FORMATTED)
    def test_no_other_field_takes_them(self, service: Service, name):
        there = service.add({"customerOrderId": "there"}).json()

        for text in TEXTS.values():
            for answer in (
                service.add({"customerOrderId": "a", name: text}, createContact="true"),
                service.update_by_shop_id("there", {name: text} if name != "cartId" else {"status": text}),
            ):
                assert name == "cartId" or reason(answer, 400).startswith(name), text
                assert answer.status_code == 400
        assert service.orders() == [there]
        assert service.control("GET", "contacts") == []

    @pytest.mark.parametrize(
        "name", ["customerOrderId", *ORDER_TEXTS, "orderSource", "emailAddress", "currency", "originIp", "shippingDate"]
    )
    def test_half_characters_and_nul(self, service: Service, name):
        other = "" if name == "customerOrderId" else '"customerOrderId": "a", '

        for escape in HALF_CHARACTERS_AND_NUL:
            assert reason(post(service, "/orders", f'{{{other}"{name}": "{escape}"}}'), 400).startswith(name), escape
        assert service.orders() == []

    @pytest.mark.parametrize("name", LINE_TEXTS)
    def test_half_characters_and_nul_in_a_line(self, service: Service, name):
        for escape in HALF_CHARACTERS_AND_NUL:
            body = f'{{"customerOrderId": "a", "lineItems": [{{}}, {{"{name}": "{escape}"}}]}}'
            assert reason(post(service, "/orders", body), 400).startswith(f"lineItems[1].{name}"), escape
        assert service.orders() == []

    def test_half_characters_in_a_key(self, service: Service):
        answer = post(service, "/orders", '{"customerOrderId": "a", "\\ud800": "\\udfff", "\\u0000": "\\u0000"}')

        assert answer.status_code == 201
        assert service.orders() == [answer.json()]

    @pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
    def test_control_texts(self, service: Service, text):
        service.control("POST", "returns", {"customerOrderId": text})
        assert [each["customerOrderId"] for each in service.control("GET", "returns")] == [text]
        service.control("POST", "clients", {"clientId": text, "clientSecret": text})
        assert service.grant(text, text)

        for name, body in (
            ("contacts", {"emailAddress": text}),
            ("contacts", {"emailAddress": "a@example.com", "status": text}),
            ("clients", {"clientId": "c", "clientSecret": "s", "scopes": [text]}),
            ("tokens/revoke", {"refresh": text}),
        ):
            reason(control(service, "POST", name, json.dumps(body)), 400)
        for body in ({text: 1}, {"orderDateOnUpdate": text}):
            reason(control(service, "PUT", "switches", json.dumps(body)), 400)
        assert service.control("GET", "contacts") == []

    def test_answers_are_not_sniffed(self, service: Service):
        service.add({"customerOrderId": "a", "shippingDetails": TEXTS["HTML"]})

        for answer in (
            service.call("GET", shop_path("a")),
            service.call("GET", shop_path("<script>")),
            service.session.get(f"{service.base_url}/_sandbox/orders", timeout=30),
            service.session.get(f"{service.base_url}/<script>", timeout=30),
        ):
            assert answer.headers["Content-Type"] == "application/json"
            assert answer.headers.get("X-Content-Type-Options") == "nosniff"


class TestReasons:
    """What comes back in ``X-Reason`` stays in it."""

    @pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
    def test_sent_back_in_a_header(self, service: Service, text):
        service.add({"customerOrderId": text})
        twice = json.dumps(text)
        answers = [
            (service.add({"customerOrderId": text}), 409),
            (service.update(text, {}), 404),
            (service.get(text), 404),
            (service.call("GET", shop_path(text + "?")), 404),
            (post(service, "/orders", f"{{{twice}: 1, {twice}: 2}}"), 400),
            (service.call("GET", "/" + quote(text, safe="")), 404),
            (control(service, "PUT", "switches", json.dumps({text: 1})), 400),
            (control(service, "PUT", "faults", json.dumps([{text: 1}])), 400),
            (control(service, "PUT", "faults", json.dumps([{"status": 500, "headers": {text: "1"}}])), 400),
            (control(service, "PUT", "faults", json.dumps([{"drop": True, "match": {text: "a"}}])), 400),
            (control(service, "POST", "returns", json.dumps({"customerOrderId": text})), 409),
        ]
        for answer, status in answers:
            assert len(reason(answer, status)) <= 500
            assert_no_evil(answer)

    def test_unknown_address_in_a_header(self, service: Service):
        for address in ("ü@example.com", '"a\\"b"@example.com', "a@日本.example", "<b>@example.com"):
            answer = service.add({"customerOrderId": "a", "emailAddress": address})
            assert answer.status_code in (400, 409)
            reason(answer, answer.status_code)
        assert service.orders() == []

    @pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
    def test_reason_of_a_fault(self, service: Service, text):
        token = service.token
        answer = control(service, "PUT", "faults", json.dumps([{"status": 503, "reason": text}]))
        if answer.status_code == 200:
            struck = service.call("GET", "/orders", headers={"Authorization": f"Bearer {token}"})
            assert struck.status_code == 503
            assert struck.headers["X-Reason"].isprintable()
            assert struck.headers["X-Reason"].isascii()
            assert_no_evil(struck)
        else:
            reason(answer, 400)
        service.stage()

    @pytest.mark.parametrize(
        "value", ["a\r\nX-Evil: 1", "a\nX-Evil: 1", "a\rX-Evil: 1", "ü", "日本", "\x00", "a\x0bb", "\ud800"]
    )
    def test_header_of_a_fault(self, service: Service, value):
        for rule in ({"headers": {"X-A": value}}, {"headers": {value: "a"}}):
            reason(control(service, "PUT", "faults", json.dumps([{"status": 503, **rule}])), 400)
        assert service.control("GET", "faults") == []


def assert_no_evil(answer: requests.Response) -> None:
    assert not {"x-evil", "set-cookie"} & {name.lower() for name in answer.headers}
    assert "<html>" not in answer.text.partition("{")[0]


class Raw:
    """Sends a path exactly as it stands, which client libraries would mend."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def __call__(self, method: str, path: str, body: bytes = b"", headers: str = "") -> tuple[int, str, bytes]:
        parts = urlsplit(self.service.base_url)
        with socket.create_connection((parts.hostname, parts.port), timeout=30) as connection:
            head = (
                f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.service.token}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{headers}\r\n"
            )
            connection.sendall(head.encode("latin-1") + body)
            with HTTPResponse(connection, method=method) as answer:
                answer.begin()
                return answer.status, answer.headers.get("X-Reason", ""), answer.read()


@pytest.fixture
def raw(service: Service) -> Raw:
    return Raw(service)


class TestPaths:
    @pytest.mark.parametrize(
        "segment",
        [
            "%00",
            "a%00",
            "%ZZ",
            "%",
            "%2",
            "a%",
            "%u0061",
            "%252F",
            "%C0%AF",
            "%c0%80",
            "%E0%80%AF",
            "%ED%A0%80",
            "%F4%90%80%80",
            "%FF",
            "%fe%ff",
            "\xff",
            "\xfc",
            "a%2Fb%2F..",
            "a;b=c",
            "a#b",
            "a\\b",
            "a|b<>\"^`{}'",
            "a%0D%0AX-Evil:%201",
            "%2E%2E%2F%2E%2E",
            "a+b",
        ],
    )
    def test_odd_encodings(self, service: Service, raw: Raw, segment):
        there = [service.add({"customerOrderId": name}).json() for name in ("a", "a/b", "a b", "/")]

        for path in (f"/orders/customerOrderId/{segment}", f"/orders/{segment}"):
            for method in ("GET", "POST", "DELETE"):
                status, text, _ = raw(method, path, b"{}" if method == "POST" else b"")
                assert status in ((204, 400, 404) if method == "DELETE" else (400, 404)), (method, path)
                assert status == 204 or (text and text.isascii() and text.isprintable())
        assert service.orders() == there
        assert isinstance(service.requests(), list)

    @pytest.mark.parametrize(
        ("segment", "customer_order_id"),
        [("a%2Fb", "a/b"), ("a%2fb", "a/b"), ("%61", "a"), ("a%20b", "a b"), ("%2F", "/"), ("%252F", "%2F")],
    )
    def test_encodings_of_one_id(self, service: Service, raw: Raw, segment, customer_order_id):
        service.add({"customerOrderId": customer_order_id})
        service.add({"customerOrderId": "other"})

        status, _, body = raw("GET", f"/orders/customerOrderId/{segment}")

        assert (status, json.loads(body)["customerOrderId"]) == (200, customer_order_id)

    @pytest.mark.parametrize(
        "path",
        [
            "/orders//",
            "/orders/./customerOrderId/a",
            "/orders/../orders",
            "/./orders",
            "/ORDERS",
            "/orders/customerOrderId/a/",
            "/orders/customerOrderId//a",
            "/orders\x00",
            "/orders;a=b",
            "/_sandbox/../orders",
            "/_sandbox/orders/../reset",
            "/_sandbox/reset/",
            "*",
            "?",
            "orders",
        ],
    )
    def test_other_paths(self, service: Service, raw: Raw, path):
        order = service.add({"customerOrderId": "a"}).json()

        for method in ("GET", "POST", "DELETE", "PUT"):
            status, text, _ = raw(method, path, b'{"customerOrderId": "evil"}')
            assert status in (204, 400, 404, 405), (method, path, status)
            assert status == 204 or text
        assert service.orders() == [order]

    @pytest.mark.parametrize(
        "path", ["/orders%2FcustomerOrderId%2Fa", "/_sandbox%2Freset", "/_sandbox%2Ftokens%2Frevoke", "/oauth2%2Ftoken"]
    )
    def test_encoded_slash_is_no_slash(self, service: Service, raw: Raw, path):
        order = service.add({"customerOrderId": "a"}).json()

        assert raw("POST", path, b"{}")[0] == 404
        assert service.orders() == [order]

    @pytest.mark.parametrize("length", [256, 10_000, 60_000, 100_000])
    def test_long_ids_and_parameters(self, service: Service, length):
        text = "x" * length
        status = 414 if length > 65_000 else 404

        reason(service.call("GET", shop_path(text)), status)
        reason(service.update_by_shop_id(text, {}), status)
        reason(service.get(text), status)
        reason(service.call("GET", f"/{text}"), status)
        reason(service.add({"customerOrderId": text}), 400)
        for params in ({"customerOrderId": text}, {"customerOrderId": "a", text: "1"}):
            answer = service.search(**params)
            assert answer.status_code == 204 if length < 65_000 else reason(answer, 414)
        for name in ("cartId", "startDate", "endDate"):
            reason(service.search(**{name: text}), 414 if length > 65_000 else 400)
        assert service.orders() == []

    @pytest.mark.parametrize("count", [2, 900, 5000])
    def test_repeated_parameters(self, service: Service, count):
        for parameter in ("createContact=true&createContact=false", "force=true&force=x", "startDate=x", "a=1"):
            query = "&".join([parameter] * count)
            for method in ("GET", "POST"):
                answer = service.call(method, f"/orders?{query}"[:65_000], json={"customerOrderId": "a"})
                assert answer.status_code in (201, 400, 409)
                assert answer.status_code == 201 or reason(answer, answer.status_code)
        answer = service.session.get(f"{service.base_url}/_sandbox/orders?{'last=1&' * count}", timeout=30)
        assert answer.status_code in (200, 400)

    @pytest.mark.parametrize(
        "query", ["%00=%00", "%FF=%FF", "startDate=%FF", "customerOrderId=%ED%A0%80", "&&&=&=", "%"]
    )
    def test_odd_queries(self, service: Service, raw: Raw, query):
        for method, path in (("GET", "/orders"), ("POST", "/orders"), ("GET", "/_sandbox/requests")):
            status, text, _ = raw(method, f"{path}?{query}", b'{"customerOrderId": "a"}' if method == "POST" else b"")
            assert status in (200, 201, 204, 400)
            assert text or status != 400

    @pytest.mark.parametrize(
        "header",
        [
            "Authorization: Bearer " + "x" * 60_000,
            "Authorization: Bearer \xff\xfe",
            "Authorization: Bearer 00000000-0000-0000-0000-000000000000'--",
            "Authorization: " + "Bearer " * 5000,
            "Authorization:",
        ],
    )
    def test_odd_tokens(self, service: Service, header):
        parts = urlsplit(service.base_url)
        with socket.create_connection((parts.hostname, parts.port), timeout=30) as connection:
            connection.sendall(f"GET /orders HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode("latin-1"))
            with HTTPResponse(connection) as answer:
                answer.begin()
                assert answer.status == 403
                assert answer.headers["X-Reason"]


class TestForms:
    GOOD = "grant_type=client_credentials&client_id=sandbox&client_secret=sandbox-secret"

    @pytest.mark.parametrize(
        "data",
        [
            "&".join(f"p{number}=1" for number in range(100_000)),
            GOOD + "&" + "&".join(f"p{number}=1" for number in range(100_000)),
            "grant_type=client_credentials&" * 60_000,
            "a=" + "x" * 10 * MB,
            GOOD + "&a=" + "x" * 10 * MB,
            "&" * 2 * MB,
            "%" * 2 * MB,
            "client_id=" + "%F0%9F%9B%92" * 50_000 + "&" + GOOD,
            "grant_type=" + "x" * MB + "&client_id=sandbox&client_secret=sandbox-secret",
            "grant_type=client_credentials&client_id=" + "x" * MB + "&client_secret=x",
            "grant_type=client_credentials&client_id=sandbox&client_secret=" + "x" * MB,
            "grant_type=refresh_token&client_id=sandbox&client_secret=sandbox-secret&refresh_token=" + "x" * MB,
            "grant_type=%00&client_id=%00&client_secret=%00",
            "grant_type=client_credentials&client_id=%ED%A0%80&client_secret=%FF",
            "grant_type=client_credentials&client_id=sandbox'--&client_secret=x",
            "grant_type=client_credentials&client_id=sandbox&client_secret=sandbox-secret%00",
            "grant_type[]=client_credentials&client_id[]=sandbox&client_secret[]=sandbox-secret",
        ],
        ids=lambda data: f"{data[:30]} of {len(data)}",
    )
    def test_bombs(self, service: Service, data):
        started = time.monotonic()
        answer = service.ask_token(data, headers=FORM)

        assert answer.status_code in (400, 401, 413)
        text = answer.headers["X-Reason"]
        assert text.isascii()
        assert text.isprintable()
        assert len(text) <= 500
        assert answer.headers["Content-Type"] == "application/json"
        assert time.monotonic() - started < 20
        assert service.requests()[-1]["status"] == answer.status_code
        assert "sandbox-secret" not in service.requests()[-1]["requestBody"]
        assert service.grant()

    def test_big_form_that_is_sound(self, service: Service):
        assert service.ask_token(f"{self.GOOD}&a={'x' * MB}", headers=FORM).status_code == 200


CONTROL_CALLS = [
    ("POST", "contacts"),
    ("POST", "returns"),
    ("POST", "clients"),
    ("POST", "tokens/revoke"),
    ("POST", "faults"),
    ("POST", "presets"),
    ("PUT", "faults"),
    ("PUT", "switches"),
]


def refuse_everywhere_in_control(service: Service, data: str | bytes) -> None:
    before = service.control("GET", "switches")
    for method, name in CONTROL_CALLS:
        reason(control(service, method, name, data), 400)
    assert service.control("GET", "switches") == before
    for name in ("contacts", "returns", "faults"):
        assert service.control("GET", name) == []


class TestControl:
    @pytest.mark.parametrize(
        "rule",
        [
            {"status": "500"},
            {"status": 600},
            {"status": 500.5},
            {"status": 10**30},
            {"status": True},
            {"status": 500, "count": -1},
            {"status": 500, "count": 10**30},
            {"latency": -1},
            {"latency": 601},
            {"latency": 10**400},
            {"latency": "1"},
            {"latency": []},
            {"latency": 1, "jitter": -1},
            {"latency": 1, "jitter": 601},
            {"latency": 1, "fade": True},
            {"latency": 1, "seconds": -1, "fade": True},
            {"status": 500, "skip": -1},
            {"status": 500, "skip": 0.5},
            {"status": 500, "skip": 10**30},
            {"status": 500, "probability": -0.1},
            {"status": 500, "probability": 1.1},
            {"status": 500, "probability": "1"},
            {"status": 500, "seed": "1"},
            {"status": 500, "seed": 10**400},
            {"status": 500, "seconds": []},
            {"drip": 601},
            {"drip": -1},
            {"drop": True, "reset": True},
            {"timeout": True, "status": 500},
            {"timeout": 1},
            {"revokeTokens": "yes"},
            {},
            [],
            None,
            {"drop": "true"},
            {"drop": True, "apply": []},
            {"drop": True, "apply": {}},
            {"drop": True, "match": []},
            {"drop": True, "match": {"path": 5}},
            {"drop": True, "match": {"method": 5}},
            {"drop": True, "match": {"customerOrderId": []}},
            {"status": 500, "reason": 5},
            {"status": 500, "reason": "\ud800"},
            {"drop": True, "match": {"path": "/\udfff"}},
            {"status": 500, "headers": []},
            {"status": 500, "headers": {"Content-Length": "1"}},
            {"status": 500, "headers": {"Transfer-Encoding": "chunked"}},
            {"status": 500, "headers": {"": "a"}},
            {"status": 500, "headers": {"a b": "a"}},
            {"status": 500, "headers": {"a": []}},
        ],
        ids=lambda rule: json.dumps(rule)[:60],
    )
    def test_odd_rules(self, service: Service, rule):
        reason(control(service, "PUT", "faults", json.dumps([{"status": 503}, rule])), 400)
        assert service.control("GET", "faults") == []

    @pytest.mark.parametrize("literal", ["1e400", "-1e400", "1e-400", "1e999999999", "9" * 10_000, "1e-999999999"])
    def test_odd_numbers(self, service: Service, literal):
        started = time.monotonic()
        for data in (f'[{{"status": {literal}}}]', f'[{{"status": 500, "count": {literal}1}}]'):
            reason(control(service, "PUT", "faults", data), 400)
        reason(control(service, "PUT", "switches", f'{{"accessTokenSeconds": {literal}1}}'), 400)
        assert control(service, "PUT", "faults", f'[{{"latency": {literal}}}]').status_code in (200, 400)
        assert time.monotonic() - started < 20
        service.stage()

    def test_many_rules(self, service: Service):
        rules = [{"match": {"path": f"/nothing/{number}"}, "drop": True} for number in range(10_000)]
        service.stage(*rules)

        assert service.add({"customerOrderId": "a"}).status_code == 201
        service.stage()

    def test_headers_of_a_struck_call_that_make_no_sense(self, service: Service):
        token = service.token
        headers = {f"X-{number}": "x" * 100 for number in range(50)}
        service.stage({"status": 429, "headers": {**headers, "Content-Type": "text/html", "X-Reason": "own"}})

        answer = service.call("GET", "/orders", headers={"Authorization": f"Bearer {token}"})

        assert answer.status_code == 429
        assert headers.items() <= answer.headers.items()
        service.stage()


@pytest.fixture
def own() -> Iterator[tuple[Process, Service]]:
    """A sandbox of the test's own, which may be hurt."""
    process = Process("--port", "0")
    service = Service(process.base_url)
    yield process, service
    service.close()
    process.child.kill()
    process.stop()


@pytest.mark.parametrize("pattern", ["/orders/" + "*a" * 500 + "$", "*" * 10_000 + "!", "^(a+)+$", "$$$", "*"])
def test_pattern_that_would_take_ages_elsewhere(own, pattern):
    _, service = own
    path = f"/orders/{'a' * 3000}!"
    assert service.call("GET", path).status_code == 404
    assert control(service, "PUT", "faults", json.dumps([{"match": {"path": pattern}, "status": 503}])).ok

    assert service.call("GET", path, timeout=5).status_code in (404, 503)


@contextlib.contextmanager
def watch(process: Process) -> Iterator[list[int]]:
    """The sizes of a process in memory, the first of them from before."""
    watched, ended = psutil.Process(process.child.pid), threading.Event()
    sizes = [watched.memory_info().rss]

    def look() -> None:
        while not ended.wait(0.02):
            sizes.append(watched.memory_info().rss)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield sizes
    finally:
        ended.set()
        thread.join()


def send_from_four_threads(service: Service, bodies: Iterable[bytes]) -> list[int]:
    headers, local = {**JSON, "Authorization": f"Bearer {service.token}"}, threading.local()

    def send(data: bytes) -> int:
        if not hasattr(local, "session"):
            local.session = requests.Session()
        return local.session.post(f"{service.base_url}/orders", data=data, headers=headers, timeout=60).status_code

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(send, bodies))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_memory_stays_bounded(own):
    """More than 1,000 MB are sent. Four calls at a time, each with its body as bytes, text and JSON, were measured to
    need 50 MB; were the bodies kept, it would be 450 MB or more.
    """
    process, service = own
    service.add()
    filler = b'"unknown": "' + b"x" * (3 * MB // 2) + b'"}'
    refused = [b'{"customerOrderId": "big", "unknown": "' + b"x" * 10 * MB + b'"}'] * 60
    malformed = [b'{"customerOrderId": "bad", "grandTotal": "much", ' + filler] * 150
    taken = [b'{"customerOrderId": "%d", ' % number + filler for number in range(150)]

    with watch(process) as sizes:
        codes = send_from_four_threads(service, [*refused, *malformed, *taken])

    assert codes == [413] * 60 + [400] * 150 + [201] * 150
    assert len(service.orders()) == 151
    assert max(sizes) - sizes[0] < 200 * MB


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_memory_of_the_request_log_stays_bounded(own):
    """What is kept of 5,000 calls would be 330 MB without the limit of 64 MiB; up to 145 MB were measured."""
    process, service = own
    service.add()
    body = b'{"customerOrderId": "abc-123", "unknown": "' + b"x" * 70_000 + b'"}'

    with watch(process) as sizes:
        assert set(send_from_four_threads(service, [body] * 5000)) == {409}

    log = service.requests()
    assert 500 < len(log) < 2000
    assert log[-1]["status"] == 409
    assert max(sizes) - sizes[0] < 250 * MB
