from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS

from bronto_orders.delivery import status


class Command(BaseCommand):
    help = (
        "Show where each account's orders stand. The exit code is 0 when all is well and 1 when an account is held or "
        "paused, when its oldest order or deletion has been due for longer than --max-age, when Bronto has refused a "
        "deletion, or when orders belong to no configured account."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--max-age", type=float, default=600, help="seconds that an order may be due (default: %(default)s)"
        )
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="alias of the database that holds the orders")

    def handle(self, *args: Any, **options: Any) -> None:
        complaints = []
        for account in status.accounts(using=options["database"]):
            self.stdout.write(str(account))
            complaints += account.complaints(max_age=options["max_age"])
        if complaints:
            raise CommandError(" ".join(complaints))
