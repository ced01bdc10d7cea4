"""What the stand-in remembers: clients, tokens, contacts, orders, returns, fired events, calls."""

from __future__ import annotations

import hashlib
import hmac
import uuid
from datetime import datetime

from django.db import models, transaction
from django.utils import timezone

from bronto_orders.sandbox.columns import AmountColumn

READ_SCOPE = "orders/carts-read"
WRITE_SCOPE = "orders/carts-write"
SCOPES = (READ_SCOPE, WRITE_SCOPE)
DEFAULT_CLIENT_ID = "sandbox"
DEFAULT_CLIENT_SECRET = "sandbox-secret"  # noqa: S105 - public, and printed in the documentation


def now() -> datetime:
    """The present time in whole milliseconds, which is what the wire can carry (C:om)."""
    moment = timezone.now()
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


class Client(models.Model):
    """A REST integration: a key, a secret and the scopes chosen when it was made (S0, D:rest)."""

    client_id = models.CharField(max_length=255, unique=True)
    secret_digest = models.CharField(max_length=64)
    scopes = models.CharField(max_length=255, default=" ".join(SCOPES))
    #: Made when the server started, so a reset keeps it.
    permanent = models.BooleanField(default=False)

    def __str__(self) -> str:
        return self.client_id

    @classmethod
    def install(
        cls, client_id: str = DEFAULT_CLIENT_ID, secret: str = DEFAULT_CLIENT_SECRET, *, using: str | None = None
    ) -> None:
        """Make this the one permanent client."""
        clients = cls.objects.using(using)
        with transaction.atomic(using=clients.db):
            clients.filter(permanent=True).exclude(client_id=client_id).delete()
            clients.update_or_create(
                client_id=client_id,
                defaults={"secret_digest": digest(secret), "scopes": " ".join(SCOPES), "permanent": True},
            )

    def knows(self, secret: str) -> bool:
        """Whether this is the client's secret."""
        return hmac.compare_digest(self.secret_digest, digest(secret))

    def allows(self, scope: str) -> bool:
        """Whether the client was given this scope."""
        return scope in self.scopes.split()


class Token(models.Model):
    """What access and refresh tokens have in common."""

    token = models.UUIDField(unique=True, default=uuid.uuid4)
    client = models.ForeignKey(Client, on_delete=models.CASCADE)
    expires_at = models.DateTimeField()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{type(self).__name__} of {self.client_id}"

    @property
    def is_expired(self) -> bool:
        return self.expires_at <= timezone.now()


class AccessToken(Token):
    """Good for an hour (S0)."""


class RefreshToken(Token):
    """Good for thirty days and for one use (S0; rotation as in C:om)."""


class Contact(models.Model):
    """Someone an order's e-mail address can belong to."""

    class Status(models.TextChoices):
        ACTIVE = "active"
        ONBOARDING = "onboarding"
        TRANSACTIONAL = "transactional"
        BOUNCE = "bounce"
        UNCONFIRMED = "unconfirmed"
        UNSUBSCRIBED = "unsubscribed"

    email_address = models.CharField(max_length=320)
    #: The address in lower case: two spellings are one contact (our choice).
    address_key = models.CharField(max_length=320, unique=True)
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.ACTIVE)
    created_at = models.DateTimeField(default=now)

    def __str__(self) -> str:
        return self.email_address


class Return(models.Model):
    """A returned order. Here it only holds its customerOrderId, which no order can then take (S2)."""

    customer_order_id = models.CharField(max_length=255, unique=True)
    created_at = models.DateTimeField(default=now)

    def __str__(self) -> str:
        return self.customer_order_id


class Order(models.Model):
    """An order as the service holds it: absent texts are NULL, absent amounts are 0 (C:om)."""

    order_id = models.UUIDField(unique=True, default=uuid.uuid4)
    customer_order_id = models.CharField(max_length=255, unique=True)
    cart_id = models.UUIDField(null=True, db_index=True)
    email_address = models.CharField(max_length=320, null=True)
    contact_id = models.TextField(null=True)
    order_date = models.DateTimeField(db_index=True)
    currency = models.CharField(max_length=3, null=True)
    processed = models.BooleanField(default=False)
    shipped = models.BooleanField(default=False)
    has_tracking = models.BooleanField(default=False)
    tracking_cookie_name = models.TextField(null=True)
    tracking_cookie_value = models.TextField(null=True)
    delivery_id = models.TextField(null=True)
    message_id = models.TextField(null=True)
    grand_total = AmountColumn()
    subtotal = AmountColumn()
    discount_amount = AmountColumn()
    tax_amount = AmountColumn()
    shipping_amount = AmountColumn()
    shipping_date = models.DateTimeField(null=True)
    shipping_details = models.TextField(null=True)
    shipping_tracking_url = models.TextField(null=True)
    origin_ip = models.CharField(max_length=45, null=True)
    origin_user_agent = models.TextField(null=True)
    order_source = models.TextField(null=True)
    #: Whether it was ever processed; "Order Is Added" belongs to the first time only (S1, newer crawl).
    was_processed = models.BooleanField(default=False)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.customer_order_id


class LineItem(models.Model):
    """One line of an order, at the place it was sent in."""

    order = models.ForeignKey(Order, related_name="line_items", on_delete=models.CASCADE)
    position = models.PositiveIntegerField()
    name = models.TextField(null=True)
    description = models.TextField(null=True)
    sku = models.TextField(null=True)
    other = models.TextField(null=True)
    category = models.TextField(null=True)
    image_url = models.TextField(null=True)
    product_url = models.TextField(null=True)
    quantity = AmountColumn()
    unit_price = AmountColumn()
    sale_price = AmountColumn()
    total_price = AmountColumn()

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["order", "position"], name="bronto_sandbox_line_position")]

    def __str__(self) -> str:
        return self.name or str(self.position)


class Event(models.Model):
    """One time the workflows fired: the customer may have been mailed once for each row."""

    class Kind(models.TextChoices):
        ORDER_ADDED = "orderAdded"
        STATE_CHANGE = "stateChange"
        FORCED = "forced"

    kind = models.CharField(max_length=16, choices=Kind.choices)
    order_id = models.UUIDField()
    customer_order_id = models.CharField(max_length=255)
    email_address = models.CharField(max_length=320, null=True)
    fired_at = models.DateTimeField(default=now)

    def __str__(self) -> str:
        return f"{self.kind} {self.customer_order_id}"


class Call(models.Model):
    """One request and its answer, with secrets and tokens masked."""

    started_at = models.DateTimeField()
    duration_ms = models.FloatField()
    method = models.CharField(max_length=16)
    path = models.TextField()
    query = models.TextField()
    request_body = models.TextField()
    #: NULL when the connection was closed without an answer.
    status = models.PositiveSmallIntegerField(null=True)
    reason = models.TextField()
    response_body = models.TextField()
    #: Whether an injected fault struck this call.
    fault = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.status}"
