from __future__ import annotations

import mmap
from typing import Any

from celery import shared_task
from celery.signals import worker_shutting_down
from django.db import DEFAULT_DB_ALIAS

from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import engine, hints, retention, turns
from bronto_orders.delivery import resync as resyncs

#: One byte that a worker's main process shares with the pool processes that it forks: set once it is told to end.
_ending = mmap.mmap(-1, 1)


@worker_shutting_down.connect
def note_shutdown(**kwargs: Any) -> None:
    """Have running deliveries hand back what they have not sent, so that a warm shutdown is a matter of seconds."""
    _ending[0] = 1


def is_ending() -> bool:
    """Whether this worker has been told to end."""
    return _ending[0] == 1


@shared_task(name="bronto_orders.deliver", ignore_result=True, acks_late=False)
def deliver(
    account: str = "default", pks: list[int] | None = None, trigger: str = "signal", using: str = DEFAULT_DB_ALIAS
) -> None:
    """Deliver the account's due orders, in turns with other accounts' if it has many, or those of ``pks`` alone."""
    seconds = engine.TASK_SECONDS
    if pks is not None:
        report = engine.deliver(
            account, pks=pks, trigger=trigger, using=using, budget_seconds=seconds, stopping=is_ending
        )
        if report.more_due:
            hints.wake({account}, using=using, trigger=trigger)
        return
    accounts = bronto_settings.account_names
    for turn in turns.take([account], accounts, using=using, trigger=trigger, seconds=seconds, stopping=is_ending):
        if turn.error and turn.account == account:
            raise turn.error


@shared_task(name="bronto_orders.sweep", ignore_result=True, acks_late=False)
def sweep(using: str = DEFAULT_DB_ALIAS) -> None:
    """Wake workers for each account that has due orders, and for resyncs that have orders left to queue."""
    engine.sweep(using=using)
    resyncs.wake_unfinished(using=using)


@shared_task(name="bronto_orders.resync", ignore_result=True, acks_late=False)
def resync(using: str = DEFAULT_DB_ALIAS) -> None:
    """Queue the orders of resyncs, for a minute at most; then leave the rest to the next task."""
    if resyncs.advance_all(using=using, budget_seconds=engine.TASK_SECONDS, stopping=is_ending):
        hints.wake_resync(using=using)


@shared_task(name="bronto_orders.prune", ignore_result=True, acks_late=False)
def prune(days: int = 90, per_order: int = 100, using: str = DEFAULT_DB_ALIAS) -> None:
    """Delete attempts that are older than ``days``, and all but the newest ``per_order`` of each order.

    Then empty what is personal of orders that are older than the PRIVACY setting says.
    """
    retention.prune(days=days, per_order=per_order, using=using)
    retention.forget(using=using)
