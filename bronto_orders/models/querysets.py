from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from django.db import connections, transaction
from django.db.models import F, Q, QuerySet

from bronto_orders import signals
from bronto_orders.models import newborn
from bronto_orders.models.deliverable import DELIVERY_COLUMNS, MARKS, SyncState
from bronto_orders.models.functions import DbNow

if TYPE_CHECKING:
    from bronto_orders.models.order import LineItem, Order

#: How many keys one statement names; SQLite takes no more than 999 parameters in old builds.
CHUNK = 500


def writing(queryset: QuerySet[Any]) -> str:
    """Return the alias of the database that the queryset writes to, and let it read there too from now on."""
    queryset._for_write = True  # type: ignore[attr-defined]
    return queryset.db


def one_transaction(using: str) -> AbstractContextManager[Any]:
    """Open a transaction unless one is open.

    No nested block: an error that the shop catches inside its own transaction must not spoil that.
    """
    return nullcontext() if connections[using].in_atomic_block else transaction.atomic(using=using)


class OrderQuerySet(QuerySet["Order"]):
    """Orders. Every write marks what it changes; writes of delivery columns alone mark nothing."""

    def update(self, **kwargs: Any) -> int:
        """Update, and mark in the same statement. Wakes the workers after commit."""
        using = writing(self)
        if kwargs.keys() <= DELIVERY_COLUMNS:
            newborn.forget(using)
            return super().update(**kwargs)
        rows = super().update(**kwargs, **{name: mark for name, mark in MARKS.items() if name not in kwargs})
        signals.orders_marked.send_robust(self.model, using=using)
        return rows

    def bulk_create(self, objs: Iterable[Order], *args: Any, **kwargs: Any) -> list[Order]:
        """Insert orders, marked from birth; with ``update_conflicts``, mark those that were there already."""
        using = writing(self)
        orders = list(objs)
        for order in orders:
            order.before_insert()
        if kwargs.get("update_fields"):
            kwargs["update_fields"] = shops_own(kwargs["update_fields"])
        with one_transaction(using):
            created = super().bulk_create(orders, *args, **kwargs)
            if kwargs.get("update_conflicts"):
                self._mark_same_numbers(orders)
            elif not kwargs.get("ignore_conflicts"):
                for order in created:
                    newborn.remember(order.pk, using)
        signals.orders_marked.send_robust(self.model, using=using)
        return created

    def bulk_update(self, objs: Iterable[Order], fields: Iterable[str], batch_size: int | None = None) -> int:
        """Update the shop's columns among ``fields``, and mark."""
        return super().bulk_update(objs, shops_own(fields), batch_size=batch_size)

    def _mark_same_numbers(self, orders: Iterable[Order]) -> None:
        numbers: dict[str, list[str]] = {}
        for order in orders:
            numbers.setdefault(order.account, []).append(order.customer_order_id)
        for account, of_account in numbers.items():
            self.model.objects.using(self.db).filter(account=account, customer_order_id__in=of_account).mark()

    def mark(self) -> int:
        """Mark these orders as changed. Returns how many there were."""
        return super().update(**MARKS)

    mark.alters_data = True  # type: ignore[attr-defined]

    def mark_changed(self, orders: QuerySet[Order] | None = None) -> int:
        """Mark orders as changed after a write that this app cannot see, such as raw SQL, and wake the workers.

        ``Order.objects.mark_changed(Order.objects.filter(…))`` marks the orders given,
        ``Order.objects.filter(…).mark_changed()`` the queryset itself. Returns how many were marked.
        """
        changed = self if orders is None else orders
        using = writing(changed)
        marked: int = changed.mark()  # type: ignore[attr-defined]
        signals.orders_marked.send_robust(self.model, using=using)
        return marked

    mark_changed.alters_data = True  # type: ignore[attr-defined]

    def owed(self) -> OrderQuerySet:
        """Orders that are to be delivered, now or later, those in flight included."""
        return self.filter(due_at__isnull=False)

    def due(self) -> OrderQuerySet:
        """Orders that may be claimed now, by the database's clock: not leased, not backing off, not settling."""
        settled = Q(settle_until=None) | Q(settle_until__lte=DbNow())
        return self.filter(settled, due_at__lte=DbNow())

    def resync(self, *, options: dict[str, Any], force: bool) -> int:
        """Make orders at rest due now although nothing has changed. Returns how many there were.

        ``options`` go with the push of the revision that this makes, and with no other. With ``force``, the push
        happens even when Bronto has acknowledged the very same content.
        """
        forced = {"last_sent_hash": ""} if force else {}
        return self.filter(due_at=None).update(
            resync_revision=F("revision") + 1,
            resync_options=options,
            revision=F("revision") + 1,
            due_at=DbNow(),
            sync_state=SyncState.PENDING,
            sync_reason="",
            sync_message="",
            attempts=0,
            flips=0,
            **forced,
        )

    resync.alters_data = True  # type: ignore[attr-defined]

    def hasten(self) -> int:
        """Let orders that wait for a later try be tried now. Returns how many there were."""
        return self.filter(due_at__gt=DbNow(), lease_token=None).update(due_at=DbNow())

    hasten.alters_data = True  # type: ignore[attr-defined]


