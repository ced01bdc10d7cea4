"""The points that the documents leave open or contradict: one named switch each, with our own choice as its default.

``docs/sandbox.md`` lists them. They may be changed while the sandbox runs, over the control API or in Python.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from bronto_orders.sandbox.refusals import Malformed

ACCESS_TOKEN_SECONDS: Final = 3600
REFRESH_TOKEN_SECONDS: Final = 30 * 24 * 3600
LONGEST_SECONDS: Final = 10 * 365 * 24 * 3600
TEXT_LIMIT: Final = 1_000_000

Value = str | int | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Switch:
    """One open point: what it is about, what it may be set to, and on what its default rests."""

    name: str
    default: Value
    #: What it decides.
    about: str
    #: Where the default comes from: a source by its key in docs/sandbox.md, or "our choice".
    basis: str
    #: The values it may have; empty for a number and for a list of field names.
    choices: tuple[str, ...] = ()
    #: The range of a number, both ends included.
    least: int = 0
    most: int = 0

    def check(self, value: Any) -> Value:
        """Return the value in its own type; Malformed tells what it may be instead."""
        if isinstance(self.default, tuple):
            return self._check_names(value)
        if isinstance(value, bool):
            value = str(value).lower()
        if self.choices:
            if value in self.choices:
                return str(value)
            raise Malformed(f"{self.name}: must be one of {', '.join(self.choices)}")
        is_number = isinstance(value, (int, Decimal)) and not isinstance(value, bool)
        if not is_number or not self.least <= value <= self.most or value != int(value):
            raise Malformed(f"{self.name}: must be a whole number from {self.least} to {self.most}")
        return int(value)

    def _check_names(self, value: Any) -> tuple[str, ...]:
        if not isinstance(value, (list, tuple)) or not all(name in self.choices for name in value):
            raise Malformed(f"{self.name}: must be a list out of {', '.join(self.choices)}")
        return tuple(value)


#: What ``requiredOnAdd`` may name: the fields of ``forms.ADD``.
_ADD_FIELDS: Final = (
    *("customerOrderId", "cartId", "emailAddress", "contactId", "orderDate", "status", "states", "currency"),
    *("grandTotal", "subtotal", "discountAmount", "taxAmount", "shippingAmount", "shippingDate", "shippingDetails"),
    *("shippingTrackingUrl", "originIp", "originUserAgent", "messageId", "deliveryId", "orderSource", "lineItems"),
)
OURS: Final = "our choice"


def _choice(name: str, choices: tuple[str, ...], about: str, basis: str = OURS) -> Switch:
    return Switch(name, choices[0], about, basis, choices)


def _number(name: str, default: int, most: int, about: str, basis: str = OURS, *, least: int = 0) -> Switch:
    return Switch(name, default, about, basis, (), least, most)


#: All switches. Of those with choices, the first choice is the default.
SWITCHES: Final = (
    # What an update may change
    _choice(
        "orderDateOnUpdate",
        ("ignore", "refuse", "take"),
        "An orderDate in an update. S0 says that it cannot change, S1 lists it among what can.",
    ),
    _choice(
        "idsOnUpdate",
        ("ignore", "refuse", "take"),
        "A customerOrderId or cartId in an update. S0 says that they cannot change, not what becomes of them.",
        "our choice, after S0",
    ),
    _choice(
        "nullOnUpdate",
        ("clear", "keep", "refuse"),
        "A field that is null in an update: emptied, left as it is, or refused.",
    ),
    _choice(
        "emptyLineItems",
        ("clear", "keep"),
        "An empty list as the lineItems of an update: removes the lines, or leaves them.",
        "our choice, after S4",
    ),
    _choice(
        "partialStates",
        ("keep", "reset"),
        "A flag that the states of an update leave out: stays as it is, or turns false.",
        "our choice, after S1",
    ),
    _choice(
        "backToPending",
        ("allow", "ignore", "refuse"),
        "An update that makes a processed order pending: done, passed over, or refused.",
    ),
    _choice(
        "processedOrders",
        ("change", "refuse"),
        "Any update of a processed order. H:oset rules it out for orders of the JavaScript object.",
        "documented: S1, where force is for processed orders",
    ),
    # What an add needs and gets
    Switch(
        "requiredOnAdd",
        ("customerOrderId",),
        "Fields that an add must have, and not as null.",
        "our choice, after S2",
        _ADD_FIELDS,
    ),
    _choice(
        "absentOrderDate",
        ("arrival", "null"),
        "The orderDate of an order that is added without one: the time of arrival, or null.",
        "our choice, after S4",
    ),
    _choice(
        "unknownFields",
        ("ignore", "refuse"),
        "Fields that no page names, in a body, its states and its line items.",
        "our choice, after C:om",
    ),
    _choice(
        "unknownParameters",
        ("ignore", "refuse"),
        "Query parameters that no page names.",
        "our choice, after C:om",
    ),
    _choice(
        "malformedParameters",
        ("refuse", "ignore"),
        "A createContact, triggerEvents, force or ignoreInvalidTid that is neither true nor false, as C:om sends them:"
        " refused, or passed over.",
    ),
    _choice(
        "otherSpellings",
        ("ignore", "take"),
        "Names that single pages have: triggerEvent, ignoreInvalidTracking, TrackingCookieName, TrackingCookieValue"
        " (S1, S2), shippingTrackingURL (H:obj).",
        "documented: the tables of S1 to S3",
    ),
    _choice(
        "forceByDefault",
        ("false", "true"),
        "What holds where force is not sent.",
        "our choice, after S1",
    ),
    _choice("ignoreInvalidTidByDefault", ("false", "true"), "What holds where ignoreInvalidTid is not sent."),
    # Kinds and sizes of values
    _choice(
        "stringFlags",
        ("take", "refuse"),
        'The strings "true" and "false" for a flag of states.',
        "seen: C:m26",
    ),
    _choice(
        "dateWithoutOffset",
        ("utc", "refuse"),
        "A time without an offset from UTC.",
        "documented: S4, of SOAP",
    ),
    _choice("negativeAmounts", ("take", "refuse"), "Amounts below zero.", "seen: C:m26, in discountAmount"),
    _number("decimalPlaces", 20, 20, "Places after the point that are kept; what is beyond is rounded half to even."),
    _number("customerOrderIdLength", 255, 255, "The longest customerOrderId, in characters.", least=1),
    _number(
        "textBytes",
        TEXT_LIMIT - 1,
        TEXT_LIMIT - 1,
        "The longest free text, such as a name or a URL, in bytes of UTF-8.",
        "documented: S4",
        least=1,
    ),
    _number("lineItems", 10_000, 10_000, "The most line items of an order."),
    # Tracking
    _choice(
        "tidCheck",
        ("shape", "any", "none"),
        "Which tids and cookie values are valid: those of the shape of real ones, any printable text, or none.",
        "our choice, after S2 and C:bta",
    ),
    _choice(
        "invalidTracking",
        ("refuse", "drop"),
        "Invalid tracking where ignoreInvalidTid is false.",
        "documented: S1, between the lines",
    ),
    _choice(
        "trackingPrecedence",
        ("both", "tid", "cookie"),
        "A tid and a cookie pair in one call: each is checked and taken, or one alone. SOAP takes the tid (H:conv).",
    ),
    _choice("deliveryIdTracks", ("no", "yes"), "Whether a deliveryId or messageId makes hasTracking true."),
    # Workflow events
    _choice("forceWhenSilent", ("silent", "fire"), "force=true together with triggerEvents=false."),
    _choice(
        "silencedOrderAdded",
        ("lost", "later"),
        "An orderAdded that triggerEvents=false held back: never comes, or comes with the next call that may fire.",
    ),
    # Answers
    _choice("searchDate", ("orderDate", "createdDate"), "The date that the range of a search is about."),
    _choice("searchEnds", ("both", "start", "end", "neither"), "The ends that belong to the range of a search."),
    _choice(
        "getParameters",
        ("ignore", "match"),
        "deliveryId, messageId and contactId of a get: without effect, or 404 for an order that has others.",
    ),
    _choice(
        "getByCustomerOrderId",
        ("serve", "missing"),
        "Get by the shop's id, a path that only the connector calls: there, or 404.",
        "seen: C:m26",
    ),
    _choice(
        "contactId",
        ("sent", "filled"),
        "The contactId of an order: as sent, or that of its e-mail's contact where a call brings none.",
    ),
    _choice(
        "answerFields",
        ("documented", "2017", "orderSource"),
        "The fields of an order: those of S1, those without contactId and messageId (C:om), or those with orderSource.",
        "documented: S1",
    ),
    _choice("errorBody", ("json", "text", "empty"), "The body of an order call's error; text is the reason alone."),
    _choice(
        "errorReason",
        ("plain", "serviceException"),
        "The form of X-Reason in an order call's error; the second is the one that C:m26 takes apart.",
    ),
    # OAuth
    _choice(
        "tokenErrors",
        ("rfc6749", "forbidden"),
        "Errors of the token endpoint: 400 and 401 as in RFC 6749, or 403 as elsewhere.",
    ),
    _choice("tokenType", ("bearer", "Bearer", "absent"), "The token_type of a grant."),
    _choice(
        "refreshTokens",
        ("rotate", "keep"),
        "A refresh gives a new refresh token and ends the old one, or keeps it.",
        "seen: C:om, C:m26",
    ),
    _number(
        "accessTokenSeconds",
        ACCESS_TOKEN_SECONDS,
        LONGEST_SECONDS,
        "The life of access tokens issued from then on.",
        "documented: S0",
    ),
    _number(
        "refreshTokenSeconds",
        REFRESH_TOKEN_SECONDS,
        LONGEST_SECONDS,
        "The life of refresh tokens issued from then on.",
        "documented: S0",
    ),
    # The clock
    _number(
        "clockSkewSeconds",
        0,
        LONGEST_SECONDS,
        "How far the service's clock is ahead, or behind if negative. It dates orders, tokens, events and answers.",
        least=-LONGEST_SECONDS,
    ),
)
BY_NAME: Final = {switch.name: switch for switch in SWITCHES}


class SwitchBoard:
    """The switches of one sandbox, as they stand. ``board["tidCheck"]`` reads one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: Mapping[str, Value] = {}
        self.reset()

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def turn(self, changes: Mapping[str, Any]) -> None:
        """Change the named switches, all or none; raises Malformed for an unknown name or value."""
        for name in changes:
            if name not in BY_NAME:
                raise Malformed(f"{name}: no such switch")
        checked = {name: BY_NAME[name].check(value) for name, value in changes.items()}
        with self._lock:
            self._values = {**self._values, **checked}

    def reset(self) -> None:
        """Put every switch back to its default."""
        with self._lock:
            self._values = {switch.name: switch.default for switch in SWITCHES}

    def describe(self) -> dict[str, Any]:
        """All switches by name."""
        return dict(self._values)
