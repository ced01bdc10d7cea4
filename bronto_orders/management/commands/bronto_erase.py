from __future__ import annotations

import sys
import time
from argparse import ArgumentParser
from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS

from bronto_orders.conf import bronto_settings
from bronto_orders.delivery.erasure import erase_customer, orders_of, outstanding, waiting_accounts
from bronto_orders.delivery.status import why_waiting
from bronto_orders.exceptions import BrontoConfigurationError

UNCONFIRMED = 2
#: Seconds between looks whether Bronto has confirmed.
PAUSE_SECONDS = 1.0


class Command(BaseCommand):
    help = (
        "Erase a customer, for good: empty what is personal of all orders that carry the e-mail address, and have them "
        "deleted at Bronto. Workers do that; with --wait, wait for them. The exit code is 0 when all was done, 1 when "
        "the call was wrong, and 2 when Bronto has not confirmed all deletions within the time of --wait."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "email",
            help='the e-mail address; "-" reads addresses from standard input, one a line, so that no shell keeps them',
        )
        parser.add_argument("--account", help="orders of this account only (default: all accounts)")
        parser.add_argument("--dry-run", action="store_true", help="only count the orders")
        parser.add_argument(
            "--wait",
            type=float,
            metavar="SECONDS",
            nargs="?",
            const=600.0,
            help="wait until Bronto has confirmed all deletions of erased orders (%(const)g s at most unless told)",
        )
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="alias of the database that holds the orders")

    def handle(self, *args: Any, **options: Any) -> None:
        given = sys.stdin if options["email"] == "-" else [options["email"]]
        addresses = [line.strip() for line in given if line.strip()]
        if not addresses:
            raise CommandError("An e-mail address must be given.")
        account, using = options["account"], options["database"]
        self._check(account)
        found: Counter[str] = Counter()
        for address in addresses:
            if options["dry_run"]:
                orders = orders_of(address, account=account, using=using)
                found.update(orders.order_by().values_list("account", flat=True))
            else:
                found.update(erase_customer(address, account=account, using=using, trigger="command").accounts)
        self.stdout.write(_summary(found, dry_run=options["dry_run"]))
        if options["wait"] is not None and not options["dry_run"]:
            self._wait(account, options["wait"], using)

    @staticmethod
    def _check(account: str | None) -> None:
        try:
            names = bronto_settings.account_names
        except BrontoConfigurationError as error:
            raise CommandError(str(error)) from error
        if account is not None and account not in names:
            raise CommandError(f"BRONTO_ORDERS has no account {account!r}; it has: {', '.join(names)}.")

    def _wait(self, account: str | None, seconds: float, using: str) -> None:
        ends_at = time.monotonic() + seconds
        while (left := outstanding(account=account, using=using)).owed and time.monotonic() < ends_at:
            time.sleep(min(PAUSE_SECONDS, seconds))
        if left.owed or left.refused:
            why = why_waiting(waiting_accounts(account=account, using=using), using=using)
            raise CommandError(
                f"Bronto has not confirmed all deletions: {left.owed} wait and {left.refused} were refused{why}. "
                "The admin has them under “Deletions at Bronto”.",
                returncode=UNCONFIRMED,
            )
        self.stdout.write("Bronto has confirmed all deletions.")


def _summary(found: Counter[str], *, dry_run: bool) -> str:
    each = "; ".join(f"{account}: {count}" for account, count in sorted(found.items()))
    what = "would be erased" if dry_run else "erased here, and to be deleted at Bronto"
    return f"Orders {what}: {found.total()}" + (f" ({each})." if each else ".")
