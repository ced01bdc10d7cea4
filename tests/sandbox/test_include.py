"""The sandbox inside other projects: each runs in a process of its own, with settings of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.sandbox.service import ROOT

pytestmark = pytest.mark.slow

SETTINGS = """
import django, sys
from django.conf import settings
database = sys.argv[1]
settings.configure(
    SECRET_KEY="x",
    ALLOWED_HOSTS=["*"],
    DATA_UPLOAD_MAX_MEMORY_SIZE=100_000,
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "rest_framework", "bronto_orders.sandbox"],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
    ],
    DATABASES={"default": {
        "ENGINE": "django.db.backends.sqlite3", "NAME": database, "ATOMIC_REQUESTS": True,
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
    }},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    USE_TZ=True, TIME_ZONE="Europe/Berlin", LANGUAGE_CODE="de", APPEND_SLASH=True,
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.BasicAuthentication"],
        "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAdminUser"],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.StaticHTMLRenderer"],
        "EXCEPTION_HANDLER": "nowhere.handler",
        "DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.AnonRateThrottle"],
    },
)
django.setup()
from django.urls import include, path
urlpatterns = [path("shop/bronto/", include("bronto_orders.sandbox.urls"))]
from django.core.management import call_command
call_command("migrate", verbosity=0)
"""

INCLUDED = """
from django.test import Client
shop = Client(enforce_csrf_checks=True)
BASE = "/shop/bronto"
FORM = "application/x-www-form-urlencoded"
form = "grant_type=client_credentials&client_id=sandbox&client_secret=sandbox-secret"
answer = shop.post(BASE + "/oauth2/token", form, content_type=FORM)
assert answer.status_code == 200, answer.content
headers = {"Authorization": "Bearer " + answer.json()["access_token"]}

def call(method, path, body=None, **extra):
    return shop.generic(method, BASE + path, body or b"", content_type="application/json", headers=headers, **extra)

assert call("POST", "/orders", b'{"customerOrderId": "a/b"}').status_code == 201
assert call("POST", "/orders", b'{"customerOrderId": "a"}').status_code == 201
# Django's test client passes no raw path, so the decoded one has to do.
assert call("GET", "/orders/customerOrderId/a%2Fb").json()["customerOrderId"] == "a/b"
order_id = call("GET", "/orders/customerOrderId/a").json()["orderId"]
assert call("POST", "/orders/" + order_id, b'{"currency": "EUR"}').json()["currency"] == "EUR"
raw = {"RAW_URI": BASE + "/orders/customerOrderId/a%2Fb?x=1"}
assert call("GET", "/orders/customerOrderId/a%2Fb", **raw).json()["customerOrderId"] == "a/b"
raw = {"REQUEST_URI": BASE + "/orders/customerOrderId/a/b"}
assert call("GET", "/orders/customerOrderId/a/b", **raw).status_code == 404
assert call("POST", "/orders/", b'{"customerOrderId": "b"}').status_code == 404
answer = call("POST", "/orders", b'{"customerOrderId": "a"}')
assert answer.status_code == 409 and answer["X-Reason"]
answer = call("POST", "/orders", b'{"customerOrderId": "\\xc3\\xbc", "lineItems": 5, "grandTotal": "x"}')
assert answer.status_code == 400 and answer["X-Reason"].isascii(), answer["X-Reason"]
assert shop.get(BASE + "/orders?customerOrderId=a").status_code == 403
assert call("GET", "/orders?customerOrderId=zz").status_code == 204
assert call("DELETE", "/orders/customerOrderId/a").status_code == 204

control = Client()
calls = control.get(BASE + "/_sandbox/requests").json()
assert [entry["status"] for entry in calls[-5:]] == [409, 400, 403, 204, 204], calls
assert [order["customerOrderId"] for order in control.get(BASE + "/_sandbox/orders").json()] == ["a/b"]
for address in ("192.0.2.7", "2001:db8::1", "::ffff:192.0.2.7", "", "unix:"):
    answer = control.post(BASE + "/_sandbox/reset", REMOTE_ADDR=address)
    assert answer.status_code == 403 and answer["X-Reason"], address
