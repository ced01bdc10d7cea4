"""A push as a command for a shell, for those who want to see with their own eyes what Bronto says to it."""

from __future__ import annotations

import shlex
from urllib.parse import quote, urlencode

from bronto_orders import payloads, wire
from bronto_orders.conf import AccountSettings
from bronto_orders.delivery.pushes import Push
from bronto_orders.models import Order, SyncAttempt


def curl(account: AccountSettings, order: Order, push: Push, body: payloads.Document, *, quiet: bool) -> str:
    """Return the command that sends the body, the access token left to the variable TOKEN of the shell.

    ``quiet`` says that the push fires no workflows, as a resync does not.
    """
    resync = (order.resync_options or {}) if order.resync_revision == order.revision else {}
    options = {
        "createContact": account.create_contact,
        "triggerEvents": not quiet and resync.get("trigger_events", account.trigger_events),
        "force": False,
        "ignoreInvalidTid": account.ignore_invalid_tid,
    }
    query = urlencode({name: "true" if value else "false" for name, value in options.items()})
    url = f"{account.api_url.rstrip('/')}/orders{_path(order, push)}?{query}"
    lines = [
        f"curl --request POST {shlex.quote(url)}",
        "--header 'Accept: application/json'",
        '--header "Authorization: Bearer $TOKEN"',
        "--header 'Content-Type: application/json'",
        f"--data-raw {shlex.quote(wire.dumps(body))}",
    ]
    return " \\\n  ".join(lines)


def _path(order: Order, push: Push) -> str:
    if push.operation == SyncAttempt.Operation.ADD:
        return ""
    if order.bronto_order_id:
        return f"/{quote(order.bronto_order_id, safe='')}"
    number = order.customer_order_id
    # Dots alone mean a folder in a path.
    return "/customerOrderId/" + (number.replace(".", "%2E") if number in {".", ".."} else quote(number, safe=""))
