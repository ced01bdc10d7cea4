from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from django.utils import timezone, translation

from bronto_orders import exceptions as errors
from bronto_orders import payloads
from bronto_orders.admin import columns
from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import explain, gate, policy
from bronto_orders.delivery.erasure import erase_customer
from bronto_orders.delivery.explain import Surroundings
from bronto_orders.models import AccountStatus, Order, Presence, SyncAttempt, SyncState, Tombstone
from tests.factories import OrderFactory

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MINUTES = timedelta(minutes=1)


def order(state: str = "pending", reason: str = "", **columns: Any) -> Order:
    return Order(account="default", sync_state=state, sync_reason=reason, **{"due_at": NOW, **columns})


def account(**columns: Any) -> AccountStatus:
    return AccountStatus(account="default", **columns)


def explained(order: Order, status: AccountStatus | None = None, **around: Any) -> str:
    return explain.explain(order, status, NOW, Surroundings(**around))


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (order(), "Waiting to be sent; it goes out in a moment. Nothing to do."),
        (order(due_at=NOW + 30 * MINUTES), "Waiting to be sent; it goes out in 30 minutes. Nothing to do."),
        (
            order(settle_until=NOW + MINUTES),
            "Waiting: an earlier push may still arrive, so the change follows in 1 minute. Nothing to do.",
        ),
        (
            order(reason="fate_unknown", settle_until=NOW + 2 * MINUTES),
            "Waiting: Bronto did not answer, so the order may or may not have arrived; "
            "that is looked into in 2 minutes. Nothing to do.",
        ),
        (order(reason="new_code"), "Waiting (new_code); next try in a moment."),
        (order("sending", due_at=NOW + MINUTES), "Being sent to Bronto right now. Nothing to do."),
        (
            order("sending", due_at=NOW - MINUTES),
            "The worker that was sending it has stopped; another takes over in a moment. Nothing to do.",
        ),
        (
            order("sending", due_at=NOW - 20 * MINUTES),
            "Overdue for 20 minutes: no worker has taken it. Tell the developers that no worker seems to run.",
        ),
        (
            order(due_at=NOW - timedelta(days=3)),
            "Overdue for 3 days: no worker has taken it. Tell the developers that no worker seems to run.",
        ),
        (order("synced", synced_at=NOW - 3 * 60 * MINUTES), "Bronto took the order 3 hours ago. Nothing to do."),
        (order("synced"), "Bronto has the order as the shop has it. Nothing to do."),
        (order("rejected", "new_code"), "Given up (new_code). Correct the order or resync it."),
        (order("skipped", "new_code"), "Not sent (new_code). Correct the order or resync it."),
        (
            order("skipped", "invalid:order_date"),
            "Not sent: Bronto would refuse the order because of its order date. Correct that; saving sends it.",
        ),
        (
            order("skipped", "invalid:gone_field"),
            "Not sent: Bronto would refuse the order because of its gone field. Correct that; saving sends it.",
        ),
    ],
)
def test_what_the_order_says(row: Order, expected: str) -> None:
    assert explained(row) == expected


@pytest.mark.parametrize(
    ("attempts", "http_status", "due_in", "expected"),
    [
        (3, 503, 4 * MINUTES, "Bronto failed 3 times, last with HTTP 503; next try in 4 minutes."),
        (1, 500, timedelta(seconds=20), "Bronto failed once, last with HTTP 500; next try in 20 seconds."),
        (0, None, timedelta(seconds=-1), "Bronto failed once, last with an error; next try in a moment."),
    ],
)
def test_failures_are_counted(attempts: int, http_status: int | None, due_in: timedelta, expected: str) -> None:
    waiting = order(reason="server_error", attempts=attempts, due_at=NOW + due_in)
    text = explained(waiting, attempt=SyncAttempt(http_status=http_status))
    assert text == f"Waiting: {expected} Nothing to do."


@pytest.mark.parametrize(
    ("status", "around", "expected"),
    [
        (None, {"configured": False}, "the account “default” is not configured"),
        (None, {"enabled": False}, "delivery is switched off"),
        (account(), {"foreign": True}, "another environment sends"),
        (account(paused=True), {}, "somebody has paused the account"),
        (account(held_until=NOW + 5 * MINUTES, held_reason="outage"), {}, "some of them try again in 5 minutes"),
        (account(held_until=NOW + 5 * MINUTES, held_reason="new"), {}, "the account is held (new); next try in 5 min"),
        (account(held_until=NOW - MINUTES, held_reason="outage"), {}, "it goes out in a moment"),
        (account(), {}, "it goes out in a moment"),
    ],
)
def test_what_stops_the_account_comes_first(status: AccountStatus | None, around: Any, expected: str) -> None:
    for row in (order(), order("sending")):
        text = explained(row, status, **around)
        assert expected in text or "has stopped" in text
    assert "Nothing to do" in explained(order("synced"), status, **around)


def test_a_long_queue_is_no_reason_to_ask_for_workers() -> None:
    late = order(due_at=NOW - 25 * MINUTES)
    assert explained(late, account(last_success_at=NOW - MINUTES)) == (
        "Waiting its turn for 25 minutes: many orders are queued, and they are being sent. Nothing to do."
    )
    assert "no worker" in explained(late, account(last_success_at=NOW - 60 * MINUTES))


