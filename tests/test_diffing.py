from __future__ import annotations

import json
import time
from dataclasses import FrozenInstanceError, replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bronto_orders import equality, payloads, wire
from bronto_orders.diffing import Change, Verdict, compare, taken_differently

MUG = {"sku": "0003105", "name": "Coffee Mug", "quantity": Decimal(2), "totalPrice": Decimal("7.98")}
TEA = {"sku": "0003106", "name": "Tea", "quantity": Decimal(1), "totalPrice": Decimal("3.10")}
JAM = {"sku": "0003107", "name": "Jam", "quantity": Decimal(1), "totalPrice": Decimal("4.20")}

scalars = (
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.decimals(allow_nan=False) | st.text()
)
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
field_names = st.sampled_from([name for name in equality.FIELDS if "." not in name])
awkward_texts = st.sampled_from(
    [
        "",
        "NaN",
        "sNaN",
        "Infinity",
        "1e999999999",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "::",
        "::x",
    ]
)
items = st.dictionaries(
    st.sampled_from([*equality.ITEM_FIELDS, "position"]),
    awkward_texts | st.sampled_from(["a", 1]) | json_values,
    max_size=6,
)
documents = st.fixed_dictionaries(
    {},
    optional={
        "lineItems": st.lists(items, max_size=6) | json_values,
        "states": st.dictionaries(st.sampled_from(["processed", "shipped"]), json_values) | json_values,
    },
).flatmap(
    lambda nested: st.dictionaries(field_names, awkward_texts | json_values, max_size=8).map(lambda flat: flat | nested)
)


def only(changes: tuple[Change, ...], path: str) -> Change:
    [change] = [change for change in changes if change.path == path]
    return change


def verdict(now: Any, last_sent: Any, remote: Any, name: str = "currency") -> Verdict:
    """The verdict on one field; ``...`` for a document that is not there at all."""
    sides = [None if value is ... else {name: value} for value in (now, last_sent, remote)]
    return only(compare(*sides), name).verdict


def order(*line_items: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**fields, "lineItems": list(line_items)}


def differences(*sides: Any) -> dict[str, Verdict]:
    return {change.path: change.verdict for change in compare(*sides) if change.verdict.is_difference}


def test_fields_are_those_of_the_payload_and_stand_in_its_order():
    sent = [field.name for field in payloads.FIELDS]
    assert [name for name in equality.FIELDS if not name.startswith("states.")] == sent
    assert list(equality.ITEM_FIELDS) == [field.name for field in payloads.ITEM_FIELDS]


@pytest.mark.parametrize(
    ("now", "last_sent", "remote", "expected"),
    [
        ("USD", "USD", "USD", Verdict.SAME),
        ("EUR", "USD", "USD", Verdict.CHANGED_HERE),
        ("USD", "USD", "EUR", Verdict.CHANGED_THERE),
        ("EUR", "USD", "GBP", Verdict.CONFLICT),
        ("EUR", "USD", "EUR", Verdict.SAME),
        ("USD", ..., "USD", Verdict.SAME),
        ("EUR", ..., "USD", Verdict.NOT_SENT),
        (None, ..., "USD", Verdict.CHANGED_THERE),
        ("USD", ..., ..., Verdict.NOT_SENT),
        ("USD", "USD", ..., Verdict.SAME),
        ("EUR", "USD", ..., Verdict.CHANGED_HERE),
        (None, "USD", "USD", Verdict.CHANGED_HERE),
        (None, "USD", "", Verdict.EQUAL),
        ("USD", "USD", None, Verdict.CHANGED_THERE),
    ],
)
def test_three_sides_make_one_verdict(now, last_sent, remote, expected):
    assert verdict(now, last_sent, remote) is expected


@pytest.mark.parametrize("nothing", [{}, {"currency": None}, {"currency": ""}])
def test_fields_that_are_empty_everywhere_are_left_out(nothing):
    assert compare(nothing, None, None) == compare({"currency": ""}, nothing, {"currency": None}) == ()
    assert taken_differently({"currency": ""}, nothing) == []


@pytest.mark.parametrize(
    ("name", "here", "there"),
    [
        ("grandTotal", Decimal("10.00"), Decimal("10.0")),
        ("grandTotal", Decimal("10.00"), 10),
        ("grandTotal", Decimal("19.90"), 19.9),
        ("grandTotal", Decimal("160.00"), "160.0"),
        ("grandTotal", None, 0),
        ("grandTotal", "", 0),
        ("orderDate", "2026-01-02T03:04:05.000+01:00", "2026-01-02T02:04:05.000Z"),
        ("orderDate", "2026-01-02T02:04:05Z", "2026-01-02T02:04:05.000Z"),
        ("orderDate", "2026-01-02", "2026-01-02T00:00:00.000Z"),
        ("originIp", "2001:db8::1", "2001:0DB8:0:0:0:0:0:1"),
        ("cartId", "7255C31C-39AC-4611-A2B7-974B0EBFA555", "7255c31c-39ac-4611-a2b7-974b0ebfa555"),
    ],
)
def test_values_that_bronto_writes_differently_are_equal(name, here, there):
    assert verdict(here, here, there, name) is Verdict.EQUAL
    assert verdict(here, ..., there, name) is Verdict.EQUAL
    assert taken_differently({name: here}, {name: there}) == []