for address in ("127.0.0.9", "::1", "::ffff:127.0.0.1"):
    assert control.get(BASE + "/_sandbox/orders", REMOTE_ADDR=address).status_code == 200, address
answer = call("POST", "/orders", b" " * 200_000)
assert answer.status_code == 413 and answer["X-Reason"]

from datetime import datetime
from bronto_orders.sandbox.orders import years_after
assert years_after(datetime(2026, 11, 21), 5) == datetime(2031, 11, 21)
assert years_after(datetime(2024, 2, 29, 7), 5) == datetime(2029, 3, 1, 7)

import logging
from unittest import mock
logging.disable(logging.CRITICAL)
with mock.patch("bronto_orders.sandbox.views.get_order", side_effect=ValueError):
    answer = call("GET", "/orders/customerOrderId/a%2Fb")
assert answer.status_code == 500 and answer["X-Reason"] == answer.json()["reason"]
logging.disable(logging.NOTSET)

# A call that is held back must not hold a transaction open, whatever ATOMIC_REQUESTS says.
from django.db import connection
from bronto_orders.sandbox.faults import FAULTS
rules = b'[{"latency": 1, "apply": "after", "count": 1}]'
assert control.put(BASE + "/_sandbox/faults", rules, content_type="application/json").status_code == 200
with mock.patch.object(FAULTS, "sleep", side_effect=lambda seconds: not connection.in_atomic_block):
    assert call("POST", "/orders/customerOrderId/a%2Fb", b"{}").status_code == 200

rules = b'[{"drop": true}]'
assert control.put(BASE + "/_sandbox/faults", rules, content_type="application/json").status_code == 200
assert call("GET", "/orders").status_code == 502
assert control.post(BASE + "/_sandbox/reset").status_code == 204
assert control.get(BASE + "/_sandbox/orders").json() == []
print("done")
"""

THREADED = """
import json, urllib.request, urllib.error
from bronto_orders.sandbox.server import SandboxServer

def read(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)

import http.client, logging, threading, time
from unittest import mock
before = threading.active_count()
for _ in range(2):
    with SandboxServer() as server:
        assert read(server.base_url + "/_sandbox/orders") == []
        logging.disable(logging.CRITICAL)
        with mock.patch("bronto_orders.sandbox.journal.record", side_effect=ValueError):
            try:
                read(server.base_url + "/orders")
            except urllib.error.HTTPError as error:
                assert error.code == 500 and error.headers["X-Reason"] == json.load(error)["reason"]
        logging.disable(logging.NOTSET)
        idle = http.client.HTTPConnection(*server.server_address)
        idle.request("GET", "/_sandbox/orders")
        idle.getresponse().read()
    assert idle.sock is None or idle.sock.recv(1) == b""
    idle.close()
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before
    try:
        read(server.base_url + "/_sandbox/orders")
    except urllib.error.URLError:
        pass
    else:
        raise AssertionError("still answering")
print("done")
"""

PRUNED = """
from unittest import mock
from django.test import Client
from bronto_orders.sandbox import journal

browser = Client()
with mock.patch.multiple(journal, CALLS_KEPT=10, PRUNE_EVERY=5):
    for number in range(63):
        browser.get(f"/shop/bronto/orders?n={number}")
        assert len(browser.get("/shop/bronto/_sandbox/requests").json()) <= 14
queries = [call["query"] for call in browser.get("/shop/bronto/_sandbox/requests").json()]
assert queries[-10:] == [f"n={number}" for number in range(53, 63)], queries
print("done")
"""


@pytest.mark.parametrize("script", [INCLUDED, THREADED, PRUNED], ids=["included", "threaded", "pruned"])
def test_in_another_project(script, tmp_path):
    command = [sys.executable, "-W", "error", "-c", SETTINGS + script, str(tmp_path / "host.sqlite3")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert (result.returncode, result.stdout, result.stderr) == (0, "done\n", "")
