"""Faults injected into token and order calls. Bronto documents none of them; all of this is our choice."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal
from wsgiref.util import is_hop_by_hop

from bronto_orders.sandbox.refusals import Malformed

LONGEST_LATENCY = 600
MATCH_KEYS = {"path", "method", "customerOrderId"}
RULE_KEYS = {"match", "count", "latency", "status", "reason", "headers", "apply", "drop", "truncate"}
_HEADER_NAME = re.compile(r"[A-Za-z0-9-]+")
_HEADER_VALUE = re.compile(r"[ -~]*")


@dataclass(frozen=True)
class Match:
    """Which calls a rule strikes; what is not given matches all."""

    path: str = ""
    method: str = ""
    customer_order_id: str | None = None

    def covers(self, method: str, path: str, customer_order_id: str | None) -> bool:
        """Whether a call is meant. A path that begins with ^ is a regular expression, else a prefix."""
        if self.method and self.method != method:
            return False
        if self.customer_order_id is not None and self.customer_order_id != customer_order_id:
            return False
        return re.search(self.path, path) is not None if self.path.startswith("^") else path.startswith(self.path)


@dataclass(frozen=True)
class Rule:
    """One fault: whom it strikes, how often, and what it does."""

    match: Match = field(default_factory=Match)
    count: int | None = None
    latency: float = 0
    status: int | None = None
    reason: str = "injected fault"
    headers: dict[str, str] = field(default_factory=dict)
    apply: Literal["before", "after"] = "before"
    drop: bool = False
    truncate: bool = False

    @property
    def replaces_answer(self) -> bool:
        """Whether the client gets something else than the true answer."""
        return self.drop or self.status is not None

    def describe(self, hits: int) -> dict[str, Any]:
        """The rule as the control API shows it."""
        return {
            "match": {
                "path": self.match.path,
                "method": self.match.method,
                "customerOrderId": self.match.customer_order_id,
            },
            "count": self.count,
            "latency": self.latency,
            "status": self.status,
            "reason": self.reason,
            "headers": self.headers,
            "apply": self.apply,
            "drop": self.drop,
            "truncate": self.truncate,
            "hits": hits,
            "remaining": None if self.count is None else self.count - hits,
        }


class FaultBoard:
    """The rules of this process. One call is struck by one rule at most, the first that covers it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[tuple[Rule, list[int]]] = []
        self._woken = threading.Event()

    def sleep(self, seconds: float) -> bool:
        """Hold a call back; False when it was woken, and is to be given up, because the sandbox starts afresh."""
        return not self._woken.wait(seconds) if seconds else True

    def wake(self) -> None:
        """Give up the calls that are being held back, lest they take effect after a reset."""
        woken, self._woken = self._woken, threading.Event()
        woken.set()

    def replace(self, rules: Iterable[Rule]) -> None:
        """Put these rules in the place of the active ones."""
        with self._lock:
            self._rules = [(rule, [0]) for rule in rules]

    @property
    def ask_customer_order_id(self) -> bool:
        """Whether any rule needs to know which order a call is about."""
        return any(rule.match.customer_order_id is not None for rule, _ in self._rules)

    def claim(self, method: str, path: str, customer_order_id: str | None) -> Rule | None:
        """Return the rule that strikes this call and count the hit, in one step."""
        with self._lock:
            for rule, hits in self._rules:
                spent = rule.count is not None and hits[0] >= rule.count
                if not spent and rule.match.covers(method, path, customer_order_id):
                    hits[0] += 1
                    return rule
        return None

    def describe(self) -> list[dict[str, Any]]:
        """All rules, spent ones included, with their hits so far."""
        with self._lock:
            return [rule.describe(hits[0]) for rule, hits in self._rules]


FAULTS = FaultBoard()


def read_rules(value: Any) -> list[Rule]:
    """Read the rules a control call brings."""
    if not isinstance(value, list):
        raise Malformed("faults: a list of rules is required")
    return [_read_rule(item, f"faults[{index}]") for index, item in enumerate(value)]


