"""The console: a page that shows what the sandbox holds and stages faults. It works without JavaScript as well."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from django.template import Context, Engine

from bronto_orders.sandbox import forms
from bronto_orders.sandbox.excerpts import TEXT_LIMIT, read_json, shorten
from bronto_orders.sandbox.messages import Answer, Request, read_pairs
from bronto_orders.sandbox.oauth import DEFAULT_CLIENT_ID, DEFAULT_CLIENT_SECRET
from bronto_orders.sandbox.presets import PRESETS
from bronto_orders.sandbox.refusals import Malformed, Refusal, WrongMediaType
from bronto_orders.sandbox.rows import (
    Row,
    call_row,
    contact_row,
    event_row,
    fault_row,
    order_row,
    return_row,
    switch_row,
)
from bronto_orders.sandbox.switches import BY_NAME, SWITCHES
from bronto_orders.sandbox.wire import FORM_TYPE

if TYPE_CHECKING:
    from bronto_orders.sandbox.service import Service

HERE: Final = Path(__file__).resolve().parent
ASSETS: Final = {"console.css": "text/css; charset=utf-8", "console.js": "text/javascript; charset=utf-8"}
HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:;"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    # Not no-referrer, with which browsers send forms as if from nowhere: their Origin would be null.
    "Referrer-Policy": "same-origin",
}

ROWS: Final = 50
_BASE_URL: Final = re.compile(r"https?://[A-Za-z0-9.:_\[\]-]+(/[A-Za-z0-9._~/-]*)?")


def read_console(service: Service, request: Request) -> Answer:
    """The page. Its links are relative, so its address has to end in a slash."""
    if not request.path.endswith("/"):
        return Answer(308, headers={"Location": "_sandbox/", "Cache-Control": "no-store"})
    return _page(service, request)


def act(service: Service, request: Request) -> Answer:
    """Do what a button of the page asks for; what is wrong with it is told on the page."""
    if not request.path.endswith("/"):
        return read_console(service, request)
    try:
        form = _read_form(request)
        action = ACTIONS.get(form.get("action", ""))
        if action is None:
            raise Malformed(f"action: must be one of {', '.join(ACTIONS)}")
        place = action(service, form)
    except Refusal as refusal:
        return _page(service, request, refusal)
    return Answer(303, headers={"Location": f"./{place}", "Cache-Control": "no-store"})


def read_asset(name: str) -> Answer | None:
    """The style sheet or the script."""
    if name not in ASSETS:
        return None
    return Answer(200, _read_file(name), {"Content-Type": ASSETS[name], "Cache-Control": "no-cache"})


@cache
def _read_file(name: str) -> bytes:
    return (HERE / "assets" / name).read_bytes()


# What the buttons do. Each returns the place of the page to come back to.


def _read_form(request: Request) -> dict[str, str]:
    if request.content_type[0] != FORM_TYPE:
        raise WrongMediaType(f"Content-Type must be {FORM_TYPE}")
    return dict(read_pairs((request.body or b"").decode("latin-1")))


def _need(form: dict[str, str], name: str) -> str:
    if not form.get(name):
        raise Malformed(f"{name}: is missing")
    return form[name]


def _stage_preset(service: Service, form: dict[str, str]) -> str:
    preset = PRESETS.get(_need(form, "preset"))
    if preset is None:
        raise Malformed(f"preset: must be one of {', '.join(PRESETS)}")
    service.faults.set(preset.faults)
    return ""


def _clear_faults(service: Service, form: dict[str, str]) -> str:
    service.faults.clear()
    return ""


def _remove_fault(service: Service, form: dict[str, str]) -> str:
    place = _need(form, "fault")
    if not re.fullmatch(r"[0-9]{1,9}", place):
        raise Malformed("fault: must be the number of a fault")
    service.faults.remove(int(place))
    return "#faults"


def _revoke_tokens(service: Service, form: dict[str, str]) -> str:
    service.revoke_tokens()
    return ""


def _reset(service: Service, form: dict[str, str]) -> str:
    service.reset()
    return ""


def _turn_switch(service: Service, form: dict[str, str]) -> str:
    name, value = _need(form, "name"), form.get("value", "").strip()
    switch = BY_NAME.get(name)
    changed: Any = value
    if switch is not None and isinstance(switch.default, tuple):
        changed = tuple(re.findall(r"[^\s,]+", value))
    elif switch is not None and isinstance(switch.default, int) and re.fullmatch(r"-?[0-9]{1,18}", value):
        changed = int(value)
    service.switches.turn({name: changed})
    return "#switches"


def _reset_switches(service: Service, form: dict[str, str]) -> str:
    service.switches.reset()
    return "#switches"


def _save_contact(service: Service, form: dict[str, str]) -> str:
    values = forms.read(forms.CONTACT, form, service.switches, forms.CONTACT)
    service.book.add_contact(values["emailAddress"], values["status"])
    return "#contacts"


def _save_return(service: Service, form: dict[str, str]) -> str:
    values = forms.read(forms.RETURN, form, service.switches, forms.RETURN)
    service.book.add_return(values["customerOrderId"])
    return "#returns"


ACTIONS: Final[dict[str, Callable[[Service, dict[str, str]], str]]] = {
    "preset": _stage_preset,
    "clear-faults": _clear_faults,
    "remove-fault": _remove_fault,
    "revoke-tokens": _revoke_tokens,
    "reset": _reset,
    "switch": _turn_switch,
    "reset-switches": _reset_switches,
    "contact": _save_contact,
    "return": _save_return,
}


# The page. All that is put into it is text by then, so that the host's localisation has no part in it.


@cache
def _engine() -> Engine:
    return Engine(dirs=[str(HERE / "templates")], autoescape=True)


def _page(service: Service, request: Request, refusal: Refusal | None = None) -> Answer:
    context = Context(_content(service, request, refusal), use_l10n=False, use_tz=False)
    text = _engine().get_template("bronto_sandbox/console.html").render(context)
    headers = {"Content-Type": "text/html; charset=utf-8", **HEADERS}
    return Answer(refusal.status if refusal else 200, text.encode("utf-8"), headers)


def _content(service: Service, request: Request, refusal: Refusal | None) -> Row:
    counts, values = service.counts(), service.switches.describe()
    switches = [switch_row(switch, values[switch.name]) for switch in SWITCHES]
    return {
        "notice": shorten(refusal.reason, TEXT_LIMIT) if refusal else "",
        "base_url": request.base_url if _BASE_URL.fullmatch(request.base_url) else "http://localhost",
        "client_id": shorten(service.client_id),
        "example": {
            "client_id": quote(service.client_id, safe=""),
            "client_secret": DEFAULT_CLIENT_SECRET if service.client_id == DEFAULT_CLIENT_ID else "YOUR_SECRET",
        },
        "statuses": forms.CONTACT_STATUSES,
        "switches": switches,
        "changed": str(sum(switch["changed"] for switch in switches) or ""),
        **_staged(service.faults.describe()),
        # As they are kept, since their numbers would not pass through float unharmed.
        "orders": _section(map(order_row, map(read_json, service.store.list_orders(ROWS))), counts["orders"]),
        "requests": _section(map(call_row, service.requests(ROWS)), counts["requests"]),
        "events": _section(map(event_row, service.events(ROWS)), counts["events"]),
        "contacts": _section(map(contact_row, service.contacts(ROWS)), counts["contacts"]),
        "returns": _section(map(return_row, service.returns(ROWS)), counts["returns"]),
    }


def _staged(faults: list[dict[str, Any]]) -> Row:
    """The faults in force, the button that set them, and what that comes to in a line."""
    rules = [{name: value for name, value in fault.items() if name not in ("hits", "remaining")} for fault in faults]
    chosen = next((preset for preset in PRESETS.values() if rules == [it.describe() for it in preset.faults]), None)
    rows = [fault_row(fault) for fault in faults]
    hits = sum(fault["hits"] for fault in faults)
    is_calm = all(row["is_spent"] for row in rows)
    if is_calm:
        title = "Answering normally"
        detail = "The faults have struck all the calls that they were set for." if rows else "No fault is active."
    elif chosen is not None:
        title, detail = chosen.label, chosen.about
    else:
        title, detail = "Faults are active", "The table below tells which calls they strike."
    hits_in_words = f"{hits:,} call{'' if hits == 1 else 's'} struck"
    return {
        "state": {"title": title, "detail": detail, "hits": hits_in_words, "is_calm": is_calm},
        "faults": rows,
        "presets": [{"preset": preset, "is_on": preset is chosen and not is_calm} for preset in PRESETS.values()],
    }


def _section(rows: Iterable[Row], total: int) -> Row:
    newest = list(rows)[::-1]
    # Rows are told apart by their keys; a key that comes twice, as of two calls at one moment, is numbered.
    seen: Counter[str] = Counter()
    for row in reversed(newest):
        seen[row["key"]] += 1
        row["key"] = f"{row['key']}-{seen[row['key']]}"
    return {"rows": newest, "total": f"{total:,}", "shown": f"{len(newest):,}", "is_all": len(newest) >= total}
