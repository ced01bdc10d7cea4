"""What happens when the shop's code writes or deletes an order: the workers are woken after commit."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.db.models import Model
from django.db.models.signals import post_save, pre_delete

from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import hints, tombstones
from bronto_orders.models import LineItem, Order
from bronto_orders.signals import orders_marked


def connect() -> None:
    """Connect all receivers; a second call changes nothing."""
    # Not by sender: a shop's proxy or child of Order is an order, too.
    post_save.connect(on_saved, dispatch_uid="bronto_orders.saved")
    orders_marked.connect(on_orders_marked, dispatch_uid="bronto_orders.orders_marked")
    for model in apps.get_models():
        # By sender: a listener to all models' deletions would cost each of them Django's fast way. A child of Order has
        # its parent's signal.
        if model._meta.concrete_model is Order:
            pre_delete.connect(on_deleted, sender=model, dispatch_uid="bronto_orders.deleted")


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


def on_deleted(sender: type[Model], instance: Model, *, using: str, **kwargs: Any) -> None:
    """Have the order deleted at Bronto as well, if the settings say so; in the transaction that deletes it here."""
    if bronto_settings.privacy.on_delete == "delete":
        tombstones.bury_deleted(instance.pk, using=using)


def on_orders_marked(sender: type[Order], *, using: str, **kwargs: Any) -> None:
    """Wake all accounts' workers: a bulk write may have touched any of them."""
    hints.wake_after_commit(None, using=using)
