from __future__ import annotations

from typing import Any

from django.core.management import BaseCommand, CommandError

from bronto_orders.models import Order
from demo_project.shop import history


class Command(BaseCommand):
    help = "Gives an empty demo shop a day of orders in every state. The sandbox must be running, and no worker."

    def handle(self, **options: Any) -> None:
        if Order.objects.exists():
            raise CommandError("The shop has orders already. This is for an empty one.")
        history.play()
