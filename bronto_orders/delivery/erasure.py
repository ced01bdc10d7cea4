"""Erasing a customer: nothing personal stays in the shop's tables, and no order of theirs at Bronto.

::

    from bronto_orders.delivery.erasure import erase_customer

    erase_customer("jane@example.com", trigger="privacy desk")

Each order is one short transaction: its tombstone is made, by which the engine deletes it at Bronto and refuses to send
it ever again, and what is personal is emptied. If somebody brings an erased order back, by whatever road, the next
delivery empties it again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from django.db import DEFAULT_DB_ALIAS, OperationalError, connections, transaction
from django.db.models import Value
from django.db.models.functions import Trim, Upper

from bronto_orders.delivery import personal, tombstones
from bronto_orders.models import Order, SyncState, Tombstone
from bronto_orders.models.deliverable import ERASED
from bronto_orders.models.querysets import OrderQuerySet
from bronto_orders.models.tombstone import TombstoneQuerySet

#: Tries for an order that comes to a deadlock: who deletes it locks its attempts first.
TRIES = 5


@dataclass(frozen=True, kw_only=True)
class Erasure:
    """What an erasure did: how many orders it emptied and had deleted at Bronto, by account."""

    accounts: Mapping[str, int]

    @property
    def orders(self) -> int:
        """How many orders in all."""
        return sum(self.accounts.values())


@dataclass(frozen=True, kw_only=True)
class Outstanding:
    """Deletions of erased orders that Bronto has not confirmed, whoever's they are: nothing tells any more."""

    #: Waiting, or in flight.
    owed: int
    #: Refused by Bronto: somebody must look.
    refused: int


def erase_customer(
    email: str, *, account: str | None = None, using: str = DEFAULT_DB_ALIAS, trigger: str = "code"
) -> Erasure:
    """Erase all orders that carry the e-mail address, of one account or of all.

    However the address is written, in capitals or with blanks around it. Returns at once what was done here; the
    engine does the rest. May be called again at any time, as after a crash: what is done already is no longer found.
    Raises ValueError for an empty address.
    """
    done: Counter[str] = Counter()
    for pk in list(orders_of(email, account=account, using=using).order_by("pk").values_list("pk", flat=True)):
        # Once more by the address: it may have become somebody else's order meanwhile.
        order = _erase_row(orders_of(email, account=account, using=using).filter(pk=pk), trigger, using)
        if order is not None:
            done[order.account] += 1
    return Erasure(accounts=dict(done))


def orders_of(email: str, *, account: str | None = None, using: str = DEFAULT_DB_ALIAS) -> OrderQuerySet:
    """Return the orders that carry the e-mail address. Looks at all rows, so that none is missed for a blank."""
    if not email.strip():
        raise ValueError("an e-mail address must be given")
    orders = Order.objects.using(using).alias(bare_address=Upper(Trim("email_address")))
    found = orders.filter(bare_address=Upper(Value(email.strip())))
    return found if account is None else found.filter(account=account)


def outstanding(*, account: str | None = None, using: str = DEFAULT_DB_ALIAS) -> Outstanding:
    """Return how many deletions of erased orders Bronto has not confirmed."""
    erased = _erased(account, using)
    return Outstanding(owed=erased.owed().count(), refused=erased.refused().count())


def waiting_accounts(*, account: str | None = None, using: str = DEFAULT_DB_ALIAS) -> set[str]:
    """Return the accounts for which deletions of erased orders wait."""
    return set(_erased(account, using).owed().order_by().values_list("account", flat=True).distinct())


def _erased(account: str | None, using: str) -> TombstoneQuerySet:
    erased = Tombstone.objects.using(using).filter(kind=Tombstone.Kind.ERASED)
    return erased if account is None else erased.filter(account=account)


def _erase_row(rows: OrderQuerySet, trigger: str, using: str) -> Order | None:
    """Erase one order in a transaction of its own, if it is still there. Returns it as it was."""
    for tries_left in reversed(range(TRIES)):
        try:
            with transaction.atomic(using=using):
                order = rows.select_for_update().only(*tombstones.READ).first()
                if order is not None:
                    _erase(order, trigger, using)
            return order
        except OperationalError:
            if not tries_left or connections[using].in_atomic_block:
                raise
    return None


def _erase(order: Order, trigger: str, using: str) -> None:
    """Make the tombstone and empty the row, which is locked.

    The lease of one that is being sent is broken, so that its worker writes nothing of it back.
    """
    tombstones.bury(order, Tombstone.Kind.ERASED, trigger=trigger, using=using)
    personal.scrub(
        Order.objects.using(using).all(),
        order.pk,
        due_at=None,
        lease_token=None,
        lease_revision=None,
        attempts=0,
        flips=0,
        crashes=0,
        sync_reason=ERASED,
        sync_message=str(personal.ERASED_MESSAGE),
        sync_state=SyncState.SKIPPED,
    )
