from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.db import DEFAULT_DB_ALIAS, models, router
from django.db.models import F, Q
from django.db.models.functions import Upper
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from bronto_orders import tracking
from bronto_orders.models import newborn
from bronto_orders.models.deliverable import PARKED, Deliverable, SyncState
from bronto_orders.models.querysets import LineItemQuerySet, OrderQuerySet, mark_orders, one_transaction

AMOUNT: dict[str, Any] = {"max_digits": 19, "decimal_places": 4, "null": True, "blank": True}
LINK_LENGTH = 2000
#: What the shop keeps to itself of an order's tracking.
ATTRIBUTION_COLUMNS = frozenset({"attribution_source", "attribution_seen_at", "attribution_note"})
#: Orders of which the shop does not know the e-mail that caused them.
UNTRACKED = Q(tid="", tracking_cookie_value="")


class Order(Deliverable):
    """An order as the shop tells it, and beside it what Bronto has acknowledged of it.

    Saving, by whatever road, marks the row as owed to Bronto in the same statement. Empty text and None mean that the
    shop says nothing; a value that was sent once and is emptied later is cleared at Bronto too.
    """

    #: A key of the ACCOUNTS setting.
    account = models.CharField(_("account"), max_length=64, default="default")
    #: The shop's own order number. Bronto never changes it, so neither should the shop.
    customer_order_id = models.CharField(_("order number"), max_length=255)
    email_address = models.EmailField(_("e-mail address"), blank=True, default="")
    contact_id = models.CharField(_("contact ID"), max_length=255, blank=True, default="")
    #: Between 2000-01-01 and five years ahead (S1, S2).
    order_date = models.DateTimeField(_("order date"), default=timezone.now, null=True, blank=True)
    #: ISO 4217 code; amounts are rounded to its minor unit.
    currency = models.CharField(_("currency"), max_length=3, blank=True, default="")
    #: After discount, tax and shipping.
    grand_total = models.DecimalField(_("grand total"), **AMOUNT)
    #: Before discount, tax and shipping.
    subtotal = models.DecimalField(_("subtotal"), **AMOUNT)
    #: Positive for a reduction; Bronto documents no sign.
    discount_amount = models.DecimalField(_("discount"), **AMOUNT)
    tax_amount = models.DecimalField(_("tax"), **AMOUNT)
    shipping_amount = models.DecimalField(_("shipping"), **AMOUNT)
    shipping_date = models.DateTimeField(_("shipping date"), null=True, blank=True)
    shipping_details = models.TextField(_("shipping details"), blank=True, default="")
    shipping_tracking_url = models.URLField(_("shipping tracking URL"), max_length=LINK_LENGTH, blank=True, default="")
    origin_ip = models.GenericIPAddressField(_("client address"), null=True, blank=True)
    origin_user_agent = models.TextField(_("user agent"), blank=True, default="")
    message_id = models.CharField(_("message ID"), max_length=255, blank=True, default="")
    delivery_id = models.CharField(_("delivery ID"), max_length=255, blank=True, default="")
    cart_id = models.UUIDField(_("cart ID"), null=True, blank=True)
    #: Bronto's enhanced attribution counts only orders whose source is ``WEBSITE``.
    order_source = models.CharField(_("order source"), max_length=64, blank=True, default="")
    #: Bronto takes it and never gives it back (H:obj): this is the only record of it.
    tid = models.CharField(_("tracking ID"), max_length=255, blank=True, default="")
    tracking_cookie_name = models.CharField(_("tracking cookie name"), max_length=255, blank=True, default="")
    tracking_cookie_value = models.CharField(_("tracking cookie value"), max_length=1024, blank=True, default="")
    #: How the order came by its tracking, and why it has none: codes such as those of ``tracking.Source`` and
    #: ``tracking.Note``, filled when the order is created, and never sent.
    attribution_source = models.CharField(_("attributed by"), max_length=32, blank=True, default="", editable=False)
    #: When the shop saw the click, or the cookie that remembers it.
    attribution_seen_at = models.DateTimeField(_("click seen"), null=True, blank=True, editable=False)
    attribution_note = models.CharField(
        _("not attributed because"), max_length=32, blank=True, default="", editable=False
    )
    #: Only processed orders count in Bronto's revenue figures.
    processed = models.BooleanField(_("processed"), default=False)
    shipped = models.BooleanField(_("shipped"), default=False)

    objects = OrderQuerySet.as_manager()

    class Meta(Deliverable.Meta):
        abstract = False
        verbose_name = _("order")
        verbose_name_plural = _("orders")
        base_manager_name = "objects"
        constraints = [
            *Deliverable.Meta.constraints,
            models.UniqueConstraint(fields=["account", "customer_order_id"], name="bronto_orders_order_number_unique"),
            models.CheckConstraint(condition=~Q(customer_order_id=""), name="bronto_orders_order_number_given"),
        ]
        indexes = [
            models.Index(
                fields=["account", "bulk", "due_at"], condition=Q(due_at__isnull=False), name="bronto_orders_due"
            ),
            # The rest serve the admin's list at a million orders. Each push writes a row twice and each full index
            # with it, so there is one only where staff search or a range is asked for; those of what is rare are
            # partial and cost the others nothing. The key comes last because the list shows the newest first.
            models.Index(
                fields=["sync_state", "id"], condition=~Q(sync_state=SyncState.SYNCED), name="bronto_orders_unsynced"
            ),
            models.Index(fields=["sync_reason", "id"], condition=~Q(sync_reason=""), name="bronto_orders_reason"),
            # As expressions, which MariaDB does not index: it knows no conditions either, and a second index on the key
            # alone would be locked in place of the first by some updates, and come to deadlocks.
            models.Index(F("id").desc(), condition=Q(has_tracking=True), name="bronto_orders_tracked"),
            models.Index(F("id").desc(), condition=Q(has_tracking=False) & ~UNTRACKED, name="bronto_orders_untaken"),
            models.Index(fields=["bronto_order_id", "id"], name="bronto_orders_bronto_id"),
            models.Index(fields=["synced_at", "id"], name="bronto_orders_synced_at"),
            models.Index(fields=["order_date", "id"], name="bronto_orders_order_date"),
            # Numbers are found by how they begin, in any collation; other databases ignore the operator class.
            models.Index(fields=["customer_order_id"], opclasses=["varchar_pattern_ops"], name="bronto_orders_number"),
            # As ``iexact`` asks on PostgreSQL.
            models.Index(Upper("email_address"), name="bronto_orders_email"),
            models.Index(
                fields=["resync_run", "id"], condition=Q(resync_run__isnull=False), name="bronto_orders_of_run"
            ),
            models.Index(
                fields=["sync_state", "account", "sync_reason"], condition=PARKED, name="bronto_orders_parked"
            ),
        ]
        permissions = [
            ("resync_order", _("Can send orders to Bronto again")),
            ("view_diff", _("Can compare orders with Bronto")),
            ("view_personal_data", _("Can see personal data of orders")),
            ("erase_customer", _("Can erase customers, here and at Bronto")),
        ]

    def __str__(self) -> str:
        return self.customer_order_id

    @property
    def status(self) -> str:
        """Bronto's older word for ``processed``. On the wire, only ``states`` is sent."""
        return "PROCESSED" if self.processed else "PENDING"

    def before_insert(self) -> None:
        """Take what the current request knows of the customer's way here into fields left empty."""
        tracking.fill(self)

    def save_base(self, raw: bool = False, *args: Any, **kwargs: Any) -> None:  # noqa: FBT001, FBT002
        inserting = self._state.adding
        if inserting and not raw:
            self.before_insert()
        super().save_base(raw, *args, **kwargs)
        if inserting:
            newborn.remember(self.pk, self._state.db or DEFAULT_DB_ALIAS)
            tracking.announce(self._state.db or DEFAULT_DB_ALIAS)


