"""Asking Bronto for an order while somebody waits for a page."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import DEFAULT_DB_ALIAS
from django.utils import timezone
from django.utils.translation import gettext as _

from bronto_orders import exceptions as errors
from bronto_orders.client import BrontoClient, ending_by
from bronto_orders.conf import bronto_settings
from bronto_orders.delivery import claims
from bronto_orders.delivery.clients import client_for
from bronto_orders.models import AccountStatus, Order

#: Seconds that somebody waits for Bronto, its token included. The account's own time-outs may end it sooner.
PATIENCE = 5.0
#: Holds during which Bronto is not even asked: it has refused the credentials, or has said until when to wait.
_SILENT_HOLDS = frozenset({"auth", "throttled"})


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What Bronto has of an order."""

    document: Mapping[str, Any] | None = None
    #: Why nobody knows what Bronto has; empty when Bronto has answered.
    trouble: str = ""
    read_at: datetime = field(default_factory=timezone.now)

    @property
    def answered(self) -> bool:
        """Whether Bronto said what it has, were it nothing."""
        return not self.trouble


def read(order: Order, gate: AccountStatus | None = None) -> Reading:
    """Return what Bronto has of the order now. Takes as long as ``PATIENCE`` at most; never raises.

    ``gate`` is the account's, if it is shut. An account that is paused, or held because of an outage, is read all the
    same: one question of one person is no load, and the answer may be what they want to know.
    """
    if gate and gate.held_reason in _SILENT_HOLDS and gate.held_until and gate.held_until > timezone.now():
        return Reading(trouble=_held(gate))
    try:
        client = client_for(bronto_settings.account(order.account))
    except errors.BrontoConfigurationError:
        message = _("The account “%(account)s” is not configured properly, so Bronto cannot be asked.")
        return Reading(trouble=message % {"account": order.account})
    try:
        with ending_by(time.monotonic() + PATIENCE):
            return Reading(document=_ask(client, order))
    except errors.BrontoError as error:
        return Reading(trouble=_explain(error))


def shut_gate(order: Order) -> AccountStatus | None:
    """Return the gate of the order's account if nothing is sent for it now."""
    gates = AccountStatus.objects.using(order._state.db or DEFAULT_DB_ALIAS)
    return gates.filter(claims.shut(), account=order.account).first()


def _held(gate: AccountStatus) -> str:
    if gate.held_reason == "auth":
        return _("Bronto refuses the account's credentials, so its copy of the order is not asked for.")
    return _("Bronto has asked for a pause, so its copy of the order is not asked for. Try again in a moment.")


def _ask(client: BrontoClient, order: Order) -> Mapping[str, Any] | None:
    if order.bronto_order_id:
        try:
            return client.get(order.bronto_order_id)
        except errors.NotFoundError:
            return None
    found = client.search(customer_order_id=order.customer_order_id)
    return next((one for one in found if one.get("customerOrderId") == order.customer_order_id), None)


def _explain(error: errors.BrontoError) -> str:
    if isinstance(error, errors.AuthenticationError | errors.TokenRefusedError):
        return _("Bronto refuses the account's credentials, so its copy of the order cannot be read.")
    if isinstance(error, errors.RateLimitedError):
        return _("Bronto asks for fewer requests. Try again in a moment.")
    if isinstance(error, errors.DeadlineError):
        return _("Bronto did not answer in time. Try again in a moment.")
    if error.retryable:
        return _("Bronto cannot be reached now. Try again in a moment.")
    if isinstance(error, errors.APIError):
        words = f"HTTP {error.status}: {error.reason}" if error.reason else f"HTTP {error.status}"
    else:
        words = type(error).__name__
    return _("Bronto did not show the order: %(error)s.") % {"error": words.rstrip(".")}
