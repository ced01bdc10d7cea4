from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS

from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import accounts
from bronto_orders.exceptions import BrontoConfigurationError


class Command(BaseCommand):
    help = (
        "Stop sending for accounts, as before work on Bronto's side; with --end, go on, and at once also where a "
        "failure has stopped it. Orders are marked as usual and wait."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--account", help="this account only (default: all configured accounts)")
        parser.add_argument("--end", action="store_true", help="go on sending")
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="alias of the database that holds the orders")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            names = bronto_settings.account_names
        except BrontoConfigurationError as error:
            raise CommandError(str(error)) from error
        if wanted := options["account"]:
            if wanted not in names:
                raise CommandError(f"BRONTO_ORDERS has no account {wanted!r}; it has: {', '.join(names)}.")
            names = [wanted]
        change = accounts.resume if options["end"] else accounts.pause
        told = ("goes on", "was not stopped") if options["end"] else ("paused", "was paused already")
        for name in names:
            changed = change(name, using=options["database"])
            if options["verbosity"]:
                self.stdout.write(f"{name}: {told[0] if changed else told[1]}.")
