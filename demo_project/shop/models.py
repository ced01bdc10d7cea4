from __future__ import annotations

from django.db import models
from django.urls import reverse
from django.utils import timezone

from bronto_orders.models import Order, SyncState

FIRST_NUMBER = 1001


class Product(models.Model):
    name = models.CharField(max_length=100)
    slug = models.SlugField(unique=True)
    sku = models.CharField("SKU", max_length=40, unique=True)
    category = models.CharField(max_length=40)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    summary = models.CharField(max_length=200)
    description = models.TextField()
    #: A file under static/pictures.
    picture = models.CharField(max_length=60)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("shop:product", args=[self.slug])

    @property
    def picture_path(self) -> str:
        return f"pictures/{self.picture}"


class Purchase(models.Model):
    """The shop's own order. Bronto's copy is made from it, by its number."""

    email = models.EmailField("e-mail address")
    name = models.CharField(max_length=100)
    currency = models.CharField(max_length=3, default="USD")
    subtotal = models.DecimalField(max_digits=10, decimal_places=2)
    shipping = models.DecimalField(max_digits=10, decimal_places=2)
    tax = models.DecimalField(max_digits=10, decimal_places=2)
    total = models.DecimalField(max_digits=10, decimal_places=2)
    placed_at = models.DateTimeField(default=timezone.now)
    shipped_at = models.DateTimeField(null=True, blank=True)
    parcel_url = models.URLField("parcel tracking", blank=True, default="")
    #: The order that is sent to Bronto; none once staff have deleted it.
    mirror = models.OneToOneField(Order, on_delete=models.SET_NULL, null=True, editable=False)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return self.number

    def get_absolute_url(self) -> str:
        return reverse("shop:thanks", args=[self.pk])

    @property
    def number(self) -> str:
        return f"DEMO-{self.pk + FIRST_NUMBER - 1}"

    @property
    def seconds_to_bronto(self) -> float | None:
        """How long Bronto's last acknowledgement took, counted from the purchase or, once it has left, the parcel."""
        if self.mirror is None or self.mirror.sync_state != SyncState.SYNCED or self.mirror.synced_at is None:
            return None
        return (self.mirror.synced_at - (self.shipped_at or self.placed_at)).total_seconds()


class PurchaseLine(models.Model):
    purchase = models.ForeignKey(Purchase, on_delete=models.CASCADE, related_name="lines")
    product = models.ForeignKey(Product, on_delete=models.PROTECT)
    quantity = models.PositiveSmallIntegerField()
    #: What was charged for one, whatever the product costs later.
    price = models.DecimalField(max_digits=8, decimal_places=2)
    total = models.DecimalField(max_digits=10, decimal_places=2)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.quantity} x {self.product}"
