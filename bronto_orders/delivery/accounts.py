"""What a person may do to an account: stop sending for it, and go on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from django.db import DEFAULT_DB_ALIAS, transaction
from django.db.models import Q

from bronto_orders import signals
from bronto_orders.delivery import hints
from bronto_orders.models import AccountStatus, DbNow, Order, SyncState

logger = logging.getLogger(__name__)

#: What ends a hold, whatever its reason.
LIFTED = {"held_until": None, "held_reason": "", "held_message": "", "refused_settings": ""}


def pause(account: str, *, using: str = DEFAULT_DB_ALIAS) -> bool:
    """Send nothing for the account from the next claim on, until ``resume``. Returns whether that is new."""
    statuses = AccountStatus.objects.using(using)
    statuses.get_or_create(pk=account)
    if not statuses.filter(pk=account, paused=False).update(paused=True):
        return False
    transaction.on_commit(lambda: tell_held(account, "paused", using=using), using=using, robust=True)
    return True


def resume(account: str, *, using: str = DEFAULT_DB_ALIAS) -> bool:
    """Go on sending for the account, whether it was paused or is held. Returns whether it was either.

    While the breaker is open, the next orders are a probe, as they would be at the end of the hold.
    """
    return _release(account, {**LIFTED, "paused": False}, using)


def try_now(account: str, *, using: str = DEFAULT_DB_ALIAS) -> bool:
    """End the account's hold now instead of when its time is over; a pause stays. Returns whether there was a hold."""
    return _release(account, LIFTED, using)


def _release(account: str, columns: Mapping[str, Any], using: str) -> bool:
    stopped = Q(held_until__gt=DbNow())
    if "paused" in columns:
        stopped |= Q(paused=True)
    if not AccountStatus.objects.using(using).filter(stopped, pk=account).update(**columns):
        return False
    retry_refused(account, using=using)
    transaction.on_commit(lambda: tell_released(account, using=using), using=using, robust=True)
    hints.wake_after_commit(account, using=using)
    return True


def retry_refused(account: str, *, using: str) -> None:
    """Have orders that were refused with the account's credentials tried now."""
    waiting = Order.objects.using(using).owed().filter(account=account, bulk__in=[False, True], due_at__gt=DbNow())
    refused = waiting.filter(sync_state=SyncState.PENDING, sync_reason__in=["auth", "refused"])
    refused.update(due_at=DbNow())


def tell_held(account: str, reason: str, *, using: str) -> None:
    """Say that sending for the account has stopped: in the log, and to who listens."""
    logger.warning("Account %s is held: %s", account, reason, extra={"account": account, "reason": reason})
    signals.account_held.send_robust(AccountStatus, account=account, reason=reason, using=using)


def tell_released(account: str, *, using: str) -> None:
    """Say that sending for the account goes on."""
    logger.info("Account %s is released.", account, extra={"account": account})
    signals.account_released.send_robust(AccountStatus, account=account, using=using)
