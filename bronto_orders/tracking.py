"""Which Bronto e-mail led to an order: the value object, and how a new order comes by it.

A link in a Bronto e-mail lands on the shop with ``?_bta_tid=<tid>``; Bronto's script keeps the tid in a first-party
cookie ``tid_<suffix>`` (H:1pc, C:bta). A tid is 15 parts between dots, the first of them ``3``, each of URL-safe
base64 (L: read from two public examples; Bronto's own test of validity is unknown).

The last click wins (H:attrL). Our reading of it:

1. ``_bta_tid`` in this request's query: the click is happening now.
2. Of a ``tid_*`` cookie and a tid that the middleware kept at an earlier landing, the one issued later by the time
   stamp inside it; the kept one when the stamps are equal or cannot be read, because the shop saw that click itself.
3. Of several ``tid_*`` cookies, the one issued last. If that cannot be told, none: crediting no e-mail is better than
   crediting the wrong one.

Nothing here looks at a request, and nothing raises on whatever text a browser may send.
"""

from __future__ import annotations

import logging
import re
import traceback
from base64 import urlsafe_b64decode
from binascii import Error as NoBase64
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Protocol
from urllib.parse import unquote

from django.db import transaction
from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

logger = logging.getLogger(__name__)

#: The query parameter that a link in a Bronto e-mail carries (H:1pc, C:bta).
QUERY_PARAMETER = "_bta_tid"
#: What the names of Bronto's tracking cookies begin with (H:cook, C:m3). The rest differs from site to site.
COOKIE_PREFIX = "tid_"
#: Characters; the official connector's column for it (C:m2).
MAX_TID_LENGTH = 255

_TID = re.compile(r"3(?:\.[A-Za-z0-9_-]*){14}")
#: Letters and digits (all four kinds of suffix) and what base64 adds in either spelling: nothing that HTML, a header or
#: a log line would take for its own.
_COOKIE_NAME = re.compile(rf"{COOKIE_PREFIX}[A-Za-z0-9_+/-]{{1,64}}")
_KEPT = re.compile(r"([0-9]{1,10}):(.+)")
#: Six characters of base64 hold the 32 bits of a Unix time.
_STAMP_LENGTH = 6
#: As many hold a number that a column takes.
_NUMBER_LENGTH = 10
#: What may stand for a source or a note.
_CODE = re.compile(r"[a-z_]{0,32}")
_NEVER = datetime.min.replace(tzinfo=UTC)


class Source(TextChoices):
    """Where a Tracking was found. Code may state others, of lower-case letters and underscores."""

    QUERY = "query", _("the campaign link itself")
    COOKIE = "cookie", _("the cookie of Bronto's script")
    SESSION = "session", _("a campaign link, kept in the session")
    SIGNED_COOKIE = "signed_cookie", _("a campaign link, kept in a cookie")
    EXPLICIT = "explicit", _("given with the order")


class Note(TextChoices):
    """Why a Tracking is empty, or an order has none."""

    NO_CLICK = "no_click", _("the visitor came by no campaign link")
    NO_CONSENT = "no_consent", _("there was no consent")
    PRIVACY_CONTROL = "privacy_control", _("the browser asked for privacy (Global Privacy Control)")
    STAFF = "staff", _("staff placed the order")
    IMPERSONATED = "impersonated", _("staff acted as the customer")
    MALFORMED = "malformed", _("the tracking was not of Bronto's form")
    SEVERAL_COOKIES = "several_cookies", _("there were several cookies, and the newest could not be told")
    UNREADABLE = "unreadable", _("the tracking could not be read")
    WITHHELD = "withheld", _("the shop's code stated that there is none")


