"""Faults injected into token and order calls. Bronto documents none of them; all of this is our choice."""

from __future__ import annotations

import functools
import math
import random
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any, Final, Literal
from wsgiref.util import is_hop_by_hop

from bronto_orders.sandbox.cut import Cut
from bronto_orders.sandbox.refusals import Malformed

LONGEST_SECONDS: Final = 600
#: For how long a call is held that is never answered: longer than any client waits.
SILENCE_SECONDS: Final = 120
_HEADER_NAME = re.compile(r"[A-Za-z0-9-]+")
_HEADER_VALUE = re.compile(r"[ -~]*")
_UNFIT = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Match:
    """Which calls a fault may strike; what is not given matches all."""

    #: A prefix of the decoded path; ``*`` stands for any characters and ``$`` for the end of the path.
    path: str = ""
    method: str = ""
    #: The shop's id of the order that the call is about, whichever id its path has.
    customer_order_id: str | None = None

    def covers(self, method: str, path: str, find_customer_order_id: Callable[[], str | None]) -> bool:
        """Whether a call is meant; looks for its order only where that matters."""
        if self.method and self.method != method:
            return False
        return _covers_path(self.path, path) and (
            self.customer_order_id is None or self.customer_order_id == find_customer_order_id()
        )


def _covers_path(pattern: str, path: str) -> bool:
    # Not by a regular expression: some take ages, and hold up the whole process meanwhile.
    ends_there = pattern.endswith("$")
    first, *others = pattern.removesuffix("$").split("*")
    if not others:
        return path == first if ends_there else path.startswith(first)
    last, place = others.pop(), len(first)
    if not path.startswith(first):
        return False
    for piece in others:
        found = path.find(piece, place)
        if found < 0:
            return False
        place = found + len(piece)
    return path[place:].endswith(last) if ends_there else last in path[place:]


@dataclass(frozen=True, slots=True)
class Fault:
    """One rule: which calls it strikes, how often, and what it does to them.

    Durations are in seconds. Without ``apply`` a fault strikes before the call takes effect, so that with an answer
    of its own (``status``, ``drop``, ``reset`` or ``timeout``) the call never does; with ``apply="after"`` it has by
    then. ``truncate`` without a status is always after.
    """

    match: Match = field(default_factory=Match)
    #: How many matching calls to let pass first.
    skip: int = 0
    #: How many calls to strike; None for all.
    count: int | None = None
    #: How likely a matching call is struck.
    probability: float = 1.0
    #: Makes chance repeatable: the same calls in the same order meet the same luck.
    seed: int | None = None
    #: How long the rule lasts; None for ever.
    seconds: float | None = None
    #: How long to hold the call back.
    latency: float = 0.0
    #: Up to how much longer, evenly spread.
    jitter: float = 0.0
    #: Whether latency and jitter shrink to nothing while ``seconds`` pass: a slow start.
    fade: bool = False
    #: The status to answer with, with ``reason`` in ``X-Reason`` and any ``headers``.
    status: int | None = None
    reason: str = "injected fault"
    headers: Mapping[str, str] = field(default_factory=dict)
    apply: Literal["before", "after"] = "before"
    #: Close the connection without an answer.
    drop: bool = False
    #: The same, by a TCP reset.
    reset: bool = False
    #: Never answer: hold the call until the client has lost patience, two minutes at most.
    timeout: bool = False
    #: Send the head and half of the body, then close.
    truncate: bool = False
    #: Spread the answer's body over this time.
    drip: float = 0.0
    #: End all access tokens.
    revoke_tokens: bool = False

    def __post_init__(self) -> None:
        if self.truncate and self.status is None:
            object.__setattr__(self, "apply", "after")

    @property
    def answers(self) -> bool:
        """Whether the client gets something else than the true answer."""
        return self.status is not None or self.is_silent

    @property
    def is_silent(self) -> bool:
        """Whether the client gets no answer at all."""
        return self.drop or self.reset or self.timeout

    @property
    def cut(self) -> Cut | None:
        """What to ask of the connection."""
        if self.reset:
            return Cut("reset")
        if self.drop or self.timeout:
            return Cut("drop")
        return Cut("truncate" if self.truncate else None, self.drip) if self.truncate or self.drip else None

    def describe(self) -> dict[str, Any]:
        """The rule as the control API shows it."""
        match = {wire: getattr(self.match, name) for wire, name in _MATCH_KEYS.items()}
        return {"match": match, **{wire: getattr(self, name) for wire, name in _KEYS.items() if name != "match"}}


