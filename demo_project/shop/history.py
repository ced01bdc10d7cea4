"""A day that the shop could have had: a few hundred orders in every state, an outage, a resync under way.

The same each time, but for the moment at which it ends. What Bronto has taken, the sandbox has really been sent.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import F
from django.utils import timezone

from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import engine
from bronto_orders.delivery.clients import client_for
from bronto_orders.delivery.resync import Options, start_run
from bronto_orders.models import LineItem, Order, ResyncRun, SyncAttempt, SyncState
from demo_project.shop.campaigns import CAMPAIGNS
from demo_project.shop.catalogue import PRODUCTS
from demo_project.supervisor import ADMIN_LOGIN

ACCOUNT = "default"
SEED = 1842
ORDERS = 320
FIRST_NUMBER = 20_417
#: How busy each hour of the day is.
BUSY = [2, 1, 1, 1, 1, 2, 4, 7, 10, 12, 13, 14, 14, 13, 13, 14, 15, 16, 18, 20, 19, 15, 9, 5]
#: How long ago Bronto was down, from and to.
OUTAGE = (timedelta(hours=7, minutes=50), timedelta(hours=7, minutes=5))
#: How long ago the oldest order was placed that has not been shipped.
UNSHIPPED = timedelta(hours=9)
RESYNCED, WAITING, REFUSED = 120, 41, 2
DELIVERED = "Done: Bronto has acknowledged the order."
#: The order, counted from the newest, that has been changed here and at Bronto.
CHANGED = 3


@dataclass(frozen=True)
class Trouble:
    """An order that Bronto has not taken."""

    state: SyncState
    reason: str = ""
    message: str = ""
    #: HTTP status of each attempt; None where no answer came, no attempts where none was made.
    statuses: tuple[int | None, ...] = ()
    #: Seconds until the next one.
    due: int = 0


FAILS = "Bronto answered 503 Service Unavailable. It is tried again."
SILENT = "No answer came. The order may or may not have arrived; that is looked into first."
REFUSES = "Bronto refused the order: 400, invalid grandTotal."
TAKEN = "Bronto holds this order number for something that is not an order."
NO_CONTACT = "Bronto has no contact with the order's e-mail address."
IGNORED = "Somebody has marked the order as ignored: it is not sent, whatever changes, until it is resynced."

#: By place, counted from the newest order.
TROUBLES = {
    0: Trouble(SyncState.PENDING),
    1: Trouble(SyncState.SENDING),
    5: Trouble(SyncState.PENDING, "server_error", FAILS, (503, 503), 95),
    8: Trouble(SyncState.REJECTED, "refused", REFUSES, (400,)),
    10: Trouble(SyncState.SKIPPED, "invalid:currency", "“EURO” is not a currency code of ISO 4217."),
    13: Trouble(SyncState.PENDING, "fate_unknown", SILENT, (None,), 160),
    17: Trouble(SyncState.REJECTED, "id_taken", TAKEN, (409,)),
    26: Trouble(SyncState.SKIPPED, "no_contact", NO_CONTACT, (404,)),
    41: Trouble(SyncState.SKIPPED, "ignored_by_staff", IGNORED),
    58: Trouble(SyncState.REJECTED, "poison", "Bronto failed on this order 10 times while it took others.", (500,) * 5),
    74: Trouble(SyncState.SKIPPED, "no_contact", NO_CONTACT, (404,)),
    90: Trouble(SyncState.REJECTED, "refused", REFUSES, (400,)),
    133: Trouble(SyncState.SKIPPED, "invalid:email_address", "The e-mail address is not valid."),
}


def play() -> None:
    """Fill an empty shop, and the sandbox, with the last 24 hours."""
    now = timezone.now()
    dice = random.Random(SEED)  # noqa: S311 - to be the same each time is the point
    orders = [place(number, at, dice) for number, at in enumerate(moments(now, dice))]
    newest_first = orders[::-1]
    for at, trouble in TROUBLES.items():
        park(newest_first[at], trouble, now)
    engine.deliver(ACCOUNT)
    for order in orders:
        if now - order.order_date > UNSHIPPED and order not in [newest_first[at] for at in TROUBLES]:
            ship(order, dice)
    engine.deliver(ACCOUNT)
    tell(newest_first, now, dice)
    change_both_sides(newest_first[CHANGED])
    resync(orders[-150 : -150 + RESYNCED], now)
    Order.objects.filter(pk=orders[-1].pk).update(due_at=timezone.now())


def moments(now: datetime, dice: random.Random) -> list[datetime]:
    """Return when orders came in, the oldest first; the last ones a moment ago."""
    hours = range(24)
    weights = [BUSY[(now - timedelta(hours=hour)).hour] for hour in hours]
    chosen = dice.choices(hours, weights, k=ORDERS - 1)
    ages = [timedelta(hours=hour, seconds=dice.randrange(30, 3600)) for hour in chosen]
    return sorted(now - age for age in [*ages, timedelta(seconds=4)])


def place(number: int, at: datetime, dice: random.Random) -> Order:
    """Write an order of one to four products."""
    lines = [(product, dice.choice([1, 1, 1, 2, 3])) for product in dice.sample(PRODUCTS, dice.choice([1, 1, 2, 3, 4]))]
    subtotal = sum((product["price"] * quantity for product, quantity in lines), Decimal(0))
    shipping = Decimal("0.00") if subtotal > 50 else Decimal("4.95")
    tax = (subtotal * Decimal("0.07")).quantize(Decimal("0.01"))
    came_by_mail = dice.random() < 0.4
    order = Order.objects.create(
        customer_order_id=f"FF-{FIRST_NUMBER + number}",
        email_address=f"shopper-{number:03}@example.com",
        order_date=at,
        order_source="WEBSITE",
        currency="USD",
        subtotal=subtotal,
        shipping_amount=shipping,
        tax_amount=tax,
        grand_total=subtotal + shipping + tax,
        tid=dice.choice(CAMPAIGNS).tid(at) if came_by_mail else "",
        processed=True,
    )
    LineItem.objects.bulk_create(
        LineItem(
            order=order,
            position=position,
            **{name: product[name] for name in ("sku", "name", "category")},
            description=product["summary"],
            quantity=quantity,
            unit_price=product["price"],
            sale_price=product["price"],
            total_price=product["price"] * quantity,
        )
        for position, (product, quantity) in enumerate(lines)
    )
    return order


def park(order: Order, trouble: Trouble, now: datetime) -> None:
    """Keep an order from Bronto."""
    columns: dict[str, Any] = {
        "sync_state": trouble.state,
        "sync_reason": trouble.reason,
        "sync_message": trouble.message,
        "attempts": len(trouble.statuses),
        # Later than what is delivered while the day is played.
        "due_at": None if trouble.state in SyncState.parked() else now + timedelta(seconds=trouble.due or 60),
    }
    if trouble.state is SyncState.SENDING:
        columns |= {"lease_token": uuid.UUID(int=order.pk), "lease_revision": order.revision}
    if trouble.reason == "invalid:currency":
        Order.objects.filter(pk=order.pk).update(currency="EUR", **columns)
    Order.objects.filter(pk=order.pk).update(**columns)


def ship(order: Order, dice: random.Random) -> None:
    """Record that the parcel has left."""
    order.refresh_from_db()
    order.shipped = True
    order.shipping_date = order.order_date + timedelta(minutes=dice.randrange(150, 480))
    order.shipping_details = "Parcel post"
    order.shipping_tracking_url = f"https://parcels.example.com/{order.customer_order_id}"
    order.save()


def tell(newest_first: list[Order], now: datetime, dice: random.Random) -> None:
    """Spread what has just been done over the day, and add the attempts that failed."""
    real: dict[int, list[SyncAttempt]] = {}
    for attempt in SyncAttempt.objects.order_by("pk"):
        real.setdefault(attempt.order_id, []).append(attempt)
    SyncAttempt.objects.all().delete()
    told: list[SyncAttempt] = []
    for at, order in enumerate(newest_first):
        if trouble := TROUBLES.get(at):
            told += failures(order, trouble, dice)
            continue
        done = list(successes(order, real[order.pk], now, dice))
        Order.objects.filter(pk=order.pk).update(synced_at=done[-1].started_at + timedelta(milliseconds=120))
        told += done
    for attempt in told:
        attempt.pk = None
    SyncAttempt.objects.bulk_create(sorted(told, key=lambda attempt: attempt.started_at))


def successes(
    order: Order, attempts: Iterable[SyncAttempt], now: datetime, dice: random.Random
) -> Iterator[SyncAttempt]:
    """Yield the attempts by which Bronto took the order, and those that the outage spoiled before."""
    begin, end = (now - ago for ago in OUTAGE)
    for attempt in attempts:
        is_add = attempt.operation == SyncAttempt.Operation.ADD
        happened = (order.order_date if is_add else order.shipping_date) or now
        started = min(happened + timedelta(milliseconds=dice.randrange(300, 2600)), now)
        if begin < started < end:
            yield failure(order, started, 503, FAILS, dice)
            if (end - started) > timedelta(minutes=20):
                yield failure(order, started + timedelta(minutes=11), 503, FAILS, dice)
            started = end + timedelta(seconds=dice.randrange(5, 200))
        attempt.started_at, attempt.duration_ms = started, dice.randrange(70, 260)
        attempt.trigger, attempt.decision = "signal", DELIVERED
        yield attempt


def failures(order: Order, trouble: Trouble, dice: random.Random) -> Iterator[SyncAttempt]:
    """Yield the attempts on an order that Bronto has not taken, each twice as long after the one before."""
    started = order.order_date + timedelta(seconds=1)
    for number, status in enumerate(trouble.statuses):
        yield failure(order, started, status, trouble.message, dice)
        started += timedelta(seconds=20 * 2**number)


def failure(order: Order, started: datetime, status: int | None, message: str, dice: random.Random) -> SyncAttempt:
    """Return an attempt that ended with this status."""
    outcome = SyncAttempt.Outcome.DEFERRED
    if status is None:
        outcome = SyncAttempt.Outcome.UNKNOWN
    elif status in (400, 404, 409):
        outcome = SyncAttempt.Outcome.SKIPPED if status == 404 else SyncAttempt.Outcome.REJECTED
    return SyncAttempt(
        order=order,
        account=order.account,
        revision=1,
        operation=SyncAttempt.Operation.ADD,
        trigger="signal",
        started_at=started,
        duration_ms=10_000 if status is None else dice.randrange(60, 900),
        http_status=status,
        outcome=outcome,
        decision=message,
    )


def change_both_sides(order: Order) -> None:
    """Change the order at Bronto and, in other places and in one of the same, in the shop."""
    order.refresh_from_db()
    bronto = client_for(bronto_settings.account(ACCOUNT))
    theirs = {"shippingDetails": "Leave it at the reception desk", "discountAmount": 5}
    bronto.update(order.bronto_order_id, theirs)
    order.shipping_details = "Ring twice, then leave it in the porch"
    order.tax_amount = Decimal("0.00")
    order.save()
    line = order.line_items.first()
    if line is not None:
        line.quantity += 1
        line.save()
    Order.objects.filter(pk=order.pk).update(due_at=timezone.now() + timedelta(minutes=5))


def resync(orders: list[Order], now: datetime) -> None:
    """Begin to send orders again, and stop half way."""
    troubled = SyncState.parked()
    chosen = Order.objects.filter(pk__in=[order.pk for order in orders]).exclude(sync_state__in=troubled)
    staff = get_user_model().objects.get(username=ADMIN_LOGIN)
    run, _new = start_run(chosen, trigger=f"admin:{staff.pk}", options=Options(force=True))
    mine = Order.objects.filter(resync_run=run).order_by("-pk")
    waiting = list(mine.values_list("pk", flat=True)[:WAITING])
    mine.filter(pk__in=waiting).update(due_at=now + timedelta(minutes=5))
    engine.deliver(ACCOUNT)
    refused = list(mine.exclude(pk__in=waiting).values_list("pk", flat=True)[:REFUSED])
    mine.filter(pk__in=refused).update(
        sync_state=SyncState.REJECTED,
        sync_reason="refused",
        sync_message=REFUSES,
        acked_revision=F("revision") - 1,
    )
    ResyncRun.objects.filter(pk=run.pk).update(
        created_at=now - timedelta(seconds=46), started_at=now - timedelta(seconds=45)
    )
