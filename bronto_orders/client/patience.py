"""Django's cache, used so that one which is down or frozen holds nothing up."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar, Final, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds for which a cache that has failed is left alone.
REST_SECONDS: Final = 30.0


class PatientCache:
    """One of Django's caches. One that fails, or takes longer than ``patience`` seconds, is left alone for a while."""

    #: What is logged then, with the cache's alias and what is wrong with it.
    complaint: ClassVar[str] = "The cache %r is not used now: %s"

    def __init__(self, cache_alias: str = "default", *, patience: float = 1.0) -> None:
        self._alias = cache_alias
        self._patience = patience
        self._resting_until = 0.0
        self._slow: threading.Thread | None = None

    def use(self, operation: Callable[[Any], T], *, otherwise: T) -> T:
        """Run an operation on the cache, in a thread because no cache promises to answer in time."""
        if time.monotonic() < self._resting_until or (self._slow is not None and self._slow.is_alive()):
            return otherwise
        results: list[T] = []
        failures: list[str] = []

        def run() -> None:
            # A broken cache may raise anything, and none of it may stop a delivery.
            try:
                from django.core.cache import caches
                from django.db import connections

                # Django keeps a connection per thread, and this thread ends here.
                with contextlib.closing(caches[self._alias]) as cache:
                    results.append(operation(cache))
                # A cache may be a table.
                connections.close_all()
            except Exception as error:
                failures.append(type(error).__name__)

        thread = threading.Thread(target=run, name="bronto-orders-cache", daemon=True)
        try:
            thread.start()
            thread.join(self._patience)
        except RuntimeError:
            failures.append("no thread can be started")
        if results:
            return results[0]
        self._slow = thread
        self._resting_until = time.monotonic() + REST_SECONDS
        logger.warning(self.complaint, self._alias, *failures or ["no answer in time"])
        return otherwise
