from __future__ import annotations

import contextlib

from tests.sandbox.service import Service

KEYS = {
    "time",
    "durationMs",
    "method",
    "path",
    "query",
    "requestBody",
    "status",
    "reason",
    "responseBody",
    "fault",
}


def test_calls_are_kept_in_order(service: Service):
    answer = service.add({"customerOrderId": "a/b"}, triggerEvents="false")
    service.call("POST", "/orders/customerOrderId/a%2Fb", data="{")
    service.call("DELETE", "/orders/customerOrderId/c")

    token, add, update, delete = service.requests()
    assert set(add) == KEYS
    assert (token["method"], token["path"], token["status"]) == ("POST", "/oauth2/token", 200)
    assert (add["method"], add["path"], add["query"]) == ("POST", "/orders", "triggerEvents=false")
    assert add["requestBody"] == '{"customerOrderId": "a/b"}'
    assert (add["status"], add["reason"], add["responseBody"]) == (201, "", answer.text)
    assert add["time"].endswith("Z")
    assert 0 < add["durationMs"] < 10_000
    assert (update["path"], update["status"], update["requestBody"]) == ("/orders/customerOrderId/a%2Fb", 415, "{")
    assert "Content-Type" in update["reason"]
    assert (delete["method"], delete["status"], delete["responseBody"]) == ("DELETE", 204, "")


def test_control_calls_are_not_kept(service: Service):
    service.orders()

    assert service.requests() == []


def test_no_secret_and_no_token_is_kept(service: Service):
    tokens = service.grant()
    form = {"client_id": "sandbox", "client_secret": "sandbox-secret", "refresh_token": tokens["refresh_token"]}
    more = service.ask_token({**form, "grant_type": "refresh_token"}).json()
    service.ask_token({**form, "grant_type": "client_credentials", "client_secret": "a secret typed wrong"})
    service.ask_token('{"client_secret": "sandbox-secret"}', headers={"Content-Type": "application/json"})
    service.ask_token({**form, "grant_type": "password", "password": "a password"})
    query = f"access%5Ftoken={tokens['access_token']}&client_secret=sandbox-secret&customerOrderId=a"
    service.call("GET", f"/orders?{query}", headers={"Authorization": f"Bearer {more['access_token']}"})

    calls = service.requests()
    text = str(calls)
    for secret in (*form.values(), *tokens.values(), *more.values(), "a secret typed wrong", "a+secret", "a+password"):
        if secret not in ("sandbox", 3600, "bearer"):
            assert str(secret) not in text
    assert calls[0]["requestBody"] == "grant_type=client_credentials&client_id=sandbox&client_secret=***"
    assert '"access_token":"***"' in calls[0]["responseBody"]
    assert '"refresh_token":"***"' in calls[1]["responseBody"]
    assert calls[-1]["query"] == "access_token=***&client_secret=***&customerOrderId=a"


def test_faults_are_marked(service: Service):
    assert service.token
    service.stage({"status": 429, "reason": "slow down", "count": 1}, {"truncate": True, "count": 1}, {"drop": True})
    for _ in range(3):
        with contextlib.suppress(OSError):
            service.add()

    grant, status, truncated, dropped = service.requests()
    assert grant["fault"] is False
    assert (status["fault"], status["status"], status["reason"]) == (True, 429, "slow down")
    assert (truncated["fault"], truncated["status"]) == (True, 201)
    assert (dropped["fault"], dropped["status"], dropped["responseBody"]) == (True, None, "")


def test_newest_alone(service: Service):
    for name in ("a", "b", "c"):
        service.add({"customerOrderId": name})

    bodies = [call["requestBody"] for call in service.control("GET", "requests", last=2)]
    assert bodies == ['{"customerOrderId": "b"}', '{"customerOrderId": "c"}']
    assert service.control("GET", "requests", last=0) == []
    assert [order["customerOrderId"] for order in service.control("GET", "orders", last=1)] == ["c"]


def test_odd_and_long_calls_are_kept(service: Service):
    service.call("POST", "/orders", data=b"\xff\x00" + b"x" * 100_000, headers={"Content-Type": "application/json"})
    service.call("POST", "/orders", data=b"x" * 3_000_000, headers={"Content-Type": "application/json"})
    service.call("GET", "/orders?customerOrderId=%00%FF&x")

    _, long, huge, odd = service.requests()
    assert long["requestBody"].startswith("\ufffd\ufffdxxx")
    assert long["requestBody"].endswith("... (100002 bytes)")
    assert len(long["requestBody"]) < 66_000
    assert (huge["requestBody"], huge["status"]) == ("(too large to be read)", 413)
    assert (odd["query"], odd["status"]) == ("customerOrderId=%00%FF&x", 400)