def wire_name(name: str) -> str:
    """A name of Python's, such as ``revoke_tokens``, as the control API spells it."""
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


_KEYS: Final = {wire_name(item.name): item.name for item in fields(Fault)}
_MATCH_KEYS: Final = {wire_name(item.name): item.name for item in fields(Match)}


@dataclass(frozen=True, slots=True)
class Strike:
    """One call that is struck: by what, and after how long."""

    fault: Fault
    delay: float


class Rule:
    """A fault in force, with what it has done so far."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.hits = 0
        self._seen = 0
        self._since = time.monotonic()
        self._random = random.Random(fault.seed)  # noqa: S311 - chance, not secrets

    def strike(self) -> Strike | None:
        """Count a matching call, and say whether it is struck."""
        fault, age = self.fault, time.monotonic() - self._since
        if self._remaining() == 0:
            return None
        self._seen += 1
        if self._seen <= fault.skip or self._random.random() >= fault.probability:
            return None
        self.hits += 1
        delay = fault.latency + fault.jitter * self._random.random()
        if fault.fade and fault.seconds:
            delay *= max(0.0, 1 - age / fault.seconds)
        return Strike(fault, SILENCE_SECONDS if fault.timeout else delay)

    def describe(self) -> dict[str, Any]:
        """The rule and its tally."""
        return {**self.fault.describe(), "hits": self.hits, "remaining": self._remaining()}

    def _remaining(self) -> int | None:
        """How many calls it may still strike; None when nothing but its calls' luck limits it."""
        if self.fault.seconds is not None and time.monotonic() - self._since >= self.fault.seconds:
            return 0
        return None if self.fault.count is None else self.fault.count - self.hits


