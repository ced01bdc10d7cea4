from __future__ import annotations

import pytest

from tests.sandbox.service import Service, reason

CALLS = [
    ("GET", "/orders?customerOrderId=a"),
    ("GET", "/orders/customerOrderId/a"),
    ("GET", "/orders/0ad24370-96de-4922-9a53-954530fcbb64"),
    ("POST", "/orders"),
    ("POST", "/orders/customerOrderId/a"),
    ("POST", "/orders/0ad24370-96de-4922-9a53-954530fcbb64"),
    ("DELETE", "/orders/customerOrderId/a"),
    ("DELETE", "/orders/0ad24370-96de-4922-9a53-954530fcbb64"),
    ("PUT", "/orders"),
]

WRONG = [
    "",
    "Bearer",
    "Bearer ",
    "Bearer nonsense",
    "Basic c2FuZGJveDpzYW5kYm94",
    "Token",
    "Bearer 0ad24370-96de-4922-9a53-954530fcbb64",
    "Bearer ü",
]


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_every_failure_is_403(service: Service, method, path):
    service.add({"customerOrderId": "a"})

    for value in WRONG:
        answer = service.call(method, path, json={"customerOrderId": "b"}, headers={"Authorization": value.encode()})
        reason(answer, 403)
        assert "WWW-Authenticate" not in answer.headers
    assert [order["customerOrderId"] for order in service.orders()] == ["a"]


def test_missing_header_is_403(service: Service):
    answer = service.session.get(f"{service.base_url}/orders?customerOrderId=a", timeout=30)

    assert reason(answer, 403) == "no Authorization header"


def test_scheme_is_read_without_regard_to_case(service: Service):
    headers = {"Authorization": f"bearer {service.token.upper()}"}

    assert service.call("GET", "/orders?customerOrderId=a", headers=headers).status_code == 204


def test_secret_or_refresh_token_is_no_access_token(service: Service):
    for value in ("sandbox-secret", service.grant()["refresh_token"]):
        answer = service.call("GET", "/orders?customerOrderId=a", headers={"Authorization": f"Bearer {value}"})
        assert reason(answer, 403) == "the access token is unknown"


@pytest.mark.parametrize(("method", "path"), CALLS)
@pytest.mark.parametrize("scopes", [[], ["orders/carts-read"], ["orders/carts-write"]])
def test_scopes(service: Service, method, path, scopes):
    service.add({"customerOrderId": "a"})
    made = service.control("POST", "clients", {"clientId": "c", "clientSecret": "s", "scopes": scopes})
    assert made == {"clientId": "c", "scopes": scopes}
    token = service.grant("c", "s")["access_token"]
    needed = "orders/carts-read" if method == "GET" else "orders/carts-write"

    answer = service.call(method, path, json={"customerOrderId": "b"}, headers={"Authorization": f"Bearer {token}"})

    if needed in scopes:
        assert answer.status_code != 403
    else:
        assert needed in reason(answer, 403)
        assert len(service.orders()) == 1


def test_revoked_tokens(service: Service):
    service.control("POST", "tokens/revoke", {"refresh": True})
    tokens = service.grant()
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    form = {
        "grant_type": "refresh_token",
        "client_id": "sandbox",
        "client_secret": "sandbox-secret",
        "refresh_token": tokens["refresh_token"],
    }

    assert service.control("POST", "tokens/revoke") == {"accessTokens": 1, "refreshTokens": 0}
    assert reason(service.call("GET", "/orders", headers=headers), 403) == "the access token is unknown"
    assert service.ask_token(form).status_code == 200
    assert service.control("POST", "tokens/revoke", {"refresh": True}) == {"accessTokens": 1, "refreshTokens": 1}
    assert service.ask_token(form).json()["error"] == "invalid_grant"
