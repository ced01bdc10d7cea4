from __future__ import annotations

import threading

from django.core.cache.backends.locmem import LocMemCache

from tests.client.stub import SECRET


class BrokenCache(LocMemCache):
    """A cache that cannot be reached, and says why with words that are nobody's business."""

    calls = 0

    def broken(self, *args, **kwargs):
        type(self).calls += 1
        raise ConnectionError(f"redis://:{SECRET}@cache:6379 is down")

    get = get_many = set = add = delete = broken


class FrozenCache(LocMemCache):
    """A cache that takes connections and never answers, until the test is over."""

    calls = 0
    thawed = threading.Event()

    def frozen(self, *args, **kwargs):
        type(self).calls += 1
        self.thawed.wait(10)

    get = get_many = set = add = delete = frozen
