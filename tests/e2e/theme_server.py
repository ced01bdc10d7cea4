"""A shop with three orders, whose admin has a theme: a process of its own, as a theme is an installed app.

Needs a fresh file of SQLite in BRONTO_TEST_DATABASE_NAME, and BRONTO_TEST_SETTINGS that lead to a sandbox.
"""

from __future__ import annotations

import sys

import celery
import django
from django.core.management import call_command


def fill() -> None:
    """Make a member of staff, and an order that is changed at Bronto, one that it has and one that it has refused."""
    from django.contrib.auth.models import User

    from bronto_orders.conf import bronto_settings
    from bronto_orders.delivery import engine
    from bronto_orders.delivery.clients import client_for
    from bronto_orders.models import Order
    from bronto_orders.testing import OrderFactory

    User.objects.create_superuser("admin", password="admin")
    for name in ("same-1", "changed-1", "refused-1"):
        OrderFactory(customer_order_id=name, items=2)
    engine.deliver("default")
    changed = Order.objects.get(customer_order_id="changed-1")
    client_for(bronto_settings.account("default")).update(
        changed.bronto_order_id, {"shippingDetails": "Ring twice. " * 9, "currency": "EUR"}
    )
    Order.objects.filter(customer_order_id="refused-1").update(sync_state="rejected", sync_reason="refused")


if __name__ == "__main__":
    # Hints go nowhere.
    celery.Celery("themes", broker="memory://", set_as_current=True)
    django.setup()
    call_command("migrate", verbosity=0)
    fill()
    call_command("runserver", f"127.0.0.1:{sys.argv[1]}", use_reloader=False, skip_checks=True)
