from __future__ import annotations

import signal
import threading
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS

from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import engine
from bronto_orders.exceptions import BrontoConfigurationError

#: Seconds between looks for due orders with --loop.
PAUSE_SECONDS = 1.0


class Command(BaseCommand):
    help = "Deliver all orders that are due now, without Celery. With --loop, stay and deliver what becomes due."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--account", help="deliver for this account only (default: all configured accounts)")
        parser.add_argument("--loop", action="store_true", help="stay until stopped by SIGTERM or Ctrl-C")
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="alias of the database that holds the orders")

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: stop.set())
        try:
            accounts = [options["account"]] if options["account"] else bronto_settings.account_names
            if options["loop"] and options["verbosity"]:
                self.stdout.write(f"Delivering for {', '.join(accounts)} until stopped.")
                self.stdout.flush()
            self._deliver(accounts, options, stop)
            while options["loop"] and not stop.wait(PAUSE_SECONDS):
                self._deliver(accounts, options, stop)
        except BrontoConfigurationError as error:
            raise CommandError(str(error)) from error

    def _deliver(self, accounts: list[str], options: dict[str, Any], stop: threading.Event) -> None:
        if not bronto_settings.delivery.enabled:
            raise CommandError("BRONTO_ORDERS['DELIVERY']['ENABLED'] is False: nothing is sent.")
        for account in accounts:
            report = engine.deliver(account, using=options["database"], stopping=stop.is_set)
            quiet = options["loop"] and not report.counts
            if options["verbosity"] and not quiet:
                self.stdout.write(f"{account}: {report}")
