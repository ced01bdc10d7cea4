"""Turns: several accounts are delivered in rotation, so that none waits long however much another has to send."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple

from django.db import DEFAULT_DB_ALIAS, InterfaceError, OperationalError

from bronto_orders.delivery import engine, hints, tombstones
from bronto_orders.exceptions import BrontoConfigurationError

#: Seconds that one account may take before others that have due orders have their turn.
TURN_SECONDS = 5.0


class Turn(NamedTuple):
    """What became of an account's turn: a report, or why it cannot be delivered for."""

    account: str
    report: engine.Report
    error: BrontoConfigurationError | None = None


def take(
    first: Iterable[str],
    among: Collection[str],
    *,
    using: str = DEFAULT_DB_ALIAS,
    trigger: str = "command",
    seconds: float = math.inf,
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[Turn]:
    """Deliver for the accounts in ``first``; when a turn is not enough, for others ``among`` these with due orders.

    Ends when each had a turn that was enough. After ``seconds``, or once ``stopping()``, wakes workers for the rest.
    """
    ends_at = time.monotonic() + seconds
    waiting = deque(first)
    while waiting:
        account = waiting.popleft()
        budget = min(TURN_SECONDS, ends_at - time.monotonic())
        try:
            report = engine.deliver(account, using=using, trigger=trigger, budget_seconds=budget, stopping=stopping)
        except BrontoConfigurationError as error:
            yield Turn(account, engine.Report(), error)
            continue
        yield Turn(account, report)
        if not report.more_due:
            continue
        if stopping() or time.monotonic() >= ends_at:
            hints.wake({account, *waiting}, using=using, trigger=trigger)
            return
        # Asked for only now: an account with little to send costs no query more.
        due = due_accounts(among, using=using)
        waiting.extend(name for name in due if name != account and name not in waiting)
        if account in due:
            waiting.append(account)


def due_accounts(accounts: Collection[str], *, using: str) -> list[str]:
    """Return those of the accounts that have due orders; all of them when the database is away.

    Each delivery waits for it then.
    """
    try:
        return tombstones.accounts_due(accounts, using=using)
    except (OperationalError, InterfaceError):
        return sorted(accounts)
