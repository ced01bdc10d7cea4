from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS

from bronto_orders.delivery import retention
from bronto_orders.exceptions import BrontoConfigurationError


class Command(BaseCommand):
    help = (
        "Delete old attempts, and empty what is personal of old orders as the PRIVACY setting says: what the task "
        "bronto_orders.prune does, for cron. Nothing is sent because of it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=int, default=90, help="keep attempts for so many days (default: 90)")
        parser.add_argument(
            "--per-order", type=int, default=100, help="keep so many attempts of each order (default: 100)"
        )
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="alias of the database that holds the orders")

    def handle(self, *args: Any, **options: Any) -> None:
        for name in ("days", "per_order"):
            if options[name] < 0:
                raise CommandError(f"--{name.replace('_', '-')} must not be negative.")
        using = options["database"]
        deleted = retention.prune(days=options["days"], per_order=options["per_order"], using=using)
        try:
            emptied = retention.forget(using=using)
        except BrontoConfigurationError as error:
            raise CommandError(str(error)) from error
        if options["verbosity"]:
            self.stdout.write(f"Attempts deleted: {deleted}. Columns of orders emptied: {emptied}.")
