from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.sandbox.samples import COOKIE_NAME, COOKIE_VALUE, coffee_mug_order
from tests.sandbox.service import ROOT, TIMEOUT, Service, reason, shop_path

FILE = ROOT / "bronto_orders" / "sandbox" / "openapi.json"
DOCUMENT = json.loads(FILE.read_text("utf-8"))
COMPONENTS = DOCUMENT["components"]
SCHEMAS = COMPONENTS["schemas"]
FORM = {"grant_type": "client_credentials", "client_id": "sandbox", "client_secret": "sandbox-secret"}
BY_SHOP_ID = shop_path("abc-123")
UNKNOWN_ORDER = "/orders/0ad24370-96de-4922-9a53-954530fcbb64"
TOO_LARGE = b" " * (2 * 1024 * 1024 + 1)


def resolve(part: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in part:
        kind, name = part["$ref"].removeprefix("#/components/").split("/")
        part = COMPONENTS[kind][name]
    return part


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator(
        {**schema, "components": COMPONENTS}, format_checker=Draft202012Validator.FORMAT_CHECKER
    )


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for method in ("get", "post", "delete"):
            if method in item:
                yield method.upper(), path, item[method]


def operation_of(call: requests.PreparedRequest) -> dict[str, Any]:
    for method, path, operation in operations():
        if method == call.method and re.fullmatch(re.sub(r"{\w+}", "[^/]+", path), urlsplit(str(call.url)).path):
            return operation
    raise AssertionError(f"{call.method} {call.url} is not in the document")


def check(answer: requests.Response, response: dict[str, Any]) -> None:
    for name, header in response.get("headers", {}).items():
        validator(resolve(header)["schema"]).validate(answer.headers[name])
    if "content" in response:
        validator(response["content"][answer.headers["Content-Type"]]["schema"]).validate(answer.json())
    else:
        assert answer.content == b""


def conforms(answer: requests.Response, status: int) -> tuple[str, str]:
    """Check an answer against the document; return what was called and how it ended."""
    assert answer.status_code == status, answer.text
    operation = operation_of(answer.request)
    check(answer, resolve(operation["responses"][str(status)]))
    return operation["operationId"], str(status)


def test_document_is_valid():
    assert [error.message for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []


def test_document_is_served(service: Service):
    answer = service.session.get(f"{service.base_url}/_sandbox/openapi.json", timeout=TIMEOUT)

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == DOCUMENT


def parts(part: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    yield path, part
    inner = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for key, value in inner:
        if key not in ("value", "example", "examples") or path.endswith("/components"):
            yield from parts(value, f"{path}/{key}")


SOURCED = re.compile(
    r"/paths/.*/(get|post|delete)|/paths/.*/(parameters|responses)/\w+|/components/schemas/\w+/properties/\w+"
    r"|/components/(headers|parameters|requestBodies|responses|schemas|securitySchemes)/\w+"
)


def test_every_part_says_where_it_comes_from():
    sourced = {path: part for path, part in parts(DOCUMENT) if SOURCED.fullmatch(path)}

    assert len(sourced) > 150
    assert [path for path, part in sourced.items() if not {"x-source", "$ref"} & part.keys()] == []
    shared = "#/components/schemas/"
    assert [path for path, part in sourced.items() if "x-source" not in part and shared in part["$ref"]] == []


def test_every_component_is_used():
    text = json.dumps(DOCUMENT)
    unused = [
        f"{kind}/{name}" for kind, named in COMPONENTS.items() for name in named if f'/{kind}/{name}"' not in text
    ]

    # No operation can answer 405: it is for the methods that are none.
    assert unused == ["securitySchemes/oauth2", "securitySchemes/bearer", "responses/MethodNotAllowed"]


def test_examples_fit_their_schemas():
    count = 0
    for path, part in parts(DOCUMENT):
        if not isinstance(part, dict) or path.startswith("/components/examples"):
            continue
        examples = part.get("examples", [])
        values = (
            examples if isinstance(examples, list) else [resolve(example)["value"] for example in examples.values()]
        )
        for value in [*values, *([part["example"]] if "example" in part else [])]:
            validator(part.get("schema", part)).validate(value)
            count += 1
    assert count > 40


def test_grants(service: Service):
    first = service.ask_token(FORM)
    conforms(first, 200)
    again = {**FORM, "grant_type": "refresh_token", "refresh_token": first.json()["refresh_token"]}

    conforms(service.ask_token(again), 200)
    conforms(service.ask_token(again), 400)


def test_least_order(service: Service):
    conforms(service.add(), 201)


def test_worked_example(service: Service):
    added = service.add(coffee_mug_order(), createContact="true")
    conforms(added, 201)
    path = f"/orders/{added.json()['orderId']}"

    validator(SCHEMAS["NewOrder"]).validate(coffee_mug_order())
    conforms(service.call("POST", path, json={"lineItems": [{"quantity": 1, "totalPrice": "3.99"}]}), 200)
    conforms(service.call("POST", BY_SHOP_ID, json={"shippingDate": None, "states": {"shipped": True}}), 200)
    conforms(service.call("GET", path), 200)
    conforms(service.call("GET", BY_SHOP_ID), 200)
    conforms(service.search(customerOrderId="abc-123"), 200)
    conforms(service.call("DELETE", path), 204)
    conforms(service.call("DELETE", BY_SHOP_ID), 204)
    conforms(service.search(customerOrderId="abc-123"), 204)


def every_answer(service: Service) -> Iterator[tuple[requests.Response, int]]:
    body = {"customerOrderId": "abc-123", "emailAddress": "example@email.com"}
    added = service.add(coffee_mug_order(), createContact="true")
    yield added, 201
    for path in (f"/orders/{added.json()['orderId']}", BY_SHOP_ID):
        yield service.call("GET", path), 200
        yield service.call("POST", path, json=body), 200
        yield service.call("POST", path, json={"emailAddress": "nobody@email.com"}), 409
    yield service.add(body), 409
    yield service.search(customerOrderId="abc-123"), 200
    yield service.search(customerOrderId="abc-124"), 204
    yield service.ask_token(FORM), 200
    yield service.ask_token({**FORM, "client_secret": "wrong"}), 401
    yield service.ask_token({}), 400
    yield service.ask_token({f"field-{number}": "" for number in range(2000)}), 400
    yield service.ask_token(TOO_LARGE), 413
    for path, fine in (("/orders", body), (UNKNOWN_ORDER, {}), (shop_path("abc-124"), {})):
        if path != "/orders":
            yield service.call("GET", path), 404
            yield service.call("POST", path, json=fine), 404
            yield service.call("DELETE", path), 204
            for method in ("GET", "POST", "DELETE"):
                yield service.call(method, path[:-1] + "%FF", json=fine), 400
        yield service.call("POST", path, json={**fine, "currency": "usd"}), 400
        yield service.call("POST", path, data="{}"), 415
        for method in ("GET", "POST") if path == "/orders" else ("GET", "POST", "DELETE"):
            yield service.call(method, path, json=fine, headers={"Authorization": "Bearer nonsense"}), 403
            yield service.call(method, path, data=TOO_LARGE), 413
    yield service.search(), 400


def test_every_documented_answer_occurs_and_conforms(service: Service):
    seen = {conforms(answer, status) for answer, status in every_answer(service)}

    documented = {(part["operationId"], status) for _, _, part in operations() for status in part["responses"]}
    assert len(documented) == 47
    assert seen == documented


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/oauth2/token", "POST"), ("/orders", "GET, POST"), (UNKNOWN_ORDER, "GET, POST, DELETE"), (BY_SHOP_ID, "")],
)
@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS"])
def test_methods_that_are_none(service: Service, path, allowed, method):
    answer = service.call(method, path)

    assert answer.status_code == 405
    check(answer, COMPONENTS["responses"]["MethodNotAllowed"])
    assert allowed in answer.headers["Allow"]


def test_keys_of_the_answers(service: Service):
    order = service.add(coffee_mug_order(), createContact="true").json()

    for name, part in (("Order", order), ("LineItem", order["lineItems"][0]), ("States", order["states"])):
        schema = SCHEMAS[name]
        assert list(part) == list(schema["properties"]) == schema["required"]
        assert schema["additionalProperties"] is False


def test_keys_of_the_requests():
    answered = set(SCHEMAS["Order"]["properties"])
    shared = set(SCHEMAS["OrderFields"]["properties"])

    server_made = {"orderId", "createdDate", "updatedDate", "hasTracking"}
    for name in ("NewOrder", "OrderChanges"):
        assert shared | set(SCHEMAS[name]["properties"]) == answered - server_made | {"tid", "orderSource"}
    assert set(SCHEMAS["LineItemSent"]["properties"]) == set(SCHEMAS["LineItem"]["properties"]) - {"position"}
    assert set(SCHEMAS["StatesSent"]["properties"]) == set(SCHEMAS["States"]["properties"])


def test_every_documented_field_is_read(service: Service):
    fields = {**SCHEMAS["OrderFields"]["properties"], **SCHEMAS["NewOrder"]["properties"]}
    bodies: list[tuple[str, Any]] = [(name, {name: [1]}) for name in fields]
    bodies += [(f"states.{name}", {"states": {name: [1]}}) for name in SCHEMAS["StatesSent"]["properties"]]
    bodies += [(f"lineItems[0].{name}", {"lineItems": [{name: [1]}]}) for name in SCHEMAS["LineItemSent"]["properties"]]

    for name, wrong in bodies:
        body = {"customerOrderId": "abc-123", **wrong}
        assert name in reason(service.add(body), 400)
        assert not validator(SCHEMAS["NewOrder"]).is_valid(body)


def test_ids_in_an_update_may_be_anything(service: Service):
    service.add()

    for body in ({"customerOrderId": [1]}, {"cartId": [1]}):
        conforms(service.call("POST", BY_SHOP_ID, json=body), 200)
        validator(SCHEMAS["OrderChanges"]).validate(body)


def test_every_documented_parameter_is_read(service: Service):
    ignored = {"deliveryId", "messageId", "contactId"}
    for method, path, operation in operations():
        names = {resolve(part)["name"] for part in operation.get("parameters", [])}
        answer = service.call(method, re.sub(r"{\w+}", "abc-123", path), params=dict.fromkeys(names, "\x00"), json={})
        if names - ignored:
            assert {part.partition(":")[0] for part in reason(answer, 400).split("; ")} == names


MOMENTS = {
    "2015-01-01": True,
    "2015-01-01T12:30": True,
    "2015-01-01t12:30:59.123456789z": True,
    "2015-01-01 12:30:00,5+0130": True,
    "2015-01-01T12:30:00-01": True,
    "2016-02-29T23:59:59+23:59": True,
    "2000-02-29": True,
    "0001-01-02": True,
    "9999-12-30T23:59:59.999Z": True,
    "2015-02-29": False,
    "1900-02-29": False,
    "2015-04-31": False,
    "2015-13-01": False,
    "2015-00-01": False,
    "2015-01-00": False,
    "0000-01-01": False,
    "2015-1-1": False,
    "20150101": False,
    "2015-01-01T24:00": False,
    "2015-01-01T12": False,
    "2015-01-01T12:60": False,
    "2015-01-01T12:30:60Z": False,
    "2015-01-01T12:30:00.Z": False,
    "2015-01-01T12:30:00.1234567890Z": False,
    "2015-01-01T12:30+1": False,
    "2015-01-01T12:30+24:00": False,
    " 2015-01-01": False,
    "١٩٩٩-01-01": False,
    "": False,
}
AMOUNTS = [0, -1.5, 4.27, "4.27", "-0.28", "007", "999999999999999.12345678901234567890", -999999999999999, None]
NO_AMOUNTS = [True, "", "4,27", ".5", "5.", "+1", "NaN", "$1", 10**15, -(10**15), "1000000000000000", [], {}]
VALUES: list[tuple[str, Any, bool]] = [
    *(("shippingDate", text, fine) for text, fine in MOMENTS.items()),
    ("shippingDate", None, True),
    ("shippingDate", 20150101, False),
    ("orderDate", "1999-12-31", False),
    ("orderDate", "2000-01-01", True),
    ("orderDate", "2016-02-29T10:00+01:00", True),
    ("orderDate", "2015-02-29", False),
    ("orderDate", "2100-01-01", False),
    ("orderDate", None, True),
    *(("grandTotal", value, True) for value in AMOUNTS),
    *(("grandTotal", value, False) for value in NO_AMOUNTS),
    ("currency", "XXX", True),
    ("currency", "usd", False),
    ("currency", "EURO", False),
    ("currency", "", False),
    ("emailAddress", None, True),
    ("emailAddress", "a.b+c@example.co.uk", True),
    ("emailAddress", "nobody", False),
    ("emailAddress", "", False),
    ("originIp", "127.0.0.1", True),
    ("originIp", "::ffff:10.0.0.1", True),
    ("originIp", "fe80::1%eth0", False),
    ("originIp", "127.0.0.256", False),
    ("originIp", "", False),
    ("cartId", "7255C31C-39AC-4611-A2B7-974B0EBFA555", True),
    ("cartId", "7255c31c39ac4611a2b7974b0ebfa555", False),
    ("cartId", "", False),
    ("customerOrderId", "x" * 255, True),
    ("customerOrderId", "x" * 256, False),
    ("customerOrderId", "", False),
    ("customerOrderId", None, False),
    ("customerOrderId", 1, False),
    ("shippingDetails", "", True),
    ("shippingDetails", "line\nbreak 🛒\n", True),
    ("shippingDetails", "\x00", False),
    ("shippingDetails", 1, False),
    ("status", "PROCESSED", True),
    ("status", "processed", False),
    ("status", None, True),
    ("states", {"processed": "true", "shipped": None, "packed": []}, True),
    ("states", {"processed": "yes"}, False),
    ("states", {"processed": 1}, False),
    ("states", None, True),
    ("states", [], False),
    ("lineItems", None, True),
    ("lineItems", [{}, {"name": None, "colour": 1}], True),
    ("lineItems", [None], False),
    ("lineItems", {}, False),
    ("lineItems", [{}] * 10_001, False),
    ("tid", COOKIE_VALUE, True),
    ("tid", "3.Ag", False),
    ("tid", "3" + "." * 14 + "x" * 986, False),
    ("tid", None, True),
    ("trackingCookieName", COOKIE_NAME, False),
    ("unknown", {"deep": [None]}, True),
]


def test_document_and_service_agree_on_values(service: Service):
    schema = validator(SCHEMAS["NewOrder"])
    for number, (name, value, fine) in enumerate(VALUES):
        body = {"customerOrderId": f"abc-{number}", name: value}
        assert schema.is_valid(body) is fine, (name, value)
        conforms(service.add(body, createContact="true"), 201 if fine else 400)


@pytest.mark.parametrize(
    ("name", "value", "fine"),
    [
        (COOKIE_NAME, COOKIE_VALUE, True),
        ("tid_!#+-./0:<>~", COOKIE_VALUE, True),
        ("tid_" + "x" * 251, COOKIE_VALUE, True),
        ("tid_" + "x" * 252, COOKIE_VALUE, False),
        ("tid_", COOKIE_VALUE, False),
        ("tid_a=b", COOKIE_VALUE, False),
        ("tid_a,b", COOKIE_VALUE, False),
        ("sid_a", COOKIE_VALUE, False),
        (COOKIE_NAME, "3", False),
        (COOKIE_NAME, None, False),
        (None, None, False),
    ],
)
def test_document_and_service_agree_on_cookies(service: Service, name, value, fine):
    body = {"customerOrderId": "abc-123", "trackingCookieName": name, "trackingCookieValue": value}

    assert validator(SCHEMAS["NewOrder"]).is_valid(body) is fine
    conforms(service.add(body), 201 if fine else 400)


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    "change",
    [
        lambda order: order.pop("contactId"),
        lambda order: order.update(tid=None),
        lambda order: order.update(grandTotal="4.27"),
        lambda order: order.update(orderDate="2015-01-01T00:00:00Z"),
        lambda order: order.update(orderId=order["orderId"].upper()),
        lambda order: order["states"].update(shipped=None),
        lambda order: order["lineItems"][0].pop("position"),
        lambda order: order["lineItems"][0].update(quantity=None),
    ],
)
def test_checks_find_what_is_wrong(service: Service, change: Change):
    order = service.add(coffee_mug_order(), createContact="true").json()
    schema = validator(SCHEMAS["Order"])
    schema.validate(order)

    change(order)

    assert not schema.is_valid(order)
