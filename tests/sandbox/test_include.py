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
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "rest_framework"],
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
    BRONTO_ORDERS={"SANDBOX": {"ENABLED": True}},
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

# A call that is held back must not hold a transaction open, whatever ATOMIC_REQUESTS says.
from unittest import mock
from django.db import connection
from bronto_orders.sandbox.faults import FaultBoard
rules = b'[{"latency": 1, "apply": "after", "count": 1}]'
assert control.put(BASE + "/_sandbox/faults", rules, content_type="application/json").status_code == 200
with mock.patch.object(FaultBoard, "sleep", side_effect=lambda seconds: not connection.in_atomic_block):
    assert call("POST", "/orders/customerOrderId/a%2Fb", b"{}").status_code == 200

rules = b'[{"drop": true}]'
assert control.put(BASE + "/_sandbox/faults", rules, content_type="application/json").status_code == 200
assert call("GET", "/orders").status_code == 502
assert control.post(BASE + "/_sandbox/reset").status_code == 204
assert control.get(BASE + "/_sandbox/orders").json() == []
print("done")
"""

KEPT = """
import os
from django.test import Client
settings.BRONTO_ORDERS = {"SANDBOX": {"ENABLED": True, "DATABASE": database}}
call = Client()
call.post("/shop/bronto/_sandbox/returns", b'{"customerOrderId": "a"}', content_type="application/json")
from bronto_orders.sandbox import service
service._shared.cache_clear()
assert [entry["customerOrderId"] for entry in call.get("/shop/bronto/_sandbox/returns").json()] == ["a"]
assert os.path.exists(database)
settings.BRONTO_ORDERS = {"SANDBOX": {"ENABLED": True}}
assert call.get("/shop/bronto/_sandbox/returns").json() == []
print("done")
"""

OFF = """
from django.test import Client
for options in ({}, {"ENABLED": False}):
    settings.BRONTO_ORDERS = {"SANDBOX": options}
    for path in ("_sandbox/orders", "_sandbox/", "orders", "oauth2/token"):
        answer = Client().get("/shop/bronto/" + path)
        assert answer.status_code == 404 and "ENABLED" in answer["X-Reason"], path
print("done")
"""


@pytest.mark.parametrize("script", [INCLUDED, KEPT, OFF], ids=["included", "kept", "off"])
def test_in_another_project(script, tmp_path):
    command = [sys.executable, "-W", "error", "-c", SETTINGS + script, str(tmp_path / "host.sqlite3")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert (result.returncode, result.stdout, result.stderr) == (0, "done\n", "")
