"""How values look in lists and forms."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import cast

from django.utils import formats, timezone
from django.utils.html import format_html
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from bronto_orders.currencies import EXPONENTS
from bronto_orders.delivery.explain import column_label
from bronto_orders.delivery.tombstones import erasures
from bronto_orders.models import Order, SyncState
from bronto_orders.models.deliverable import ERASED
from bronto_orders.payloads import DEFAULT_EXPONENT, quantize
from bronto_orders.tracking import Note, Source

EMPTY = "–"  # noqa: RUF001

#: Words for the machine codes in ``sync_reason``. ``invalid:<field>`` has words of its own.
REASONS = {
    "auth": gettext_lazy("credentials refused"),
    "configuration": gettext_lazy("account misconfigured"),
    "conflict": gettext_lazy("unclear conflict"),
    "crash_loop": gettext_lazy("crashes its worker"),
    "deletion": gettext_lazy("number not yet free"),
    "erased": gettext_lazy("customer erased"),
    "fate_unknown": gettext_lazy("no answer"),
    "id_taken": gettext_lazy("order number taken"),
    "ignored_by_staff": gettext_lazy("ignored by staff"),
    "no_contact": gettext_lazy("no contact"),
    "poison": gettext_lazy("fails again and again"),
    "refused": gettext_lazy("refused"),
    "server_error": gettext_lazy("error at Bronto"),
    "throttled": gettext_lazy("throttled"),
    "unreachable": gettext_lazy("unreachable"),
}
#: Words for the reasons that only a whole account has.
HOLDS = {"outage": gettext_lazy("outage at Bronto")}
INVALID = "invalid:"


def badge(text: object, kind: str) -> str:
    """Return a coloured label. ``kind`` ends the name of its style."""
    return format_html('<span class="bronto-badge bronto-{}">{}</span>', kind, text)


def state_badge(state: str) -> str:
    """Return the label of a delivery state."""
    return badge(dict(SyncState.choices).get(state, state), state)


def reason(code: str) -> str:
    """Return words for a machine code; the code itself where there are none."""
    if code.startswith(INVALID):
        return _("invalid %(field)s") % {"field": column_label(code.removeprefix(INVALID))}
    return str({**REASONS, **HOLDS}.get(code, code))


def moment(value: datetime, text: str) -> str:
    """Return a text about a moment, with the moment itself for those who point at it."""
    local = timezone.localtime(value) if timezone.is_aware(value) else value
    full = formats.date_format(local, "DATETIME_FORMAT")
    return format_html('<time datetime="{}" title="{}">{}</time>', local.isoformat(), full, text)


def span(seconds: float) -> str:
    """Return a length of time in its largest unit."""
    for unit, text in _UNITS:
        if seconds >= unit:
            return text % {"count": seconds // unit}
    return _("%(count)d s") % {"count": max(0, seconds)}


_UNITS = (
    (86400, gettext_lazy("%(count)d d")),
    (3600, gettext_lazy("%(count)d h")),
    (60, gettext_lazy("%(count)d min")),
)


def number(value: int) -> str:
    """Return a number with its thousands set apart."""
    return formats.number_format(value, force_grouping=True)


def past(value: datetime | None) -> str:
    """Return how long ago something was."""
    if value is None:
        return EMPTY
    seconds = (timezone.now() - value).total_seconds()
    return moment(value, _("%(time)s ago") % {"time": span(seconds)})


def day(value: datetime | None) -> str:
    """Return the date of a moment."""
    if value is None:
        return EMPTY
    local = timezone.localtime(value) if timezone.is_aware(value) else value
    return moment(value, formats.date_format(local, "SHORT_DATE_FORMAT"))


def duration(milliseconds: int) -> str:
    """Return how long an exchange took."""
    if milliseconds < 1000:
        return _("%(count)s ms") % {"count": formats.number_format(milliseconds)}
    return _("%(count)s s") % {"count": formats.number_format(milliseconds / 1000, 1)}


def failed_tries(order: Order) -> str:
    """Return how many tries of what is owed have failed; nothing at rest, and without one that is under way."""
    if order.due_at is None:
        return EMPTY
    return number(max(0, order.attempts - (order.sync_state == SyncState.SENDING)))


def whereabouts(order: Order) -> str:
    """Return whether Bronto has the order, as far as that is known."""
    tombstone = erasures([order]).get(order.pk)
    if tombstone is None or tombstone.done_at is not None:
        return order.get_presence_display()
    return _("to be deleted at Bronto") if tombstone.due_at is None else _("being deleted at Bronto")


def next_try(order: Order) -> str:
    """Return when the order is tried next; nothing while it is being sent, as then ``due_at`` ends the lease."""
    if order.due_at is None or order.sync_state == SyncState.SENDING:
        return EMPTY
    return future(order.due_at)


def future(value: datetime) -> str:
    """Return how soon something is to be."""
    # The database's clock decides, not this one; a difference of seconds does not matter here.
    seconds = (value - timezone.now()).total_seconds()
    return moment(value, _("in %(time)s") % {"time": span(seconds)} if seconds > 0 else _("now"))


def total(order: Order) -> str:
    """Return the grand total as the currency writes it."""
    amount = cast(Decimal | None, order.grand_total)
    if amount is None:
        return EMPTY
    rounded = quantize(amount, EXPONENTS.get(order.currency, DEFAULT_EXPONENT))
    return f"{formats.number_format(rounded)} {order.currency}".strip()


def is_tracked(order: Order) -> bool:
    """Tell whether the shop knows the e-mail behind the order."""
    return bool(order.tid or order.tracking_cookie_value)


def attribution(order: Order) -> str:
    """Return by what the order came to its tracking, and when, or why it has none."""
    known, code = (Source, order.attribution_source) if is_tracked(order) else (Note, order.attribution_note)
    words = capfirst(str(dict(known.choices).get(code, code.replace("_", " "))))
    if known is Note:
        if order.sync_reason == ERASED:
            return words or EMPTY
        return words or _("The order was not made in a shopper's visit")
    seen_at = order.attribution_seen_at
    return words or EMPTY if seen_at is None else format_html("{}, {}", words, past(seen_at))


def tracking(order: Order) -> str:
    """Return whether the order carries tracking, and whether Bronto took it."""
    if order.has_tracking:
        return badge(_("yes"), "synced")
    if not is_tracked(order):
        return _("no")
    if order.has_tracking is None:
        return badge(_("not known"), "pending") if order.bronto_order_id else badge(_("not sent yet"), "pending")
    return badge(_("not taken"), "skipped")
