from __future__ import annotations

import logging
import math
import time

from django.core.cache import cache

from bronto_orders.conf import RATE, AccountSettings

logger = logging.getLogger(__name__)

_PERIODS = {"s": 1, "m": 60, "h": 3600}


class Pace:
    """An account's RATE_LIMIT, counted in Django's cache for all workers that share it.

    Time is cut into windows of a second, or of as many seconds as one request takes at a slow rate; each window has
    its share of the rate. A cache that is down limits nothing: Bronto's own 429 still does.
    """

    def __init__(self, account: AccountSettings) -> None:
        self.account = account.name
        self.share: float = math.inf
        self.window = 1.0
        if account.rate_limit and (match := RATE.fullmatch(account.rate_limit)):
            rate = int(match[1]) / _PERIODS[match[2]]
            self.window = max(1.0, 1 / rate)
            self.share = max(1, math.floor(rate * self.window))

    def take(self, wanted: int) -> int:
        """Reserve requests of the current window. Returns how many of those wanted may be sent now."""
        taken = self._count(wanted)
        return wanted if taken is None else max(0, min(wanted, wanted - (taken - int(self.share))))

    def give_back(self, unused: int) -> None:
        """Return requests that were reserved and are not needed."""
        if unused:
            self._count(-unused)

    def _count(self, requests: int) -> int | None:
        """Add to the window's count and return it; None when there is no limit or it cannot be counted."""
        if math.isinf(self.share):
            return None
        key = f"bronto_orders:pace:{self.account}:{int(time.time() // self.window)}"
        try:
            cache.add(key, 0, timeout=self.window * 2)
            return int(cache.incr(key, requests))
        except Exception as error:  # any cache may fail in any way; it is no reason not to deliver
            logger.warning("RATE_LIMIT is not applied: the cache failed (%s).", type(error).__name__)
            return None

    def seconds_to_next_window(self) -> float:
        """Return how long the current window still lasts."""
        return self.window - time.time() % self.window
