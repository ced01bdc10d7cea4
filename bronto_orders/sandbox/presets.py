"""Ready-made faults, each by a name: the buttons of the console, and what tests stage most often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bronto_orders.sandbox.faults import Fault, Match

_ORDERS: Final = Match(path="/orders")
_WRITES: Final = Match(path="/orders", method="POST")


@dataclass(frozen=True, slots=True)
class Preset:
    """Faults that belong together."""

    name: str
    label: str
    #: What callers will see, in a sentence.
    about: str
    faults: tuple[Fault, ...]


PRESETS: Final = {
    preset.name: preset
    for preset in (
        Preset(
            "outage",
            "Outage",
            "Every call answers 503, the token endpoint included.",
            (Fault(status=503, reason="the service is down"),),
        ),
        Preset(
            "rate-limit",
            "Rate limit",
            "Two order calls out of three answer 429 and ask to wait five seconds.",
            (Fault(_ORDERS, probability=2 / 3, status=429, reason="too many requests", headers={"Retry-After": "5"}),),
        ),
        Preset(
            "server-errors",
            "Server errors",
            "Half of the order calls answer 500.",
            (Fault(_ORDERS, probability=0.5, status=500),),
        ),
        Preset(
            "bad-gateway",
            "Bad gateway",
            "Writes take effect, then answer 502.",
            (Fault(_WRITES, status=502, apply="after"),),
        ),
        Preset("slow", "Slow", "Order calls take one to three seconds.", (Fault(_ORDERS, latency=1, jitter=2),)),
        Preset(
            "slow-start",
            "Slow start",
            "Order calls take four seconds at first and are quick after half a minute.",
            (Fault(_ORDERS, latency=4, seconds=30, fade=True),),
        ),
        Preset(
            "flaky",
            "Flaky",
            "A call in seven fails: by a 503, a closed connection, a reset, or half an answer.",
            (
                Fault(_ORDERS, probability=0.04, status=503),
                Fault(_ORDERS, probability=0.04, drop=True, apply="after"),
                Fault(_ORDERS, probability=0.04, reset=True),
                Fault(_ORDERS, probability=0.04, truncate=True),
            ),
        ),
        Preset(
            "timeouts-before",
            "Time-outs before",
            "Writes are never answered and never take effect.",
            (Fault(_WRITES, timeout=True),),
        ),
        Preset(
            "timeouts-after",
            "Time-outs after",
            "Writes take effect but are never answered.",
            (Fault(_WRITES, timeout=True, apply="after"),),
        ),
        Preset(
            "connection-reset", "Connection reset", "Order calls end in a TCP reset.", (Fault(_ORDERS, reset=True),)
        ),
        Preset(
            "cut-off",
            "Cut-off answers",
            "Order calls take effect and half of the answer arrives.",
            (Fault(_ORDERS, truncate=True),),
        ),
        Preset(
            "lost-tokens",
            "Lost tokens",
            "The next order call finds all access tokens revoked.",
            (Fault(_ORDERS, count=1, revoke_tokens=True),),
        ),
    )
}
