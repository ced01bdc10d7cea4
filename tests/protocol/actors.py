"""Threads that move one at a time, and only while the test waits for them; and the time that they go by.

A worker runs ``engine.deliver`` with a database connection of its own, and each of its requests is a thread, too. They
stop wherever something may come in between: before a claim, between the claim and the reading of what it has claimed,
at the service's door, while results are waited for, before they are recorded. The test says which one goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime, timedelta
from queue import SimpleQueue
from typing import Any

from django.db import OperationalError, connection, connections
from django.db.models import DateTimeField, Value

from bronto_orders.delivery import engine
from bronto_orders.delivery.sending import Job, Result
from bronto_orders.models import DbNow, Order
from bronto_orders.sandbox.messages import Request


class Clock:
    """The only time there is, for the code as for the database."""

    def __init__(self) -> None:
        # Ahead of the real clock: PostgreSQL and MariaDB give new rows their own, as the tables' definition says.
        self.began = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
        self.passed = 0.0

    def monotonic(self) -> float:
        return self.passed

    def sleep(self, seconds: float) -> None:
        self.passed += seconds

    def now(self, shift: float = 0.0) -> datetime:
        return self.began + timedelta(seconds=self.passed + shift)

    def db_now(self, node: DbNow, compiler: Any, connection: Any, **context: Any) -> Any:
        """Stand in for ``DbNow.as_sql``."""
        return compiler.compile(Value(self.now(node.seconds), output_field=DateTimeField()))


class Killed(BaseException):
    """Ends a thread where it stands, as a kill ends a process."""


class Actor(threading.Thread):
    """A thread that moves from one stop to the next."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._cues: SimpleQueue[Any] = SimpleQueue()
        self._stops: SimpleQueue[None] = SimpleQueue()
        self._failure: Exception | None = None
        #: Where it stands; empty before it has begun, None when it has ended.
        self.place: str | None = ""

    def go_on(self, cue: object = None) -> None:
        """Let it move to its next stop. Where it stands, ``cue`` is returned, or raised if it is an error."""
        if self.place == "":
            self.start()
        else:
            self._cues.put(cue)
        self._stops.get(timeout=60)
        if self.place is None:
            self.join()
        if self._failure:
            raise self._failure

    def kill(self) -> None:
        if self.place:
            self.go_on(Killed())

    def stop(self, place: str) -> Any:
        """Stop here, and return the cue. Called by the thread itself."""
        self.place = place
        self._stops.put(None)
        cue = self._cues.get()
        if isinstance(cue, BaseException):
            raise cue
        return cue

    def run(self) -> None:
        try:
            self._work()
        except Killed:
            pass
        except Exception as error:
            self._failure = error
        connections.close_all()
        self.place = None
        self._stops.put(None)


def actor() -> Any:
    """Return the thread that calls."""
    return threading.current_thread()


class Flight(Actor):
    """A job of the engine's pool of threads: from the guard by way of the service to its result."""

    def __init__(self, work: Callable[[Job], None], job: Job) -> None:
        super().__init__(lambda: work(job))
        self.job = job
        self.gives_up_at = 0.0
        #: What the service has of it and has not answered.
        self.request: Request | None = None

    def __str__(self) -> str:
        return f"{self.job.push.operation} of {self.job.order}"


class Worker(Actor):
    """One run of the engine."""

    def __init__(self) -> None:
        super().__init__(self._deliver)
        self.flights: list[Flight] = []
        self.results: SimpleQueue[Result]
        self.stopping = False
        self._reads_later = self._has_claimed = False

    @property
    def next(self) -> str | None:
        """What it does when it goes on; empty when it only waits."""
        if self.place != "waits":
            return self.place
        return "" if self.results.empty() else "records"

    def _deliver(self) -> None:
        # Raised when the database is away for too long: the run ends without having recorded what it has sent.
        with suppress(OperationalError), connection.execute_wrapper(self._watch):
            engine.deliver("default", trigger="test", stopping=lambda: self.stopping)

    def _watch(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        """Stop between the statement that claims and the one that reads what it has claimed."""
        if self._has_claimed and sql.startswith("SELECT") and not connection.in_atomic_block:
            self._reads_later = self._has_claimed = False
            self.stop("reads")
        done = execute(sql, params, many, context)
        self._has_claimed |= self._reads_later and sql.startswith("UPDATE")
        return done

    def claim(self, real: Callable[..., list[Order]], *args: Any, **kwargs: Any) -> list[Order]:
        """Stand in for ``claims.claim``."""
        if not Order.objects.due().exists():
            return real(*args, **kwargs)
        cue = self.stop("claims")
        self._reads_later = cue == "reads later"
        claimed = real(*args, **kwargs)
        self._reads_later = self._has_claimed = False
        if cue == "is not told":
            raise OperationalError("the server has gone away")
        return claimed

    def record(self, real: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Stand in for ``records.record`` and ``records.settle``."""
        cue = self.stop("records")
        done = real(*args, **kwargs)
        if cue == "is not told":
            raise OperationalError("the server has gone away")
        return done


class Flights(AbstractContextManager["Flights"]):
    """Stands in for the engine's threads."""

    def __init__(self, count: int, work: Callable[[Job], None]) -> None:
        self.work = work

    def __exit__(self, *error: object) -> None: ...

    def submit(self, job: Job) -> None:
        actor().flights.append(Flight(self.work, job))


def inbox(clock: Clock) -> type[SimpleQueue[Result]]:
    """Return what stands in for the queue of results: nobody waits for what only the test can bring about."""

    class Inbox(SimpleQueue[Result]):
        def __init__(self) -> None:
            actor().results = self

        def get(self, block: bool = True, timeout: float | None = None) -> Result:
            if self.empty() and timeout > engine.FLUSH_SECONDS:
                actor().stop("waits")
                if self.empty():
                    clock.sleep(timeout)
            return self.get_nowait()

    return Inbox