def _read_rule(item: Any, name: str) -> Rule:
    values = _known(item, RULE_KEYS, name)
    status = _whole(values.get("status"), f"{name}.status", 400, 599)
    truncate = _flag(values, "truncate", name)
    rule = Rule(
        match=_read_match(values.get("match", {}), f"{name}.match"),
        count=_whole(values.get("count"), f"{name}.count", 0, 10**9),
        latency=_seconds(values.get("latency", Decimal(0)), f"{name}.latency"),
        status=status,
        reason=_text(values.get("reason", Rule.reason), f"{name}.reason"),
        headers=_read_headers(values.get("headers", {}), f"{name}.headers"),
        apply=values.get("apply", "after" if truncate and status is None else "before"),
        drop=_flag(values, "drop", name),
        truncate=truncate,
    )
    _check_sense(rule, values, name)
    return rule


def _check_sense(rule: Rule, values: dict[str, Any], name: str) -> None:
    if rule.apply not in ("before", "after"):
        raise Malformed(f"{name}.apply: must be before or after")
    if not (rule.latency or rule.replaces_answer or rule.truncate):
        raise Malformed(f"{name}: give latency, status, drop or truncate")
    if rule.drop and (rule.status is not None or rule.truncate):
        raise Malformed(f"{name}: drop leaves no answer to give or to truncate")
    if rule.status is None and ("reason" in values or "headers" in values):
        raise Malformed(f"{name}: reason and headers need a status")
    if rule.truncate and rule.status is None and rule.apply == "before":
        raise Malformed(f"{name}: an answer is there to truncate only after the call took effect")


def _read_match(item: Any, name: str) -> Match:
    values = _known(item, MATCH_KEYS, name)
    path = _text(values.get("path") or "", f"{name}.path")
    customer_order_id = values.get("customerOrderId")
    try:
        re.compile(path if path.startswith("^") else "")
    except re.error as error:
        raise Malformed(f"{name}.path: {error}") from None
    return Match(
        path=path,
        method=_text(values.get("method") or "", f"{name}.method").upper(),
        customer_order_id=None if customer_order_id is None else _text(customer_order_id, f"{name}.customerOrderId"),
    )


def _read_headers(item: Any, name: str) -> dict[str, str]:
    if not isinstance(item, dict):
        raise Malformed(f"{name}: must be an object")
    headers = {key: str(value) for key, value in item.items() if isinstance(value, (str, Decimal))}
    for key in item:
        if not _HEADER_NAME.fullmatch(key) or is_hop_by_hop(key) or key.lower() == "content-length":
            raise Malformed(f"{name}: {key} cannot be set")
        if key not in headers or not _HEADER_VALUE.fullmatch(headers[key]):
            raise Malformed(f"{name}.{key}: must be one line of ASCII")
    return headers


def _known(item: Any, keys: set[str], name: str) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise Malformed(f"{name}: must be an object")
    for key in item:
        if key not in keys:
            raise Malformed(f"{name}.{key}: no such key")
    return item


def _flag(values: dict[str, Any], key: str, name: str) -> bool:
    value = values.get(key, False)
    if not isinstance(value, bool):
        raise Malformed(f"{name}.{key}: must be true or false")
    return value


def _whole(value: Any, name: str, least: int, most: int) -> int | None:
    if value is None:
        return None
    if not isinstance(value, Decimal) or not least <= value <= most or value != int(value):
        raise Malformed(f"{name}: must be a whole number from {least} to {most}")
    return int(value)


def _seconds(value: Any, name: str) -> float:
    if not isinstance(value, Decimal) or not 0 <= value <= LONGEST_LATENCY:
        raise Malformed(f"{name}: must be a number of seconds from 0 to {LONGEST_LATENCY}")
    return float(value)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise Malformed(f"{name}: must be a string")
    return value