@pytest.mark.parametrize(
    ("name", "here", "there"),
    [
        ("grandTotal", Decimal("10.00"), Decimal("10.01")),
        ("grandTotal", "ten", 10),
        ("grandTotal", "NaN", 0),
        ("currency", "0", 0),
        ("orderDate", "2026-01-02T03:04:05.000+01:00", "2026-01-02T03:04:05.000Z"),
        ("orderDate", "soon", "2026-01-02"),
        ("originIp", "2001:db8::1", "2001:db8::2"),
        ("originIp", "10.0.0.1", "::ffff:10.0.0.1"),
        ("originIp", "not: an address", None),
        ("emailAddress", "A@example.com", "a@example.com"),
    ],
)
def test_values_that_differ_are_told_apart(name, here, there):
    assert verdict(here, here, there, name) is Verdict.CHANGED_THERE
    assert taken_differently({name: here}, {name: there}) == [name]


def test_missing_state_counts_as_false():
    assert differences({"states": {"processed": False}}, None, {"states": {"processed": None}}) == {}
    assert differences({"states": {"processed": True}}, None, {}) == {"states.processed": Verdict.NOT_SENT}
    assert only(compare({"states": {"shipped": True}}, {}, None), "states.shipped").field == "shipped"


def test_write_only_fields_are_compared_with_what_was_sent():
    assert verdict("3.x", "3.x", None, "tid") is Verdict.WRITE_ONLY
    assert verdict("3.x", "3.x", ..., "tid") is Verdict.WRITE_ONLY
    assert verdict("3.y", "3.x", None, "tid") is Verdict.CHANGED_HERE
    assert verdict("3.x", ..., None, "tid") is Verdict.NOT_SENT
    assert verdict("WEBSITE", "WEBSITE", "WEBSITE", "orderSource") is Verdict.SAME
    assert compare({"tid": "3.x"}, {"tid": "3.x"}, {}, write_only=())[0].verdict is Verdict.CHANGED_THERE


def test_what_an_update_cannot_change_is_said_so():
    assert verdict("abc-1", "abc-2", "abc-2", "customerOrderId") is Verdict.CANNOT_CHANGE
    assert verdict("abc-1", "abc-2", ..., "customerOrderId") is Verdict.CANNOT_CHANGE
    assert verdict("abc-1", "abc-1", "abc-1", "customerOrderId") is Verdict.SAME
    assert verdict("abc-1", ..., ..., "customerOrderId") is Verdict.NOT_SENT
    assert (
        compare({"currency": "A"}, None, {"currency": "B"}, immutable={"currency"})[0].verdict is Verdict.CANNOT_CHANGE
    )


def test_fields_of_brontos_own_are_no_differences_and_stand_last():
    remote = {
        "updatedDate": "x",
        "orderId": "y",
        "hasTracking": False,
        "aNewField": 1,
        "status": "PENDING",
        "contactId": "c",
    }
    changes = compare({}, {}, remote)
    assert [change.path for change in changes] == [
        "contactId", "aNewField", "orderId", "status", "hasTracking", "updatedDate"
    ]  # fmt: skip
    assert {change.verdict for change in changes} == {Verdict.SET_BY_BRONTO}
    assert verdict("x", "x", "y", "aNewField") is Verdict.CHANGED_THERE


@pytest.mark.parametrize(
    ("now", "last_sent", "remote", "expected"),
    [
        ("EUR", "USD", "USD", Verdict.ACCEPTED),
        ("EUR", None, None, Verdict.ACCEPTED),
        (None, "USD", "USD", Verdict.ACCEPTED),
        ("EUR", "USD", ..., Verdict.ACCEPTED),
        ("EUR", "USD", "GBP", Verdict.CHANGED_THERE),
        ("EUR", "USD", "EUR", Verdict.SAME),
        ("EUR", "EUR", "USD", Verdict.CHANGED_THERE),
    ],
)
def test_what_was_accepted_is_no_difference(now, last_sent, remote, expected):
    sides = [None if value is ... else {"currency": value} for value in (now, last_sent, remote)]
    assert [change.verdict for change in compare(*sides, settled=True)] == [expected]
    assert Verdict.ACCEPTED.is_news
    assert not Verdict.ACCEPTED.is_difference