class FaultBoard:
    """The faults of one sandbox. A call is struck by one of them at most: the first that covers it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._woken = threading.Event()

    def __bool__(self) -> bool:
        return bool(self._rules)

    def set(self, faults: Iterable[Fault]) -> None:
        """Put these faults in force, and no others."""
        rules = [Rule(fault) for fault in faults]
        with self._lock:
            self._rules = rules

    def add(self, fault: Fault) -> None:
        """Put one more fault in force, after those there are."""
        with self._lock:
            self._rules = [*self._rules, Rule(fault)]

    def remove(self, index: int) -> None:
        """Take back one fault, by its place in ``describe``."""
        with self._lock:
            self._rules = [rule for place, rule in enumerate(self._rules) if place != index]

    def clear(self) -> None:
        """Take back all faults. Calls that are held back already stay so."""
        self.set(())

    def claim(self, method: str, path: str, find_customer_order_id: Callable[[], str | None]) -> Strike | None:
        """Say what strikes this call, and count it, in one step."""
        if not self._rules:
            return None
        # However many rules ask for it, the order is looked for once.
        find = functools.cache(find_customer_order_id)
        covering = [rule for rule in self._rules if rule.fault.match.covers(method, path, find)]
        with self._lock:
            return next((strike for rule in covering if (strike := rule.strike()) is not None), None)

    def describe(self) -> list[dict[str, Any]]:
        """All faults, spent ones included, with their hits so far."""
        with self._lock:
            return [rule.describe() for rule in self._rules]

    def sleep(self, seconds: float) -> bool:
        """Hold a call back; False when it was woken, and is to be given up."""
        return not self._woken.wait(seconds) if seconds else True

    def wake(self) -> None:
        """Have all calls that are held back given up: the sandbox starts afresh or ends."""
        with self._lock:
            woken, self._woken = self._woken, threading.Event()
        woken.set()


def read_faults(value: Any) -> list[Fault]:
    """Read the faults that a control call brings."""
    if not isinstance(value, list):
        raise Malformed("faults: a list of rules is required")
    return [read_fault(item, f"faults[{index}]") for index, item in enumerate(value)]


def read_fault(item: Any, name: str = "fault") -> Fault:
    """Read one fault; raises Malformed with the place of what is wrong."""
    values = _known(item, _KEYS, name)
    if values.get("apply", "before") not in ("before", "after"):
        raise Malformed(f"{name}.apply: must be before or after")
    read = {_KEYS[key]: _READERS[_KEYS[key]](value, f"{name}.{key}") for key, value in values.items()}
    fault = Fault(**{key: value for key, value in read.items() if value is not None})
    _check_sense(fault, values, name)
    return fault


def _check_sense(fault: Fault, given: Mapping[str, Any], name: str) -> None:
    ends = [key for key in ("drop", "reset", "timeout", "truncate") if getattr(fault, key)]
    if len(ends) > 1:
        raise Malformed(f"{name}: {' and '.join(ends)} exclude one another")
    if fault.is_silent and fault.status is not None:
        raise Malformed(f"{name}: {ends[0]} leaves no answer to give a status to")
    if fault.is_silent and fault.drip:
        raise Malformed(f"{name}: {ends[0]} leaves no answer to drip")
    if not (fault.latency or fault.jitter or fault.answers or fault.truncate or fault.drip or fault.revoke_tokens):
        raise Malformed(f"{name}: give latency, jitter, status, drop, reset, timeout, truncate, drip or revokeTokens")
    if fault.status is None and ("reason" in given or "headers" in given):
        raise Malformed(f"{name}: reason and headers need a status")
    if fault.truncate and fault.status is None and given.get("apply") == "before":
        raise Malformed(f"{name}: an answer is there to truncate only after the call took effect")
    if fault.fade and not fault.seconds:
        raise Malformed(f"{name}: fade needs seconds, the time in which the delay shrinks")


def _read_match(item: Any, name: str) -> Match:
    values = {
        key: _text(value, f"{name}.{key}")
        for key, value in _known(item, _MATCH_KEYS, name).items()
        if value is not None
    }
    return Match(values.get("path", ""), values.get("method", "").upper(), values.get("customerOrderId"))


def _read_headers(item: Any, name: str) -> dict[str, str]:
    if not isinstance(item, dict):
        raise Malformed(f"{name}: must be an object")
    headers = {key: str(value) for key, value in item.items() if isinstance(value, (str, int, Decimal))}
    for key in item:
        if not _HEADER_NAME.fullmatch(key) or is_hop_by_hop(key) or key.lower() == "content-length":
            raise Malformed(f"{name}: {key} cannot be set")
        if key not in headers or not _HEADER_VALUE.fullmatch(headers[key]):
            raise Malformed(f"{name}.{key}: must be one line of ASCII")
    return headers


def _known(item: Any, keys: Iterable[str], name: str) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise Malformed(f"{name}: must be an object")
    for key in item:
        if key not in keys:
            raise Malformed(f"{name}.{key}: no such key")
    return item


def _flag(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise Malformed(f"{name}: must be true or false")
    return value


def _number(least: float, most: float, *, whole: bool) -> Callable[[Any, str], Any]:
    def read(value: Any, name: str) -> float | int | None:
        if value is None:
            return None
        is_number = isinstance(value, (int, float, Decimal)) and not isinstance(value, bool) and math.isfinite(value)
        if not is_number or not least <= value <= most or (whole and value != int(value)):
            raise Malformed(f"{name}: must be a {'whole ' if whole else ''}number from {least} to {most}")
        return int(value) if whole else float(value)

    return read


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or _UNFIT.search(value):
        raise Malformed(f"{name}: must be a string without NUL and lone surrogates")
    return value


_SECONDS = _number(0, LONGEST_SECONDS, whole=False)
_READERS: Final[Mapping[str, Callable[[Any, str], Any]]] = {
    "match": _read_match,
    "skip": _number(0, 10**9, whole=True),
    "count": _number(0, 10**9, whole=True),
    "probability": _number(0, 1, whole=False),
    "seed": _number(0, 10**18, whole=True),
    "seconds": _number(0, 10**6, whole=False),
    "latency": _SECONDS,
    "jitter": _SECONDS,
    "status": _number(400, 599, whole=True),
    "reason": _text,
    "headers": _read_headers,
    "apply": _text,
    **dict.fromkeys(("fade", "drop", "reset", "timeout", "truncate", "revoke_tokens"), _flag),
    "drip": _SECONDS,
}