def test_what_bronto_keeps_differently_is_named() -> None:
    attempt = SyncAttempt(outcome="accepted", differences=["shippingAmount", "subtotal"])
    assert explained(order("synced", synced_at=NOW), attempt=attempt) == (
        "Bronto took the order, but keeps other values in: shippingAmount, subtotal. Compare the two to see which."
    )


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "1 second"), (59.4, "59 seconds"), (60, "1 minute"), (3599, "59 minutes"), (3600, "1 hour"),
     (172_799, "47 hours"), (172_800, "2 days"), (86_400_000, "1,000 days")],
)  # fmt: skip
def test_spans(settings: Any, seconds: float, expected: str) -> None:
    settings.USE_THOUSAND_SEPARATOR = True
    with translation.override("en"):
        assert explain.span(seconds) == expected


def decided() -> set[tuple[str, str]]:
    """Return each state and reason that the policy can end in for an order."""
    made = [
        None,
        *(e(status=409) if issubclass(e, errors.APIError) else e() for e in policy.TABLE if e is not type(None)),
    ]
    choices = product(
        made, policy.Operation, Presence, (1, 99), (0, 9), (True, False), (None, True, False), policy.Blame
    )
    ends = set()
    for error, operation, presence, attempts, flips, lack, found, blame in choices:
        exchange = policy.Exchange(
            error=error, operation=operation, presence=presence, attempts=attempts, flips=flips,
            contact_may_lack=lack, found=found, blame=blame,
        )  # fmt: skip
        decision = policy.decide(exchange, bronto_settings.delivery, healthy=True)
        ends.add((str(decision.state), decision.reason))
    return ends


def test_each_reason_has_a_sentence_and_words() -> None:
    known = {"pending": explain.WAITING, "rejected": explain.REJECTED, "skipped": explain.SKIPPED, "synced": {"": ""}}
    ends = decided() | {("rejected", "crash_loop"), ("skipped", "ignored_by_staff")}
    ends |= {("pending", "deletion"), ("skipped", "erased")}
    assert {(state, reason) for state, reason in ends if reason not in known[state]} == set()
    assert {reason for _state, reason in ends if reason and reason not in columns.REASONS} == set()
    assert sorted(columns.REASONS) == explain.REASONS
    # And none is left of what no longer happens.
    codes = {(state, reason) for state, table in known.items() for reason in table if not reason.startswith("invalid:")}
    assert codes == ends


def test_each_hold_has_a_sentence_and_words() -> None:
    assert set(explain.HELD) == {gate._OUTAGE, "throttled", *gate._LASTING_REASONS.values()}
    assert all(columns.reason(code) != code for code in explain.HELD if code != "throttled")


def test_each_field_that_can_be_invalid_has_a_name() -> None:
    for field in payloads.FIELDS:
        text = explained(order("skipped", f"invalid:{field.attribute}"))
        assert str(Order._meta.get_field(field.attribute).verbose_name) in text
    assert "one of the line items" in explained(order("skipped", "invalid:line_items"))
    assert "cannot be turned into a request" in explained(order("skipped", "invalid:order"))


def test_the_sentences_have_no_place_left_open() -> None:
    for state, table in (("pending", explain.WAITING), ("rejected", explain.REJECTED), ("skipped", explain.SKIPPED)):
        for reason in table:
            text = explained(order(state, reason))
            assert "%" not in text
            assert text.endswith(".")


@pytest.mark.django_db
def test_an_order_is_explained_with_two_queries(settings: Any, django_assert_num_queries: Any) -> None:
    row = OrderFactory()
    with django_assert_num_queries(2):
        assert "in a moment" in explain.describe(row)
    settings.BRONTO_ORDERS = {**settings.BRONTO_ORDERS, "DELIVERY": {"ENABLED": False}}
    assert "switched off" in explain.describe(row)
    settings.BRONTO_ORDERS = {}
    row.account = "elsewhere"
    assert "not configured" in explain.describe(row)


@pytest.mark.django_db
def test_the_newest_attempt_counts() -> None:
    row = OrderFactory()
    row.sync_state, row.synced_at = SyncState.SYNCED, timezone.now()
    common = {"order": row, "account": "default", "revision": 1, "operation": "add", "trigger": "signal",
              "started_at": NOW, "duration_ms": 1, "outcome": "accepted"}  # fmt: skip
    SyncAttempt.objects.create(**common, differences=["subtotal"])
    assert "subtotal" in explain.describe(row)
    SyncAttempt.objects.create(**common)
    assert "Bronto took the order 1 second ago" in explain.describe(row)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"due_at": NOW}, "Erased with its customer; Bronto is still to confirm the deletion. Never sent again."),
        ({}, "Erased with its customer, but Bronto has refused to delete it. Never sent again. "),
        ({"done_at": NOW}, "Erased with its customer: never sent again, and emptied again"),
    ],
    ids=["owed", "refused", "done"],
)
def test_an_erased_order_until_bronto_has_confirmed(columns: dict[str, Any], expected: str) -> None:
    tombstone = Tombstone(kind=Tombstone.Kind.ERASED, **columns)
    assert explained(order("skipped", "erased", due_at=None), tombstone=tombstone).startswith(expected)


@pytest.mark.django_db
def test_an_erased_order_is_described_by_its_own_tombstone() -> None:
    row, other = OrderFactory(email_address="jane@example.com"), OrderFactory(email_address="jane@example.com")
    erase_customer("jane@example.com")
    Tombstone.objects.filter(customer_order_id=other.customer_order_id).update(due_at=None, done_at=NOW)
    for each, expected in [(row, "Erased with its customer; "), (other, "Erased with its customer: ")]:
        each.refresh_from_db()
        assert explain.describe(each).startswith(expected)
