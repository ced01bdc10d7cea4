"""Hints: short messages over the Celery broker that tell workers to look for due orders now.

A hint owes nothing and carries no order. Losing one costs some seconds until the sweep; so publishing is bounded in
time, never raises, and rests for a while after a failure. Nothing here may slow or break a checkout.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from celery import current_app
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from bronto_orders.conf import bronto_settings
from bronto_orders.exceptions import BrontoConfigurationError

logger = logging.getLogger(__name__)

TASK = "bronto_orders.deliver"

#: Seconds that a caller waits for the broker at most. Celery itself would wait for ever by default.
PUBLISH_SECONDS = 0.5
#: Seconds without another try after a broker has failed.
REST_SECONDS = 10.0
#: Seconds after which a hint that nobody has read is worth nothing: the sweep has long been by.
EXPIRES_SECONDS = 30


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
) -> bool:
    """Publish one hint now for each account that is not awake already; None among them stands for all.

    Returns whether the broker took them all; never raises.
    """
    try:
        if not bronto_settings.delivery.enabled:
            return False
        names: set[str] = set(bronto_settings.account_names) if None in accounts else {n for n in accounts if n}
    except BrontoConfigurationError as error:
        logger.warning("No worker was woken: %s", error)
        return False
    messages = [{"account": name, "trigger": trigger, "using": using} for name in sorted(names.difference(awake))]
    if current_app.conf.task_always_eager:
        # An eager task runs here and now, on this thread's connections.
        return _send(messages) is None
    if TASK not in current_app.tasks and not current_app.conf.broker_write_url:
        # A project without Celery; the broker that Celery would assume, a RabbitMQ on this machine, is nobody's.
        return False
    return _publisher.publish(messages)


def _send(messages: list[dict[str, str]]) -> Exception | None:
    """Hand the messages to Celery. Returns what went wrong, whatever it was: a checkout must not see it."""
    try:
        task = current_app.tasks.get(TASK) or current_app.signature(TASK)
        for message in messages:
            task.apply_async(kwargs=message, expires=EXPIRES_SECONDS, ignore_result=True)
    except Exception as error:
        return error
    return None


class _Publisher:
    """Publishes from a helper thread, so that a broker that hangs holds up that thread and not its caller."""

    def __init__(self) -> None:
        self._resume_at = 0.0
        self._thread: threading.Thread | None = None

    def publish(self, messages: list[dict[str, str]]) -> bool:
        """Publish, waiting for PUBLISH_SECONDS at most. Returns whether the broker took the messages."""
        stuck = self._thread is not None and self._thread.is_alive()
        if stuck or time.monotonic() < self._resume_at:
            return False
        errors: list[Exception | None] = []
        thread = threading.Thread(target=lambda: errors.append(_send(messages)), name="bronto-orders-hint", daemon=True)
        thread.start()
        thread.join(PUBLISH_SECONDS)
        if errors == [None]:
            return True
        self._thread = thread
        self._resume_at = time.monotonic() + REST_SECONDS
        logger.warning(
            "The Celery broker did not take a hint (%s). Orders are safe, the sweep delivers them. Next try in %d s.",
            type(errors[0]).__name__ if errors else "no answer",
            REST_SECONDS,
        )
        return False


_publisher = _Publisher()
