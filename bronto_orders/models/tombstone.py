from __future__ import annotations

from collections.abc import Collection

from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from bronto_orders.models.functions import DbNow


class TombstoneQuerySet(models.QuerySet["Tombstone"]):
    """Tombstones."""

    def owed(self) -> TombstoneQuerySet:
        """Those whose order is still to be deleted at Bronto, those in flight included."""
        return self.filter(due_at__isnull=False)

    def due(self) -> TombstoneQuerySet:
        """Those that may be claimed now, by the database's clock."""
        return self.filter(due_at__lte=DbNow())

    def refused(self) -> TombstoneQuerySet:
        """Those whose deletion Bronto has refused; they wait for a person."""
        return self.filter(due_at=None, done_at=None)

    def overtaken(self) -> TombstoneQuerySet:
        """Refused ones whose number an order of the shop has again, which would be the one to go."""
        from bronto_orders.models.order import Order

        same = Order.objects.filter(account=OuterRef("account"), customer_order_id=OuterRef("customer_order_id"))
        return self.refused().filter(Exists(same), kind=Tombstone.Kind.DELETED)

    def in_force(self) -> TombstoneQuerySet:
        """Those under which no order may be sent."""
        return self.filter(Q(kind=Tombstone.Kind.ERASED) | Q(due_at__isnull=False))

    def over_orders(self) -> TombstoneQuerySet:
        """Those of an outer query's orders."""
        return self.filter(account=OuterRef("account"), customer_order_id=OuterRef("customer_order_id"))

    def accounts_due(self, among: Collection[str]) -> list[str]:
        """Return those of these accounts that have deletions which may be claimed now."""
        return list(self.due().filter(account__in=among).order_by().values_list("account", flat=True).distinct())

    def retry(self) -> int:
        """Try again what was refused and has not been overtaken. Returns how many there were."""
        overtaken = self.overtaken().values_list("pk", flat=True)
        return self.refused().exclude(pk__in=list(overtaken)).update(due_at=DbNow(), attempts=0, message="")

    retry.alters_data = True  # type: ignore[attr-defined]


class Tombstone(models.Model):
    """An order that is to be gone at Bronto, whether or not the shop still has a row of it. Holds no personal data.

    The row is the queue, as that of an order: the deletion is owed because ``due_at`` is set. Without it, it is done,
    or else refused.
    """

    class Kind(models.TextChoices):
        #: For good: no order with this number is sent again.
        ERASED = "erased", _("customer erased")
        #: An order with this number may be sent once the deletion is done.
        DELETED = "deleted", _("deleted by the shop")

    account = models.CharField(_("account"), max_length=64)
    customer_order_id = models.CharField(_("order number"), max_length=255)
    #: Empty if it is not known, and once nothing is left under it; the order's number serves then.
    bronto_order_id = models.CharField(_("Bronto ID"), max_length=64, blank=True, default="")
    kind = models.CharField(_("cause"), max_length=8, choices=Kind.choices)
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    #: What caused it, as of a ``SyncAttempt``.
    trigger = models.CharField(_("trigger"), max_length=200)
    #: When to try next, or the end of the lease; None when nothing is owed.
    due_at = models.DateTimeField(_("next try"), null=True, blank=True)
    lease_token = models.UUIDField(null=True, blank=True, editable=False)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    #: What the last try came to, if it was not the end.
    message = models.TextField(_("explanation"), blank=True, default="")
    #: When Bronto confirmed that the order is gone.
    done_at = models.DateTimeField(_("done"), null=True, blank=True)

    objects = TombstoneQuerySet.as_manager()

    class Meta:
        verbose_name = _("deletion at Bronto")
        verbose_name_plural = _("deletions at Bronto")
        ordering = ["-pk"]
        default_permissions = ["view"]
        constraints = [
            models.UniqueConstraint(fields=["account", "customer_order_id"], name="bronto_orders_tombstone_unique"),
            models.CheckConstraint(
                name="bronto_orders_tombstone_owed_or_done", condition=Q(due_at=None) | Q(done_at=None)
            ),
        ]
        indexes = [
            models.Index(
                fields=["account", "due_at"], condition=Q(due_at__isnull=False), name="bronto_orders_tombstone_due"
            ),
        ]

    def __str__(self) -> str:
        return self.customer_order_id
