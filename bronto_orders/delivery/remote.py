"""Asking Bronto for an order while somebody waits for a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from bronto_orders import exceptions as errors
from bronto_orders.client import BrontoClient
from bronto_orders.conf import bronto_settings
from bronto_orders.delivery.clients import client_for
from bronto_orders.models import Order


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What Bronto has of an order."""

    document: Mapping[str, Any] | None = None
    #: Why nobody knows what Bronto has; empty when Bronto has answered.
    trouble: str = ""

    @property
    def answered(self) -> bool:
        """Whether Bronto said what it has, were it nothing."""
        return not self.trouble


def read(order: Order) -> Reading:
    """Return what Bronto has of the order now. Takes as long as the account's total time-out at most; never raises."""
    try:
        client = client_for(bronto_settings.account(order.account))
    except errors.BrontoConfigurationError:
        message = _("The account “%(account)s” is not configured properly, so Bronto cannot be asked.")
        return Reading(trouble=message % {"account": order.account})
    try:
        return Reading(document=_ask(client, order))
    except errors.BrontoError as error:
        return Reading(trouble=_explain(error))


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
    if error.retryable:
        return _("Bronto cannot be reached now. Try again in a moment.")
    message = _("Bronto did not show the order: %(error)s.")
    return message % {"error": str(error).rstrip(".")}
