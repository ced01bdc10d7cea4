"""The page that says whether all works, and what to do if it does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.db import router, transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.functional import Promise, SimpleLazyObject
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_http_methods

from bronto_orders.admin.attempts import people, trigger_words
from bronto_orders.admin.base import OrderPages
from bronto_orders.admin.chart import Chart, chart
from bronto_orders.admin.columns import EMPTY, number, past, reason, span, state_badge
from bronto_orders.admin.situations import Situation, situation, stopped
from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import accounts, claims, figures, status, tokens
from bronto_orders.delivery.resync import running
from bronto_orders.delivery.status import Overview
from bronto_orders.exceptions import BrontoConfigurationError
from bronto_orders.models import AccountStatus, SyncState

#: Reasons that the page names of each account; the list has a filter for the others.
REASONS = 6


@dataclass(frozen=True)
class Command:
    """What a button does to an account, and what is said of it."""

    name: str
    label: str | Promise
    run: Callable[..., bool]
    done: str | Promise
    #: When there was nothing to do: somebody else was quicker, or the hold ended by itself.
    in_vain: str | Promise
    logged: str | Promise


COMMANDS = {
    command.name: command
    for command in [
        Command(
            "pause",
            gettext_lazy("Pause"),
            accounts.pause,
            gettext_lazy("“%(account)s” is paused. Its orders wait until somebody resumes it."),
            gettext_lazy("“%(account)s” was paused already."),
            gettext_lazy("Paused."),
        ),
        Command(
            "resume",
            gettext_lazy("Resume"),
            accounts.resume,
            gettext_lazy("Sending for “%(account)s” goes on."),
            gettext_lazy("Sending for “%(account)s” was going on already."),
            gettext_lazy("Resumed."),
        ),
        Command(
            "probe",
            gettext_lazy("Probe now"),
            accounts.try_now,
            gettext_lazy("“%(account)s” is tried now. If Bronto takes an order, all others follow."),
            gettext_lazy("“%(account)s” was not held any more."),
            gettext_lazy("Hold ended to try at once."),
        ),
    ]
}


@dataclass(frozen=True)
class Link:
    """A count, and the list of what was counted."""

    label: str
    count: str
    url: str
    state: str


@dataclass(frozen=True, kw_only=True)
class Card:
    """What the page shows of one account."""

    account: str
    situation: Situation
    counts: list[Link]
    facts: list[tuple[str, str]]
    chart: Chart
    reasons: list[Link]
    #: How many other reasons there are.
    more_reasons: int
    commands: list[Command]


class DashboardAdmin(OrderPages):
    """Adds the dashboard, and to the list a line about accounts that are stopped."""

    dashboard_template = "admin/bronto_orders/dashboard.html"
    #: The part of it that changes.
    dashboard_live_template = "admin/bronto_orders/dashboard_live.html"

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Whether the user may pause and resume accounts."""
        may_change = request.user.has_perm("bronto_orders.change_accountstatus")
        return may_change and self.has_view_permission(request)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.dashboard_view)
        return [path("dashboard/", view, name=f"{self.opts.app_label}_dashboard"), *super().get_urls()]

    def dashboard_url(self) -> str:
        """Return the address of the dashboard on this admin site."""
        return reverse(f"admin:{self.opts.app_label}_dashboard", current_app=self.admin_site.name)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        # Lazy, as an action's own page does not show them.
        links = {"dashboard_url": self.dashboard_url(), "stopped_accounts": SimpleLazyObject(self.stopped_accounts)}
        return super().changelist_view(request, {**links, **(extra_context or {})})

    def stopped_accounts(self) -> list[str]:
        """Return a sentence on each account for which nothing is sent."""
        rows = AccountStatus.objects.using(router.db_for_write(self.model)).filter(claims.shut()).order_by("account")
        return [stopped(row.account, paused=row.paused, code=row.held_reason) for row in rows]

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def dashboard_view(self, request: HttpRequest) -> HttpResponse:
        """Show how all accounts are doing; on POST, pause, resume or try one."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            return self.operate(request)
        context = self.get_dashboard_context(request)
        if "live" in request.GET:
            return TemplateResponse(request, self.dashboard_live_template, context)
        page = self.page_context(request, title=_("Delivery to Bronto"), **context)
        return TemplateResponse(request, self.dashboard_template, page)

    def operate(self, request: HttpRequest) -> HttpResponse:
        """Do what a button says, log it and tell the user."""
        if not self.has_operate_permission(request):
            raise PermissionDenied
        command, account = COMMANDS.get(request.POST.get("command", "")), request.POST.get("account", "")
        using = router.db_for_write(self.model)
        rows = AccountStatus.objects.using(using).filter(pk=account)
        if command is None or "\x00" in account or not (account in _configured() or rows.exists()):
            raise Http404
        with transaction.atomic(using=using):
            done = command.run(account, using=using)
            if done:
                user = cast(int, request.user.pk)
                LogEntry.objects.log_actions(user, rows, CHANGE, change_message=str(command.logged))
        text = (command.done if done else command.in_vain) % {"account": account}
        self.message_user(request, text, messages.SUCCESS if done else messages.INFO)
        return HttpResponseRedirect(self.dashboard_url())

    def get_dashboard_context(self, request: HttpRequest) -> dict[str, Any]:
        """Return what the changing part of the page shows."""
        using = router.db_for_write(self.model)
        context: dict[str, Any] = {"now": timezone.now(), "dashboard_url": self.dashboard_url()}
        try:
            overviews = status.accounts(using=using)
            enabled = bronto_settings.delivery.enabled
        except BrontoConfigurationError as error:
            return {**context, "misconfigured": str(error)}
        hours, untaken = figures.hours(using=using), figures.untaken(using=using)
        resyncs = running(using=using)
        names = people(run.trigger for run, _done in resyncs)
        return {
            **context,
            "cards": [
                self.card(request, one, hours, untaken.get(one.account, 0), enabled=enabled) for one in overviews
            ],
            "resyncs": [
                (run, done, past(run.created_at), trigger_words(run.trigger, names), self._run_url(run))
                for run, done in resyncs
            ],
        }

    def card(
        self, request: HttpRequest, account: Overview, hours: Sequence[figures.Hour], untaken: int, *, enabled: bool
    ) -> Card:
        """Return what the page shows of one account."""
        states = [(state, str(state.label), account.counts.get(state, 0)) for state in SyncState]
        named = account.reasons[:REASONS]
        return Card(
            account=account.account,
            situation=situation(account, enabled=enabled),
            counts=[
                Link(label, number(count), self._filtered(account, sync_state__exact=state), state)
                for state, label, count in states
            ],
            facts=[*_facts(account), *self._tracking_facts(account, untaken)],
            chart=chart(account.account, hours),
            reasons=[
                Link(
                    reason(one.code) or EMPTY,
                    number(one.count),
                    self._filtered(account, sync_state__exact=one.state, reason=one.code),
                    state_badge(one.state),
                )
                for one in named
            ],
            more_reasons=len(account.reasons) - len(named),
            commands=_commands(account) if self.has_operate_permission(request) else [],
        )

    def _tracking_facts(self, account: Overview, untaken: int) -> list[tuple[str, str]]:
        if not untaken:
            return []
        words = ngettext(
            "%(count)s order among the newest %(newest)s", "%(count)s orders among the newest %(newest)s", untaken
        ) % {"count": number(untaken), "newest": number(figures.NEWEST)}
        url = self._filtered(account, tracking="refused")
        return [(_("Tracking not taken"), format_html('<a href="{}">{}</a>', url, words))]

    def _filtered(self, account: Overview, **filters: str) -> str:
        """Return the address of the list of an account's orders."""
        chosen = {name: str(value) for name, value in filters.items() if value}
        if len(_configured()) > 1:
            chosen["account"] = account.account
        return f"{self.list_url()}?{urlencode(chosen)}"

    def _run_url(self, run: Any) -> str:
        name = f"admin:{self.opts.app_label}_resyncrun_change"
        try:
            return reverse(name, args=[run.pk], current_app=self.admin_site.name)
        except NoReverseMatch:
            return ""


