"""How an account is doing, in plain words: what happened, since when, what happens next, and that nothing is lost."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext

from bronto_orders.admin.columns import number, span
from bronto_orders.delivery.status import Overview
from bronto_orders.models import SyncState

#: Seconds for which an order may be due, and none be sent, until it looks as if no worker ran.
STUCK_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True)
class Situation:
    """One account's situation. ``kind`` is ``good``, ``busy``, ``warning`` or ``bad``."""

    kind: str
    #: One or two words.
    label: str
    headline: str
    #: Pairs of a question and its answer.
    answers: list[tuple[str, str]] = field(default_factory=list)


#: By why an account is held: what happened, and what happens next, in a few words and in a sentence.
_HOLDS = {
    "outage": (
        gettext_lazy("outage"),
        gettext_lazy("Bronto does not answer as it should."),
        gettext_lazy(
            "In %(time)s a few orders find out whether that is over. Once Bronto takes one, all others follow by "
            "themselves. There is nothing to do."
        ),
    ),
    "throttled": (
        gettext_lazy("asked to wait"),
        gettext_lazy("Bronto asked for a pause."),
        gettext_lazy("Sending goes on in %(time)s, by itself. There is nothing to do."),
    ),
    "auth": (
        gettext_lazy("refused"),
        gettext_lazy("Bronto refuses the account's credentials."),
        gettext_lazy(
            "They are tried again in %(time)s. Somebody should correct CLIENT_ID and CLIENT_SECRET in the shop's "
            "settings; new ones are tried at once."
        ),
    ),
    "configuration": (
        gettext_lazy("wrong address"),
        gettext_lazy("What answers at the account's address is not Bronto."),
        gettext_lazy(
            "It is tried again in %(time)s. Somebody should correct API_URL in the shop's settings; a new address is "
            "tried at once."
        ),
    ),
}
_HOLD = (gettext_lazy("held"), gettext_lazy("Sending is held."), gettext_lazy("Sending goes on in %(time)s."))


def situation(account: Overview, *, enabled: bool) -> Situation:
    """Return how the account is doing. ``enabled`` says whether anything is sent at all."""
    return _out_of_order(account, enabled=enabled) or _held(account) or _at_work(account)


def stopped(account: str, *, paused: bool, code: str) -> str:
    """Return one sentence on why nothing is sent for the account."""
    if paused:
        return _("“%(account)s” is paused.") % {"account": account}
    return _("“%(account)s” is held: %(reason)s") % {"account": account, "reason": _HOLDS.get(code, _HOLD)[1]}


def _out_of_order(account: Overview, *, enabled: bool) -> Situation | None:
    """Return what only somebody with access to the shop's settings can mend."""
    mend = ""
    if account.misconfigured:
        headline, what = _("The account's settings are wrong."), account.misconfigured
    elif not account.configured:
        headline, what = _("The shop's settings do not have this account."), _("Orders belong to it all the same.")
        mend = _("Somebody should add it to ACCOUNTS in BRONTO_ORDERS, or give its orders to another account.")
    elif not enabled:
        headline, what = _("Delivery is switched off."), _("The shop's settings say so: DELIVERY, ENABLED.")
        mend = _("Orders wait until it is switched on.")
    elif account.foreign:
        headline = _("Another copy of this shop sends for this account.")
        what = _("It used the same credentials first, so this one looks like a copy of it and sends nothing.")
        mend = _("If this is the one that should send, somebody should run: manage.py bronto_accept_environment")
    else:
        return None
    return Situation(
        kind="bad",
        label=_("out of order"),
        headline=headline,
        answers=[
            (_("What happened"), what),
            (_("What happens next"), mend or _("Nothing is sent until somebody corrects BRONTO_ORDERS.")),
            (_("Your orders"), _waiting(account)),
        ],
    )


