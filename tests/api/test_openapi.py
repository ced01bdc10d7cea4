"""The schema that drf-spectacular makes, and life without drf-spectacular."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bronto_orders import payloads
from bronto_orders.api.documents import LineItemDocument, OrderDocument

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> str:
    # The test's own database is this process's alone.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BRONTO_TEST_")}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """Made and validated; any warning is an error."""
    text = run(
        "-m", "django", "spectacular", "--settings=tests.api.spectacular_settings", "--urlconf=bronto_orders.api.urls",
        "--format=openapi-json", "--validate", "--fail-on-warn",
    )  # fmt: skip
    found: dict[str, Any] = json.loads(text)
    return found


def test_every_call_is_described(schema: dict[str, Any]) -> None:
    calls = {(path, method) for path, methods in schema["paths"].items() for method in methods}
    order = "/orders/{account}/{customer_order_id}/"
    assert calls == {
        ("/accounts/", "get"), ("/orders/", "get"),
        (order, "get"), (order, "put"), (order, "patch"), (f"{order}diff/", "get"), (f"{order}resync/", "post"),
        ("/order/", "get"), ("/order/", "put"), ("/order/", "patch"), ("/order/diff/", "get"),
        ("/order/resync/", "post"), ("/tracking/", "post"), ("/tracking/", "delete"),
    }  # fmt: skip


def test_documents_have_the_fields_of_the_table(schema: dict[str, Any]) -> None:
    components = schema["components"]["schemas"]
    order, item = components["OrderDocument"]["properties"], components["LineItemDocument"]["properties"]
    assert set(order) == {rule.name for rule in payloads.FIELDS} | {"states", "status", "lineItems"}
    assert set(item) == {rule.name for rule in payloads.ITEM_FIELDS}
    assert order["customerOrderId"]["maxLength"] == 255
    assert (order["grandTotal"]["type"], order["orderDate"]["format"]) == ("number", "date-time")


def test_parameters_and_answers_are_described(schema: dict[str, Any]) -> None:
    def parameters(path: str, method: str = "get") -> dict[str, bool]:
        described = schema["paths"][path][method]["parameters"]
        return {each["name"]: each.get("required", False) for each in described if each["in"] == "query"}

    assert parameters("/orders/").keys() == {
        "state", "reason", "account", "customer_order_id", "bronto_order_id", "has_tracking", "synced_after",
        "synced_before", "order_date_after", "order_date_before", "bronto_updated_after", "bronto_updated_before",
        "cursor", "page_size",
    }  # fmt: skip
    assert parameters("/order/", "put") == {"account": True, "customer_order_id": True}
    assert parameters("/order/diff/") == {"account": True, "customer_order_id": True, "all": False}
    put = schema["paths"]["/orders/{account}/{customer_order_id}/"]["put"]
    assert set(put["responses"]) == {"200", "201", "400", "401", "403", "404", "409", "412", "429"}
    page = schema["paths"]["/orders/"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert "results" in schema["components"]["schemas"][page["$ref"].rpartition("/")[2]]["properties"]


def test_works_without_drf_spectacular() -> None:
    run(
        "-c",
        "import sys; sys.modules['drf_spectacular'] = sys.modules['drf_spectacular.utils'] = None\n"
        "import os, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'tests.settings'; django.setup()\n"
        "from bronto_orders.api import openapi, urls\n"
        "assert openapi.extend_schema is None and len(urls.urlpatterns) == 9",
    )


def test_the_table_is_the_only_list_of_fields() -> None:
    assert [*OrderDocument().fields] == [*(rule.name for rule in payloads.FIELDS), "states", "status", "lineItems"]
    assert [*LineItemDocument().fields] == [rule.name for rule in payloads.ITEM_FIELDS]
