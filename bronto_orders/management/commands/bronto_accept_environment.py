from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS

from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import environment
from bronto_orders.exceptions import BrontoConfigurationError


class Command(BaseCommand):
    help = (
        "Let this environment send for accounts that another one has sent for with the same credentials, as a database "
        "that was moved does and a copy of it should not. No order is touched."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--account", help="for this account only (default: all configured accounts)")
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="alias of the database that holds the orders")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            names = [options["account"]] if options["account"] else bronto_settings.account_names
            accounts = [bronto_settings.account(name) for name in names]
        except BrontoConfigurationError as error:
            raise CommandError(str(error)) from error
        for account in accounts:
            environment.accept(account, using=options["database"])
            if options["verbosity"]:
                self.stdout.write(f"{account.name}: this environment sends.")