def test_items_that_were_accepted_are_no_differences():
    other = {**TEA, "quantity": Decimal(9)}
    theirs = order(JAM, other)
    changes = compare(order(MUG, TEA), theirs, theirs, settled=True)
    assert {change.verdict for change in changes if change.verdict.is_news} == {Verdict.ACCEPTED}
    assert differences(order(MUG, TEA), theirs, theirs) != {}


def test_items_of_one_sku_that_bronto_has_as_they_were_sent_changed_only_here():
    plain, tall = {**MUG, "other": "plain"}, {**MUG, "other": "tall"}
    sent = order(plain, tall, plain)
    assert set(differences(order(MUG), sent, sent).values()) == {Verdict.CHANGED_HERE}


def test_the_fewest_moves_are_told():
    items = [{"sku": letter} for letter in "abcdefgh"]
    shuffled = [{"sku": letter} for letter in "bcdahefg"]
    moved = differences(order(*shuffled), order(*items), order(*items))
    assert set(moved) == {"lineItems[sku=a]", "lineItems[sku=h]"}


@pytest.mark.parametrize("lines", ["alike", "apart"])
def test_a_thousand_items_of_one_sku_take_no_time(lines):
    ours = [{"sku": "x", "quantity": number} for number in range(1000)]
    theirs = ours[::-1] if lines == "alike" else [{"sku": "x", "quantity": number + 5000} for number in range(1000)]
    started = time.process_time()
    found = compare(order(*ours), order(*theirs), order(*theirs))
    assert time.process_time() - started < 1.5  # it took four times that when each was tried with each
    assert len({change.item for change in found}) == 1000


def test_items_are_matched_by_sku():
    changed = {**TEA, "quantity": Decimal(5)}
    sides = order(MUG, changed), order(MUG, TEA), order(MUG, TEA)
    assert differences(*sides) == {"lineItems[sku=0003106].quantity": Verdict.CHANGED_HERE}
    cell = only(compare(*sides), "lineItems[sku=0003106].quantity")
    assert (cell.now, cell.last_sent, cell.remote, cell.field) == (5, 1, 1, "quantity")
    assert cell.item is not None
    assert (cell.item.sku, cell.item.name, cell.item.now) == ("0003106", "Tea", 1)


def test_an_added_item_is_one_change_with_all_its_cells():
    found = differences(order(MUG, TEA), order(MUG), order(MUG))
    assert set(found.values()) == {Verdict.CHANGED_HERE}
    assert set(found) == {f"lineItems[sku=0003106]{tail}" for tail in ("", ".sku", ".name", ".quantity", ".totalPrice")}
    whole = only(compare(order(MUG, TEA), order(MUG), order(MUG)), "lineItems[sku=0003106]")
    assert (whole.now, whole.last_sent, whole.remote) == (1, None, None)


def test_removing_an_item_moves_no_other():
    found = differences(order(TEA, JAM), order(MUG, TEA, JAM), order(MUG, TEA, JAM))
    assert set(found.values()) == {Verdict.CHANGED_HERE}
    assert {path.partition("]")[0] for path in found} == {"lineItems[sku=0003105"}


def test_an_item_that_bronto_dropped_or_added_changed_there():
    assert set(differences(order(MUG, TEA), order(MUG, TEA), order(MUG)).values()) == {Verdict.CHANGED_THERE}
    assert set(differences(order(MUG), order(MUG), order(MUG, TEA)).values()) == {Verdict.CHANGED_THERE}
    assert set(differences(order(MUG), None, order(TEA)).values()) == {Verdict.NOT_SENT, Verdict.CHANGED_THERE}


def test_an_item_added_on_both_sides_is_compared():
    assert differences(order(MUG, TEA), order(MUG), order(MUG, TEA)) == {}
    other = {**TEA, "quantity": Decimal(9)}
    assert differences(order(MUG, TEA), order(MUG), order(MUG, other)) == {
        "lineItems[sku=0003106].quantity": Verdict.NOT_SENT
    }


def test_a_moved_item_is_one_move():
    moved = order(JAM, MUG, TEA)
    assert differences(moved, order(MUG, TEA, JAM), order(MUG, TEA, JAM)) == {
        "lineItems[sku=0003107]": Verdict.CHANGED_HERE
    }
    whole = only(compare(moved, order(MUG, TEA, JAM), None), "lineItems[sku=0003107]")
    assert (whole.now, whole.last_sent, whole.remote, whole.verdict) == (0, 2, None, Verdict.CHANGED_HERE)
    assert list(differences(order(MUG, TEA), None, order(TEA, MUG)).values()) == [Verdict.NOT_SENT]


def test_brontos_positions_order_its_items():
    answer = order({**TEA, "position": 1}, {**MUG, "position": 0})
    assert differences(order(MUG, TEA), order(MUG, TEA), answer) == {}
    assert taken_differently(order(MUG, TEA), answer) == []


