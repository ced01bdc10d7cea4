"""Hints: short messages over the Celery broker that tell workers to look for due orders now.

A hint owes nothing and carries no order. Losing one costs some seconds until the sweep; so a thread of its own
publishes them, on a connection of its own, and rests for a while after a failure. Nothing here may slow or break a
checkout.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

from celery import Celery, Signature, Task, current_app
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from kombu import Connection, Producer

from bronto_orders.conf import bronto_settings
from bronto_orders.exceptions import BrontoConfigurationError
from bronto_orders.per_process import PerProcess

logger = logging.getLogger(__name__)

TASK = "bronto_orders.deliver"
RESYNC_TASK = "bronto_orders.resync"

#: Seconds after which a broker that does not answer counts as failed. Celery itself would wait for ever by default.
PATIENCE_SECONDS = 0.5
#: Seconds without another try after a broker has failed.
REST_SECONDS = 10.0
#: Threads that hang in a broker's silence for longer than a rest are left behind, but no more than these at once.
MOST_LEFT_BEHIND = 4
#: How soon a connection's silence is to end it, in seconds, by the kind of broker. What the project sets is kept.
TIMEOUTS: dict[str, dict[str, Any]] = {
    "redis": {"socket_timeout": 2.0, "socket_connect_timeout": 2.0},
    "amqp": {"confirm_publish": True, "read_timeout": 2.0, "write_timeout": 2.0},
}
#: Seconds between two messages. What comes in meanwhile is one hint for each account, or saves in a row would keep the
#: broker busier than the database.
SPACING_SECONDS = 0.05
#: Seconds after which a hint that nobody has read is worth nothing: the sweep has long been by.
EXPIRES_SECONDS = 30


#: A task that is known here, or one that only workers know.
Publishable: TypeAlias = "Task[Any, Any] | Signature[Any]"


@dataclass(eq=False)
class _Commit:
    """The accounts that one commit has woken workers for; None stands for all."""

    sent: set[str | None] = field(default_factory=set)


_commits: WeakKeyDictionary[BaseDatabaseWrapper, _Commit] = WeakKeyDictionary()


def wake_after_commit(account: str | None, *, using: str = DEFAULT_DB_ALIAS) -> None:
    """Send a hint for the account, or for all accounts if None, once the open transaction is committed.

    However often it is called in a transaction, one hint is sent for each account; none if it is rolled back.
    """
    connection = connections[using]
    commit = _commits.get(connection)
    # Hooks that have run served the writes before them; those that a rollback has dropped never run.
    if commit is None or commit.sent:
        commit = _commits[connection] = _Commit()

    def send_hint() -> None:
        if not commit.sent & {account, None}:
            awake = {name for name in commit.sent if name is not None}
            commit.sent.add(account)
            wake({account}, awake=awake, using=using)

    # A hook for each write, though the first does the work: one that was registered inside a savepoint may be gone.
    # A function, not a partial: Django 5.2 cannot report an error of a robust hook that has no name.
    with suppress(transaction.TransactionManagementError):
        # Raised where the shop commits by hand, and nobody can tell when: the sweep does it.
        transaction.on_commit(send_hint, using=using, robust=True)


def wake(
    accounts: set[str | None],
    *,
    awake: Collection[str] = (),
    using: str = DEFAULT_DB_ALIAS,
    trigger: str = "signal",
) -> None:
    """Have a hint published for each account that is not awake already; None among them stands for all.

    Returns at once, whatever the broker does, and never raises.
    """
    try:
        if not bronto_settings.delivery.enabled:
            return
        names: set[str] = set(bronto_settings.account_names) if None in accounts else {n for n in accounts if n}
    except BrontoConfigurationError as error:
        logger.warning("No worker was woken: %s", error)
        return
    _publish(TASK, [Message(name, using, trigger) for name in sorted(names.difference(awake))])


def wake_resync_after_commit(*, using: str = DEFAULT_DB_ALIAS) -> None:
    """Send a hint that resyncs have orders left to queue, once the open transaction is committed."""

    def send_hint() -> None:
        wake_resync(using=using)

    with suppress(transaction.TransactionManagementError):
        transaction.on_commit(send_hint, using=using, robust=True)


def wake_resync(*, using: str = DEFAULT_DB_ALIAS) -> None:
    """Have a hint published that resyncs have orders left to queue; as ``wake`` does it."""
    _publish(RESYNC_TASK, [ResyncMessage(using)])


def _publish(name: str, messages: Sequence[Hint]) -> None:
    task: Publishable | None = current_app.tasks.get(name)
    if task is None:
        if not current_app.conf.broker_write_url:
            # A project without Celery; the broker that Celery would assume, a RabbitMQ on this machine, is nobody's.
            return
        task = current_app.signature(name)
    if current_app.conf.task_always_eager:
        # An eager task runs here and now, on this thread's connections.
        _send(task, messages)
    else:
        _publishers.get().publish(task, messages)


class Message(NamedTuple):
    """What the task is called with."""

    account: str
    using: str
    trigger: str

    @property
    def place(self) -> tuple[str, ...]:
        """What a later message takes the place of an earlier one by, until they are sent."""
        return self.account, self.using


class ResyncMessage(NamedTuple):
    """What the task that queues the orders of resyncs is called with."""

    using: str

    @property
    def place(self) -> tuple[str, ...]:
        return (self.using,)


Hint: TypeAlias = Message | ResyncMessage


def _send(task: Publishable, messages: Iterable[Hint], line: _Line | None = None) -> Exception | None:
    """Hand the messages to Celery. Returns what went wrong, whatever it was: a checkout must not see it."""
    try:
        producer = line.producer(task.app) if line else None
        for message in messages:
            task.apply_async(kwargs=message._asdict(), expires=EXPIRES_SECONDS, ignore_result=True, producer=producer)
    except Exception as error:
        return error
    return None


class _Line:
    """One thread's own connection to the broker; one of Celery's pool may be as dead as that of a thread that hangs."""

    def __init__(self) -> None:
        self._app: Celery | None = None
        self._connection: Connection | None = None

    def producer(self, app: Celery) -> Producer:
        if self._connection is None or self._app is not app:
            self.drop()
            self._app, self._connection = app, app.connection_for_write()
            own = TIMEOUTS.get(self._connection.transport.driver_type, {})
            self._connection.transport_options = {**own, **(self._connection.transport_options or {})}
        return Producer(self._connection, auto_declare=False)

    def drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                connection.release()


class _Publisher:
    """Publishes from a thread of its own, so that a broker that hangs holds up that thread and nobody else.

    What comes in while it publishes, or soon after, is published as one hint for each account. A hint that somebody
    asks for is never one that has left already: a worker may have seen that before their commit.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._wanted: dict[tuple[str, ...], tuple[Publishable, Hint]] = {}
        self._thread: threading.Thread | None = None
        self._left_behind: list[threading.Thread] = []
        #: Since when the broker has had messages and has not answered.
        self._sending_since: float | None = None
        self._resume_at = 0.0
        self._process = os.getpid()
        atexit.register(self.flush)

    def publish(self, task: Publishable, messages: Iterable[Hint]) -> None:
        """Have these messages published soon, unless the broker has just failed."""
        now = time.monotonic()
        with self._changed:
            if now < self._resume_at:
                return
            waited = 0.0 if self._sending_since is None else now - self._sending_since
            if waited > PATIENCE_SECONDS and not (waited > REST_SECONDS and self._leave_behind()):
                self._rest("no answer")
                return
            self._wanted |= {message.place: (task, message) for message in messages}
            try:
                self._wake_thread()
            except RuntimeError as error:  # no thread can be started: the limit is reached, or Python is ending
                self._rest(str(error))

    def flush(self) -> None:
        """Wait until all is published, for PATIENCE_SECONDS at most; in a forked child, where nobody publishes, not."""
        if os.getpid() != self._process:
            return
        with self._changed:
            self._changed.wait_for(lambda: not self._wanted and self._sending_since is None, PATIENCE_SECONDS)

    def _wake_thread(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="bronto-orders-hints", daemon=True)
            thread.start()
            self._thread = thread
        else:
            self._changed.notify_all()

    def _leave_behind(self) -> bool:
        """Do without the thread, which hangs. Returns False when there are too many such threads."""
        self._left_behind = [thread for thread in self._left_behind if thread.is_alive()]
        if self._thread is None or len(self._left_behind) >= MOST_LEFT_BEHIND:
            return False
        self._left_behind.append(self._thread)
        self._thread = self._sending_since = None
        return True

    def _run(self) -> None:
        line = _Line()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted)
                wanted, self._wanted = list(self._wanted.values()), {}
                self._sending_since = time.monotonic()
            error = self._send_each(wanted, line)
            if error is not None:
                line.drop()
            with self._changed:
                left_behind = self._thread is not threading.current_thread()
                if not left_behind:
                    self._sending_since = None
                    if error is not None:
                        self._rest(type(error).__name__)
                    self._changed.notify_all()
            if left_behind:
                line.drop()
                return
            time.sleep(SPACING_SECONDS)

    def _send_each(self, wanted: Iterable[tuple[Publishable, Hint]], line: _Line) -> Exception | None:
        """Send one by one, each with patience of its own. Returns what went wrong with the first that did."""
        for task, message in wanted:
            with self._changed:
                if self._thread is threading.current_thread():
                    self._sending_since = time.monotonic()
            if error := _send(task, [message], line):
                return error
        return None

    def _rest(self, why: str) -> None:
        self._wanted.clear()
        now = time.monotonic()
        known, self._resume_at = now < self._resume_at, now + REST_SECONDS
        if known:
            return
        logger.warning(
            "The Celery broker did not take a hint (%s). Orders are safe, the sweep delivers them. Next try in %d s.",
            *(why, REST_SECONDS),
        )


_publishers = PerProcess(_Publisher)
