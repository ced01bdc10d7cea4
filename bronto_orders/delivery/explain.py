"""Where an order stands, in words for staff: what happened, what is done next and when, and whether to do something."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from django.core.exceptions import FieldDoesNotExist
from django.db import DEFAULT_DB_ALIAS
from django.utils import formats, timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import environment, tombstones
from bronto_orders.exceptions import BrontoConfigurationError
from bronto_orders.models import AccountStatus, LineItem, Order, SyncAttempt, SyncState, Tombstone
from bronto_orders.tracking import Tracking

#: Seconds for which an order may be due before somebody should ask where the workers are.
LATE_SECONDS = 600.0
INVALID = "invalid:"

#: Why an order waits for its next try, by ``sync_reason``.
WAITING = {
    "": gettext_lazy("Waiting to be sent; it goes out %(when)s. Nothing to do."),
    "auth": gettext_lazy(
        "Waiting: Bronto refused the account's credentials; next try %(when)s. "
        "If it goes on, have CLIENT_ID and CLIENT_SECRET checked."
    ),
    "configuration": gettext_lazy(
        "Waiting: what answered at API_URL was not Bronto's Orders API; next try %(when)s. "
        "If it goes on, have the setting checked."
    ),
    "conflict": gettext_lazy(
        "Waiting: Bronto sees a conflict and could not be asked which; next try %(when)s. Nothing to do."
    ),
    "deletion": gettext_lazy(
        "Waiting: an earlier order with this number is still to be deleted at Bronto; looked at %(when)s, or as soon "
        "as that is done. Nothing to do."
    ),
    "fate_unknown": gettext_lazy(
        "Waiting: Bronto did not answer, so the order may or may not have arrived; "
        "that is looked into %(when)s. Nothing to do."
    ),
    "refused": gettext_lazy(
        "Waiting: Bronto refused access for this order; next try %(when)s. Nothing to do yet: it is given up by itself "
        "if Bronto goes on to take others."
    ),
    "server_error": gettext_lazy(
        "Waiting: Bronto failed %(times)s, last with %(status)s; next try %(when)s. Nothing to do."
    ),
    "throttled": gettext_lazy("Waiting: Bronto asked for a pause; next try %(when)s. Nothing to do."),
    "unreachable": gettext_lazy("Waiting: Bronto could not be reached; next try %(when)s. Nothing to do."),
}
#: Why an order was given up.
REJECTED = {
    "crash_loop": gettext_lazy(
        "Given up: workers died again and again while they sent this order. Tell the developers."
    ),
    "id_taken": gettext_lazy(
        "Given up: Bronto holds this order number for something that is not an order, most likely a return. "
        "Delete that at Bronto, then resync the order."
    ),
    "poison": gettext_lazy(
        "Given up: Bronto failed on this order again and again while it took others. "
        "Change the order, or resync it when Bronto's side is mended."
    ),
    "refused": gettext_lazy("Refused: Bronto does not take the order as it is. Correct it; saving sends it again."),
}
#: Why an order is not sent at all.
SKIPPED = {
    "erased": gettext_lazy(
        "Erased with its customer: never sent again, and emptied again if somebody brings it back. Nothing to do."
    ),
    "ignored_by_staff": gettext_lazy(
        "Not sent, whatever changes: somebody marked the order as ignored. Nothing to do; a resync sends it after all."
    ),
    "no_contact": gettext_lazy(
        "Not sent: Bronto has no contact with the order's e-mail address, and the account does not create contacts. "
        "Nothing to do if that is meant so; a change or a resync tries again."
    ),
    "invalid:line_items": gettext_lazy(
        "Not sent: Bronto would refuse one of the line items. Correct it; saving sends the order."
    ),
    "invalid:order": gettext_lazy("Not sent: the order cannot be turned into a request. Tell the developers."),
}
#: What ``sync_reason`` may hold, beside ``invalid:`` and the field that is.
REASONS = sorted(code for code in {*WAITING, *REJECTED, *SKIPPED} if code and not code.startswith(INVALID))
#: Why a whole account is held, by ``held_reason``.
HELD = {
    "auth": gettext_lazy(
        "Waiting: Bronto refuses the account's credentials. Have CLIENT_ID and CLIENT_SECRET corrected; "
        "sending then goes on by itself."
    ),
    "configuration": gettext_lazy(
        "Waiting: what answers at API_URL is not Bronto's Orders API. Have the setting corrected; "
        "sending then goes on by itself."
    ),
    "outage": gettext_lazy(
        "Waiting: Bronto fails for all orders of this account; some of them try again %(when)s. Nothing to do."
    ),
    "throttled": gettext_lazy("Waiting: Bronto asked for a pause; sending goes on %(when)s. Nothing to do."),
}


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What an order's delivery depends on beside the order and its account's gate."""

    #: The account is in the settings, and its settings are whole.
    configured: bool = True
    #: DELIVERY["ENABLED"].
    enabled: bool = True
    #: Another environment sends for the account: this one looks like a copy of it.
    foreign: bool = False
    #: The order's newest attempt.
    attempt: SyncAttempt | None = None
    #: The tombstone of an order whose customer was erased.
    tombstone: Tombstone | None = None


