from __future__ import annotations

import time
from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from datetime import time as clock
from difflib import get_close_matches
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from bronto_orders.conf import bronto_settings
from bronto_orders.delivery.explain import INVALID, REASONS
from bronto_orders.delivery.resync import Options, Plan, Progress, advance, plan, progress, start_run, unchanged
from bronto_orders.delivery.status import why_waiting
from bronto_orders.exceptions import BrontoConfigurationError
from bronto_orders.models import Order, ResyncRun, SyncState
from bronto_orders.models.querysets import OrderQuerySet

#: Exit code for what was asked wrongly.
USAGE = 2
#: Seconds between looks at the orders' progress, and between two lines about it in a log.
LOOK_SECONDS, LINE_SECONDS = 1.0, 10.0
BAR_WIDTH = 30
#: ``--reason`` for all orders with content that Bronto would refuse, whatever the field; the REST API has it as well.
ANY_INVALID = "invalid"
KNOWN_REASONS = sorted([*REASONS, ANY_INVALID])


class Command(BaseCommand):
    help = (
        "Send orders to Bronto again. Queues them and exits; workers send them, behind the orders that customers are "
        "waiting for. The exit code is 0 when that is done, 1 when, with --wait, orders were rejected, and 2 when the "
        "command was not understood."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--all", action="store_true", help="all orders; otherwise at least one filter is needed")
        parser.add_argument("--account", help="orders of this account")
        parser.add_argument("--state", choices=SyncState.values, help="orders in this state")
        parser.add_argument("--reason", help=f"orders with this reason: {', '.join(KNOWN_REASONS)} or {INVALID}<field>")
        parser.add_argument("--number", action="append", default=[], help="the order with this number; repeatable")
        parser.add_argument("--since", help="orders with an order date from this day or moment on (ISO 8601)")
        parser.add_argument("--until", help="orders with an order date up to this day, included, or moment, excluded")
        parser.add_argument("--force", action="store_true", help="also orders that Bronto has in this very state")
        parser.add_argument("--send-tracking", action="store_true", help="send tracking again with updates")
        parser.add_argument("--trigger-events", action="store_true", help="let workflows run; customers may get mail")
        parser.add_argument(
            "--force-events",
            action="store_true",
            help="let workflows run also for what has not changed; customers get the same mail again",
        )
        parser.add_argument("--yes", action="store_true", help="do not ask about --force-events")
        parser.add_argument("--dry-run", action="store_true", help="count what would be done, and do nothing")
        parser.add_argument("--wait", action="store_true", help="stay until workers have sent the orders")
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="alias of the database that holds the orders")

    def handle(self, *args: Any, **options: Any) -> None:
        orders = self._orders(options)
        how = Options(
            force=options["force"],
            send_tracking=options["send_tracking"],
            trigger_events=options["trigger_events"],
            force_events=options["force_events"],
            include_ignored=bool(options["number"]),
        )
        if how.force_events and not how.trigger_events:
            raise CommandError("--force-events needs --trigger-events.", returncode=USAGE)
        if options["dry_run"]:
            for line in _told(plan(orders, how), force=how.force):
                self.stdout.write(line)
            return
        if how.force_events and not options["yes"] and not self._sure():
            raise CommandError("Nothing was done. Say --yes to force events.", returncode=USAGE)
        run, _new = start_run(orders, trigger="command", options=how)
        self._say(options, f"Resync {run.pk}: {run.total} orders.")
        bar = _Bar(self) if options["verbosity"] and self.stdout.isatty() else None
        try:
            self._queue(run, options, bar)
            if options["wait"]:
                self._wait(run, options, bar)
        except KeyboardInterrupt:
            raise CommandError(f"Stopped. Workers go on with resync {run.pk}; the admin can cancel it.") from None
        finally:
            if bar:
                bar.end()
        self._finish(run, options)

    def _orders(self, options: dict[str, Any]) -> OrderQuerySet:
        given = {
            "account": options["account"],
            "sync_state": options["state"],
            **_reason(options["reason"]),
            "customer_order_id__in": options["number"],
            "order_date__gte": _moment("--since", options["since"]),
            "order_date__lt": _moment("--until", options["until"], end=True),
        }
        conditions = {name: value for name, value in given.items() if value}
        if bool(conditions) == options["all"]:
            wrong = "--all and filters exclude each other." if conditions else "Choose orders by a filter, or --all."
            raise CommandError(wrong, returncode=USAGE)
        try:
            names = bronto_settings.account_names
        except BrontoConfigurationError as error:
            raise CommandError(str(error), returncode=USAGE) from error
        if options["account"] and options["account"] not in names:
            text = f"BRONTO_ORDERS has no account {options['account']!r}; it has: {', '.join(names)}."
            raise CommandError(text, returncode=USAGE)
        orders: OrderQuerySet = Order.objects.using(options["database"]).filter(**conditions)
        if options["number"] and not orders.exists():
            raise CommandError("There is no such order.", returncode=USAGE)
        return orders

    def _sure(self) -> bool:
        if not self.stdout.isatty():
            return False
        answer = input("Customers get the same messages a second time. Force events? [yes/no] ")
        return answer.strip().lower() == "yes"

    def _queue(self, run: ResyncRun, options: dict[str, Any], bar: _Bar | None) -> None:
        while not run.finished_at:
            if not advance(run, budget_seconds=LOOK_SECONDS) and not run.finished_at:
                time.sleep(LOOK_SECONDS)  # another worker has it, or somebody has locked the last rows
                run.refresh_from_db()
            if bar:
                bar.show("queued", run.seen, run.total)
        self._say(options, f"{run.queued} queued, {run.already_queued} queued already, {run.left_out} left out.")

    def _wait(self, run: ResyncRun, options: dict[str, Any], bar: _Bar | None) -> None:
        told_at, told = time.monotonic(), ""
        while not (known := progress(run)).is_over:
            why = _why_waiting(run)
            if why != told or (not bar and time.monotonic() - told_at >= LINE_SECONDS):
                told_at, told = time.monotonic(), why
                if bar:
                    bar.end()
                self._say(options, f"{known.done} of {known.total} done{why}.")
            if bar:
                bar.show("done", known.done, known.total)
            time.sleep(LOOK_SECONDS)
            run.refresh_from_db()

    def _finish(self, run: ResyncRun, options: dict[str, Any]) -> None:
        if run.error:
            raise CommandError(run.error)
        if not options["wait"]:
            return
        known = progress(run)
        self._say(options, _outcomes(known, unchanged(run)))
        if known.failed:
            raise CommandError(f"{known.failed} rejected.", returncode=1)

    def _say(self, options: dict[str, Any], line: str) -> None:
        if options["verbosity"]:
            self.stdout.write(line)