def _configured() -> list[str]:
    try:
        return bronto_settings.account_names
    except BrontoConfigurationError:
        return []


def _commands(account: Overview) -> list[Command]:
    """Return what may be done to an account as it is now."""
    if account.paused:
        return [COMMANDS["resume"]]
    return [COMMANDS["probe"], COMMANDS["pause"]] if account.held_until else [COMMANDS["pause"]]


def _facts(account: Overview) -> list[tuple[str, str]]:
    facts = [
        (_("Oldest due order"), _("none due") if account.oldest_due_seconds is None else _due_for(account)),
        (_("Bronto last took an order"), past(account.last_success_at)),
        (_("Breaker"), _("open: only a few orders are tried") if account.breaker_open else _("closed, as usual")),
    ]
    if account.deletions_owed or account.deletions_refused:
        counts = {"owed": number(account.deletions_owed), "refused": number(account.deletions_refused)}
        facts.append((_("Deletions at Bronto"), _("%(owed)s waiting, %(refused)s refused") % counts))
    if token := _token(account):
        facts.append((_("Access token"), token))
    return facts


def _due_for(account: Overview) -> str:
    return _("due for %(time)s") % {"time": span(account.oldest_due_seconds or 0.0)}


def _token(account: Overview) -> str:
    """Return what is known of the account's access token, without asking Bronto."""
    if account.held_until and account.held_code == "auth":
        return _("refused")
    if not account.configured or account.misconfigured:
        return ""
    seconds = tokens.seconds_left(bronto_settings.account(account.account))
    if seconds is None:
        return _("none kept; the next order fetches one")
    return _("valid for %(time)s") % {"time": span(seconds)}
