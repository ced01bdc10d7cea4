"""One token or order call as it passes through: a fault may strike it, the journal keeps it."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable

from bronto_orders.sandbox.clock import Clock, wire_moment
from bronto_orders.sandbox.faults import Fault, FaultBoard, Strike
from bronto_orders.sandbox.journal import describe_call
from bronto_orders.sandbox.messages import Answer, Request, attempt
from bronto_orders.sandbox.refusals import GivenUp
from bronto_orders.sandbox.store import Store

logger = logging.getLogger(__name__)

Handle = Callable[[], Answer]


class Exchange:
    """What all calls of one sandbox pass through."""

    def __init__(self, store: Store, faults: FaultBoard, clock: Clock, revoke_tokens: Callable[[], object]) -> None:
        self._store, self._faults, self._clock, self._revoke_tokens = store, faults, clock, revoke_tokens

    def answer(self, request: Request, strike: Strike | None, handle: Handle, *, is_token_call: bool) -> Answer:
        """Answer the call as its handler and its fault will have it.

        Raises GivenUp for a call that was held back when the sandbox was reset; it leaves no record.
        """
        started_at, clock = self._clock.now(), time.perf_counter()

        def record(answer: Answer) -> Answer:
            call = {
                "time": wire_moment(started_at),
                "durationMs": round((time.perf_counter() - clock) * 1000, 3),
                **describe_call(request, answer, is_token_call=is_token_call),
                "fault": strike is not None,
            }
            try:
                self._store.add_call(call)
            except sqlite3.Error:
                # What the call did is done, and its answer is the truth about it.
                logger.exception("The call is missing in the request log")
            return answer

        if strike is None:
            return record(attempt(handle))
        return self._suffer(strike, lambda: attempt(handle), record)

    def _suffer(self, strike: Strike, handle: Handle, record: Callable[[Answer], Answer]) -> Answer:
        fault = strike.fault
        answer = handle() if fault.apply == "after" else None
        if fault.revoke_tokens:
            self._revoke_tokens()
        if fault.timeout:
            # Recorded before the hold, which ends long after the client has gone.
            record(_invent(fault))
        if not self._faults.sleep(strike.delay):
            raise GivenUp
        if fault.timeout:
            return _invent(fault)
        if fault.answers:
            return record(_invent(fault))
        answer = answer or handle()
        answer.cut = fault.cut
        return record(answer)


def _invent(fault: Fault) -> Answer:
    """A fault's own answer. A server other than the sandbox's cannot be silent; 502 is what a proxy would say."""
    answer = Answer.error(fault.status or 502, fault.reason, fault.headers)
    answer.cut = fault.cut
    return answer
