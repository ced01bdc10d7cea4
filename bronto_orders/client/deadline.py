"""The total deadline of a call, and the watchdog that enforces it.

A socket's time-out starts anew with every byte that arrives, so a server that sends one byte a second holds a call
for ever. Here a call names its deadline and its connections name their sockets; one thread per process shuts a
socket down when its call's deadline has passed, and the thread that waits on that socket wakes up with an error.
"""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from bronto_orders.exceptions import NotSentError
from bronto_orders.per_process import PerProcess


class _Limit(threading.local):
    at = math.inf


_limit = _Limit()


@contextlib.contextmanager
def ending_by(moment: float) -> Iterator[None]:
    """Have every call that this thread makes within the block end by this moment of ``time.monotonic()``."""
    outer, _limit.at = _limit.at, moment
    try:
        yield
    finally:
        _limit.at = outer


class Deadline:
    """A moment by which something must have ended, by the monotonic clock."""

    __slots__ = ("at",)

    def __init__(self, seconds: float) -> None:
        self.at = min(time.monotonic() + seconds, _limit.at)

    def left(self) -> float:
        """Return the seconds left, negative when it has passed."""
        return self.at - time.monotonic()


class TooLateError(OSError):
    """The deadline passed before the request was sent."""


class Watchdog:
    """Shuts down the sockets of calls whose deadline has passed."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._calls: set[Call] = set()
        self._next_look = math.inf
        self._thread: threading.Thread | None = None

    def add(self, call: Call) -> None:
        with self._changed:
            # Calls mostly end by themselves, so the thread is woken only for a deadline earlier than the one it awaits.
            if call.deadline.at < self._next_look:
                self._wake()
                self._next_look = call.deadline.at
            self._calls.add(call)

    def remove(self, call: Call) -> None:
        with self._changed:
            self._calls.discard(call)
            call.sock = None

    def guard(self, call: Call, sock: Any) -> None:
        """Note the socket that the call uses from now on, None for none."""
        with self._changed:
            call.sock = sock
            if call.expired:
                _shut_down(sock)

    def _wake(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="bronto-orders-watchdog", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                # The limit of threads is reached, or the interpreter is shutting down.
                raise NotSentError("No thread can be started to watch over the deadline") from None
            self._thread = thread
        else:
            self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for call in self._calls:
                    if not call.expired and call.deadline.at <= now:
                        call.expired = True
                        _shut_down(call.sock)
                self._next_look = min((call.deadline.at for call in self._calls if not call.expired), default=math.inf)
                self._changed.wait(None if self._next_look == math.inf else self._next_look - now)


def _shut_down(sock: Any) -> None:
    if sock is not None:
        # The plain socket's shutdown: an SSL object's own would pull its state from under the thread that reads.
        raw = sock if isinstance(sock, socket.socket) else sock.socket
        with contextlib.suppress(OSError):
            socket.socket.shutdown(raw, socket.SHUT_RDWR)


_watchdogs = PerProcess(Watchdog)


class _Running(threading.local):
    call: Call | None = None


_running = _Running()


class Call:
    """One request and its answer while they are under way in this thread, as a context manager.

    Calls nest: a call for an access token runs inside the call that needs it.
    """

    __slots__ = ("_outer", "_watchdog", "deadline", "expired", "sent", "sock", "status")

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        #: Set by the watchdog.
        self.expired = False
        #: Whether a byte of the request may have left; None as long as no connection of ours has it in hand.
        self.sent: bool | None = None
        #: Status of the answer, once its header has been read.
        self.status: int | None = None
        self.sock: Any = None
        self._watchdog = _watchdogs.get()
        self._outer: Call | None = None

    def __enter__(self) -> Call:
        self._watchdog.add(self)
        self._outer, _running.call = _running.call, self
        return self

    def __exit__(self, *_: object) -> None:
        _running.call = self._outer
        self._watchdog.remove(self)

    def guard(self, sock: Any) -> None:
        """Let the watchdog shut this socket down at the deadline; None ends that."""
        self._watchdog.guard(self, sock)

    def leave(self) -> None:
        """Note that the request's first byte is about to leave, or raise TooLateError: then none has left."""
        if not self.sent:
            if self.expired or self.deadline.left() <= 0:
                raise TooLateError
            self.sent = True

    @property
    def late(self) -> bool:
        return self.expired or self.deadline.left() <= 0


def running_call() -> Call | None:
    """Return the innermost call that this thread is in."""
    return _running.call