class LineItem(models.Model):
    """One line of an order. Writing it marks the order as changed."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="line_items", verbose_name=_("order"))
    #: Sorts the lines; Bronto numbers them from 0 in the order sent.
    position = models.PositiveIntegerField(_("position"), default=0)
    name = models.CharField(_("name"), max_length=1000, blank=True, default="")
    description = models.TextField(_("description"), blank=True, default="")
    sku = models.CharField(_("SKU"), max_length=255, blank=True, default="")
    #: Free text.
    other = models.TextField(_("other"), blank=True, default="")
    category = models.CharField(_("category"), max_length=1000, blank=True, default="")
    image_url = models.URLField(_("image URL"), max_length=LINK_LENGTH, blank=True, default="")
    product_url = models.URLField(_("product URL"), max_length=LINK_LENGTH, blank=True, default="")
    quantity = models.DecimalField(_("quantity"), max_digits=12, decimal_places=3, default=Decimal(1))
    #: List price of one.
    unit_price = models.DecimalField(_("unit price"), **AMOUNT)
    #: Price paid for one.
    sale_price = models.DecimalField(_("sale price"), **AMOUNT)
    #: Price paid for the line.
    total_price = models.DecimalField(_("total"), **AMOUNT)

    objects = LineItemQuerySet.as_manager()

    class Meta:
        verbose_name = _("line item")
        verbose_name_plural = _("line items")
        base_manager_name = "objects"
        ordering = ["position", "pk"]

    def __str__(self) -> str:
        return self.name or self.sku

    def save_base(
        self,
        raw: bool = False,  # noqa: FBT001, FBT002 - Django's signature
        force_insert: Any = False,  # noqa: FBT002
        force_update: bool = False,  # noqa: FBT001, FBT002
        using: str | None = None,
        update_fields: Any = None,
    ) -> None:
        using = using or router.db_for_write(type(self), instance=self)
        owners = {self.order_id, *self._stored_owner(using)}
        if all(newborn.includes(Order._meta.pk.to_python(pk), using) for pk in owners):
            super().save_base(raw, force_insert, force_update, using, update_fields)
            return
        with one_transaction(using):
            mark_orders(owners, using)
            super().save_base(raw, force_insert, force_update, using, update_fields)

    def _stored_owner(self, using: str) -> list[Any]:
        """Return the order that the row belongs to in the database, if there is a row: the item may have been moved."""
        if self._state.adding:
            return []
        stored = type(self).objects.using(using).filter(pk=self.pk)
        return list(stored.order_by().values_list("order_id", flat=True))

    def delete(self, using: Any = None, keep_parents: bool = False) -> tuple[int, dict[str, int]]:  # noqa: FBT001, FBT002
        using = using or router.db_for_write(type(self), instance=self)
        with one_transaction(using):
            mark_orders(self._stored_owner(using), using)
            return super().delete(using=using, keep_parents=keep_parents)
