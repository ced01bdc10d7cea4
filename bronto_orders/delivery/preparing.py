"""What claimed orders need: each a request, or none and an end of its own."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable

from django.utils import timezone

from bronto_orders.conf import GUARD_SECONDS, AccountSettings, DeliverySettings
from bronto_orders.delivery.policy import Operation
from bronto_orders.delivery.pushes import next_push
from bronto_orders.delivery.records import Settled
from bronto_orders.delivery.sending import Job, log_ids
from bronto_orders.models import Order
from bronto_orders.payloads import InvalidOrderError, build_document

logger = logging.getLogger(__name__)


def prepare(
    orders: Iterable[Order], *, account: AccountSettings, delivery: DeliverySettings, trigger: str, claimed_at: float
) -> tuple[list[Job], list[Settled]]:
    """Return the requests to send, and the orders that need none.

    ``claimed_at`` is ``time.monotonic()`` from before the claim, ``trigger`` as of ``engine.deliver``.
    """
    jobs: list[Job] = []
    settled: list[Settled] = []
    for order in orders:
        if end := Settled.of_tombstone(order):
            settled.append(end)
            continue
        try:
            job = _job(order, account, delivery, trigger, claimed_at)
        except InvalidOrderError as error:
            settled.append(Settled.invalid(order, error))
            continue
        except Exception as error:  # one order that cannot be built must not stop the others
            # Where it happened, and not the error's text, which may quote the customer.
            frame = traceback.extract_tb(error.__traceback__)[-1]
            logger.error(
                "Order %d cannot be built: %s at %s:%s",
                *(order.pk, type(error).__name__, frame.filename, frame.lineno),
                extra=log_ids(order),
            )
            settled.append(Settled.unbuildable(order, error))
            continue
        if job is None:
            settled.append(Settled.unchanged(order))
        else:
            jobs.append(job)
    return jobs, settled


def _job(
    order: Order, account: AccountSettings, delivery: DeliverySettings, trigger: str, claimed_at: float
) -> Job | None:
    """Return the request to send. None when Bronto has this very content already."""
    document = build_document(order, order.line_items.all(), now=timezone.now())
    resync = (order.resync_options or {}) if order.resync_revision == order.lease_revision else {}
    push = next_push(
        order,
        document,
        with_order_date=account.update_order_date,
        with_tracking=resync.get("send_tracking", False),
    )
    if push.idle:
        return None
    return Job(
        order=order,
        push=push,
        body_json=push.body_json,
        trigger=resync.get("trigger", trigger),
        options={
            "create_contact": account.create_contact,
            "trigger_events": resync.get("trigger_events", account.trigger_events),
            # Not with a repeat: the first try may have reached the customer.
            "force": resync.get("force_events", False) and order.attempts == 1 and order.settle_until is None,
            "ignore_invalid_tid": account.ignore_invalid_tid,
        },
        start_before=claimed_at + time_to_start(push.operation, account, delivery),
        call_seconds=account.total_timeout,
    )


def time_to_start(operation: Operation, account: AccountSettings, delivery: DeliverySettings) -> float:
    """Return for how many seconds after the claim a request may start: what is left must do for it to land."""
    call = account.total_timeout + GUARD_SECONDS
    if operation == Operation.ADD:
        return delivery.add_lease_seconds - call
    return delivery.update_lease_seconds - call - delivery.settle_seconds
