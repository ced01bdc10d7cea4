"""The help for shops' tests: the documented example as it stands, the fixtures, and their Python API."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from django.core.management import call_command

from bronto_orders.models import Order
from bronto_orders.testing import OrderFactory, Sandbox

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs" / "testing.md").read_text("utf-8")
SETTINGS = """
SECRET_KEY = "a shop's"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "bronto_orders"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
BRONTO_ORDERS = {"ACCOUNTS": {"default": {"CLIENT_ID": "id", "CLIENT_SECRET": "secret"}}}
USE_TZ = True
"""


@pytest.fixture(params=["bronto_sandbox", "bronto_sandbox_mounted"])
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    found: Sandbox = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def add(sandbox: Sandbox) -> Iterator[Callable[..., requests.Response]]:
    """Add an order by plain requests, as any client would."""
    with requests.Session() as session:
        session.trust_env = False
        grant = {
            "grant_type": "client_credentials",
            "client_id": sandbox.client_id,
            "client_secret": sandbox.client_secret,
        }
        token = session.post(f"{sandbox.base_url}/oauth2/token", data=grant, timeout=10).json()["access_token"]
        session.headers["Authorization"] = f"Bearer {token}"

        def add(number: str = "a", timeout: float = 10, **fields: Any) -> requests.Response:
            body = {"customerOrderId": number, **fields}
            url = f"{sandbox.base_url}/orders?createContact=true"
            return session.post(url, json=body, timeout=timeout)

        yield add


@pytest.mark.slow
@pytest.mark.parametrize("fixture", ["bronto_sandbox", "bronto_sandbox_mounted"])
@pytest.mark.parametrize("options", [[], ["-n", "2"]], ids=["alone", "xdist"])
def test_documented_example(tmp_path: Path, fixture: str, options: list[str]) -> None:
    files = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", DOCUMENT, re.DOTALL))
    assert set(files) == {"conftest.py", "test_checkout.py"}
    for name, code in {**files, "settings.py": SETTINGS, "pytest.ini": "[pytest]\nfilterwarnings = error\n"}.items():
        (tmp_path / name).write_text(code.replace("bronto_sandbox", fixture), "utf-8")
    command = [sys.executable, "-m", "pytest", "--ds", "settings", "-p", "no:cacheprovider", *options]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "DJANGO_", "BRONTO_"))
    }

    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{files['test_checkout.py'].count('def test_')} passed" in done.stdout


def test_what_it_has_seen(sandbox: Sandbox, add: Callable[..., requests.Response]) -> None:
    answer = add("a", emailAddress="jo@example.com", states={"processed": True})

    assert sandbox.orders == [answer.json()]
    assert [event["kind"] for event in sandbox.events] == ["orderAdded"]
    assert [contact["status"] for contact in sandbox.contacts] == ["transactional"]
    assert [(call["path"], call["status"]) for call in sandbox.requests] == [("/oauth2/token", 200), ("/orders", 201)]


@pytest.mark.parametrize("number", range(3))
def test_each_test_has_its_own(sandbox: Sandbox, add: Callable[..., requests.Response], number: int) -> None:
    assert sandbox.orders == []
    assert add("a").status_code == 201
    sandbox.break_down()
    sandbox.switch(tidCheck="none")


def test_faults_come_in_turn(sandbox: Sandbox, add: Callable[..., requests.Response]) -> None:
    sandbox.fail_next(status=429, retry_after=7)
    sandbox.fail_next(status=503, reason="maintenance")
    slow, down, good = (add() for _ in range(3))

    assert (slow.status_code, slow.headers["Retry-After"]) == (429, "7")
    assert (down.status_code, down.headers["X-Reason"]) == (503, "maintenance")
    assert good.status_code == 201


@pytest.mark.parametrize(
    ("fault", "error", "stored"),
    [
        ({"drop": True}, requests.ConnectionError, 0),
        ({"drop": True, "apply": "after"}, requests.ConnectionError, 1),
        ({"reset": True}, requests.ConnectionError, 0),
        ({"reset": True, "apply": "after"}, requests.ConnectionError, 1),
        ({"truncate": True}, requests.exceptions.ChunkedEncodingError, 1),
        ({"timeout": True}, requests.ReadTimeout, 0),
        ({"timeout": True, "apply": "after"}, requests.ReadTimeout, 1),
        ({"latency": 5}, requests.ReadTimeout, 0),
    ],
)
def test_faults_without_an_answer(
    sandbox: Sandbox, add: Callable[..., requests.Response], fault: dict[str, Any], error: type[Exception], stored: int
) -> None:
    sandbox.fail_next(**fault)

    # A truncated body is a ChunkedEncodingError to some versions of requests and a ConnectionError to others.
    with pytest.raises((error, requests.ConnectionError)):
        add(timeout=0.3)

    assert len(sandbox.orders) == stored
    assert add("b").status_code == 201


def test_late_write_lands(sandbox: Sandbox, add: Callable[..., requests.Response]) -> None:
    sandbox.fail_next(latency=0.5)

    with pytest.raises(requests.ReadTimeout):
        add(timeout=0.1)

    assert sandbox.orders == []
    ends_at = time.monotonic() + 5
    while not sandbox.orders and time.monotonic() < ends_at:
        time.sleep(0.05)
    assert len(sandbox.orders) == 1


def test_fault_for_one_order(sandbox: Sandbox, add: Callable[..., requests.Response]) -> None:
    sandbox.add_fault(customer_order_id="b", method="POST", status=500)

    assert [add(name).status_code for name in ("a", "b", "b", "c")] == [201, 500, 500, 201]
    sandbox.recover()
    assert add("b").status_code == 201


def test_senseless_fault(sandbox: Sandbox) -> None:
    with pytest.raises(ValueError, match="stauts: no such key"):
        sandbox.fail_next(stauts=500)


def test_contacts_returns_and_tokens(sandbox: Sandbox, add: Callable[..., requests.Response]) -> None:
    sandbox.add_contact("jo@example.com", "bounce")
    sandbox.add_return("a")

    assert sandbox.contacts[0]["status"] == "bounce"
    assert add("a").status_code == 409
    sandbox.revoke_tokens()
    assert add("b").status_code == 403
    sandbox.reset()
    assert sandbox.requests == sandbox.contacts == []


def test_mounted_sandbox_opens_no_socket(bronto_sandbox_mounted: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a socket")

    monkeypatch.setattr(socket, "socket", refuse)

    bronto_sandbox_mounted.add_contact("jo@example.com")
    assert len(bronto_sandbox_mounted.contacts) == 1


@pytest.mark.django_db(transaction=True)
def test_app_delivers_to_either(sandbox: Sandbox, settings: Any) -> None:
    settings.BRONTO_ORDERS = {"ACCOUNTS": {"default": {**sandbox.account, "READ_TIMEOUT": 0.5, "TOTAL_TIMEOUT": 0.6}}}
    orders = [OrderFactory(items=2) for _ in range(5)]
    sandbox.fail_next(status=400, reason="no", customer_order_id=orders[1].customer_order_id)

    call_command("bronto_deliver", verbosity=0)

    assert {order["customerOrderId"] for order in sandbox.orders} == {
        order.customer_order_id for order in orders if order is not orders[1]
    }
    assert sorted(Order.objects.values_list("sync_state", flat=True)) == ["rejected", *["synced"] * 4]
