"""What happens in the engine's threads: one exchange with Bronto. Nothing here touches the database."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bronto_orders import exceptions as errors
from bronto_orders.client import BrontoClient, ending_by
from bronto_orders.delivery.policy import Exchange, Operation
from bronto_orders.delivery.pushes import Push
from bronto_orders.models import Order

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One request to be sent: everything that a thread needs."""

    order: Order
    #: What is sent, made of the order as the shop had it after the claim.
    push: Push
    body_json: bytes
    trigger: str
    #: Keyword arguments for the client: create_contact, trigger_events, force, ignore_invalid_tid.
    options: dict[str, bool]
    #: ``time.monotonic()`` after which the request must not start.
    start_before: float
    #: Seconds that one call of the client may take in all.
    call_seconds: float


@dataclass(kw_only=True)
class Result:
    """What came of a job."""

    job: Job
    #: False when nothing was sent: the lease was too short, or the account was held meanwhile.
    sent: bool = False
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    duration: float = 0.0
    answer: dict[str, Any] | None = None
    error: errors.BrontoError | None = None
    #: Orders that a search found after an unreadable 409; None when nobody looked.
    found: list[dict[str, Any]] | None = None

    def exchange(self) -> Exchange:
        """Return what the policy needs to know."""
        order = self.job.order
        return Exchange(
            operation=self.job.push.operation,
            presence=order.presence,
            attempts=order.attempts,
            flips=order.flips,
            contact_may_lack=bool(order.email_address) and not self.job.options["create_contact"],
            error=self.error,
            found=None if self.found is None else bool(self.found),
        )


def log_ids(order: Order) -> dict[str, Any]:
    """Return the attributes by which log records tell which order they are about."""
    return {"order_id": order.pk, "account": order.account}


def send(client: BrontoClient, job: Job, halted: Callable[[], bool]) -> Result:
    """Send the job's request and return what came of it; never raises.

    Nothing is sent once ``halted()`` or when the time left on the lease does not cover the longest possible call.
    """
    result = Result(job=job)
    if halted() or time.monotonic() > job.start_before:
        return result
    result.sent = True
    started = time.monotonic()
    # Not from now: this process may have been stopped since the guard looked.
    with ending_by(job.start_before + job.call_seconds):
        try:
            result.answer = _call(client, job)
        except errors.BrontoError as error:
            result.error = error
            if type(error) is errors.ConflictError and job.push.operation == Operation.ADD:
                result.found = _look_up(client, job)
        except Exception as error:  # a bug of ours must neither end the thread nor lose the order
            logger.error("Sending order %d failed: %s", job.order.pk, type(error).__name__, extra=log_ids(job.order))
            result.error = errors.FateUnknownError(f"internal error: {type(error).__name__}")
    result.duration = time.monotonic() - started
    return result


def _call(client: BrontoClient, job: Job) -> dict[str, Any]:
    order = job.order
    if job.push.operation == Operation.ADD:
        return client.add(job.body_json, **job.options)
    if order.bronto_order_id:
        return client.update(order.bronto_order_id, job.body_json, **job.options)
    return client.update_by_customer_order_id(order.customer_order_id, job.body_json, **job.options)


def _look_up(client: BrontoClient, job: Job) -> list[dict[str, Any]] | None:
    number = job.order.customer_order_id
    try:
        found = client.search(customer_order_id=number)
    except Exception as error:
        logger.warning(
            "Order %d could not be looked up: %s", job.order.pk, type(error).__name__, extra=log_ids(job.order)
        )
        return None
    return [order for order in found if order.get("customerOrderId") == number]
