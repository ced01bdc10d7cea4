"""Which orders were inserted by the transaction that is open on a connection.

Such an order is marked from birth and nobody else can see it yet, so that its line items need not mark it again: an
order and its items cost the same queries as plain models would.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

# Django replaces the list of commit hooks whenever a transaction ends or a savepoint is rolled back; a set that was
# made for another list is therefore out of date.
_newborn: WeakKeyDictionary[BaseDatabaseWrapper, tuple[object, set[object]]] = WeakKeyDictionary()


def _current(using: str) -> set[object] | None:
    connection = connections[using]
    hooks, pks = _newborn.get(connection, (None, None))
    return pks if hooks is connection.run_on_commit else None


def remember(pk: object, using: str) -> None:
    """Note that the open transaction has inserted an order. Outside a transaction there is nothing to note."""
    connection = connections[using]
    if not connection.in_atomic_block:
        return
    pks = _current(using)
    if pks is None:
        pks = set()
        _newborn[connection] = (connection.run_on_commit, pks)
    pks.add(pk)


def includes(pk: object, using: str) -> bool:
    """Tell whether the open transaction has inserted this order and nobody has touched its delivery columns since."""
    pks = _current(using)
    return pks is not None and pk in pks


def forget(using: str) -> None:
    """Forget all, because delivery columns were written in the same transaction."""
    _newborn.pop(connections[using], None)
