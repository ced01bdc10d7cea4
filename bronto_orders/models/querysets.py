from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from django.db import connections, transaction
from django.db.models import Exists, F, Q, QuerySet

from bronto_orders import signals, tracking
from bronto_orders.models import newborn
from bronto_orders.models.deliverable import DELIVERY_COLUMNS, IGNORED_BY_STAFF, MARKS, Presence, SyncState
from bronto_orders.models.functions import DbNow
from bronto_orders.models.tombstone import Tombstone

if TYPE_CHECKING:
    from bronto_orders.models.order import LineItem, Order
    from bronto_orders.models.resync import ResyncRun

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
        if rows:
            signals.orders_marked.send_robust(self.model, using=using)
        return rows

    def scrub(self, **columns: Any) -> int:
        """Update without a mark, so that nothing is sent because of it. Returns how many there were."""
        newborn.forget(writing(self))
        return super().update(**columns)

    scrub.alters_data = True  # type: ignore[attr-defined]

    def bulk_create(
        self,
        objs: Iterable[Order],
        batch_size: int | None = None,
        ignore_conflicts: bool = False,  # noqa: FBT001, FBT002 - Django's signature
        update_conflicts: bool = False,  # noqa: FBT001, FBT002
        update_fields: Collection[str] | None = None,
        unique_fields: Collection[str] | None = None,
    ) -> list[Order]:
        """Insert orders, marked from birth; with ``update_conflicts``, mark those that were there already."""
        using = writing(self)
        orders = list(objs)
        for order in orders:
            order.before_insert()
        keys = [(order.pk, order.account, order.customer_order_id) for order in orders]
        with one_transaction(using):
            created = super().bulk_create(
                orders,
                batch_size,
                ignore_conflicts,
                update_conflicts,
                shops_own(update_fields) if update_fields else update_fields,
                unique_fields,
            )
            if update_conflicts:
                self._mark_keys(keys)
            elif not ignore_conflicts:
                for order in created:
                    newborn.remember(order.pk, using)
        if orders:
            tracking.announce(using)
            signals.orders_marked.send_robust(self.model, using=using)
        return created

    def bulk_update(self, objs: Iterable[Order], fields: Iterable[str], batch_size: int | None = None) -> int:
        """Update the shop's columns among ``fields``, and mark. Without any of these, write nothing."""
        fields = list(fields)
        shop = shops_own(fields)
        return 0 if fields and not shop else super().bulk_update(objs, shop, batch_size=batch_size)

    def _mark_keys(self, keys: list[tuple[Any, str, str]]) -> None:
        """Mark orders with one of these primary keys, or one of these accounts and numbers."""
        for start in range(0, len(keys), CHUNK // 2):
            part = keys[start : start + CHUNK // 2]
            same = Q(pk__in=[pk for pk, _account, _number in part if pk is not None])
            for name in {account for _pk, account, _number in part}:
                numbers = [number for _pk, account, number in part if account == name]
                same |= Q(account=name, customer_order_id__in=numbers)
            self.model.objects.using(self.db).filter(same).mark()

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
        if marked:
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

    def accounts_due(self, among: Collection[str]) -> list[str]:
        """Return those of these accounts that have orders which may be claimed now, by name."""
        # Both values of bulk are named, or MariaDB, which has no partial index, reads all orders.
        due = self.due().filter(account__in=among, bulk__in=[False, True])
        return sorted(due.order_by().values_list("account", flat=True).distinct())

    def resync(self, *, options: dict[str, Any], force: bool, run: ResyncRun | None = None) -> int:
        """Make orders at rest due now although nothing has changed. Returns how many there were.

        ``options`` go with the push of the revision that this makes, and with no other. With ``force``, the push
        happens even when Bronto has acknowledged the very same content. ``run`` counts what becomes of them.
        """
        forced = {"last_sent_hash": ""} if force else {}
        return self.filter(due_at=None).update(
            resync_revision=F("revision") + 1,
            resync_options=options,
            resync_run=run,
            bulk=True,
            revision=F("revision") + 1,
            due_at=DbNow(),
            sync_state=SyncState.PENDING,
            sync_reason="",
            sync_message="",
            attempts=0,
            flips=0,
            crashes=0,
            **forced,
        )

    resync.alters_data = True  # type: ignore[attr-defined]

    def ignore(self, message: str) -> int:
        """Let orders that are owed or have failed rest for good; those that a worker holds are left alone.

        So are those of erased customers: what is brought back of them must be emptied. Returns how many there were.
        """
        erased = Tombstone.objects.filter(kind=Tombstone.Kind.ERASED).over_orders()
        waiting = Q(sync_state=SyncState.PENDING) | Q(sync_state__in=SyncState.parked())
        return self.filter(~Exists(erased), waiting, lease_token=None).update(
            sync_reason=IGNORED_BY_STAFF,
            sync_message=message,
            due_at=None,
            attempts=0,
            flips=0,
            crashes=0,
            sync_state=SyncState.SKIPPED,
        )

    ignore.alters_data = True  # type: ignore[attr-defined]

    def ignored(self) -> OrderQuerySet:
        """Orders that staff have marked as ignored."""
        return self.filter(sync_state=SyncState.SKIPPED, sync_reason=IGNORED_BY_STAFF)

    def take_back(self, run: ResyncRun) -> int:
        """Let orders rest again that the run has queued and nobody has tried. Returns how many there were.

        Only those that Bronto had acknowledged in full before: all others are owed anyway.
        """
        untried = self.filter(
            resync_run=run,
            resync_revision=F("revision"),
            acked_revision=F("revision") - 1,
            sync_state=SyncState.PENDING,
            presence=Presence.PRESENT,
            lease_token=None,
            settle_until=None,
            attempts=0,
        )
        return untried.update(acked_revision=F("revision"), due_at=None, resync_run=None, sync_state=SyncState.SYNCED)

    take_back.alters_data = True  # type: ignore[attr-defined]

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
            orders = self._lock_orders()
            rows = sum(QuerySet.update(part, **kwargs) for part in self._of(orders))
            for start in range(0, len(moved), CHUNK):
                items = self.model.objects.using(self.db).filter(pk__in=moved[start : start + CHUNK])
                orders.update(items.order_by().values_list("order_id", flat=True))
            mark_orders(orders, self.db)
        return rows

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete, and mark the items' orders."""
        deleted: Counter[str] = Counter()
        with one_transaction(writing(self)):
            orders = self._lock_orders()
            for part in self._of(orders):
                deleted.update(QuerySet.delete(part)[1])
            mark_orders(orders, self.db)
        return deleted.total(), dict(deleted)

    delete.queryset_only = True  # type: ignore[attr-defined]

    def scrub(self, **columns: Any) -> int:
        """Update without a mark, as ``OrderQuerySet.scrub``."""
        return super().update(**columns)

    scrub.alters_data = True  # type: ignore[attr-defined]

    def bulk_create(
        self,
        objs: Iterable[LineItem],
        batch_size: int | None = None,
        ignore_conflicts: bool = False,  # noqa: FBT001, FBT002 - Django's signature
        update_conflicts: bool = False,  # noqa: FBT001, FBT002
        update_fields: Collection[str] | None = None,
        unique_fields: Collection[str] | None = None,
    ) -> list[LineItem]:
        """Insert items, and mark their orders; with ``update_conflicts``, also those of items that were there."""
        items = list(objs)
        with one_transaction(writing(self)):
            orders = {item.order_id for item in items}
            there = [item.pk for item in items if item.pk] if update_conflicts else []
            for start in range(0, len(there), CHUNK):
                stored = self.model.objects.using(self.db).filter(pk__in=there[start : start + CHUNK])
                orders.update(stored.order_by().values_list("order_id", flat=True))
            mark_orders(orders, self.db)
            return super().bulk_create(
                items, batch_size, ignore_conflicts, update_conflicts, update_fields, unique_fields
            )

    def _lock_orders(self) -> set[Any]:
        """Lock the items' orders and return their keys.

        Locked before the items are written, for the reason that ``mark_orders`` gives, and marked after: what a mark
        changes may be what selects the items, as in ``filter(order__sync_state="synced")``.
        """
        from bronto_orders.models.order import Order

        orders = Order.objects.using(self.db).filter(pk__in=self.order_by().values("order_id")).order_by("pk")
        return set(orders.select_for_update().values_list("pk", flat=True))

    def _of(self, orders: Collection[Any]) -> Iterator[LineItemQuerySet]:
        """Yield these items in parts.

        Only items of orders that are locked: one that somebody adds to another order in between is not touched.
        """
        pks = sorted(orders)
        for start in range(0, len(pks), CHUNK):
            yield self.filter(order_id__in=pks[start : start + CHUNK])


def mark_orders(pks: Collection[Any], using: str) -> None:
    """Mark the orders of line items that are written, but for those that this transaction has inserted.

    The orders are marked or locked before the items are written: writing an item makes MariaDB lock its order for
    reading, and two transactions that both want to write the order after that would wait for each other.
    """
    from bronto_orders.models.order import Order

    known = {Order._meta.pk.to_python(pk) for pk in pks}
    older = sorted(pk for pk in known if not newborn.includes(pk, using))
    for start in range(0, len(older), CHUNK):
        Order.objects.using(using).filter(pk__in=older[start : start + CHUNK]).mark()
    if older:
        signals.orders_marked.send_robust(Order, using=using)