def _held(account: Overview) -> Situation | None:
    if account.paused:
        label, headline, kind = _("paused"), _("Sending is paused."), "warning"
        what = _("Somebody paused this account.")
        following = _("Nothing is sent until somebody presses Resume.")
    elif account.held_until:
        label, headline, following = (str(text) for text in _HOLDS.get(account.held_code, _HOLD))
        kind = "warning" if account.held_code == "throttled" else "bad"
        what = f"{account.held_reason}." if account.held_reason != account.held_code else headline
        seconds = (account.held_until - timezone.now()).total_seconds()
        following %= {"time": span(max(1.0, seconds))}
    elif account.breaker_open:
        label, headline, kind = _("trying"), _("Finding out whether Bronto is back."), "warning"
        what = _("Too many deliveries in a row had failed, so that sending was held.")
        following = _("A few orders are tried now. Once Bronto takes one, all others follow by themselves.")
    else:
        return None
    answers = [
        (_("What happened"), what),
        (_("Since when"), _since(account)),
        (_("What happens next"), following),
        (_("Your orders"), _waiting(account)),
    ]
    return Situation(kind=kind, label=label, headline=headline, answers=answers)


def _at_work(account: Overview) -> Situation:
    owed, total = _owed(account), sum(account.counts.values())
    if _is_stuck(account):
        return Situation(
            kind="warning",
            label=_("not sending"),
            headline=_("Orders are due, and none is being sent."),
            answers=[
                (_("What happened"), _stuck(account)),
                (_("Since when"), _since(account)),
                (
                    _("What happens next"),
                    _("They are sent as soon as a worker runs. If none does, somebody should start one."),
                ),
                (_("Your orders"), _waiting(account)),
            ],
        )
    if owed:
        text = ngettext(
            "%(count)s order is on its way to Bronto.", "%(count)s orders are on their way to Bronto.", owed
        )
        return Situation(kind="busy", label=pgettext("the account", "sending"), headline=text % {"count": number(owed)})
    if not total:
        return Situation(kind="good", label=_("ready"), headline=_("There are no orders yet."))
    rejected = account.counts.get(SyncState.REJECTED, 0)
    if rejected:
        text = ngettext(
            "All is sent. %(count)s rejected order waits for somebody to look at it.",
            "All is sent. %(count)s rejected orders wait for somebody to look at them.",
            rejected,
        )
        return Situation(kind="good", label=_("up to date"), headline=text % {"count": number(rejected)})
    return Situation(kind="good", label=_("up to date"), headline=_("All is well. No order waits."))


def _is_stuck(account: Overview) -> bool:
    """Tell whether orders have been due for long, none was taken meanwhile, and none is being sent now."""
    last = account.last_success_at
    is_quiet = last is None or (timezone.now() - last).total_seconds() > STUCK_SECONDS
    nothing_under_way = not account.counts.get(SyncState.SENDING)
    return (account.oldest_due_seconds or 0.0) > STUCK_SECONDS and is_quiet and nothing_under_way


def _stuck(account: Overview) -> str:
    text = _("The oldest has been due for %(time)s. If this does not end within a minute or two, no worker is running.")
    return text % {"time": span(account.oldest_due_seconds or 0.0)}


def _owed(account: Overview) -> int:
    return account.counts.get(SyncState.PENDING, 0) + account.counts.get(SyncState.SENDING, 0)


def _since(account: Overview) -> str:
    if account.last_success_at is None:
        return _("Bronto has not taken an order yet.")
    seconds = (timezone.now() - account.last_success_at).total_seconds()
    return _("Bronto last took an order %(time)s ago.") % {"time": span(seconds)}


def _waiting(account: Overview) -> str:
    owed = _owed(account)
    if not owed:
        return _("None waits. New ones are kept and go out as soon as sending goes on: nothing is lost.")
    text = ngettext(
        "%(count)s order waits. It is kept and goes out as soon as sending goes on: nothing is lost.",
        "%(count)s orders wait. They are kept and go out as soon as sending goes on: nothing is lost.",
        owed,
    )
    return text % {"count": number(owed)}
