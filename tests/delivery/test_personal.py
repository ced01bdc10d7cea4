from __future__ import annotations

from typing import Any

import pytest

from bronto_orders import payloads
from bronto_orders.client import redaction
from bronto_orders.delivery import personal
from bronto_orders.diffing import compare


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("email_address", "jane@example.com", "j…@example.com"),
        ("emailAddress", "j@example.com", "j…@example.com"),
        ("emailAddress", "@example.com", "…@example.com"),
        ("email_address", "no address", personal.MASK),
        ("email_address", "", ""),
        ("origin_ip", "203.0.113.7", "203.0.113.…"),
        ("originIp", "2001:db8:1:2::3", "2001:db8:…"),
        ("originIp", "::1", "::…"),
        ("originIp", "odd", personal.MASK),
        ("origin_ip", None, None),
        ("tid", "3.Ag", personal.MASK),
        ("trackingCookieValue", "3.Ag", personal.MASK),
        ("currency", "USD", "USD"),
    ],
)
def test_values_are_masked(name: str, value: Any, expected: Any) -> None:
    assert personal.is_masked(expected) is (expected != value)
    assert personal.masked(name, value) == expected


def test_what_is_personal_is_what_no_record_keeps() -> None:
    wire = {field.name: field.attribute for field in payloads.FIELDS}
    assert set(personal.COLUMNS) == {wire[name] for name in redaction.PERSONAL}


def test_documents_are_masked() -> None:
    document = {"emailAddress": "jane@example.com", "grandTotal": 1, "lineItems": [{"sku": "1"}]}
    assert personal.masked_document(document) == {**document, "emailAddress": "j…@example.com"}


def test_what_nobody_knows_the_meaning_of_is_hidden() -> None:
    remote = {"grandTotal": 1, "nickname": "Jane", "lineItems": [{"sku": "1", "gift": "for Jane"}]}
    changes = {change.path: change for change in compare({}, {}, remote)}
    shown = {path: personal.masked_side(change, change.remote) for path, change in changes.items()}
    assert shown["grandTotal"] == 1
    assert shown["nickname"] == shown["lineItems[sku=1].gift"] == personal.MASK
    assert shown["lineItems[sku=1].sku"] == "1"
