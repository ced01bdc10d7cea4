from __future__ import annotations

from celery import shared_task
from django.db import DEFAULT_DB_ALIAS

from bronto_orders.delivery import engine


@shared_task(name="bronto_orders.deliver", ignore_result=True, acks_late=False)
def deliver(
    account: str = "default", pks: list[int] | None = None, trigger: str = "signal", using: str = DEFAULT_DB_ALIAS
) -> None:
    """Deliver the account's due orders, or those of ``pks`` that are due."""
    engine.deliver(account, pks=pks, trigger=trigger, using=using, budget_seconds=engine.TASK_SECONDS)


@shared_task(name="bronto_orders.sweep", ignore_result=True, acks_late=False)
def sweep(using: str = DEFAULT_DB_ALIAS) -> None:
    """Wake workers for each account that has due orders."""
    engine.sweep(using=using)


@shared_task(name="bronto_orders.prune", ignore_result=True, acks_late=False)
def prune(days: int = 90, using: str = DEFAULT_DB_ALIAS) -> None:
    """Delete attempts that are older than ``days``."""
    engine.prune(days=days, using=using)
