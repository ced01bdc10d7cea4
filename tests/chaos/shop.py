"""A shop's web processes: threads that place orders and edit them through the ORM, in transactions, some rolled back.

Each change of an order adds one to its grand total, by the database or under the row's lock, so that of two states of
an order the greater total is the newer one. What is rolled back bears a mark that nobody may ever see.
"""

from __future__ import annotations

import json
import os
import random
import re
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path

from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import F

from bronto_orders.models import LineItem, Order

#: In every state that was rolled back.
PHANTOM = "this never happened"
#: How many edits, of any orders, follow a checkout.
EDITS = [0, 1, 1, 2, 2, 3, 4]
#: The share of transactions that are rolled back.
ROLLED_BACK = 0.1
#: Most edits go to one of so many newest orders, the others to any.
HOT = 12
WORDS = ["", "mug", "Kännchen", "thé", "чай", "茶", "cup & saucer", "1/2 lb", '"quoted"', "☕", "tab\there"]


class _RolledBackError(Exception):
    """Rolls a transaction back."""


class Shopper(threading.Thread):
    """One thread of a web process."""

    def __init__(self, seed: int, name: str, orders: int, seconds: float) -> None:
        super().__init__(name=name, daemon=True)
        self.random = random.Random(f"{seed}/{name}")
        self.orders = orders
        self.seconds = seconds
        self.done: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.trouble: list[str] = []
        self.durations: list[float] = []

    def run(self) -> None:
        started = time.monotonic()
        for number in range(self.orders):
            while not self._attempt(partial(self.check_out, f"{self.name}/{number}")):
                time.sleep(0.2)
            for _ in range(self.random.choice(EDITS)):
                self._attempt(self.random.choice(self.edits))
            time.sleep(max(0.0, started + self.seconds * (number + 1) / self.orders - time.monotonic()))

    def _attempt(self, work: Callable[[], None]) -> bool:
        """Do one request's work. A database that fails is the customer's bad luck; anything else is trouble."""
        started = time.monotonic()
        try:
            work()
        except (OperationalError, InterfaceError) as error:
            words = " ".join(re.findall(r"[^\W\d]+", str(error))[:12])
            self.refused[f"{type(error).__name__} ({words})"] += 1
            if self.refused.total() <= 5:
                sys.stderr.write(f"{self.name}: {error}\n")
            connection.close()
            return False
        except _RolledBackError:
            self.done["rolled back"] += 1
        except Exception:
            self.trouble.append(traceback.format_exc())
        else:
            self.done[getattr(work, "__name__", "check_out")] += 1
            self.durations.append(time.monotonic() - started)
        return True

    # What a customer does

    def check_out(self, number: str) -> None:
        """Place an order, unless an earlier try of which nobody heard has placed it."""
        if Order.objects.filter(customer_order_id=number).exists():
            return
        order = self._order(number)
        if self.random.random() < 0.2:
            # Autocommit: the order is there before its items are.
            order.save()
            LineItem.objects.bulk_create(self._item(order, position) for position in range(2))
            return
        with transaction.atomic():
            order.save()
            for position in range(self.random.randrange(4)):
                self._item(order, position).save()

    def abandon(self) -> None:
        with transaction.atomic():
            self._order(f"{PHANTOM} {self.random.random()}").save()
            raise _RolledBackError

    # What staff and other parts of the shop do

    def save_whole(self) -> None:
        with self._locked() as order:
            self._decorate(order)
            order.save()

    def save_stale(self) -> None:
        """Save some columns of an order that was read some time before, without a lock."""
        for order in Order.objects.filter(pk=self._pick()):
            time.sleep(self.random.random() / 50)
            order.grand_total = F("grand_total") + 1
            order.shipping_details = self._text()
            order.save(update_fields=["grand_total", "shipping_details"])

    def save_six_times(self) -> None:
        pk = self._pick()
        for _ in range(6):
            Order.objects.filter(pk=pk).update(shipping_details=self._text(), grand_total=F("grand_total") + 1)

    def save_unchanged(self) -> None:
        for order in Order.objects.filter(pk=self._pick()):
            order.save(update_fields=["customer_order_id"])

    def update_by_query(self) -> None:
        pks = {self._pick() for _ in range(self.random.choice([1, 1, 3]))}
        Order.objects.filter(pk__in=pks).update(
            grand_total=F("grand_total") + 1,
            tax_amount=self._amount(),
            shipping_amount=self._amount(),
            origin_user_agent=self._text(),
        )

    def update_in_bulk(self) -> None:
        with transaction.atomic():
            picked = {self._pick() for _ in range(3)}
            orders = list(Order.objects.select_for_update().filter(pk__in=picked).order_by("pk"))
            for order in orders:
                self._stamp(order)
                order.subtotal = self._amount()
            Order.objects.bulk_update(orders, ["grand_total", "subtotal"])

    def edit_items(self) -> None:
        with self._locked() as order:
            order_first = self.random.random() < 0.5
            if order_first:
                order.save(update_fields=["grand_total"])
            self._edit_items(order, list(order.line_items.all()))
            if not order_first:
                order.save(update_fields=["grand_total"])

    def _edit_items(self, order: Order, items: list[LineItem]) -> None:
        match self.random.choice(["add", "change", "remove", "all"]):
            case "change" if items:
                item = self.random.choice(items)
                item.quantity, item.other = Decimal(self.random.randrange(1, 9)), self._text()
                item.save()
            case "remove" if items:
                self.random.choice(items).delete()
            case "all":
                order.line_items.update(unit_price=self._amount(), category=self._text())
            case _:
                self._item(order, len(items)).save()

    def process(self) -> None:
        Order.objects.filter(pk=self._pick()).update(processed=True, grand_total=F("grand_total") + 1)

    def ship(self) -> None:
        with self._locked() as order:
            order.processed = order.shipped = True
            order.shipping_date = datetime(2026, 2, 1, tzinfo=UTC) + timedelta(
                milliseconds=self.random.randrange(10**9)
            )
            order.shipping_tracking_url = f"https://parcels.example/{self.random.randrange(10**6)}"
            order.save()

    def clear(self) -> None:
        """Take back what was said."""
        with self._locked() as order:
            order.shipped = False
            order.shipping_date, order.shipping_tracking_url, order.shipping_details = None, "", ""
            order.discount_amount = None
            order.contact_id = order.message_id = order.delivery_id = ""
            order.save()

    def attribute(self) -> None:
        """Say what an order came from, or that it came from nothing."""
        with self._locked() as order:
            order.contact_id, order.message_id, order.delivery_id = self._id(), self._id(), self._id()
            order.save()

    def think_twice(self) -> None:
        """Roll a part of a transaction back and commit the rest."""
        with self._locked() as order:
            try:
                with transaction.atomic():
                    Order.objects.filter(pk=order.pk).update(shipping_details=PHANTOM, processed=True)
                    raise _RolledBackError
            except _RolledBackError:
                order.save(update_fields=["grand_total"])

    @property
    def edits(self) -> list[Callable[[], None]]:
        often = [self.save_whole, self.save_stale, self.update_by_query, self.edit_items, self.ship]
        seldom = [self.abandon, self.update_in_bulk, self.process, self.save_unchanged, self.think_twice]
        return [*often, *often, *seldom, self.clear, self.clear, self.attribute, self.save_six_times]

    # Parts

    @contextmanager
    def _locked(self) -> Iterator[Order]:
        """Give a locked order with a new stamp; now and then roll back what was done to it."""
        with transaction.atomic():
            order = Order.objects.select_for_update().filter(pk=self._pick()).first()
            if order is None:
                raise _RolledBackError
            self._stamp(order)
            yield order
            if self.random.random() < ROLLED_BACK:
                order.shipping_details = PHANTOM
                order.save()
                raise _RolledBackError

    def _pick(self) -> int:
        newest = list(Order.objects.order_by("-pk").values_list("pk", flat=True)[:HOT])
        if not newest or self.random.random() < 0.7:
            return self.random.choice(newest or [0])
        return self.random.randint(1, newest[0])

    @staticmethod
    def _stamp(order: Order) -> None:
        order.grand_total = (order.grand_total or Decimal(0)) + 1

    def _order(self, number: str) -> Order:
        tracked = self.random.random() < 0.3
        order = Order(
            customer_order_id=number,
            email_address=f"{self.random.randrange(10**6)}@example.com",
            order_date=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.random.randrange(10**7)),
            currency=self.random.choice(["USD", "EUR", "GBP"]),
            grand_total=Decimal(1),
            origin_ip=self.random.choice([None, "192.0.2.7", "2001:db8::7"]),
            order_source="WEBSITE",
            contact_id=self._id(),
            message_id=self._id(),
            delivery_id=self._id(),
            tracking_cookie_name="tid_chaos" if tracked else "",
            tracking_cookie_value="3" + ".abc" * 14 if tracked else "",
            processed=self.random.random() < 0.5,
        )
        self._decorate(order)
        return order

    def _decorate(self, order: Order) -> None:
        order.shipping_details = self._text()
        order.subtotal, order.tax_amount = self._amount(), self._amount()
        order.discount_amount = self.random.choice([None, Decimal(0), self._amount()])

    def _item(self, order: Order, position: int) -> LineItem:
        price = self._amount()
        return LineItem(
            order=order,
            position=position,
            name=self._text(),
            sku=f"{self.random.randrange(10**5):05}",
            quantity=Decimal(self.random.randrange(1, 5)),
            unit_price=price,
            sale_price=price,
            total_price=self._amount(),
            product_url="https://shop.example/mugs?a=1&b=2",
        )

    def _text(self) -> str:
        return self.random.choice(WORDS) + self.random.choice(["", "", str(self.random.randrange(1000))])

    def _id(self) -> str:
        """Return an ID as Bronto gives them, or none."""
        return self.random.choice(["", f"0bc{self.random.randrange(10**9):033x}"])

    def _amount(self) -> Decimal:
        return Decimal(self.random.randrange(100_000)) / 100


def trade(name: str, *, seed: int, threads: int, orders: int, seconds: float, report: Path) -> None:
    """Run one web process to its end, and write down what came of it."""
    shares = [len(range(number, orders, threads)) for number in range(threads)]
    shoppers = [Shopper(seed, f"{name}{number}", share, seconds) for number, share in enumerate(shares)]
    for shopper in shoppers:
        shopper.start()
    for shopper in shoppers:
        shopper.join()
    found = {
        "done": sum((shopper.done for shopper in shoppers), Counter()),
        "refused": sum((shopper.refused for shopper in shoppers), Counter()),
        "trouble": [trouble for shopper in shoppers for trouble in shopper.trouble],
        "durations": sorted(duration for shopper in shoppers for duration in shopper.durations),
    }
    report.write_text(json.dumps(found))
    # A thread that waits for a broker holds nobody up.
    os._exit(0)
