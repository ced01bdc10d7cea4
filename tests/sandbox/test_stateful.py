"""Random calls against a model of the documented rules, which shares nothing with the sandbox but the documents."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
import requests
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.sandbox.samples import ANOTHER_TID, CART_ID, COOKIE_NAME, COOKIE_VALUE
from tests.sandbox.service import Service

EXAMPLES = 25
STEPS = 40
MULTIPLIER = float(os.environ.get("BRONTO_FUZZ_TIMES", "1"))

JSON = {"Content-Type": "application/json"}
FORM = {"client_id": "sandbox", "client_secret": "sandbox-secret"}
UNKNOWN_ID = "0ad24370-96de-4922-9a53-954530fcbb64"
PAIR = {"trackingCookieName": COOKIE_NAME, "trackingCookieValue": COOKIE_VALUE}
ANOTHER_PAIR = {"trackingCookieName": "tid_32910", "trackingCookieValue": ANOTHER_TID}


def number(text: str) -> tuple[str, str]:
    """A JSON number as it is written, told apart from a string of the same letters."""
    return "number", text


def load(text: str) -> Any:
    return json.loads(text, parse_float=number, parse_int=number)


# What may be sent, and what is then shown.
AMOUNTS = [
    (None, number("0")),
    (0, number("0")),
    (4.27, number("4.27")),
    (-3, number("-3")),
    ("160.00", number("160.00")),
    (1e-07, number("0.0000001")),
    ("999999999999999.99", number("999999999999999.99")),
]
MOMENTS = [
    ("2015-01-01", "2015-01-01T00:00:00.000Z"),
    ("2014-12-31T19:00:00-05:00", "2015-01-01T00:00:00.000Z"),
    ("2015-01-01T10:00:00.1239", "2015-01-01T10:00:00.123Z"),
    ("2016-02-29T23:30Z", "2016-02-29T23:30:00.000Z"),
]
TEXTS = [(text, text) for text in (None, "", "a", " ü 🛒\n\\\"'")]
PEOPLE = ["one@example.com", "ONE@example.com", "two@example.com", "three@example.com", "four@example.com"]
ADDRESSES = [(text, text) for text in (None, *PEOPLE)]
SHARED: dict[str, list[tuple[Any, Any]]] = {
    **dict.fromkeys(("grandTotal", "subtotal", "discountAmount", "taxAmount", "shippingAmount"), AMOUNTS),
    **dict.fromkeys(("contactId", "messageId", "deliveryId", "originUserAgent"), TEXTS),
    **dict.fromkeys(("shippingDetails", "shippingTrackingUrl"), TEXTS),
    "shippingDate": [(None, None), *MOMENTS],
    "currency": [(text, text) for text in (None, "USD", "EUR")],
    "originIp": [(text, text) for text in (None, "127.0.0.1", "2001:db8::1")],
}
LINE: dict[str, list[tuple[Any, Any]]] = {
    **dict.fromkeys(("name", "description", "sku", "other", "category", "imageUrl", "productUrl"), TEXTS),
    **dict.fromkeys(("quantity", "unitPrice", "salePrice", "totalPrice"), AMOUNTS),
}
STATUSES = [None, "PENDING", "PROCESSED"]
FLAGS = [None, True, False, "true", "false"]
IGNORED = {"orderId": UNKNOWN_ID, "createdDate": "1999-01-01", "updatedDate": 5, "hasTracking": True, "nickname": []}
BAD_FIELDS = [
    {"grandTotal": "much"},
    {"subtotal": 10**15},
    {"taxAmount": True},
    {"contactId": 5},
    {"messageId": "nul\x00"},
    {"shippingDetails": "\ud800"},
    {"shippingDate": "soon"},
    {"shippingDate": 20150101},
    {"orderDate": "1999-12-31T23:59:59Z"},
    {"orderDate": "2099-01-01"},
    {"orderDate": ""},
    {"currency": "usd"},
    {"originIp": "localhost"},
    {"emailAddress": "nobody"},
    {"emailAddress": ""},
    {"status": "SHIPPED"},
    {"status": True},
    {"states": "PROCESSED"},
    {"states": {"processed": 1}},
    {"lineItems": {}},
    {"lineItems": [{}, {"quantity": "many"}]},
    {"lineItems": [{"sku": 5}]},
    {"lineItems": [[]]},
]
BAD_IDS = [{"customerOrderId": value} for value in (None, "", 5, "x" * 256)] + [{"cartId": "12"}, {"cartId": ""}]
BAD_PARAMETERS = [{"force": ""}, {"createContact": "1"}, {"triggerEvents": "True"}, {"ignoreInvalidTid": "yes"}]
NO_JSON = ["", "{", "[]", "null", '"a"', '{"a": 1} x', '{"a": NaN}', '{"a": 1, "a": 1}']
SHOP_IDS = ["a", "A", "b/c", "ü 1", "4", "r", "never added"]
VALID_TRACKING = [{"tid": COOKIE_VALUE}, PAIR, ANOTHER_PAIR, {"tid": ANOTHER_TID, **PAIR}]
INVALID_TRACKING = [
    {"tid": "3.Ag"},
    {"tid": 3},
    {"trackingCookieName": COOKIE_NAME},
    dict.fromkeys(PAIR),
    {**PAIR, "trackingCookieValue": None},
    {**PAIR, "trackingCookieName": "sessionid"},
    {"tid": "bad", **ANOTHER_PAIR},
    {"tid": COOKIE_VALUE, "trackingCookieValue": COOKIE_VALUE},
]

shop_ids = st.sampled_from(SHOP_IDS[:-1])
# The kind of id, and which of the orders; a number of none is an order that is not there, or not any more.
targets = st.tuples(st.sampled_from(["customerOrderId", "orderId"]), st.sampled_from([0, 1, 2, 3, 4, 5, None]))
ignored_ids = st.sampled_from([{}, {}, {"customerOrderId": "a"}, {"customerOrderId": 5}, {"cartId": "12"}])
carts = st.sampled_from([None, CART_ID, CART_ID, CART_ID.upper(), UNKNOWN_ID])


def of(table: dict[str, list[tuple[Any, Any]]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {}, optional={name: st.sampled_from([sent for sent, _ in pairs]) for name, pairs in table.items()}
    )


trackings = st.sampled_from([{}] * 25 + [{"tid": None}, *VALID_TRACKING, *INVALID_TRACKING])
states = st.none() | st.fixed_dictionaries(
    {}, optional={"processed": st.sampled_from(FLAGS), "shipped": st.sampled_from(FLAGS)}
)
turns = st.fixed_dictionaries({}, optional={"status": st.sampled_from(STATUSES), "states": states})
others = st.fixed_dictionaries(
    {},
    optional={
        "emailAddress": st.sampled_from([sent for sent, _ in ADDRESSES]),
        "orderDate": st.sampled_from([None, *(sent for sent, _ in MOMENTS)]),
        "lineItems": st.none() | st.lists(of(LINE), max_size=3),
        "orderSource": st.just("WEBSITE"),
        **{name: st.just(value) for name, value in IGNORED.items()},
    },
)
bodies = st.builds(
    lambda *parts: {key: part[key] for part in parts for key in part}, of(SHARED), others, turns, trackings
)
booleans = st.sampled_from(["true", "false"])
parameters = st.fixed_dictionaries(
    {},
    optional={
        "createContact": st.sampled_from(["true", "true", "false"]),
        "triggerEvents": booleans,
        "force": booleans,
        "ignoreInvalidTid": booleans,
        "triggerEvent": booleans,
    },
)
mistakes = st.lists(st.sampled_from([*BAD_FIELDS, *BAD_PARAMETERS, *NO_JSON]), max_size=1)
searched: dict[str, st.SearchStrategy[str]] = {
    "startDate": st.sampled_from([sent for sent, _ in MOMENTS]),
    "endDate": st.sampled_from([sent for sent, _ in MOMENTS]),
    "customerOrderId": shop_ids,
    "cartId": st.sampled_from([CART_ID, CART_ID.upper(), UNKNOWN_ID]),
    "emailAddress": st.just("one@example.com"),
}
searches = st.one_of(
    *[st.fixed_dictionaries({name: values}) for name, values in searched.items()],
    st.fixed_dictionaries({}, optional=searched),
)
wrong_searches = st.sampled_from([None] * 10 + [{"cartId": "12"}, {"endDate": "soon"}, {"startDate": ""}])
contact_statuses = st.sampled_from(["active", "bounce"])


def path_of(shop_id: str) -> str:
    return f"/orders/customerOrderId/{quote(shop_id, safe='')}"


def wire_now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Refused(Exception):
    """The rules turn a call down, and nothing changes."""

    def __init__(self, status: int) -> None:
        self.status = status


class Model:
    """What the documents say the service remembers."""

    def __init__(self) -> None:
        self.orders: dict[str, dict[str, Any]] = {}
        self.contacts: dict[str, tuple[str, str]] = {}
        self.returns: set[str] = set()
        self.events: list[dict[str, Any]] = []
        self.were_processed: set[str] = set()

    def add(self, body: dict[str, Any], params: dict[str, str]) -> dict[str, Any]:
        """The new order, as yet without an id and dates."""
        tracking = self.tracking(body, params)
        shop_id = body["customerOrderId"]
        if shop_id in self.orders or shop_id in self.returns:
            raise Refused(409)
        self.need_contact(body, params)
        cart = body.get("cartId")
        order = {
            **{name: None for name, pairs in SHARED.items() if pairs is not AMOUNTS},
            **{name: number("0") for name, pairs in SHARED.items() if pairs is AMOUNTS},
            "customerOrderId": shop_id,
            "cartId": None if cart is None else cart.lower(),
            "emailAddress": None,
            "orderDate": None if body.get("orderDate") is None else dict(MOMENTS)[body["orderDate"]],
            "hasTracking": False,
            "trackingCookieName": None,
            "trackingCookieValue": None,
            "status": "PENDING",
            "states": {"processed": False, "shipped": False},
            "lineItems": [],
        }
        self.orders[shop_id] = order
        return self.change(order, body, tracking)

    def update(self, shop_id: str | None, body: dict[str, Any], params: dict[str, str]) -> dict[str, Any]:
        tracking = self.tracking(body, params)
        order = self.get(shop_id)
        self.need_contact(body, params)
        return self.change(order, body, tracking)

    def get(self, shop_id: str | None) -> dict[str, Any]:
        if shop_id not in self.orders:
            raise Refused(404)
        return self.orders[shop_id]

    def delete(self, shop_id: str | None) -> None:
        self.orders.pop(shop_id or "", None)

    def search(self, params: dict[str, str]) -> list[dict[str, Any]]:
        return [
            order
            for order in self.orders.values()
            if params.get("customerOrderId", order["customerOrderId"]) == order["customerOrderId"]
            and params.get("cartId", order["cartId"] or "").lower() == (order["cartId"] or "")
            and dict(MOMENTS).get(params.get("startDate"), "") <= order["orderDate"]
            and dict(MOMENTS).get(params.get("endDate"), "9999") >= order["orderDate"]
        ]

    def shop_id_of(self, order_id: str) -> str | None:
        found = [shop_id for shop_id, order in self.orders.items() if order["orderId"] == order_id]
        return found[0] if found else None

    def tracking(self, body: dict[str, Any], params: dict[str, str]) -> dict[str, Any]:
        """What the tracking in a body changes."""
        changes: dict[str, Any] = {}
        valid = True
        if body.get("tid") in (COOKIE_VALUE, ANOTHER_TID):
            changes["hasTracking"] = True
        elif body.get("tid") is not None:
            valid = False
        pair = {name: body[name] for name in PAIR if name in body}
        if pair in (PAIR, ANOTHER_PAIR):
            changes |= {"hasTracking": True, **pair}
        elif pair:
            valid = False
        if not valid and params.get("ignoreInvalidTid") != "true":
            raise Refused(400)
        return changes

    def need_contact(self, body: dict[str, Any], params: dict[str, str]) -> None:
        address = body.get("emailAddress")
        if address is None or address.lower() in self.contacts:
            return
        if params.get("createContact") != "true":
            raise Refused(409)
        self.contacts[address.lower()] = (address, "transactional")

    def change(self, order: dict[str, Any], body: dict[str, Any], tracking: dict[str, Any]) -> dict[str, Any]:
        for name, pairs in {**SHARED, "emailAddress": ADDRESSES}.items():
            if name in body:
                order[name] = dict(pairs)[body[name]]
        order.update(tracking)
        if "lineItems" in body:
            order["lineItems"] = [
                {name: dict(pairs)[line.get(name)] for name, pairs in LINE.items()}
                | {"position": number(str(position))}
                for position, line in enumerate(body["lineItems"] or ())
            ]
        flags = {
            name: value in (True, "true") for name, value in (body.get("states") or {}).items() if value is not None
        }
        if body.get("status") is not None:
            flags["processed"] = body["status"] == "PROCESSED"
        order["states"] = {**order["states"], **flags}
        order["status"] = "PROCESSED" if order["states"]["processed"] else "PENDING"
        return order

    def note_state(self, order: dict[str, Any], params: dict[str, str], *, was_processed: bool) -> None:
        """Fire the event that the state of an order, just added or updated, sets off."""
        if order["status"] == "PENDING":
            return
        if order["orderId"] not in self.were_processed:
            kind = "orderAdded"
        elif not was_processed:
            kind = "stateChange"
        elif params.get("force") == "true":
            kind = "forced"
        else:
            return
        self.were_processed.add(order["orderId"])
        if params.get("triggerEvents") != "false":
            names = ("customerOrderId", "orderId", "emailAddress")
            self.events.append({"kind": kind, **{name: order[name] for name in names}})


class Machine(RuleBasedStateMachine):
    """Makes each call at the sandbox and in the model.

    There are few rules, each for several things: hypothesis leaves whole rules out of one run and repeats others.
    """

    def __init__(self, service: Service) -> None:
        super().__init__()
        self.service = service
        service.reset()
        self.tokens = self.grant("client_credentials").json()
        self.model = Model()
        self.order_ids: list[str] = []
        self.fired: list[dict[str, Any]] = []

    def grant(self, kind: str, **form: str) -> requests.Response:
        return self.service.ask_token({**FORM, "grant_type": kind, **form})

    def call(self, method: str, path: str, body: Any = None, params: Any = None) -> requests.Response:
        self.sent_at = wire_now()
        headers = {"Authorization": f"Bearer {self.tokens['access_token']}"}
        if body is None:
            return self.service.call(method, path, headers=headers, params=params)
        data = body if isinstance(body, str) else json.dumps(body)
        return self.service.call(method, path, data=data, params=params, headers={**headers, **JSON})

    def reach(self, which: tuple[str, int | None]) -> tuple[str, str | None]:
        """The path to an order and the shop's id of it, None when there is no such order."""
        kind, index = which
        if self.model.orders and index is not None:
            shop_id, order = list(self.model.orders.items())[index % len(self.model.orders)]
            return (path_of(shop_id) if kind == "customerOrderId" else f"/orders/{order['orderId'].upper()}"), shop_id
        if kind == "customerOrderId":
            return path_of(next(shop_id for shop_id in SHOP_IDS if shop_id not in self.model.orders)), None
        gone = [order_id for order_id in self.order_ids if self.model.shop_id_of(order_id) is None]
        return f"/orders/{[UNKNOWN_ID, *gone][-1]}", None

    def check_refused(self, answer: requests.Response, status: int) -> None:
        assert answer.status_code == status, answer.text
        assert load(answer.text) == {"reason": answer.headers["X-Reason"], "status": number(str(status))}

    @initialize(body=bodies, another=bodies)
    def begin_with_two_orders(self, body, another):
        params = {"createContact": "true", "ignoreInvalidTid": "true"}
        self.add({"customerOrderId": "a", **body}, params)
        self.add({"customerOrderId": "b/c", **another}, params)

    @rule(
        shop_id=shop_ids, cart=carts, body=bodies, params=parameters, malformed=mistakes, ids=st.sampled_from(BAD_IDS)
    )
    def add_an_order(self, shop_id, cart, body, params, malformed, ids):
        body = {"customerOrderId": shop_id, "cartId": cart, **body}
        for mistake in [*malformed, *[ids for _ in malformed]]:
            self.send_malformed("/orders", body, params, mistake)
        self.add(body, params)

    def add(self, body: dict[str, Any], params: dict[str, str]) -> None:
        answer = self.call("POST", "/orders", body, params)
        try:
            order = self.model.add(body, params)
        except Refused as refusal:
            self.check_refused(answer, refusal.status)
            return
        assert answer.status_code == 201, answer.text
        told = load(answer.text)
        assert str(UUID(told["orderId"])) == told["orderId"]
        assert told["orderId"] not in self.order_ids, "the id of another order, or of one that was deleted"
        assert told["createdDate"] == told["updatedDate"]
        self.order_ids.append(told["orderId"])
        order["orderId"], order["createdDate"] = told["orderId"], told["createdDate"]
        order["orderDate"] = order["orderDate"] or told["orderDate"]
        self.learn(order, told)
        self.model.note_state(order, params, was_processed=False)

    @rule(
        which=targets,
        body=bodies,
        ids=ignored_ids,
        changes=st.lists(turns, max_size=2),
        params=parameters,
        malformed=mistakes,
    )
    def update_an_order(self, which, body, ids, changes, params, malformed):
        path, shop_id = self.reach(which)
        for mistake in malformed:
            self.send_malformed(path, body, params, mistake)
        self.update(path, shop_id, {**body, **ids}, params)
        for change in changes:
            self.update(path, shop_id, change, params)

    def update(self, path: str, shop_id: str | None, body: dict[str, Any], params: dict[str, str]) -> None:
        was_processed = shop_id in self.model.orders and self.model.orders[shop_id]["status"] == "PROCESSED"
        answer = self.call("POST", path, body, params)
        try:
            order = self.model.update(shop_id, body, params)
        except Refused as refusal:
            self.check_refused(answer, refusal.status)
            return
        assert answer.status_code == 200, answer.text
        self.learn(order, load(answer.text))
        self.model.note_state(order, params, was_processed=was_processed)

    def learn(self, order: dict[str, Any], told: dict[str, Any]) -> None:
        """Take over the date the server made, after a look at it, and compare all else."""
        assert max(self.sent_at, order.get("updatedDate", "")) <= told["updatedDate"] <= wire_now()
        order["updatedDate"] = told["updatedDate"]
        assert told == order

    def send_malformed(self, path: str, body: dict[str, Any], params: dict[str, str], mistake: Any) -> None:
        if isinstance(mistake, str):
            answer = self.call("POST", path, mistake, params)
        elif mistake in BAD_PARAMETERS:
            answer = self.call("POST", path, body, {**params, **mistake})
        else:
            answer = self.call("POST", path, {**body, **mistake}, params)
        self.check_refused(answer, 400)

    @rule(which=targets, delete=st.sampled_from([False, False, True]), params=searches, wrong=wrong_searches)
    def look_and_delete(self, which, delete, params, wrong):
        path, shop_id = self.reach(which)
        if delete:
            answer = self.call("DELETE", path)
            assert (answer.status_code, answer.content) == (204, b"")
            self.model.delete(shop_id)
        self.get(path, shop_id)
        # One kind of id is never taken for the other.
        self.get(path.replace("/orders/", "/orders/customerOrderId/").replace("/customerOrderId" * 2, ""), None)
        self.search({**params, **(wrong or {})}, self.model.search(params), wrong=bool(wrong))

    def get(self, path: str, shop_id: str | None) -> None:
        answer = self.call("GET", path)
        try:
            order = self.model.get(shop_id)
        except Refused as refusal:
            self.check_refused(answer, refusal.status)
        else:
            assert answer.status_code == 200
            assert load(answer.text) == order

    def search(self, params: dict[str, str], found: list[dict[str, Any]], *, wrong: bool) -> None:
        answer = self.call("GET", "/orders", params=params)
        if wrong or not params.keys() - {"emailAddress"}:
            self.check_refused(answer, 400)
        elif found:
            assert answer.status_code == 200
            assert load(answer.text) == found
        else:
            assert (answer.status_code, answer.content) == (204, b"")

    @rule(
        shop_id=st.sampled_from([None, None, "4", "r"]), address=st.sampled_from(PEOPLE[1:3]), status=contact_statuses
    )
    def make_a_contact_or_a_return(self, shop_id, address, status):
        if shop_id is None:
            self.service.control("POST", "contacts", {"emailAddress": address, "status": status})
            self.model.contacts[address.lower()] = (address, status)
            return
        url = f"{self.service.base_url}/_sandbox/returns"
        answer = self.service.session.post(url, json={"customerOrderId": shop_id}, timeout=30)
        if shop_id in self.model.orders:
            self.check_refused(answer, 409)
        else:
            assert answer.status_code == 201
            self.model.returns.add(shop_id)
        assert {each["customerOrderId"] for each in self.service.control("GET", "returns")} == self.model.returns

    @rule(which=targets, revoke=st.sampled_from(["none", "access", "all"]), method=st.sampled_from(["POST", "DELETE"]))
    def change_the_tokens(self, which, revoke, method):
        access, refresh = self.tokens["access_token"], self.tokens["refresh_token"]
        if revoke != "none":
            self.service.control("POST", "tokens/revoke", {"refresh": revoke == "all"})
            self.check_refused(self.call(method, self.reach(which)[0], {"currency": "JPY"}), 403)
        if revoke != "all":
            renewed = self.grant("refresh_token", refresh_token=refresh)
            assert renewed.status_code == 200
            self.tokens = renewed.json()
            assert {access, refresh}.isdisjoint(self.tokens.values())
        spent = self.grant("refresh_token", refresh_token=refresh)
        assert (spent.status_code, spent.json()["error"]) == (400, "invalid_grant")
        if revoke == "all":
            self.tokens = self.grant("client_credentials").json()

    @invariant()
    def orders_are_those_of_the_model(self):
        url = f"{self.service.base_url}/_sandbox/orders"
        assert load(self.service.session.get(url, timeout=30).text) == list(self.model.orders.values())

    @invariant()
    def events_are_those_of_the_model(self):
        events = self.service.control("GET", "events")
        assert events[: len(self.fired)] == self.fired, "an event that was fired changed"
        assert [{name: event[name] for name in event if name != "firedDate"} for event in events] == self.model.events
        self.fired = events

    @invariant()
    def contacts_are_those_of_the_model(self):
        contacts = [(each["emailAddress"], each["status"]) for each in self.service.control("GET", "contacts")]
        assert contacts == list(self.model.contacts.values())


# Besides the run, hypothesis takes up to five minutes to make a failure small.
@pytest.mark.timeout(360 + 120 * MULTIPLIER)
def test_random_calls_agree_with_the_rules(service: Service):
    run_state_machine_as_test(
        lambda: Machine(service),
        settings=settings(
            max_examples=max(1, round(EXAMPLES * MULTIPLIER)),
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
