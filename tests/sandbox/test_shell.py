"""The pages' own command lines, typed into a shell: only hosts, credentials and ids are put in."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.sandbox.samples import COOKIE_NAME, COOKIE_VALUE, coffee_mug_order
from tests.sandbox.service import Service
from tests.services import need

TOKEN = (
    'curl -X POST -d "grant_type=client_credentials&client_id=YOUR_ID&client_secret=YOUR_SECRET"'
    " https://auth.bronto.com/oauth2/token"
)
ADD = (
    'curl -i -X POST -H "Content-type: application/json" -H "Authorization: Bearer YOUR_ACCESS_TOKEN"'
    ' -H "Cache-Control: no-cache" "https://rest.bronto.com/orders?createContact=true"'
    """ -d'{"customerOrderId":"ABC-2018-10-11-A"}'"""
)
UPDATE = (
    'curl -i -X POST -H "Content-type: application/json" -H "Authorization: Bearer YOUR_ACCESS_TOKEN"'
    ' -H "Cache-Control: no-cache" "https://rest.bronto.com/orders/YOUR_ORDER_ID?createContact=true"'
    """ -d'{"lineItems":[{"quantity":1,"totalPrice":1.23},{"quantity":13,"totalPrice":15.99}]}'"""
)
JAVA_TOKEN = (
    "curl -i -H 'Content-Type: application/x-www-form-urlencoded' -H 'Accept: application/json,text/plain'"
    " -d grant_type=client_credentials -d client_id=YOUR_ID -d client_secret=YOUR_SECRET"
    " https://auth.bronto.com/oauth2/token"
)
JAVA_CALL = (
    "curl -i -H 'Content-Type: application/json' -H 'Accept: application/json'"
    " -H 'Authorization: Bearer YOUR_ACCESS_TOKEN' -d YOUR_BODY"
    " 'http://rest.bronto.com/orders{}?createContact=true&ignoreInvalidTracking=true'"
)
EXAMPLE_ORDER_ID = "0ad24370-96de-4922-9a53-954530fcbb64"


@dataclass
class Answer:
    """What ``curl -i`` wrote."""

    status: int
    headers: Message
    text: str

    @classmethod
    def read(cls, output: str) -> Answer:
        head, _, text = output.partition("\r\n\r\n")
        first, _, rest = head.partition("\r\n")
        version, status, *_ = first.split()
        assert version == "HTTP/1.1"
        return cls(int(status), Parser().parsestr(rest, headersonly=True), text)

    def json(self) -> Any:
        return json.loads(self.text)


Shell = Callable[..., str]


@pytest.fixture
def shell(service: Service, tmp_path: Path) -> Shell:
    """Run a line with its placeholders filled in, and return what it wrote on standard output."""
    need("curl", "requests")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "NO_PROXY": "*"}

    def run(line: str, **values: str) -> str:
        for host in ("https://auth.bronto.com", "https://rest.bronto.com", "http://rest.bronto.com"):
            line = line.replace(host, service.base_url)
        for name, value in {"YOUR_ID": "sandbox", "YOUR_SECRET": "sandbox-secret", **values}.items():
            line = line.replace(name, value)
        done = subprocess.run(["/bin/sh", "-c", line], env=environment, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    return run


@pytest.fixture
def token(shell: Shell) -> str:
    access_token = json.loads(shell(TOKEN))["access_token"]
    assert str(UUID(access_token)) == access_token
    return access_token


def test_token_line(shell: Shell):
    tokens = json.loads(shell(TOKEN))

    assert UUID(tokens["access_token"]) != UUID(tokens["refresh_token"])
    assert tokens["expires_in"] == 3600


def test_token_line_with_a_wrong_secret(shell: Shell):
    answer = Answer.read(shell(TOKEN.replace("curl", "curl -i"), YOUR_SECRET="wrong"))

    assert answer.status == 401
    assert answer.headers["X-Reason"]


def test_add_line_and_its_repeat(service: Service, shell: Shell, token: str):
    added = Answer.read(shell(ADD, YOUR_ACCESS_TOKEN=token))
    assert added.status == 201
    assert added.headers["Content-Type"] == "application/json"
    assert added.json()["customerOrderId"] == "ABC-2018-10-11-A"
    assert service.orders() == [added.json()]

    repeated = Answer.read(shell(ADD, YOUR_ACCESS_TOKEN=token))
    assert repeated.status == 409
    assert repeated.headers["X-Reason"] == "an order with customerOrderId ABC-2018-10-11-A already exists"
    assert service.orders() == [added.json()]


def test_update_line(service: Service, shell: Shell, token: str):
    order = Answer.read(shell(ADD, YOUR_ACCESS_TOKEN=token)).json()

    answer = Answer.read(shell(UPDATE, YOUR_ACCESS_TOKEN=token, YOUR_ORDER_ID=order["orderId"]))

    assert answer.status == 200
    lines = [(line["position"], line["quantity"], line["totalPrice"]) for line in answer.json()["lineItems"]]
    assert lines == [(0, 1, 1.23), (1, 13, 15.99)]
    assert answer.json()["customerOrderId"] == order["customerOrderId"]
    assert service.orders() == [answer.json()]


def test_lines_as_they_are_printed(shell: Shell):
    for line in (ADD, UPDATE):
        answer = Answer.read(shell(line))
        assert answer.status == 403
        assert answer.headers["X-Reason"] == "the access token is unknown"


def test_lines_in_one_script(service: Service, shell: Shell):
    script = f"""
        set -e
        token=$({TOKEN} | sed 's/.*"access_token": *"\\([^"]*\\)".*/\\1/')
        {ADD.replace("YOUR_ACCESS_TOKEN", "$token")} >/dev/null
        {ADD.replace("YOUR_ACCESS_TOKEN", "$token")} | grep -i '^x-reason:'
    """

    assert shell(script) == "X-Reason: an order with customerOrderId ABC-2018-10-11-A already exists\r\n"
    assert len(service.orders()) == 1


def test_tutorial_from_token_to_update(service: Service, shell: Shell):
    form = "-d grant_type={} -d client_id=YOUR_ID -d client_secret=YOUR_SECRET"
    endpoint = "https://auth.bronto.com/oauth2/token"
    first = json.loads(shell(f"curl {form.format('client_credentials')} {endpoint}"))
    refresh = f"curl {form.format('refresh_token')} -d refresh_token={first['refresh_token']} {endpoint}"
    second = json.loads(shell(refresh))
    assert second["access_token"] != first["access_token"]
    call = (
        "curl -i -H 'Authorization: Bearer YOUR_ACCESS_TOKEN' -H 'Content-Type: application/json'"
        " https://rest.bronto.com/orders"
    )

    body = shlex.quote(json.dumps(coffee_mug_order()))
    added = Answer.read(shell(f"{call}?createContact=true -d {body}", YOUR_ACCESS_TOKEN=second["access_token"]))
    assert added.status == 201
    path = f"{call}/{added.json()['orderId']}"
    viewed = Answer.read(shell(path, YOUR_ACCESS_TOKEN=first["access_token"]))
    assert (viewed.status, viewed.text) == (200, added.text)
    updated = Answer.read(
        shell(f"""{path} -d '{{"shippingDetails": "Late"}}'""", YOUR_ACCESS_TOKEN=second["access_token"])
    )
    assert updated.status == 200
    changed = {"shippingDetails": "Late", "updatedDate": updated.json()["updatedDate"]}
    assert updated.json() == {**added.json(), **changed}
    assert [contact["status"] for contact in service.control("GET", "contacts")] == ["transactional"]


def test_java_example_of_the_add_page(service: Service, shell: Shell):
    granted = Answer.read(shell(JAVA_TOKEN))
    assert granted.status == 200
    values = {
        "YOUR_ACCESS_TOKEN": str(UUID(granted.json()["access_token"])),
        "YOUR_BODY": shlex.quote(json.dumps(coffee_mug_order())),
    }

    added = Answer.read(shell(JAVA_CALL.format(""), **values))
    assert added.status == 201
    order = added.json()
    assert order["customerOrderId"] == "abc-123"
    assert (order["status"], order["grandTotal"], order["taxAmount"]) == ("PROCESSED", 4.27, 0.28)
    assert (order["trackingCookieName"], order["trackingCookieValue"]) == (COOKIE_NAME, COOKIE_VALUE)
    assert order["hasTracking"] is True
    assert order["orderDate"] == "2015-01-01T00:00:00.000Z"
    assert service.orders() == [order]

    repeated = Answer.read(shell(JAVA_CALL.format(""), **values))
    assert repeated.status == 409
    assert repeated.headers["X-Reason"] == "an order with customerOrderId abc-123 already exists"


def test_java_example_of_the_update_page(service: Service, shell: Shell, token: str):
    body = {
        name: value
        for name, value in coffee_mug_order().items()
        if name not in ("customerOrderId", "cartId", "orderDate")
    }
    values = {"YOUR_ACCESS_TOKEN": token, "YOUR_BODY": shlex.quote(json.dumps(body))}
    order = Answer.read(shell(ADD, YOUR_ACCESS_TOKEN=token)).json()

    unknown = Answer.read(shell(JAVA_CALL.format(f"/{EXAMPLE_ORDER_ID}"), **values))
    assert unknown.status == 404
    assert EXAMPLE_ORDER_ID in unknown.headers["X-Reason"]

    answer = Answer.read(shell(JAVA_CALL.format(f"/{order['orderId']}"), **values))
    assert answer.status == 200
    updated = answer.json()
    assert {name: updated[name] for name in ("orderId", "customerOrderId", "cartId", "orderDate", "createdDate")} == {
        name: order[name] for name in ("orderId", "customerOrderId", "cartId", "orderDate", "createdDate")
    }
    assert (updated["status"], updated["emailAddress"], updated["grandTotal"]) == (
        "PROCESSED",
        "example@email.com",
        4.27,
    )
    assert [line["name"] for line in updated["lineItems"]] == ["Coffee Mug"]
    assert service.orders() == [updated]


def test_java_example_counts_on_a_parameter_that_is_not_known(service: Service, shell: Shell, token: str):
    body = shlex.quote(json.dumps(coffee_mug_order(trackingCookieValue="3.Ag")))

    misnamed = Answer.read(shell(JAVA_CALL.format(""), YOUR_ACCESS_TOKEN=token, YOUR_BODY=body))
    assert misnamed.status == 400
    assert "trackingCookieValue" in misnamed.headers["X-Reason"]

    line = JAVA_CALL.format("").replace("ignoreInvalidTracking", "ignoreInvalidTid")
    named = Answer.read(shell(line, YOUR_ACCESS_TOKEN=token, YOUR_BODY=body))
    assert named.status == 201
    assert named.json()["hasTracking"] is False
