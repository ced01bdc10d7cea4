from __future__ import annotations

import time
from uuid import UUID, uuid4

import pytest

from tests.sandbox.service import Service

GOOD = {"grant_type": "client_credentials", "client_id": "sandbox", "client_secret": "sandbox-secret"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def refused(answer, status: int, code: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.json()["error"] == code
    assert answer.json()["error_description"] == answer.headers["X-Reason"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Pragma"] == "no-cache"


def refresh_form(token: str, **changes: str) -> dict[str, str]:
    return {**GOOD, "grant_type": "refresh_token", "refresh_token": token, **changes}


def test_curl_sample(service: Service):
    answer = service.ask_token(
        "grant_type=client_credentials&client_id=sandbox&client_secret=sandbox-secret", headers=FORM
    )

    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Type"] == "application/json"
    tokens = answer.json()
    assert set(tokens) == {"access_token", "refresh_token", "expires_in", "token_type"}
    assert str(UUID(tokens["access_token"])) == tokens["access_token"]
    assert str(UUID(tokens["refresh_token"])) == tokens["refresh_token"]
    assert tokens["expires_in"] == 3600
    assert tokens["token_type"].lower() == "bearer"


def test_each_grant_makes_new_tokens_and_leaves_the_old(service: Service):
    first, second = service.grant(), service.grant()

    assert len({first["access_token"], second["access_token"], first["refresh_token"], second["refresh_token"]}) == 4
    for tokens in (first, second):
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        assert service.call("GET", "/orders?customerOrderId=a", headers=headers).status_code == 204


def test_trailing_slash_is_not_redirected(service: Service):
    answer = service.session.post(f"{service.base_url}/oauth2/token/", data=GOOD, allow_redirects=False, timeout=30)

    assert answer.status_code == 200


def test_refresh_rotates(service: Service):
    first = service.grant()

    second = service.ask_token(refresh_form(first["refresh_token"]))
    assert second.status_code == 200
    assert second.json()["refresh_token"] != first["refresh_token"]
    assert second.json()["access_token"] != first["access_token"]
    refused(service.ask_token(refresh_form(first["refresh_token"])), 400, "invalid_grant")
    assert service.ask_token(refresh_form(second.json()["refresh_token"])).status_code == 200


@pytest.mark.parametrize("token", ["", "nonsense", "0ad24370-96de-4922-9a53-954530fcbb64"])
def test_unknown_refresh_token(service: Service, token):
    refused(service.ask_token(refresh_form(token)), 400, "invalid_grant" if token else "invalid_request")


def test_refresh_token_of_another_client(service: Service):
    service.control("POST", "clients", {"clientId": "other", "clientSecret": "s"})
    token = service.grant()["refresh_token"]

    refused(service.ask_token(refresh_form(token, client_id="other", client_secret="s")), 400, "invalid_grant")
    assert service.ask_token(refresh_form(token)).status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "nobody"},
        {"client_secret": "wrong"},
        {"client_id": ""},
        {"client_secret": ""},
        {"client_id": "sandbox\x00"},
        {"client_secret": "ü"},
        {"client_id": "x" * 10_000},
    ],
)
def test_unknown_client(service: Service, changes):
    for grant in ("client_credentials", "refresh_token", "password"):
        form = {**GOOD, "refresh_token": str(uuid4()), **changes, "grant_type": grant}
        refused(service.ask_token(form), 401, "invalid_client")


@pytest.mark.parametrize("left_out", ["client_id", "client_secret"])
def test_missing_credentials(service: Service, left_out):
    form = {name: value for name, value in GOOD.items() if name != left_out}

    refused(service.ask_token(form), 401, "invalid_client")


def test_missing_and_unknown_grants(service: Service):
    refused(service.ask_token({**GOOD, "grant_type": ""}), 400, "invalid_request")
    refused(service.ask_token({"client_id": "sandbox"}), 400, "invalid_request")
    refused(service.ask_token({**GOOD, "grant_type": "password"}), 400, "unsupported_grant_type")


def test_parameter_given_twice(service: Service):
    body = "grant_type=client_credentials&client_id=sandbox&client_id=x&client_secret=sandbox-secret"

    refused(service.ask_token(body, headers=FORM), 400, "invalid_request")


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "multipart/form-data; boundary=x", ""])
def test_body_that_is_not_a_form(service: Service, content_type):
    body = '{"grant_type": "client_credentials", "client_id": "sandbox", "client_secret": "sandbox-secret"}'

    refused(service.ask_token(body, headers={"Content-Type": content_type}), 400, "invalid_request")


@pytest.mark.parametrize("body", [b"", b"\xff\xfe=%ff&&&=", b"grant_type=%00", b"&" * 3000, b"a=1&" * 3000])
def test_odd_forms(service: Service, body):
    answer = service.ask_token(body, headers=FORM)

    assert 400 <= answer.status_code < 500
    assert answer.headers["X-Reason"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_only_post(service: Service, method):
    answer = service.session.request(method, f"{service.base_url}/oauth2/token", data=GOOD, timeout=30)

    assert answer.status_code == 405
    assert answer.headers["Allow"] == "POST"


def test_lives_may_be_shortened(service: Service):
    service.control("PUT", "switches", {"accessTokenSeconds": 1, "refreshTokenSeconds": 2})
    tokens = service.grant()
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert tokens["expires_in"] == 1
    assert service.call("GET", "/orders?customerOrderId=a", headers=headers).status_code == 204

    time.sleep(1.1)
    answer = service.call("GET", "/orders?customerOrderId=a", headers=headers)
    assert answer.status_code == 403
    assert "expired" in answer.headers["X-Reason"]

    time.sleep(1)
    refused(service.ask_token(refresh_form(tokens["refresh_token"])), 400, "invalid_grant")
