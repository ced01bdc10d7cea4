from __future__ import annotations

import pytest

from tests.sandbox.samples import coffee_mug_order
from tests.sandbox.service import Service, reason


def test_orders_in_wire_shape(service: Service):
    first = service.add(coffee_mug_order(), createContact="true")
    second = service.add({"customerOrderId": "b"})

    answer = service.session.get(f"{service.base_url}/_sandbox/orders", timeout=30)

    assert answer.text == f"[{first.text},{second.text}]"


def test_contacts(service: Service):
    made = service.control("POST", "contacts", {"emailAddress": "a@example.com"})
    assert made.pop("createdDate").endswith("Z")
    assert made == {"emailAddress": "a@example.com", "status": "active"}

    service.control("POST", "contacts", {"emailAddress": "A@example.com", "status": "bounce"})
    (contact,) = service.control("GET", "contacts")
    assert (contact["emailAddress"], contact["status"]) == ("A@example.com", "bounce")


def test_returns(service: Service):
    for _ in range(2):
        assert service.control("POST", "returns", {"customerOrderId": "a"})["customerOrderId"] == "a"
    assert [taken["customerOrderId"] for taken in service.control("GET", "returns")] == ["a"]

    service.add({"customerOrderId": "b"})
    answer = service.session.post(f"{service.base_url}/_sandbox/returns", json={"customerOrderId": "b"}, timeout=30)
    assert "an order" in reason(answer, 409)
    assert len(service.control("GET", "returns")) == 1


def test_reset_leaves_the_first_client_and_its_tokens(service: Service):
    service.add(coffee_mug_order(), createContact="true")
    service.control("POST", "returns", {"customerOrderId": "r"})
    service.control("POST", "clients", {"clientId": "c", "clientSecret": "s"})
    service.control("PUT", "switches", {"idsOnUpdate": "refuse"})
    service.stage({"status": 500})
    token = service.token

    service.control("POST", "reset")

    for name in ("orders", "contacts", "returns", "events", "requests", "faults"):
        assert service.control("GET", name) == [], name
    assert service.control("GET", "switches")["idsOnUpdate"] == "ignore"
    headers = {"Authorization": f"Bearer {token}"}
    assert service.call("GET", "/orders?customerOrderId=abc-123", headers=headers).status_code == 204
    form = {"grant_type": "client_credentials", "client_id": "c", "client_secret": "s"}
    assert service.ask_token(form).status_code == 401


def test_switches(service: Service):
    defaults = service.control("GET", "switches")
    assert (defaults["orderDateOnUpdate"], defaults["accessTokenSeconds"]) == ("ignore", 3600)
    assert defaults["refreshTokenSeconds"] == 2_592_000

    changed = service.control("PUT", "switches", {"orderDateOnUpdate": "take", "accessTokenSeconds": 5})
    assert changed == {**defaults, "orderDateOnUpdate": "take", "accessTokenSeconds": 5}

    service.control("DELETE", "switches")
    assert service.control("GET", "switches") == defaults


@pytest.mark.parametrize(
    ("method", "name", "body", "named"),
    [
        ("PUT", "switches", {"orderDateOnUpdate": "take", "other": 1}, "other"),
        ("PUT", "switches", {"orderDateOnUpdate": "maybe"}, "orderDateOnUpdate"),
        ("PUT", "switches", {"orderDateOnUpdate": []}, "orderDateOnUpdate"),
        ("PUT", "switches", {"idsOnUpdate": "keep"}, "idsOnUpdate"),
        ("PUT", "switches", {"requiredOnAdd": "currency"}, "requiredOnAdd"),
        ("PUT", "switches", {"requiredOnAdd": ["colour"]}, "requiredOnAdd"),
        ("POST", "presets", {"name": "earthquake"}, "outage"),
        ("PUT", "switches", {"accessTokenSeconds": 1.5}, "accessTokenSeconds"),
        ("PUT", "switches", {"accessTokenSeconds": -1}, "accessTokenSeconds"),
        ("PUT", "switches", {"refreshTokenSeconds": "1"}, "refreshTokenSeconds"),
        ("PUT", "switches", [], "object"),
        ("POST", "contacts", {"emailAddress": "nobody"}, "emailAddress"),
        ("POST", "contacts", {}, "emailAddress"),
        ("POST", "contacts", {"emailAddress": "a@example.com", "status": "happy"}, "status"),
        ("POST", "returns", {"customerOrderId": ""}, "customerOrderId"),
        ("POST", "clients", {"clientId": "c"}, "clientSecret"),
        ("POST", "clients", {"clientId": "c", "clientSecret": "s", "scopes": ["orders"]}, "scopes"),
        ("POST", "clients", {"clientId": "c", "clientSecret": "s", "scopes": "orders/carts-read"}, "scopes"),
        ("POST", "tokens/revoke", {"refresh": "maybe"}, "refresh"),
        ("POST", "tokens/revoke", [], "object"),
    ],
)
def test_malformed_control_calls(service: Service, method, name, body, named):
    before = service.control("GET", "switches")

    answer = service.session.request(method, f"{service.base_url}/_sandbox/{name}", json=body, timeout=30)

    assert named in reason(answer, 400)
    assert service.control("GET", "switches") == before


def test_malformed_last(service: Service):
    for last in ("-1", "x", "1.5", "9" * 12):
        answer = service.session.get(f"{service.base_url}/_sandbox/requests?last={last}", timeout=30)
        assert "last" in reason(answer, 400), last


@pytest.mark.parametrize(
    ("method", "name"), [("GET", "reset"), ("GET", "tokens/revoke"), ("DELETE", "orders"), ("PUT", "contacts")]
)
def test_wrong_method(service: Service, method, name):
    reason(service.session.request(method, f"{service.base_url}/_sandbox/{name}", timeout=30), 405)


def test_control_call_with_too_large_a_body(service: Service):
    answer = service.session.put(f"{service.base_url}/_sandbox/faults", data=b" " * 3_000_000, timeout=30)

    reason(answer, 413)


def test_unknown_control_path(service: Service):
    reason(service.session.get(f"{service.base_url}/_sandbox/nothing", timeout=30), 404)


def test_presets(service: Service):
    names = [preset["name"] for preset in service.control("GET", "presets")]
    assert "outage" in names

    for name in names:
        assert service.control("POST", "presets", {"name": name})
    service.control("POST", "presets", {"name": "outage"})
    assert service.ask_token({}).status_code == 503


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://shop.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_pages_of_other_sites_change_nothing(service: Service, headers):
    service.add()

    answer = service.session.post(f"{service.base_url}/_sandbox/reset", headers=headers, timeout=30)

    assert "other sites" in reason(answer, 403)
    assert len(service.orders()) == 1


def test_own_page_may_change_things(service: Service):
    headers = {"Origin": service.base_url, "Sec-Fetch-Site": "same-origin"}

    assert service.session.post(f"{service.base_url}/_sandbox/reset", headers=headers, timeout=30).status_code == 204