def test_items_of_one_sku_are_told_apart_by_content_then_position():
    few, many = {**MUG, "quantity": Decimal(1)}, {**MUG, "quantity": Decimal(9)}
    found = differences(order(many), order(few, many), order(few, many))
    assert set(found.values()) == {Verdict.CHANGED_HERE}
    gone = only(compare(order(many), order(few, many), None), "lineItems[sku=0003105#2]")
    assert (gone.now, gone.last_sent) == (None, 0)
    more = {**MUG, "quantity": Decimal(10)}
    assert differences(order(few, more), order(few, many), None) == {
        "lineItems[sku=0003105#2].quantity": Verdict.CHANGED_HERE
    }


def test_items_without_sku_are_matched_by_name_then_position():
    gift = {"quantity": Decimal(1), "totalPrice": Decimal(0)}
    named = {"name": "Wrapping", "quantity": Decimal(1)}
    assert differences(order(gift, named), order(gift, named), order(gift, {**named, "quantity": 2})) == {
        "lineItems[1].quantity": Verdict.CHANGED_THERE
    }


def test_order_of_changes_is_that_of_the_field_table():
    document = {"zebra": 1, **dict.fromkeys(reversed(equality.FIELDS), "x"), "orderId": "y", "alpha": 1}
    paths = [change.path for change in compare(document, None, None)]
    assert paths == [*equality.FIELDS, "alpha", "zebra", "orderId"]


def test_changes_are_frozen():
    [change] = compare({"currency": "USD"}, None, None)
    with pytest.raises(FrozenInstanceError):
        change.now = "EUR"  # type: ignore[misc]
    assert replace(change, now="EUR") != change


def test_each_verdict_has_words():
    for one in Verdict:
        assert str(one.label)
        assert str(one.explanation).endswith(".")


def test_taken_differently_names_what_bronto_changed():
    sent = order(
        MUG, TEA, currency="USD", tid="3.x", orderSource="WEBSITE", states={"processed": True, "shipped": False}
    )
    got = order(
        {**MUG, "other": None, "position": 0},
        {**TEA, "quantity": 3, "position": 1},
        currency="EUR", states={"processed": False, "shipped": False}, orderId="x", discountAmount=0,
    )  # fmt: skip
    assert taken_differently(sent, got) == ["currency", "states.processed", "lineItems[1].quantity"]


def test_taken_differently_of_a_cleared_field():
    assert taken_differently({"shippingDetails": None}, {"shippingDetails": None}) == []
    assert taken_differently({"shippingDetails": None}, {"shippingDetails": "UPS"}) == ["shippingDetails"]


def test_taken_differently_counts_items():
    assert taken_differently(order(MUG, TEA), order(MUG)) == ["lineItems"]
    assert taken_differently(order(MUG), {}) == ["lineItems"]
    assert taken_differently({}, order(MUG)) == []


@given(now=json_values | documents, last_sent=json_values | documents, remote=json_values | documents)
def test_whatever_json_comes_nothing_raises(now, last_sent, remote):
    for change in compare(now, last_sent, remote):
        assert isinstance(change.verdict, Verdict)
    assert all(isinstance(name, str) for name in taken_differently(now, remote))


@given(document=documents)
def test_a_document_agrees_with_itself(document):
    assert {change.verdict for change in compare(document, document, document)} <= {Verdict.SAME}
    assert taken_differently(document, document) == []


@given(document=documents)
def test_an_unsent_document_has_nothing_but_unsent_fields(document):
    assert {change.verdict for change in compare(document, None, None)} <= {Verdict.NOT_SENT, Verdict.SAME}


@given(now=documents, last_sent=documents, remote=documents)
def test_paths_are_unique(now, last_sent, remote):
    paths = [change.path for change in compare(now, last_sent, remote) if change.item is None]
    assert len(paths) == len(set(paths))


@given(lines=st.lists(st.sampled_from([MUG, TEA, JAM]), max_size=6), shuffle=st.randoms())
def test_shuffled_items_only_move(lines, shuffle):
    shuffled = list(lines)
    shuffle.shuffle(shuffled)
    found = compare(order(*lines), order(*lines), order(*shuffled))
    assert all(change.field == "position" for change in found if change.verdict.is_difference)
    assert all(None not in (change.item.now, change.item.remote) for change in found if change.item)


@given(amount=st.decimals(-(10**14), 10**14, places=4), text=st.text())
def test_storing_a_document_makes_no_difference(amount, text):
    document = order({"sku": "1", "totalPrice": amount}, grandTotal=amount, shippingDetails=text)
    stored = json.loads(json.dumps(wire.storable(document)))
    assert differences(document, stored, stored) == {}
    assert taken_differently(document, stored) == []
