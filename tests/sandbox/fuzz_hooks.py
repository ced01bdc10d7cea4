"""Loaded by schemathesis: what the document says in words, because a schema of requests cannot say it."""

from __future__ import annotations

import itertools
import re
from typing import Any
from urllib.parse import unquote

import schemathesis
from schemathesis.core.failures import AcceptedNegativeData
from schemathesis.openapi.checks import RejectedPositiveData

#: Reasons for refusing what is in order by the schema.
BEYOND_A_SCHEMA = re.compile(
    r"give at least one of cartId, customerOrderId, startDate, endDate"  # no schema spans the parameters
    r"|orderDate: must not be more than 5 years ahead"  # no schema knows the day
    r"|[A-Za-z0-9.\[\]]+: must have at most 15 digits before the point and 20 after it"  # nor decimal places
)
TRACKING = {"tid", "trackingCookieName", "trackingCookieValue"}
NUMBERS = itertools.count(1)


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    if isinstance(failure, RejectedPositiveData):
        reason = response.headers.get("x-reason", [""])[0]
        # A long one is cut, mostly in the middle of its last part.
        parts = reason.split("; ")[: -1 if len(reason) > 490 else None]
        return not parts or not all(BEYOND_A_SCHEMA.fullmatch(part) for part in parts)
    if isinstance(failure, AcceptedNegativeData):
        # A parameter decides whether invalid tracking in the body is an error; unknown parameters are none.
        ignored = str(dict(case.query or {}).get("ignoreInvalidTid")).lower() == "true"
        tracking = ignored and isinstance(case.body, dict) and TRACKING & case.body.keys()
        return not tracking and "in query - violates `additionalProperties`" not in failure.message
    return True


@schemathesis.hook
def filter_body(context: Any, body: Any) -> bool:
    # Sent on in a path, these would be taken for encoded already, or for steps in the path.
    name = customer_order_id(body)
    return name is None or (unquote(name) == name and name not in (".", ".."))


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    # Most adds get an id of their own; the same few examples would be in conflict each time.
    name = customer_order_id(body)
    if context.operation.label == "POST /orders" and name and len(name) < 200 and (number := next(NUMBERS)) % 4:
        return {**body, "customerOrderId": f"{name}-{number}"}
    return body


def customer_order_id(body: Any) -> str | None:
    name = body.get("customerOrderId") if isinstance(body, dict) else None
    return name if isinstance(name, str) else None