NORMAL = Surroundings()


def describe(order: Order) -> str:
    """Explain how an order stands now. Takes two queries, and a third if it was erased; Bronto is not asked."""
    using = order._state.db or DEFAULT_DB_ALIAS
    status = AccountStatus.objects.using(using).filter(pk=order.account).first()
    attempts = SyncAttempt.objects.using(using).defer("request_excerpt", "answer_excerpt")
    attempt = attempts.filter(order=order).order_by("-pk").first()
    tombstone = tombstones.erasures([order]).get(order.pk)
    around = replace(surroundings(order.account, status, using=using), attempt=attempt, tombstone=tombstone)
    # The database's clock decides, not this one; a difference of seconds does not matter here.
    return explain(order, status, timezone.now(), around)


def surroundings(account: str, status: AccountStatus | None, *, using: str = DEFAULT_DB_ALIAS) -> Surroundings:
    """Return what the delivery of an account's orders depends on beside its gate, ``status``; without an attempt."""
    try:
        foreign = environment.is_foreign(bronto_settings.account(account), status, using=using)
        return Surroundings(enabled=bronto_settings.delivery.enabled, foreign=foreign)
    except BrontoConfigurationError:
        return Surroundings(configured=False)


def explain(order: Order, status: AccountStatus | None, now: datetime, around: Surroundings = NORMAL) -> str:
    """Say in a sentence or two where the order stands. ``status`` is its account's gate. Pure."""
    match order.sync_state:
        case SyncState.SYNCED:
            return _synced(order, now, around)
        case SyncState.REJECTED:
            fallback = gettext_lazy("Given up (%(reason)s). Correct the order or resync it.")
            return str(REJECTED.get(order.sync_reason, fallback)) % {"reason": order.sync_reason}
        case SyncState.SKIPPED:
            return _erased(around.tombstone) or _skipped(order)
    if order.sync_state == SyncState.SENDING and order.due_at is not None and order.due_at > now:
        return _("Being sent to Bronto right now. Nothing to do.")
    return _blocked(order, status, now, around) or _queued(order, status, now, around)


def until(moment: datetime | None, now: datetime) -> str:
    """Return how far away a moment is, such as "in 4 minutes"; "in a moment" when it is here."""
    seconds = 0.0 if moment is None else (moment - now).total_seconds()
    return _("in %(span)s") % {"span": span(seconds)} if seconds >= 1 else _("in a moment")


