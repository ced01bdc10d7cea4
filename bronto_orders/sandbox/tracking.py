"""When a tid or a tracking cookie counts as valid. The service's own test is not documented."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bronto_orders.sandbox.refusals import Malformed
from bronto_orders.sandbox.switches import SwitchBoard

#: Version 3, then fourteen parts that may be empty, in URL-safe base64 letters (S2, C:bta).
TID = re.compile(r"3(?:\.[A-Za-z0-9_-]*){14}")
#: The suffix is letters, a site id, a hash or base64, by the age of the script; only the prefix is sure.
COOKIE_NAME = re.compile(r"tid_[!#-+\--:<>-~]{1,251}")
TID_LIMIT = 1000


@dataclass(frozen=True)
class Tracking:
    """Tracking that was taken; the tid itself is never kept (H:obj)."""

    cookie_name: str | None = None
    cookie_value: str | None = None


Check = Callable[[dict[str, Any], str], Tracking | None]


def read_tracking(body: dict[str, Any], switches: SwitchBoard, *, ignore_invalid: bool) -> Tracking | None:
    """Return the tracking a body gives, None if it gives none; invalid tracking is refused or dropped."""
    found: Tracking | None = None
    for check in _checks(body, switches["trackingPrecedence"]):
        try:
            found = check(body, switches["tidCheck"]) or found
        except Malformed:
            if not ignore_invalid and switches["invalidTracking"] == "refuse":
                raise
    return found


def is_valid_tid(value: object, check: str) -> bool:
    """Whether a value passes for a tid: by its shape, as any text, or not at all."""
    if check == "none" or not isinstance(value, str) or len(value) > TID_LIMIT:
        return False
    return (
        bool(value) and value.isascii() and value.isprintable() if check == "any" else TID.fullmatch(value) is not None
    )


def _checks(body: dict[str, Any], precedence: str) -> tuple[Check, ...]:
    if precedence == "tid" and body.get("tid") is not None:
        return (_check_tid,)
    if precedence == "cookie" and body.get("trackingCookieValue") is not None:
        return (_check_pair,)
    return (_check_tid, _check_pair)


def _check_tid(body: dict[str, Any], check: str) -> Tracking | None:
    if body.get("tid") is None:
        return None
    if not is_valid_tid(body["tid"], check):
        raise Malformed("tid: not a valid tracking id")
    return Tracking()


def _check_pair(body: dict[str, Any], check: str) -> Tracking | None:
    if "trackingCookieName" not in body and "trackingCookieValue" not in body:
        return None
    # A null is refused too: clients were told to leave the two out instead (C:om).
    name, value = body.get("trackingCookieName"), body.get("trackingCookieValue")
    if name is None or value is None:
        raise Malformed("trackingCookieName and trackingCookieValue: give both or leave both out")
    if not isinstance(name, str) or not COOKIE_NAME.fullmatch(name):
        raise Malformed("trackingCookieName: must be the name of a tid_ cookie")
    if not is_valid_tid(value, check):
        raise Malformed("trackingCookieValue: not a valid tracking id")
    return Tracking(name, value)
