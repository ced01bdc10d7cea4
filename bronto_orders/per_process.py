"""Values that must not pass from a process to the children that it forks."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerProcess(Generic[T]):
    """A value that each process makes for itself when it first asks, so nothing made before a fork is used after it."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        # What a parent made stays referenced: closing its sockets and locks is the parent's business.
        self._values: dict[int, T] = {}

    def get(self) -> T:
        process = os.getpid()
        value = self._values.get(process)
        return self._values.setdefault(process, self._make()) if value is None else value

    def pop(self) -> T | None:
        """Forget this process's value and return it, None if there is none."""
        return self._values.pop(os.getpid(), None)
