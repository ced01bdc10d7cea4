"""The demo played without hands: a shopper and a member of staff, over HTTP and nothing else."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import unescape
from typing import Any
from urllib.parse import urljoin

import requests

PATIENCE_SECONDS = 60
EMAIL = "ada@example.com"


class RehearsalError(Exception):
    """What should have happened did not; the message says what."""


class Browser:
    """As much of a browser as the demo's pages need: cookies, links, forms."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.page = ""
        self.url = base_url
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["User-Agent"] = "Mozilla/5.0 (bronto_orders demo)"

    def open(self, url: str) -> None:
        self._show(self.session.get(urljoin(self.url, url), timeout=30))

    def submit(self, url: str, fields: Mapping[str, Any]) -> None:
        """Send a form of the page at hand."""
        token = self.find(r'name="csrfmiddlewaretoken" value="([^"]+)"')
        data = {**fields, "csrfmiddlewaretoken": token}
        response = self.session.post(urljoin(self.url, url), data=data, headers={"Referer": self.url}, timeout=30)
        self._show(response)

    def find(self, pattern: str) -> str:
        """Return the first group of the pattern where it first fits the page."""
        if found := re.search(pattern, self.page):
            return unescape(found[1])
        raise RehearsalError(f"{self.url} does not show {pattern!r}.")

    def _show(self, response: requests.Response) -> None:
        if not response.ok:
            raise RehearsalError(f"{response.request.method} {response.url} was answered with {response.status_code}.")
        self.url, self.page = response.url, response.text


@dataclass(frozen=True)
class SyncState:
    """What the thank-you page says about Bronto's copy."""

    number: str
    state: str
    shipped: str
    bronto_id: str
    tracking: str
    seconds: str

    @classmethod
    def read(cls, shopper: Browser) -> SyncState:
        shopper.open(shopper.url)
        names = ("number", "state", "shipped", "bronto-id", "tracking", "seconds")
        return cls(*(shopper.find(rf'data-{name}="([^"]*)"') for name in names))


@dataclass(frozen=True)
class Rehearsal:
    """One order from click to parcel: as the shop saw it acknowledged twice, and as the sandbox has it."""

    added: SyncState
    updated: SyncState
    remote: dict[str, Any]

    def table(self) -> str:
        """Return what happened as text in columns."""
        states = ", ".join(name for name, is_set in self.remote["states"].items() if is_set)
        rows = [
            ("Order", self.updated.number),
            ("State", self.updated.state),
            ("Bronto ID", self.updated.bronto_id),
            ("Tracking taken", self.updated.tracking),
            ("States at Bronto", states),
            ("Add acknowledged after", f"{float(self.added.seconds):.2f} s"),
            ("Update acknowledged after", f"{float(self.updated.seconds):.2f} s"),
        ]
        width = max(len(label) for label, _ in rows)
        return "\n".join(f"{label:{width}}  {value}" for label, value in rows)


def rehearse(url: str, sandbox_url: str, *, login: tuple[str, str], check: Callable[[], None]) -> Rehearsal:
    """Play the demo once. ``check`` is called while waiting. Raises RehearsalError when it does not go as it should."""
    shopper = Browser(url)
    buy(shopper)
    added = wait_until_synced(shopper, shipped="no", check=check)
    mark_as_shipped(Browser(url), added.number, login)
    updated = wait_until_synced(shopper, shipped="yes", check=check)
    remote = read_remote(sandbox_url)
    verify(updated, remote)
    return Rehearsal(added, updated, remote)


def buy(shopper: Browser) -> None:
    """Come by a campaign e-mail and order what it shows."""
    shopper.open("/inbox/")
    shopper.open(shopper.find(r'href="([^"]*[?&;]_bta_tid=[^"]*)"'))
    shopper.submit(shopper.find(r'action="([^"]*/add/)"'), {"quantity": 2})
    shopper.open("/checkout/")
    shopper.submit("/checkout/", {"name": "Ada Lovelace", "email": EMAIL})


def mark_as_shipped(staff: Browser, number: str, login: tuple[str, str]) -> None:
    """Run the admin action on the purchase, as staff would."""
    staff.open("/admin/login/?next=/admin/shop/purchase/")
    staff.submit(staff.url, {"username": login[0], "password": login[1], "next": "/admin/shop/purchase/"})
    pk = staff.find(rf'href="/admin/shop/purchase/(\d+)/change/[^"]*">{number}<')
    staff.submit(staff.url, {"action": "mark_as_shipped", "_selected_action": pk, "index": "0"})
    staff.find(r"(Marked as shipped: 1)")


def wait_until_synced(shopper: Browser, *, shipped: str, check: Callable[[], None]) -> SyncState:
    """Reload the thank-you page until Bronto's copy is up to date."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        check()
        now = SyncState.read(shopper)
        if now.state == "synced" and now.shipped == shipped:
            return now
        if now.state in ("rejected", "skipped"):
            raise RehearsalError(f"Order {now.number} is {now.state}.")
        if time.monotonic() > deadline:
            raise RehearsalError(f"Order {now.number} is still {now.state} after {PATIENCE_SECONDS} s.")
        time.sleep(0.1)


def read_remote(sandbox_url: str) -> dict[str, Any]:
    """Return the only order in the sandbox."""
    sandbox = Browser(sandbox_url)
    sandbox.open("/_sandbox/orders")
    orders = json.loads(sandbox.page)
    if len(orders) != 1:
        raise RehearsalError(f"The sandbox has {len(orders)} orders and should have one.")
    return dict(orders[0])


def verify(local: SyncState, remote: Mapping[str, Any]) -> None:
    """Compare what the shop believes with what the sandbox has."""
    expected = {
        "customerOrderId": local.number,
        "orderId": local.bronto_id,
        "emailAddress": EMAIL,
        "hasTracking": True,
        "states": {"processed": True, "shipped": True},
    }
    for name, value in expected.items():
        if remote.get(name) != value:
            raise RehearsalError(f"{name} is {remote.get(name)!r} in the sandbox and should be {value!r}.")
    if local.tracking != "yes":
        raise RehearsalError("The shop was not told that the tracking was taken.")
