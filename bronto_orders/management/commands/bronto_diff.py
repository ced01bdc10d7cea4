from __future__ import annotations

import shutil
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS
from django.utils.translation import gettext as _

from bronto_orders.delivery.comparison import Comparison, compare, report, sentence
from bronto_orders.delivery.texts import item_texts, item_verdict, pretty, shorten, value_texts, visible
from bronto_orders.diffing import Change
from bronto_orders.models import Order

SAME, DIFFERENT, UNKNOWN = 0, 1, 2
#: What a terminal's columns are at least wide.
NARROWEST = 12
_Line = list[str]


class Command(BaseCommand):
    help = (
        "Compare an order with what Bronto last acknowledged and with what Bronto has now. Changes nothing. "
        "The exit code is 0 when the shop and Bronto agree, 1 when they differ, and 2 when nobody knows: there is no "
        "such order in the shop, its customer was erased, or Bronto cannot be read."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("customer_order_id", help="the shop's order number")
        parser.add_argument("--account", help="the order's account; needed when several have that number")
        parser.add_argument("--all", action="store_true", help="show the fields that are equal, too")
        parser.add_argument("--json", action="store_true", help="print one JSON document, with all fields")
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="alias of the database that holds the orders")

    def handle(self, *args: Any, **options: Any) -> None:
        comparison = compare(self._order(options))
        if options["json"]:
            self.stdout.write(pretty(report(comparison)))
        elif not comparison.erased:
            self._print(comparison, show_all=options["all"])
        if comparison.reading.trouble:
            raise CommandError(comparison.reading.trouble, returncode=UNKNOWN)
        if comparison.differences or comparison.is_missing:
            sys.exit(DIFFERENT)

    def _order(self, options: dict[str, Any]) -> Order:
        orders = Order.objects.using(options["database"]).filter(customer_order_id=options["customer_order_id"])
        if options["account"]:
            orders = orders.filter(account=options["account"])
        found = list(orders.order_by("account")[:10])
        if not found:
            raise CommandError(_("There is no such order."), returncode=UNKNOWN)
        if len(found) > 1:
            message = _("Several accounts have this order: %(accounts)s. Say which by --account.")
            raise CommandError(message % {"accounts": ", ".join(one.account for one in found)}, returncode=UNKNOWN)
        return found[0]

    def _print(self, comparison: Comparison, *, show_all: bool) -> None:
        self.stdout.write(sentence(comparison))
        if comparison.invalid:
            message = _("The order cannot be sent as it is. %(message)s")
            self.stdout.write(message % {"message": comparison.invalid})
        lines = list(_lines(comparison.changes, show_all=show_all))
        if not lines:
            return
        header = [_("Field"), _("Now"), _("Last sent"), _("Bronto"), _("Verdict")]
        if self.stdout.isatty():
            self._print_table([header, *lines])
        else:
            for line in [header, *lines]:
                self.stdout.write("\t".join(line))

    def _print_table(self, lines: Sequence[_Line]) -> None:
        room = shutil.get_terminal_size().columns - 2 * 4
        natural = [max(len(line[column]) for line in lines) for column in range(5)]
        values = max(NARROWEST, (room - natural[0] - natural[4]) // 3)
        widths = [natural[0], *(min(width, values) for width in natural[1:4]), natural[4]]
        for number, line in enumerate(lines):
            cells = [line[0], *_cut(line[1:4], values), line[4]]
            text = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
            self.stdout.write(text, self.style.MIGRATE_HEADING if number == 0 else None)


def _cut(texts: Sequence[str], width: int) -> list[str]:
    """Return texts that fit, cut so that the place where they differ is seen."""
    if max(map(len, texts)) <= width:
        return list(texts)
    short = ["".join(piece for piece, _differs in pieces or []) for pieces in shorten(texts)]
    return [text if len(text) <= width else f"{text[: width - 1]}…" for text in short]


def _lines(changes: Sequence[Change], *, show_all: bool) -> Iterator[_Line]:
    """Yield path, the three values and the verdict of each change; an item that one side lacks is one line."""
    for item, group in groupby(changes, key=lambda change: change.item):
        fields = list(group)
        if item is not None:
            whole, *fields = fields
            if show_all or whole.verdict.is_news:
                yield _line(whole, item_texts(whole, fields), item_verdict(item, whole.verdict))
            if item.lonely and not show_all:
                continue
        for change in fields:
            if show_all or change.verdict.is_news:
                yield _line(change, value_texts(change), str(change.verdict.label))


def _line(change: Change, texts: Sequence[str | None], words: str) -> _Line:
    return [visible(change.path), *((text or "").replace("\n", "⏎") for text in texts), words]