def span(seconds: float) -> str:
    """Return a length of time in words, in full units of the largest that fits."""
    if seconds < 60:
        text, count = _seconds, max(1, int(seconds))
    elif seconds < 3600:
        text, count = _minutes, int(seconds // 60)
    elif seconds < 172_800:
        text, count = _hours, int(seconds // 3600)
    else:
        text, count = _days, int(seconds // 86400)
    return text(count) % {"count": formats.number_format(count)}


def _seconds(count: int) -> str:
    return ngettext("%(count)s second", "%(count)s seconds", count)


def _minutes(count: int) -> str:
    return ngettext("%(count)s minute", "%(count)s minutes", count)


def _hours(count: int) -> str:
    return ngettext("%(count)s hour", "%(count)s hours", count)


def _days(count: int) -> str:
    return ngettext("%(count)s day", "%(count)s days", count)


def _times(count: int) -> str:
    if count <= 1:
        return _("once")
    return ngettext("%(count)s time", "%(count)s times", count) % {"count": formats.number_format(count)}


def _synced(order: Order, now: datetime, around: Surroundings) -> str:
    changed = around.attempt.differences if around.attempt is not None else []
    if changed:
        text = _("Bronto took the order, but keeps other values in: %(fields)s. Compare the two to see which.")
        return text % {"fields": ", ".join(map(str, changed))}
    if order.synced_at is None:
        return _("Bronto has the order as the shop has it. Nothing to do.")
    seconds = (now - order.synced_at).total_seconds()
    return _("Bronto took the order %(span)s ago. Nothing to do.") % {"span": span(seconds)}


def tracking_trouble(order: Order) -> str:
    """Say what it means that Bronto has not taken the order's tracking, and what to do; empty if that is not so."""
    value = order.tid or order.tracking_cookie_value
    if order.has_tracking is not False or not value:
        return ""
    site = Tracking(tid=value).site_id
    text = _(
        "Bronto took the order, but not its tracking, so it credits the order to no e-mail. A single one may come of a "
        "link that was altered or made up: nothing to do. If there are many, have it checked whether the shop's "
        "campaign links belong to this Bronto account."
    )
    return text if site is None else " ".join([text, _("This one names the site %(site)s.") % {"site": site}])


def _erased(tombstone: Tombstone | None) -> str:
    """Say that Bronto still has an order whose customer was erased, if that is so."""
    if tombstone is None or tombstone.done_at is not None:
        return ""
    if tombstone.due_at is None:
        return _(
            "Erased with its customer, but Bronto has refused to delete it. Never sent again. "
            "See the deletions at Bronto for its reason, and try again there."
        )
    return _("Erased with its customer; Bronto is still to confirm the deletion. Never sent again.")


def _skipped(order: Order) -> str:
    text: str | Promise | None = SKIPPED.get(order.sync_reason)
    if text is None and order.sync_reason.startswith(INVALID):
        text = _("Not sent: Bronto would refuse the order because of its %(field)s. Correct that; saving sends it.")
        return text % {"field": column_label(order.sync_reason.removeprefix(INVALID))}
    fallback = gettext_lazy("Not sent (%(reason)s). Correct the order or resync it.")
    return str(text or fallback) % {"reason": order.sync_reason}


def column_label(name: str) -> str:
    """Return what staff call a column of the order, its line items, or the ``order`` as a whole."""
    if name == "order":
        return str(Order._meta.verbose_name)
    try:
        field = Order._meta.get_field(name)
    except FieldDoesNotExist:
        return name.replace("_", " ")
    return str(getattr(field, "verbose_name", None) or LineItem._meta.verbose_name_plural)


def _blocked(order: Order, status: AccountStatus | None, now: datetime, around: Surroundings) -> str:
    """Say why nothing at all is sent for the account, if that is so."""
    if not around.configured:
        text = _("Waiting: the account “%(account)s” is not configured properly. Tell the developers.")
        return text % {"account": order.account}
    if not around.enabled:
        return _("Waiting: delivery is switched off by DELIVERY['ENABLED']. The order is kept and sent once it is on.")
    if around.foreign:
        return _(
            "Waiting: another environment sends for this account, and this one looks like a copy of it. "
            "Nothing is sent from a copy; if this is the shop itself, tell the developers."
        )
    if status is None:
        return ""
    if status.paused:
        return _("Waiting: somebody has paused the account. The order is sent once the account is resumed.")
    if status.held_until is None or status.held_until <= now:
        return ""
    fallback = gettext_lazy("Waiting: the account is held (%(reason)s); next try %(when)s.")
    when = until(status.held_until, now)
    return str(HELD.get(status.held_reason, fallback)) % {"reason": status.held_reason, "when": when}


def _queued(order: Order, status: AccountStatus | None, now: datetime, around: Surroundings) -> str:
    """Say when an order that nothing stops is tried next."""
    due_at = max(filter(None, [order.due_at, order.settle_until]), default=now)
    late = (now - due_at).total_seconds()
    if late > LATE_SECONDS:
        return _late(late, status, now)
    if order.sync_state == SyncState.SENDING:
        return _("The worker that was sending it has stopped; another takes over in a moment. Nothing to do.")
    if not order.sync_reason and order.settle_until is not None and order.settle_until > now:
        text = _("Waiting: an earlier push may still arrive, so the change follows %(when)s. Nothing to do.")
        return text % {"when": until(due_at, now)}
    fallback = gettext_lazy("Waiting (%(reason)s); next try %(when)s.")
    return str(WAITING.get(order.sync_reason, fallback)) % {
        "reason": order.sync_reason,
        "when": until(due_at, now),
        "times": _times(order.attempts),
        "status": _status(around.attempt),
    }


def _late(seconds: float, status: AccountStatus | None, now: datetime) -> str:
    """Tell a long queue from workers that do not run."""
    last = status.last_success_at if status is not None else None
    if last is not None and (now - last).total_seconds() < LATE_SECONDS:
        text = _("Waiting its turn for %(span)s: many orders are queued, and they are being sent. Nothing to do.")
    else:
        text = _("Overdue for %(span)s: no worker has taken it. Tell the developers that no worker seems to run.")
    return text % {"span": span(seconds)}


def _status(attempt: SyncAttempt | None) -> str:
    if attempt is None or attempt.http_status is None:
        return _("an error")
    return f"HTTP {attempt.http_status}"