def shops_own(fields: Iterable[str]) -> list[str]:
    """Return the fields without the delivery columns, whose values in memory may be out of date."""
    return [name for name in fields if name not in DELIVERY_COLUMNS]


class LineItemQuerySet(QuerySet["LineItem"]):
    """Line items. Every write marks the orders that they belong to, in the same transaction."""

    def update(self, **kwargs: Any) -> int:
        """Update, and mark the items' orders; those that items are moved to as well."""
        with one_transaction(writing(self)):
            moved = list(self.values_list("pk", flat=True)) if kwargs.keys() & {"order", "order_id"} else []
            rows = sum(QuerySet.update(part, **kwargs) for part in self._by_marked_orders())
            for start in range(0, len(moved), CHUNK):
                self.model.objects.using(self.db).filter(pk__in=moved[start : start + CHUNK])._mark_orders()
        return rows

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete, and mark the items' orders."""
        deleted: Counter[str] = Counter()
        with one_transaction(writing(self)):
            for part in self._by_marked_orders():
                deleted.update(QuerySet.delete(part)[1])
        return deleted.total(), dict(deleted)

    delete.queryset_only = True  # type: ignore[attr-defined]

    def bulk_create(self, objs: Iterable[LineItem], *args: Any, **kwargs: Any) -> list[LineItem]:
        """Insert items, and mark their orders."""
        items = list(objs)
        with one_transaction(writing(self)):
            mark_orders({item.order_id for item in items}, self.db)
            return super().bulk_create(items, *args, **kwargs)

    def _mark_orders(self) -> list[Any]:
        pks = sorted(set(self.order_by().values_list("order_id", flat=True)))
        mark_orders(pks, self.db)
        return pks

    def _by_marked_orders(self) -> list[LineItemQuerySet]:
        """Mark the items' orders, and return these items in parts.

        Only items of orders that were marked: one that somebody adds to another order in between is not touched.
        """
        pks = self._mark_orders()
        return [self.filter(order_id__in=pks[start : start + CHUNK]) for start in range(0, len(pks), CHUNK)]


def mark_orders(pks: Collection[Any], using: str) -> None:
    """Mark the orders of line items that are about to be written, but for those that this transaction has inserted.

    Before the items are written, not after: writing an item makes MariaDB lock its order for reading, and two
    transactions that both want to write the order after that would wait for each other.
    """
    from bronto_orders.models.order import Order

    known = {Order._meta.pk.to_python(pk) for pk in pks}
    older = sorted(pk for pk in known if not newborn.includes(pk, using))
    for start in range(0, len(older), CHUNK):
        Order.objects.using(using).filter(pk__in=older[start : start + CHUNK]).mark()
    if older:
        signals.orders_marked.send_robust(Order, using=using)