class _Bar:
    """A line on the terminal that is written over."""

    def __init__(self, command: BaseCommand) -> None:
        self.out = command.stdout
        self.shown = False

    def show(self, what: str, done: int, total: int) -> None:
        filled = BAR_WIDTH if not total else min(BAR_WIDTH, BAR_WIDTH * done // total)
        bar = "#" * filled + "." * (BAR_WIDTH - filled)
        self.out.write(f"\r[{bar}] {done}/{total} {what} ", ending="")
        self.out.flush()
        self.shown = True

    def end(self) -> None:
        if self.shown:
            self.out.write("")


def _reason(code: str | None) -> dict[str, str | None]:
    """Return the condition for orders with a reason."""
    if code == ANY_INVALID:
        return {"sync_reason__startswith": INVALID}
    if code and code not in KNOWN_REASONS and not code.startswith(INVALID):
        near = get_close_matches(code, KNOWN_REASONS, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(KNOWN_REASONS)}, {INVALID}<field>."
        raise CommandError(f"There is no reason {code!r}. {hint}", returncode=USAGE)
    return {"sync_reason": code}


def _moment(option: str, text: str | None, *, end: bool = False) -> datetime | None:
    """Return the moment that a day begins at or, for the ``end`` of a range, ends at; a moment is taken as it is."""
    if not text:
        return None
    try:
        day = parse_date(text)
        moment = parse_datetime(text) if day is None else None
    except ValueError:
        day = moment = None
    if day is not None:
        moment = datetime.combine(_next(day) if end else day, clock.min)
    if moment is None:
        raise CommandError(
            f"{option} takes a day or a moment such as 2026-11-22 or 2026-11-22T10:00.", returncode=USAGE
        )
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment)


def _next(day: date) -> date:
    return day + timedelta(days=1)


def _told(planned: Plan, *, force: bool) -> Iterator[str]:
    about = "" if planned.exact else "about "
    unchanged = "sent all the same" if force else "not sent"
    yield f"{planned.total} selected."
    yield f"{about}{planned.requests(force=force)} would be sent."
    yield f"{about}{planned.unchanged} unchanged, {unchanged}."
    for reason, count in sorted(planned.invalid.items()):
        yield f"{about}{count} cannot be sent: {reason}."
    yield f"{planned.already_queued} queued already."
    yield f"{planned.left_out} left out, as staff have marked them as ignored."
    for (state, reason), count in sorted(planned.reasons.items()):
        yield f"{count} {state} until now: {reason or 'no reason'}."
    if not planned.requests(force=force):
        return
    seconds = planned.seconds(force=force)
    yield "How long it takes is not known." if seconds is None else f"Takes about {_span(seconds)} with one worker."


def _span(seconds: float) -> str:
    return str(timedelta(seconds=max(1, round(seconds))))


def _why_waiting(run: ResyncRun) -> str:
    """Say of the accounts whose orders the run waits for which are paused or held."""
    using = run._state.db or DEFAULT_DB_ALIAS
    waiting = Order.objects.using(using).owed().filter(resync_run=run.pk).order_by()
    return why_waiting(waiting.values_list("account", flat=True).distinct(), using=using)


def _outcomes(known: Progress, unsent: int) -> str:
    parts = [f"{count} {state} {reason}".rstrip() for (state, reason), count in sorted(known.outcomes.items())]
    parts += [f"{unsent} of them unchanged and not sent"] if unsent else []
    parts += [f"{known.elsewhere} in a later resync"] if known.elsewhere else []
    return ", ".join(parts) + "." if parts else "Nothing was queued."
