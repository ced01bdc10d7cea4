from __future__ import annotations

import math
import signal
import threading
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS

from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import resync, status, turns
from bronto_orders.exceptions import BrontoConfigurationError

#: Seconds between looks for due orders with --loop.
PAUSE_SECONDS = 1.0
#: Seconds that resyncs may take to queue orders before due ones have their turn, with --loop.
RESYNC_SECONDS = 2.0


class Command(BaseCommand):
    help = "Deliver all orders that are due now, without Celery. With --loop, stay and deliver what becomes due."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--account", help="deliver for this account only (default: all configured accounts)")
        parser.add_argument("--loop", action="store_true", help="stay until stopped by SIGTERM or Ctrl-C")
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="alias of the database that holds the orders")

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        if options["loop"] and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: stop.set())
        try:
            enabled, accounts = bronto_settings.delivery.enabled, bronto_settings.account_names
        except BrontoConfigurationError as error:
            raise CommandError(str(error)) from error
        if not enabled:
            raise CommandError("BRONTO_ORDERS['DELIVERY']['ENABLED'] is False: nothing is sent.")
        if options["account"]:
            accounts = [options["account"]]
        if not options["loop"]:
            if complaints := self._deliver(accounts, options, stop):
                raise CommandError(" ".join(complaints))
            return
        if options["verbosity"]:
            self.stdout.write(f"Delivering for {', '.join(accounts)} until stopped.")
            self.stdout.flush()
        told: list[str] = []
        while not stop.is_set():
            complaints = self._deliver(accounts, options, stop)
            for complaint in complaints:
                if complaint not in told:
                    self.stderr.write(complaint)
            told = complaints
            stop.wait(PAUSE_SECONDS)

    def _deliver(self, accounts: list[str], options: dict[str, Any], stop: threading.Event) -> list[str]:
        """Deliver for each account; one that is not configured properly stops no other. Returns what is wrong."""
        complaints: list[str] = []
        using = options["database"]
        budget = RESYNC_SECONDS if options["loop"] else math.inf
        resync.advance_all(using=using, budget_seconds=budget, stopping=stop.is_set)
        for turn in turns.take(accounts, accounts, using=using, stopping=stop.is_set):
            if turn.error:
                complaints += {str(turn.error)}.difference(complaints)
            elif options["verbosity"] and (turn.report.counts or not options["loop"]):
                why = status.stops([turn.account], using=using).get(turn.account)
                self.stdout.write(f"{turn.account}: {turn.report}" + (f"; {why}" if why else ""))
        return complaints