@dataclass(frozen=True, slots=True)
class Tracking:
    """What a request or a caller knows of the Bronto e-mail behind it: a tid, or a cookie's name and value.

    True when it holds either. It never holds anything malformed, whatever it is made from: such a value is left out,
    and ``note`` says so. The values stay out of the repr, which goes into logs and error pages.
    """

    tid: str = field(default="", repr=False)
    cookie_name: str = field(default="", repr=False)
    cookie_value: str = field(default="", repr=False)
    #: Where it was found: a code such as those of ``Source``; ``explicit`` when code stated it.
    source: str = ""
    #: When the shop saw the click, or the cookie that remembers it.
    seen_at: datetime | None = None
    #: Why nothing was taken: a code such as those of ``Note``. No value is ever repeated in it.
    note: str = ""

    def __post_init__(self) -> None:
        if self.tid != "" and not is_tid(self.tid):
            self._leave_out("tid")
        pair = (self.cookie_name, self.cookie_value)
        if pair != ("", "") and not (is_cookie_name(self.cookie_name) and is_tid(self.cookie_value)):
            self._leave_out("cookie_name", "cookie_value")
        source = self.source if _is_code(self.source) else ""
        object.__setattr__(self, "source", str(source or Source.EXPLICIT) if self else "")
        object.__setattr__(self, "note", str(self.note if _is_code(self.note) else Note.MALFORMED))

    def _leave_out(self, *names: str) -> None:
        for name in names:
            object.__setattr__(self, name, "")
        object.__setattr__(self, "note", self.note or Note.MALFORMED)

    def __bool__(self) -> bool:
        return bool(self.tid or self.cookie_value)

    @property
    def site_id(self) -> int | None:
        """The number of the Bronto site that issued the value (L: its second part); None where it cannot be read."""
        return _number(self._parts[1]) if self else None

    @property
    def stamps(self) -> tuple[datetime, ...]:
        """The Unix times inside the value, in its order (L: parts 13 and 14); those that can be read."""
        return tuple(datetime.fromtimestamp(time, UTC) for time in map(_unix_time, self._parts[12:14]) if time)

    @property
    def issued_at(self) -> datetime | None:
        """The time stamp inside the value; None when there is none that can be read.

        What sets the two apart is not documented, so the later one counts (our choice).
        """
        return max(self.stamps, default=None)

    @property
    def _parts(self) -> list[str]:
        return (self.tid or self.cookie_value).split(".")

    def merge(self, other: Tracking) -> Tracking:
        """Return the later click of the two, as the last one wins (H:attrL).

        A click in the query of the request at hand is the last there is. Of two others, the one issued later counts;
        this one where the stamps are equal or cannot be read. An empty one gives way; of two, the one that says why.
        """
        if not (self and other):
            return self or other or (self if self.note else other)
        clicked = [one for one in (self, other) if one.source == Source.QUERY]
        if len(clicked) == 1:
            return clicked[0]
        return other if _is_newer(other, self) else self


def _is_code(text: object) -> bool:
    return isinstance(text, str) and _CODE.fullmatch(text) is not None


def _decode(part: str) -> bytes:
    try:
        return urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except NoBase64:
        return b""


def _number(part: str) -> int | None:
    data = _decode(part) if len(part) <= _NUMBER_LENGTH else b""
    return int.from_bytes(data) if data else None


def _unix_time(part: str) -> int:
    return int.from_bytes(_decode(part)) if len(part) == _STAMP_LENGTH else 0


NOTHING = Tracking()


def is_tid(value: object) -> bool:
    """Tell whether a value has the shape of a tid. Only Bronto can tell whether it is one."""
    return isinstance(value, str) and len(value) <= MAX_TID_LENGTH and _TID.fullmatch(value) is not None


def is_cookie_name(value: object) -> bool:
    """Tell whether a value can be the name of a Bronto tracking cookie."""
    return isinstance(value, str) and _COOKIE_NAME.fullmatch(value) is not None


def parse_tid(text: str) -> str:
    """Return the tid in a text that may be percent-encoded, as Bronto's script leaves it; empty when it is none.

    It is decoded once, as it was encoded once (C:bta).
    """
    # Encoding triples a character at most; whatever is longer is not worth decoding.
    decoded = unquote(text) if len(text) <= 3 * MAX_TID_LENGTH else ""
    return decoded if is_tid(decoded) else ""


def read(*, query: str | None, cookies: Mapping[str, str], kept: Callable[[], Tracking]) -> Tracking:
    """Return the last click among a request's query parameter (decoded), its cookies and what was kept.

    ``kept`` is called only if the query parameter does not settle it.
    """
    clicked = from_query(query)
    if clicked:
        return clicked
    found = kept().merge(from_cookies(cookies))
    return found or clicked.merge(found)


def from_query(tid: str | None) -> Tracking:
    """Return the tracking of a ``_bta_tid`` parameter that is decoded already; None when the request has none."""
    if tid is None:
        return NOTHING
    return Tracking(tid=tid, source=Source.QUERY, seen_at=datetime.now(UTC), note="" if tid else Note.MALFORMED)


def from_cookies(cookies: Mapping[str, str]) -> Tracking:
    """Return the newest of the ``tid_*`` cookies."""
    seen_at = datetime.now(UTC)
    found = [
        Tracking(cookie_name=name, cookie_value=parse_tid(value), source=Source.COOKIE, seen_at=seen_at)
        for name, value in cookies.items()
        if name.startswith(COOKIE_PREFIX)
    ]
    usable = [tracking for tracking in found if tracking]
    if not usable:
        return Tracking(note=Note.MALFORMED if found else "")
    return _newest(usable) or Tracking(note=Note.SEVERAL_COOKIES)


def _newest(cookies: Sequence[Tracking]) -> Tracking | None:
    # One click stored under two names is one click.
    clicks = {tracking.cookie_value: tracking for tracking in cookies}.values()
    newest = max(clicks, key=lambda tracking: tracking.issued_at or _NEVER)
    return newest if all(_is_newer(newest, other) for other in clicks if other is not newest) else None


def _is_newer(one: Tracking, other: Tracking) -> bool:
    return one.issued_at is not None and other.issued_at is not None and one.issued_at > other.issued_at


def pack(tracking: Tracking) -> str:
    """Return the text under which a tid from the query is kept: second of the click, colon, tid."""
    seen_at = tracking.seen_at or datetime.now(UTC)
    return f"{seen_at.timestamp():.0f}:{tracking.tid}"


