"""The engine: claim a batch, build the bodies, send them from threads, record the results; until nothing is due.

Only the calling thread uses the database; the threads do HTTP. No transaction is open during HTTP. Orders flow: while
some are in flight, others are claimed and results are recorded in batches, with no barrier between.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TypeVar

from django.db import DEFAULT_DB_ALIAS, InterfaceError, OperationalError, connections

from bronto_orders.conf import AccountSettings, DeliverySettings, bronto_settings
from bronto_orders.delivery import claims, deletions, hints, records, tombstones
from bronto_orders.delivery.clients import client_for
from bronto_orders.delivery.gate import Gate
from bronto_orders.delivery.pace import Allowance, Pace
from bronto_orders.delivery.policy import Operation
from bronto_orders.delivery.preparing import prepare, time_to_start
from bronto_orders.delivery.sending import Job, Result, log_ids, send
from bronto_orders.delivery.threads import Threads
from bronto_orders.models import Order

logger = logging.getLogger(__name__)
T = TypeVar("T")

#: Seconds after which a Celery task stops claiming and leaves the rest to the next one.
TASK_SECONDS = 50.0
#: Results are recorded when there are this many, or when the oldest has waited this many seconds.
FLUSH_RESULTS = 100
FLUSH_SECONDS = 0.1
#: Seconds between looks while results gather.
GATHER_SECONDS = 0.01
#: Orders are claimed ahead for so many seconds of work, lest threads wait while results are recorded and others
#: claimed. More would let leases age, and keep orders from other workers.
AHEAD_SECONDS = 0.8
#: Every so many claims bulk orders have their turn, however many live ones are due.
BULK_TURN = 5
#: Every so many looks for due orders deletions go first, however many orders are due.
DELETION_TURN = 5
#: Seconds that orders under which workers have died may take at the end of a run, if its budget leaves less.
SUSPECT_SECONDS = 10.0
#: Seconds between looks for new due orders while earlier ones are in flight.
POLL_SECONDS = 0.25
#: How long a result waits for a row that the shop's own transaction has locked, in seconds after its latest start.
LOCK_PATIENCE = 60.0
#: How long a database that is away is waited for, and the longest pause between tries, in seconds.
DATABASE_PATIENCE = 60.0
DATABASE_PAUSE = 15.0


@dataclass
class Report:
    """What a run did, as counts of orders by outcome."""

    counts: dict[str, int] = field(default_factory=dict)
    #: Whether orders may be left that could be sent at once.
    more_due: bool = False

    def add(self, outcome: str) -> None:
        """Count one order."""
        self.counts[str(outcome)] = self.counts.get(outcome, 0) + 1

    def __str__(self) -> str:
        return ", ".join(f"{count} {outcome}" for outcome, count in sorted(self.counts.items())) or "nothing due"


def deliver(
    account: str,
    *,
    pks: Collection[int] | None = None,
    trigger: str = "command",
    using: str = DEFAULT_DB_ALIAS,
    budget_seconds: float | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> Report:
    """Deliver the account's due orders (or those of ``pks`` that are due) until none is left.

    ``trigger`` says for the record who asked. After ``budget_seconds`` no more are claimed. Once ``stopping()`` is true
    what has not been sent is handed back, too, and only the requests in flight are waited for. The report says whether
    there is more to do (``turns.take`` wakes workers for that). Raises BrontoConfigurationError when the account is not
    configured properly.
    """
    delivery = bronto_settings.delivery
    if not delivery.enabled:
        return Report()
    run = _Run(bronto_settings.account(account), delivery, pks=pks, trigger=trigger, using=using, stopping=stopping)
    return run.run(math.inf if budget_seconds is None else time.monotonic() + budget_seconds)


def sweep(*, using: str = DEFAULT_DB_ALIAS) -> list[str]:
    """Wake workers for each configured account that has due orders. Returns these accounts."""
    accounts = tombstones.accounts_due(bronto_settings.account_names, using=using)
    if accounts:
        hints.wake(set(accounts), using=using, trigger="sweep")
    return accounts


class _Run:
    def __init__(
        self,
        account: AccountSettings,
        delivery: DeliverySettings,
        *,
        pks: Collection[int] | None,
        trigger: str,
        using: str,
        stopping: Callable[[], bool],
    ) -> None:
        self.account = account
        self.delivery = delivery
        self.pks = pks
        self.trigger = trigger
        self.using = using
        self.stopping = stopping
        self.report = Report()
        self.client = client_for(account)
        self.pace = Pace(account)
        self.results: SimpleQueue[Result | deletions.Answer] = SimpleQueue()
        self.postponed: list[records.Decided] = []
        self.in_flight = 0
        #: How long a request takes, in seconds; not known yet.
        self.latency = math.inf
        self.more_due = True
        self.looked_at = float("-inf")
        self.claims = 0
        self.looks = 0

    def run(self, ends_at: float) -> Report:
        self.gate = self._with_database(lambda: Gate(self.account, using=self.using))
        with Threads(self.account.concurrency, self._work) as threads:
            self._drain(lambda: self._refill(threads), ends_at)
            if self._drain(lambda: self._try_suspect(threads), max(ends_at, time.monotonic() + SUSPECT_SECONDS)):
                self._drain(lambda: self._refill(threads), ends_at)
        self._with_database(self.gate.end_probe)
        self.report.more_due = self.more_due and not self.gate.held
        return self.report

    def _drain(self, refill: Callable[[], bool], ends_at: float) -> bool:
        """Claim and record in turns until there is nothing to claim, or nothing may be, and nothing is in flight.

        Returns whether anything was sent.
        """
        sent = False
        while True:
            in_flight = self.in_flight
            go_on = not self._halted() and time.monotonic() <= ends_at and refill()
            if self.in_flight - in_flight >= self.delivery.batch_size and self.pace.unlimited:
                # There may be room for more, and threads should not run out of work while results are waited for. Under
                # a rate limit they would send what waits in another window than the one that it was counted in.
                continue
            if self.in_flight:
                sent = True
                self._take_in(self._collect())
            elif not go_on:
                return sent

    @property
    def capacity(self) -> int:
        """How many orders may be claimed and not recorded: those in flight and, with them, some that wait."""
        threads = self.account.concurrency
        # Not for longer than half the time in which a lease lets a request start.
        seconds = min(AHEAD_SECONDS, min(map(self._time_to_start, Operation)) / 2)
        ahead = math.ceil(threads * seconds / max(self.latency, 0.01))
        return threads + min(max(ahead, (threads + 1) // 2), 8 * threads)

    def _halted(self) -> bool:
        return self.stopping() or self.gate.held

    def _try_suspect(self, threads: Threads[Job | deletions.Deletion]) -> bool:
        """Claim one order under which workers have died, and nothing beside it. Returns whether to look again."""
        if self.in_flight:
            return False
        if not self.pace.take(1).requests:
            self._nap()
            return self.pace.is_worth_waiting()
        claimed_at = time.monotonic()
        orders = self._claim(1, claims.Turn.SUSPECT)
        lost = [order for order in orders if order.crashes >= claims.MAX_CRASHES]
        self._settle([records.Settled.crash_loop(order) for order in lost])
        self.pace.give_back(1 - self._submit(threads, [order for order in orders if order not in lost], claimed_at))
        return len(orders) > 0

    def _refill(self, threads: Threads[Job | deletions.Deletion]) -> bool:
        """Claim and submit what there is room for, unless that is little or a look a moment ago found nothing more.

        Returns whether to look again.
        """
        room = min(self.capacity - self.in_flight, self.delivery.batch_size)
        if self.in_flight:
            too_little = room < max(1, min(self.capacity // 2, self.delivery.batch_size))
            too_soon = not self.more_due and time.monotonic() - self.looked_at < POLL_SECONDS
            if too_little or too_soon:
                return False
        allowed = self.pace.take(room)
        self.looked_at = claimed_at = time.monotonic()
        self.looks += 1
        # By turns, so that neither orders nor deletions wait for ever for the others.
        sent = self._delete(threads, allowed.requests, claimed_at) if self.looks % DELETION_TURN == 0 else 0
        orders: list[Order] = []
        if not sent:
            orders = self._claim_within(allowed) if allowed.requests else []
            sent = self._submit(threads, orders, claimed_at)
        if not sent and not orders and self.looks % DELETION_TURN:
            sent = self._delete(threads, allowed.requests, claimed_at)
        self.pace.give_back(allowed.requests - sent)
        found = sent > 0 or len(orders) > 0
        # Bulk orders may be due that the rate limit leaves nothing to.
        kept_back = not found and not allowed.bulk and self.pace.is_worth_waiting()
        if kept_back:
            self._nap()
        self.more_due = kept_back or found
        return self.more_due

    def _delete(self, threads: Threads[Job | deletions.Deletion], limit: int, claimed_at: float) -> int:
        """Claim and submit deletions at Bronto. Returns how many."""
        most, probing = self._with_database(lambda: self.gate.claim_limit(limit)) if limit else (0, False)
        if self.pks is not None or not most:
            return 0
        claimed = self._with_database(
            lambda: deletions.claim(self.account.name, most, self.delivery, using=self.using, probing=probing)
        )
        start_before = claimed_at + self._time_to_start(Operation.UPDATE)
        for tombstone in claimed:
            deletion = deletions.Deletion(
                tombstone=tombstone, start_before=start_before, call_seconds=self.account.total_timeout
            )
            threads.submit(deletion)
            self.in_flight += 1
        if not self.in_flight:
            self._with_database(self.gate.end_probe)
        return len(claimed)

    def _submit(self, threads: Threads[Job | deletions.Deletion], orders: list[Order], claimed_at: float) -> int:
        """Send the orders that need a request and settle the others. Returns how many are sent."""
        jobs, settled = prepare(
            orders, account=self.account, delivery=self.delivery, trigger=self.trigger, claimed_at=claimed_at
        )
        self._settle(settled)
        for job in jobs:
            threads.submit(job)
            self.in_flight += 1
        if not self.in_flight:
            self._with_database(self.gate.end_probe)
        return len(jobs)

    def _settle(self, settled: list[records.Settled]) -> None:
        if not settled:
            return
        try:
            self._with_database(lambda: records.settle(settled, using=self.using))
        except Exception as error:  # no reason to lose the results of others
            if self._is_gone(error):
                raise
            logger.error("%d orders are left to the end of their leases: %s", len(settled), type(error).__name__)
            return
        for end in settled:
            self.report.add(end.outcome)

    def _nap(self) -> None:
        """Wait for the rate limit if nothing is in flight, but not so long that nobody can stop the run."""
        if not self.in_flight:
            time.sleep(min(POLL_SECONDS, self.pace.seconds_to_next_window()))

    def _claim_within(self, allowed: Allowance) -> list[Order]:
        """Claim live orders first and bulk ones after them; of these only what the rate limit leaves to them."""
        self.claims += 1
        if self.claims % BULK_TURN == 0 and allowed.bulk:
            orders = self._claim(allowed.bulk, claims.Turn.BULK)
            if orders:
                return orders
        if allowed.bulk == allowed.requests:
            return self._claim(allowed.requests, claims.Turn.ANY)
        if allowed.bulk and not self.gate.breaker_closed:
            # The right to probe is for one claim.
            return self._claim(allowed.bulk, claims.Turn.ANY)
        orders = self._claim(allowed.requests, claims.Turn.LIVE)
        room = min(allowed.requests - len(orders), allowed.bulk)
        return [*orders, *(self._claim(room, claims.Turn.BULK) if room > 0 else [])]

    def _claim(self, limit: int, turn: claims.Turn) -> list[Order]:
        most, probing = self._with_database(lambda: self.gate.claim_limit(limit))
        if not most:
            return []
        # Tried again by itself when the database fails, or what an earlier claim has taken would wait for its lease.
        return self._with_database(
            lambda: claims.claim(
                self.account.name, most, self.delivery, using=self.using, pks=self.pks, turn=turn, probing=probing
            )
        )

    def _work(self, job: Job | deletions.Deletion) -> None:
        if isinstance(job, deletions.Deletion):
            self.results.put(deletions.send(self.client, job, halted=self._halted))
        else:
            self.results.put(send(self.client, job, halted=self._halted))

    def _collect(self) -> list[Result | deletions.Answer]:
        """Wait a moment for a result, then take what else comes within FLUSH_SECONDS."""
        results: list[Result | deletions.Answer] = []
        wanted = min(self.in_flight - len(self.postponed), FLUSH_RESULTS)
        if not wanted:
            return results
        with suppress(Empty):
            results.append(self.results.get(timeout=POLL_SECONDS))
            flush_at = time.monotonic() + FLUSH_SECONDS
            while True:
                with suppress(Empty):
                    while len(results) < wanted:
                        results.append(self.results.get_nowait())
                if len(results) >= wanted or time.monotonic() >= flush_at:
                    break
                # Rather than to be woken by each: that would cost the threads that send more than it costs this one.
                time.sleep(GATHER_SECONDS)
        answered = [result.duration for result in results if isinstance(result, Result) and result.answer]
        if answered:
            self.latency = sum(answered) / len(answered)
        return results

    def _take_in(self, results: list[Result | deletions.Answer]) -> None:
        """Write down what came in."""
        self._record([result for result in results if isinstance(result, Result)])
        self._record_deletions([result for result in results if isinstance(result, deletions.Answer)])

    def _record_deletions(self, answers: list[deletions.Answer]) -> None:
        if not answers:
            return
        judged = deletions.judge(answers, gate=self.gate, delivery=self.delivery)
        self.in_flight -= len(answers)
        self.more_due = True
        try:
            self._with_database(lambda: deletions.record(judged, gate=self.gate, using=self.using))
        except Exception as error:
            if self._is_gone(error):
                raise
            logger.error("%d deletions are left to the end of their leases: %s", len(judged), type(error).__name__)
            return
        for item in judged:
            if item.outcome:
                self.report.add(item.outcome)

    def _record(self, results: list[Result]) -> None:
        """Write down the results that came in, and earlier ones whose rows were locked then."""
        decided = [*self.postponed, *records.judge(results, gate=self.gate, delivery=self.delivery)]
        unsent = [result.job.order for result in results if not result.sent]
        if not decided and not unsent:
            return
        try:
            self.postponed = self._write(decided, unsent)
        except Exception as error:  # something in one of them that the database does not take
            if self._is_gone(error):
                raise
            logger.error("Results could not be recorded together (%s); one by one now.", type(error).__name__)
            self._write([], unsent)
            self.postponed = [late for item in decided for late in self._write_alone(item)]
        if self.postponed and len(self.postponed) == len(decided):
            time.sleep(POLL_SECONDS)
        self.in_flight -= len(decided) + len(unsent) - len(self.postponed)
        self.more_due = True
        late = {id(item.result) for item in self.postponed}
        for item in decided:
            if id(item.result) not in late:
                self.report.add(item.decision.outcome)

    def _write(self, decided: list[records.Decided], unsent: list[Order]) -> list[records.Decided]:
        """Record results. Returns those that must wait, as long as their leases may still stand."""
        late = self._with_database(
            lambda: records.record(decided, unsent, gate=self.gate, delivery=self.delivery, using=self.using)
        )
        patience = 0.0 if self.stopping() else LOCK_PATIENCE
        return [item for item in late if time.monotonic() < item.result.job.start_before + patience]

    def _write_alone(self, item: records.Decided) -> list[records.Decided]:
        try:
            return self._write([item], [])
        except Exception as error:
            if self._is_gone(error):
                raise
            logger.error(
                "The result of order %d cannot be kept: %s",
                *(item.order.pk, type(error).__name__),
                extra=log_ids(item.order),
            )
            failure = error
        try:
            return self._write([records.unrecordable(item, failure, self.delivery)], [])
        except Exception as error:
            if self._is_gone(error):
                raise
            logger.error(
                "Order %d is left to the end of its lease: %s",
                *(item.order.pk, type(error).__name__),
                extra=log_ids(item.order),
            )
        return []

    def _time_to_start(self, operation: Operation) -> float:
        return time_to_start(operation, self.account, self.delivery)

    def _is_gone(self, error: Exception) -> bool:
        """Tell whether it is the database that takes no writes: to wait once more for each result would take hours."""
        if not isinstance(error, OperationalError | InterfaceError):
            return False
        try:
            self.gate.touch()
        except (OperationalError, InterfaceError):
            return True
        return False

    def _with_database(self, work: Callable[[], T]) -> T:
        """Do database work; when the server goes away, connect anew and go on, holding on to what is in memory."""
        connection = connections[self.using]
        pause, gives_up_at = 0.2, time.monotonic() + DATABASE_PATIENCE
        while True:
            try:
                return work()
            except (OperationalError, InterfaceError) as error:
                if connection.in_atomic_block or time.monotonic() > gives_up_at:
                    raise
                logger.warning("The database failed (%s); trying again in %.1f s.", type(error).__name__, pause)
                connection.close()
                time.sleep(pause)
                pause = min(pause * 2, DATABASE_PAUSE)
