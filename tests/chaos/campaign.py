"""One campaign: a shop trades on a stage while the monkey breaks it; then all is left in peace, and judged."""

from __future__ import annotations

import json
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from django.core.management import call_command
from django.db import connection
from django.db.models import Count

from bronto_orders.models import AccountStatus, Order, SyncAttempt
from bronto_orders.testing import Sandbox
from tests import transitions
from tests.chaos import checks, history
from tests.chaos.monkey import Monkey, lanes
from tests.chaos.processes import Process, ProcessError, wait_for
from tests.chaos.settings import LONGEST_HOLD_SECONDS, SETTLE_SECONDS, UPDATE_LEASE_SECONDS
from tests.chaos.stage import Stage

#: Web processes of the shop, and threads in each.
SHOPS, THREADS = 2, 3
#: Orders a second that the shop tries to place.
PACE = 25
#: Within this time after the last fault, everything must be delivered.
BOUND_SECONDS = 60 + UPDATE_LEASE_SECONDS + LONGEST_HOLD_SECONDS
#: Orders of which a failed check tells all that is known.
TOLD = 5


@dataclass
class Outcome:
    """What came of a campaign."""

    failures: dict[str, list[str]] = field(default_factory=dict)
    report: list[str] = field(default_factory=list)


class Campaign:
    def __init__(self, stage: Stage, *, orders: int, seed: int, faults: str) -> None:
        self.stage = stage
        self.orders = orders
        self.seed = seed
        self.sandbox = Sandbox(stage.sandbox_url)
        # Which lanes there are is a question of the stage; which of them are played, one of the caller.
        self.monkey = Monkey(
            stage, seed, lanes=[lane for lane in lanes(stage, self.sandbox) if re.search(faults, lane.name)]
        )

    def run(self) -> Outcome:
        """Play it to its end."""
        call_command("migrate", verbosity=0)
        transitions.install()
        # The one that was used for it may not outlive the database's next restart.
        connection.close()
        history.keep(self.stage.sandbox.database)
        self.stage.workers.start()
        shops = [self._shop(number) for number in range(SHOPS)]
        started = time.monotonic()
        for shop in shops:
            shop.start()
        self.monkey.start()
        seconds = self.orders / PACE
        try:
            wait_for("the shop has closed", lambda: not any(shop.running for shop in shops), 6 * seconds + 30)
        except ProcessError as error:
            for shop in shops:
                shop.signal(signal.SIGUSR1)
            time.sleep(1)
            raise ProcessError("\n".join([str(error), *(shop.tail(10_000) for shop in shops)])) from None
        finally:
            self.monkey.stop()
            (self.stage.folder / "monkey.log").write_text("\n".join(self.monkey.diary))
            for shop in shops:
                shop.kill()
        traded = time.monotonic() - started
        drained = self._drain()
        self.stage.workers.stop()
        outcome = Outcome()
        self._judge(outcome, drained)
        self._tell(outcome, traded, drained)
        return outcome

    def _shop(self, number: int) -> Process:
        name = f"shop{number}"
        options = {
            "seed": self.seed,
            "threads": THREADS,
            "orders": len(range(number, self.orders, SHOPS)),
            "seconds": self.orders / PACE,
            "report": self._report_file(number),
        }
        arguments = [part for key, value in options.items() for part in (f"--{key}", str(value))]
        return Process(
            name,
            [sys.executable, "-m", "tests.chaos.web", name, *arguments],
            self.stage.folder,
            environment=self.stage.environment(self.stage.database.for_shop),
        )

    def _report_file(self, number: int) -> Path:
        return self.stage.folder / f"shop{number}.json"

    def _drain(self) -> float | None:
        """Wait until nothing is owed, and nothing can land any more. Returns how long, None if it took too long."""
        started = time.monotonic()
        while Order.objects.owed().exists():
            if time.monotonic() - started > BOUND_SECONDS:
                return None
            time.sleep(0.25)
        drained = time.monotonic() - started
        time.sleep(SETTLE_SECONDS + 1)
        return drained

    def _judge(self, outcome: Outcome, drained: float | None) -> None:
        reports = [json.loads(self._report_file(number).read_text()) for number in range(SHOPS)]
        self.done = sum((Counter(report["done"]) for report in reports), Counter())
        self.refused = sum((Counter(report["refused"]) for report in reports), Counter())
        self.durations = sorted(duration for report in reports for duration in report["durations"])
        end = checks.End(
            orders=list(Order.objects.prefetch_related("line_items").order_by("pk")),
            remote=self.sandbox.orders,
            events=self.sandbox.events,
            history=history.read(self.stage.sandbox.database),
            placed=self.orders,
            shop_trouble=[trouble for report in reports for trouble in report["trouble"]],
        )
        self.states = sum(map(len, end.history.values()))
        self.left_over = len(list(checks.left_over(end)))
        if drained is None:
            outcome.failures["all is delivered in time"] = [f"not within {BOUND_SECONDS:g} s"]
        if self.monkey.trouble:
            outcome.failures["the monkey could do as it liked"] = self.monkey.trouble
        for check in checks.CHECKS:
            wrong = list(check(end))
            if wrong:
                outcome.failures[check.__name__.replace("_", " ")] = wrong
        self._explain(outcome, end)

    def _explain(self, outcome: Outcome, end: checks.End) -> None:
        """Tell all that is known of the first orders that something is wrong with."""
        wrong = {line.partition(": ")[0] for lines in outcome.failures.values() for line in lines}
        concerned = [order for order in end.orders if order.customer_order_id in wrong][:TOLD]
        for order in concerned:
            outcome.report += [f"--- {order}, pk {order.pk}, revision {order.revision}", "  at the service:"]
            outcome.report += [f"    {state}" for state in end.history.get(order.customer_order_id, [])]
            outcome.report.append("  attempts:")
            outcome.report += [
                f"    {attempt.started_at:%H:%M:%S.%f} +{attempt.duration_ms} ms revision {attempt.revision} "
                f"{attempt.operation} {attempt.http_status} {attempt.outcome} {attempt.reason[:100]!r} "
                f"stamp {checks.stamp_in(attempt.request_excerpt)}"
                for attempt in order.sync_attempts.order_by("started_at")
            ]

    def _tell(self, outcome: Outcome, traded: float, drained: float | None) -> None:
        outcomes = SyncAttempt.objects.order_by().values_list("outcome").annotate(count=Count("pk"))
        account = AccountStatus.objects.first()
        outcome.report += [
            f"{self.orders} orders on {self.stage.combination.name} ({connection.vendor}), seed {self.seed}",
            f"traded for {traded:.0f} s, drained after {'ever' if drained is None else f'{drained:.1f} s'}",
            f"shop: {_counts(self.done)}; refused by the database: {_counts(self.refused)}",
            f"slowest: {', '.join(f'{duration:.2f} s' for duration in self.durations[-3:])}; "
            f"median {self.durations[len(self.durations) // 2] * 1000:.0f} ms",
            f"{self.states} states at the service, attempts: {_counts(Counter(dict(outcomes)))}",
            f"IDs left over from requests that nobody wrote down: {self.left_over}",
            f"account: {account and (account.breaker_state, account.held_reason, account.consecutive_failures)}",
            f"workers that ended by themselves: {_counts(self.stage.workers.deaths)}",
            f"faults: {_counts(self.monkey.played)}",
        ]


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counter.items())) or "none"


def describe(failures: dict[str, list[str]]) -> Iterator[str]:
    """Yield the lines that say which checks failed."""
    for name, wrong in failures.items():
        yield f"FAILED: {name} ({len(wrong)})"
        yield from (f"  {line}" for line in wrong[:20])
