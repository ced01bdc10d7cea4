"""What happens when the shop's code writes an order: the workers are woken after commit."""

from __future__ import annotations

from typing import Any

from django.db.models.signals import post_save

from bronto_orders.delivery import hints
from bronto_orders.models import LineItem, Order
from bronto_orders.signals import orders_marked


def connect() -> None:
    """Connect all receivers; a second call changes nothing."""
    post_save.connect(on_order_saved, sender=Order, dispatch_uid="bronto_orders.order_saved")
    post_save.connect(on_item_loaded, sender=LineItem, dispatch_uid="bronto_orders.item_loaded")
    orders_marked.connect(on_orders_marked, dispatch_uid="bronto_orders.orders_marked")


def on_order_saved(sender: type[Order], instance: Order, *, raw: bool, using: str, **kwargs: Any) -> None:
    """Wake the account's workers once the order is committed."""
    if raw:
        # A fixture holds delivery columns of another time or place: the row is marked, and nothing is sent from
        # within the load.
        Order.objects.using(using).filter(pk=instance.pk).mark()
        return
    hints.wake_after_commit(instance.account, using=using)


def on_item_loaded(sender: type[LineItem], instance: LineItem, *, raw: bool, using: str, **kwargs: Any) -> None:
    """Mark the order of an item that a fixture brings; the model's own marking is not called then."""
    if raw:
        Order.objects.using(using).filter(pk=instance.order_id).mark()


def on_orders_marked(sender: type[Order], *, using: str, **kwargs: Any) -> None:
    """Wake all accounts' workers: a bulk write may have touched any of them."""
    hints.wake_after_commit(None, using=using)
