"""The table of transitions is what happens, all of it and nothing else; see also ``known_transitions``."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection
from django.utils import timezone

from bronto_orders import exceptions as errors
from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import claims, engine
from bronto_orders.delivery.erasure import erase_customer
from bronto_orders.delivery.resync import Options, cancel, start_run
from bronto_orders.models import AccountStatus, DbNow, Order
from bronto_orders.models.transitions import TRANSITIONS
from tests import transitions
from tests.factories import OrderFactory
from tests.fakes import FakeBronto

pytestmark = pytest.mark.django_db(transaction=True)

CLAIM = ("pending", "sending")


def due() -> None:
    AccountStatus.objects.update(held_until=None)
    Order.objects.owed().update(due_at=DbNow(-1), settle_until=None)


def deliver() -> None:
    due()
    engine.deliver("default")


def answered(bronto: FakeBronto, error: errors.BrontoError | None) -> None:
    bronto.script.append(error)
    deliver()


def hand_back() -> None:
    claims.hand_back(claims.claim("default", 1, bronto_settings.delivery, using="default"), using="default")


def change() -> None:
    Order.objects.update(shipped=True)
    connection.close()


def changed_in_flight(bronto: FakeBronto) -> None:
    def step() -> None:
        change()
        bronto.always = errors.BadRequestError(status=400)

    bronto.script.append(step)
    deliver()


def unchanged(bronto: FakeBronto) -> None:
    deliver()
    Order.objects.get().save()
    deliver()
    assert len(bronto.calls) == 1


def poison(bronto: FakeBronto) -> None:
    AccountStatus.objects.update_or_create(pk="default", defaults={"last_success_at": timezone.now()})
    Order.objects.update(attempts=bronto_settings.delivery.max_attempts)
    answered(bronto, errors.ServerError(status=500))


def die(times: int) -> None:
    """Let so many workers die of the order, one after another."""
    for _ in range(times):
        due()
        for turn in (claims.Turn.ANY, claims.Turn.SUSPECT):
            claims.claim("default", 1, bronto_settings.delivery, using="default", turn=turn)


def crash_loop(bronto: FakeBronto) -> None:
    die(claims.MAX_CRASHES)
    deliver()
    assert bronto.calls == []


def refused(bronto: FakeBronto) -> None:
    answered(bronto, errors.BadRequestError(status=400))


def no_contact(bronto: FakeBronto) -> None:
    answered(bronto, errors.UnknownContactError(status=409))


def invalid(bronto: FakeBronto) -> None:
    Order.objects.update(currency="XXX")
    deliver()
    Order.objects.update(currency="USD")


def resync(rest: Callable[[FakeBronto], None]) -> Callable[[FakeBronto], None]:
    def scene(bronto: FakeBronto) -> None:
        rest(bronto)
        Order.objects.all().resync(options={}, force=True)

    return scene


def changed(rest: Callable[[FakeBronto], None]) -> Callable[[FakeBronto], None]:
    def scene(bronto: FakeBronto) -> None:
        rest(bronto)
        change()

    return scene


def ignored(before: Callable[[FakeBronto], None]) -> Callable[[FakeBronto], None]:
    """Marked as ignored, then changed by the shop."""

    def scene(bronto: FakeBronto) -> None:
        before(bronto)
        assert Order.objects.all().ignore("") == 1
        change()

    return scene


def erased(before: Callable[[FakeBronto], None]) -> Callable[[FakeBronto], None]:
    """Erased, then changed by the shop, and delivered."""

    def scene(bronto: FakeBronto) -> None:
        before(bronto)
        assert erase_customer(Order.objects.get().email_address).orders == 1
        change()
        deliver()

    return scene


def cancelled(bronto: FakeBronto) -> None:
    deliver()
    orders = Order.objects.filter(customer_order_id__gt="")
    run, _new = start_run(orders, trigger="test", options=Options())
    assert cancel(run)


ACCEPTED, REJECTED, SKIPPED = (("sending", state) for state in ("synced", "rejected", "skipped"))
DEFERRED = ("sending", "pending")
#: What happens to one new order, and how its state changes, beside birth and claim.
SCENES: dict[str, tuple[Callable[[FakeBronto], None], set[transitions.Pair]]] = {
    "acknowledged": (lambda bronto: answered(bronto, None), {ACCEPTED}),
    "refused": (refused, {REJECTED}),
    "poison": (poison, {REJECTED}),
    "crash_loop": (crash_loop, {REJECTED}),
    "no contact": (no_contact, {SKIPPED}),
    "invalid, and corrected": (invalid, {SKIPPED, ("skipped", "pending")}),
    "deferred": (lambda bronto: answered(bronto, errors.ServerError(status=500)), {DEFERRED}),
    "fate unknown": (lambda bronto: answered(bronto, errors.DeadlineError()), {DEFERRED}),
    "handed back": (lambda _: hand_back(), {DEFERRED}),
    "changed in flight": (changed_in_flight, {DEFERRED, REJECTED}),
    "unchanged": (unchanged, {ACCEPTED, ("synced", "pending")}),
    "taken over": (lambda _: die(2), set()),
    "synced, changed": (changed(lambda _: deliver()), {ACCEPTED, ("synced", "pending")}),
    "synced, resynced": (resync(lambda _: deliver()), {ACCEPTED, ("synced", "pending")}),
    "rejected, changed": (changed(refused), {REJECTED, ("rejected", "pending")}),
    "rejected, resynced": (resync(refused), {REJECTED, ("rejected", "pending")}),
    "skipped, changed": (changed(no_contact), {SKIPPED, ("skipped", "pending")}),
    "skipped, resynced": (resync(no_contact), {SKIPPED, ("skipped", "pending")}),
    "rejected, ignored": (ignored(refused), {REJECTED, ("rejected", "skipped")}),
    "skipped, ignored": (ignored(no_contact), {SKIPPED}),
    "deferred, ignored": (
        ignored(lambda bronto: answered(bronto, errors.ServerError(status=500))),
        {DEFERRED, ("pending", "skipped")},
    ),
    "new, erased": (erased(lambda _: None), {("pending", "skipped"), ("skipped", "pending"), SKIPPED}),
    "synced, erased": (
        erased(lambda _: deliver()),
        {ACCEPTED, ("synced", "skipped"), ("skipped", "pending"), SKIPPED},
    ),
    "rejected, erased": (erased(refused), {REJECTED, ("rejected", "skipped"), ("skipped", "pending"), SKIPPED}),
    "synced, resync cancelled": (cancelled, {ACCEPTED, ("synced", "pending"), ("pending", "synced")}),
}
BIRTH = (None, "pending")


@pytest.mark.parametrize(("scene", "expected"), SCENES.values(), ids=SCENES)
def test_scene(bronto: FakeBronto, scene: Callable[[FakeBronto], None], expected: set[transitions.Pair]) -> None:
    OrderFactory()
    scene(bronto)
    assert transitions.seen() == {BIRTH, CLAIM, *expected}


def test_the_table_holds_what_happens_and_nothing_else() -> None:
    assert {BIRTH, CLAIM}.union(*(expected for _scene, expected in SCENES.values())) == TRANSITIONS.keys()


def test_every_other_change_is_seen() -> None:
    OrderFactory()
    Order.objects.update(sync_state="rejected", due_at=None)
    Order.objects.update(sync_state="synced")
    assert transitions.unknown() == {("pending", "rejected"), ("rejected", "synced")}
    transitions.forget()
