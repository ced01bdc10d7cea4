"""What happens when the shop's code writes an order: the workers are woken after commit."""

from __future__ import annotations

from typing import Any

from django.db.models import Model
from django.db.models.signals import post_save

from bronto_orders.delivery import hints
from bronto_orders.models import LineItem, Order
from bronto_orders.signals import orders_marked


def connect() -> None:
    """Connect all receivers; a second call changes nothing."""
    # Not by sender: a shop's proxy or child of Order is an order, too.
    post_save.connect(on_saved, dispatch_uid="bronto_orders.saved")
    orders_marked.connect(on_orders_marked, dispatch_uid="bronto_orders.orders_marked")


def on_saved(sender: type[Model], instance: Model, *, raw: bool, using: str, **kwargs: Any) -> None:
    """Wake the account's workers once an order is committed; mark orders that a fixture brings, or items of which."""
    if isinstance(instance, Order):
        if raw:
            # A fixture holds delivery columns of another time or place: the row is marked, and nothing is sent from
            # within the load.
            Order.objects.using(using).filter(pk=instance.pk).mark()
        else:
            hints.wake_after_commit(instance.account, using=using)
    elif raw and isinstance(instance, LineItem):
        # The model's own marking is not called then.
        Order.objects.using(using).filter(pk=instance.order_id).mark()


def on_orders_marked(sender: type[Order], *, using: str, **kwargs: Any) -> None:
    """Wake all accounts' workers: a bulk write may have touched any of them."""
    hints.wake_after_commit(None, using=using)