def unpack(text: object, source: str) -> Tracking:
    """Return what ``pack`` kept; nothing when the text is anything else."""
    kept = _KEPT.fullmatch(text) if isinstance(text, str) else None
    if kept is None:
        return NOTHING
    return Tracking(tid=kept[2], source=source, seen_at=datetime.fromtimestamp(int(kept[1]), UTC))


@dataclass(frozen=True, slots=True)
class Origin:
    """All that a new order may take over."""

    tracking: Tracking
    #: Canonical IPv4 or IPv6 address.
    ip: str | None = field(default=None, repr=False)
    user_agent: str = field(default="", repr=False)


class Attribution(Protocol):
    """What is active while code runs: it knows where orders created now come from."""

    @property
    def tracking(self) -> Tracking: ...

    @property
    def is_over(self) -> bool:
        """Tell whether it has ended: what a request starts and does not wait for goes on in a copy of its context."""
        ...

    def origin(self) -> Origin:
        """Return what an order created now takes over; a note alone when it is not to be attributed."""
        ...

    def order_committed(self) -> None:
        """Be told that an order was created, and committed."""
        ...


@dataclass(frozen=True, slots=True)
class _Stated:
    tracking: Tracking

    @property
    def is_over(self) -> bool:
        return False

    def origin(self) -> Origin:
        return Origin(self.tracking or Tracking(note=self.tracking.note or Note.WITHHELD))

    def order_committed(self) -> None: ...


#: The attribution of the code that runs now; None outside requests and ``use``.
active: ContextVar[Attribution | None] = ContextVar("bronto_orders_attribution", default=None)


def current() -> Tracking | None:
    """Return the tracking that applies to the code that runs now; None outside requests and ``use``."""
    attribution = _attribution()
    return None if attribution is None else attribution.tracking


def _attribution() -> Attribution | None:
    attribution = active.get()
    return None if attribution is None or attribution.is_over else attribution


@contextmanager
def use(tracking: Tracking) -> Iterator[Tracking]:
    """Attribute the orders created inside the block to this tracking, and to nothing else.

    For code outside a request, such as an import or a job. Inside a request it replaces all that the request would
    give, address and user agent included: whoever states an order's origin may be acting for somebody else.
    An empty Tracking leaves the orders unattributed.
    """
    token = active.set(_Stated(tracking))
    try:
        yield tracking
    finally:
        active.reset(token)


class Attributable(Protocol):
    """The part of an order that can be filled. Empty text and None are empty."""

    tid: str
    tracking_cookie_name: str
    tracking_cookie_value: str
    origin_ip: str | None
    origin_user_agent: str
    attribution_source: str
    attribution_seen_at: datetime | None
    attribution_note: str


def fill(order: Attributable) -> None:
    """Give a new order, about to be inserted, what is known of its origin. Only empty fields are filled.

    tid and cookie pair are one group: either is filled only if both are empty. Never raises: a failure is logged, and
    the order is saved without its origin.
    """
    if _is_tracked(order):
        order.attribution_source = order.attribution_source or Source.EXPLICIT.value
    attribution = _attribution()
    if attribution is None or not _has_room(order):
        return
    origin = Origin(Tracking(note=Note.UNREADABLE))
    with Forgiving("A new order does not get its origin"):
        origin = attribution.origin()
    _take_over(order, origin)


def announce(using: str) -> None:
    """Tell whoever is active that an order was inserted, once that is committed."""
    # Raised where the shop commits by hand, and nobody can tell when.
    with suppress(transaction.TransactionManagementError):
        if attribution := _attribution():
            transaction.on_commit(attribution.order_committed, using=using)


def _is_tracked(order: Attributable) -> bool:
    return bool(order.tid or order.tracking_cookie_name or order.tracking_cookie_value)


def _has_room(order: Attributable) -> bool:
    return not (_is_tracked(order) and order.origin_ip and order.origin_user_agent)


def _take_over(order: Attributable, origin: Origin) -> None:
    found = origin.tracking
    if not _is_tracked(order):
        # Never both: which of them Bronto would believe is not documented.
        if found.tid:
            order.tid = found.tid
        else:
            order.tracking_cookie_name = found.cookie_name
            order.tracking_cookie_value = found.cookie_value
        order.attribution_source, order.attribution_seen_at = found.source, found.seen_at
        order.attribution_note = "" if found else found.note or Note.NO_CLICK.value
    order.origin_ip = order.origin_ip or origin.ip
    order.origin_user_agent = order.origin_user_agent or origin.user_agent


class Forgiving:
    """Context manager that logs an exception instead of letting attribution break a page or an order.

    Only its type and place are logged: its message may hold a tid, an address or a user agent.
    """

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> bool:
        if not isinstance(error, Exception):
            return False
        place = traceback.extract_tb(trace)[-1]
        logger.warning("%s: %s at %s:%s", self.what, type(error).__name__, place.filename, place.lineno)
        return True
