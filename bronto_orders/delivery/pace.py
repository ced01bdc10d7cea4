from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

from bronto_orders.client.patience import PatientCache
from bronto_orders.conf import RATE, AccountSettings

#: What bulk orders may use of the rate; the rest is for live ones.
BULK_SHARE = 0.8

#: How far the clocks of workers may differ: a window's count is kept that much longer than the window lasts, for those
#: who come to it late. Not longer, as there is a count for each second, and Django's smaller caches hold 300 entries.
CLOCK_SECONDS = 60.0
#: The longest wait for the next window that is worth a worker's slot.
LONGEST_WAIT = 10.0

_PERIODS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class Allowance:
    """How many requests may be sent now, and how many of these for orders that a resync or a history load queued."""

    requests: int
    bulk: int


class _Counts(PatientCache):
    complaint = "RATE_LIMIT is not applied: the cache failed (%r: %s)."


#: For all runs of a process, so that a frozen cache costs its patience once and not once in each.
_counts = _Counts()


class Pace:
    """An account's RATE_LIMIT, counted in Django's cache for all workers that share it.

    Time is cut into windows of a second, or of as many seconds as one request takes at a slow rate; each window has
    its share of the rate. A cache that is down or frozen limits nothing: Bronto's own 429 still does.
    """

    def __init__(self, account: AccountSettings) -> None:
        self.account = account.name
        self.share: float = math.inf
        self.window = 1.0
        self._key = ""
        if account.rate_limit and (match := RATE.fullmatch(account.rate_limit)):
            rate = int(match[1]) / _PERIODS[match[2]]
            self.window = max(1.0, 1 / rate)
            self.share = max(1, math.floor(rate * self.window))

    @property
    def unlimited(self) -> bool:
        """Whether the account has no RATE_LIMIT."""
        return math.isinf(self.share)

    def take(self, wanted: int) -> Allowance:
        """Reserve requests of the current window. Returns how many of those wanted may be sent now."""
        self._key = f"bronto_orders:pace:{self.account}:{int(time.time() // self.window)}"
        taken = self._count(wanted)
        if taken is None:
            return Allowance(wanted, wanted)
        before = taken - wanted
        bulk_share = max(1, math.floor(self.share * BULK_SHARE))
        allowed = Allowance(*(max(0, min(wanted, share - before)) for share in (int(self.share), bulk_share)))
        self.give_back(wanted - allowed.requests)
        return allowed

    def give_back(self, unused: int) -> None:
        """Return requests that were reserved last and are not needed."""
        if unused:
            self._count(-unused)

    def _count(self, requests: int) -> int | None:
        """Add to the window's count and return it; None when there is no limit or it cannot be counted."""
        if self.unlimited:
            return None

        def add(cache: Any) -> int | None:
            cache.add(self._key, 0, timeout=self.window + CLOCK_SECONDS)
            return int(cache.incr(self._key, requests))

        return _counts.use(add, otherwise=None)

    def seconds_to_next_window(self) -> float:
        """Return how long the current window still lasts."""
        return self.window - time.time() % self.window

    def is_worth_waiting(self) -> bool:
        """Whether the next window is near; if not, the wait is the sweep's."""
        return self.seconds_to_next_window() <= LONGEST_WAIT
