"""The control API under ``/_sandbox/``: what a test looks at and what it may stage.

It has no authentication and answers to callers on this machine only, and not to pages of other sites.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from bronto_orders.sandbox import console, fields, forms
from bronto_orders.sandbox.faults import read_faults
from bronto_orders.sandbox.fields import Unfit
from bronto_orders.sandbox.forms import Form
from bronto_orders.sandbox.messages import Answer, Request
from bronto_orders.sandbox.oauth import SCOPES
from bronto_orders.sandbox.presets import PRESETS
from bronto_orders.sandbox.refusals import Forbidden, Malformed, Missing, NotAllowed
from bronto_orders.sandbox.switches import SwitchBoard
from bronto_orders.sandbox.wire import JSON_TYPE, decode

if TYPE_CHECKING:
    from bronto_orders.sandbox.service import Service

Handler = Callable[["Service", Request], Answer]


def answer(service: Service, request: Request, segments: list[str]) -> Answer:
    """Answer a call whose path, after ``/_sandbox``, has these segments."""
    _check_caller(request)
    request.check_size()
    path = "/".join(segments)
    handlers = _ROUTES.get(path)
    if handlers is None:
        found = console.read_asset(path) if request.method == "GET" else None
        if found is None:
            raise Missing("no such path")
        return found
    if request.method not in handlers:
        raise NotAllowed(tuple(handlers))
    return handlers[request.method](service, request)


def _check_caller(request: Request) -> None:
    """Loopback callers only: there is nothing else to tell a tester from a stranger."""
    try:
        address = ipaddress.ip_address(request.remote_address)
    except ValueError:
        raise Forbidden("the control API answers to this machine only") from None
    mapped = getattr(address, "ipv4_mapped", None)
    if not (mapped or address).is_loopback:
        raise Forbidden("the control API answers to this machine only")
    origin = request.headers.get("origin")
    foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    if request.method != "GET" and (foreign or request.headers.get("sec-fetch-site") == "cross-site"):
        raise Forbidden("the control API does not answer to pages of other sites")


def _scopes(value: Any, switches: SwitchBoard) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(scope in SCOPES for scope in value):
        raise Unfit(f"must be a list out of {', '.join(SCOPES)}")
    return tuple(value)


_CLIENT: Final[Form] = {"clientId": fields.name, "clientSecret": fields.name, "scopes": _scopes}
_REVOKE: Final[Form] = {"refresh": fields.flag}


def _list_orders(service: Service, request: Request) -> Answer:
    return Answer.json_text(f"[{','.join(service.store.list_orders(_last(request)))}]")


def _list_contacts(service: Service, request: Request) -> Answer:
    return Answer.json(service.contacts(_last(request)))


def _save_contact(service: Service, request: Request) -> Answer:
    values = forms.read(forms.CONTACT, forms.read_object(request), service.switches, ["emailAddress"])
    contact, is_new = service.book.add_contact(values["emailAddress"], values.get("status", "active"))
    return Answer.json(contact, 201 if is_new else 200)


def _list_returns(service: Service, request: Request) -> Answer:
    return Answer.json(service.returns(_last(request)))


def _save_return(service: Service, request: Request) -> Answer:
    values = forms.read(forms.RETURN, forms.read_object(request), service.switches, forms.RETURN)
    service.book.add_return(values["customerOrderId"])
    return Answer.json(values, 201)


def _list_events(service: Service, request: Request) -> Answer:
    return Answer.json(service.events(_last(request)))


def _list_requests(service: Service, request: Request) -> Answer:
    return Answer.json(service.requests(_last(request)))


def _save_client(service: Service, request: Request) -> Answer:
    values = forms.read(_CLIENT, forms.read_object(request), service.switches, ["clientId", "clientSecret"])
    scopes = values.get("scopes", SCOPES)
    is_new = service.add_client(values["clientId"], values["clientSecret"], scopes)
    return Answer.json({"clientId": values["clientId"], "scopes": scopes}, 201 if is_new else 200)


def _revoke_tokens(service: Service, request: Request) -> Answer:
    values = forms.read(_REVOKE, forms.read_object(request) if request.body else {}, service.switches)
    return Answer.json(service.revoke_tokens(refresh=bool(values.get("refresh"))))


def _list_faults(service: Service, request: Request) -> Answer:
    return Answer.json(service.faults.describe())


def _set_faults(service: Service, request: Request) -> Answer:
    service.faults.set(read_faults(decode(request.body or b"")))
    return _list_faults(service, request)


def _add_faults(service: Service, request: Request) -> Answer:
    for fault in read_faults(decode(request.body or b"")):
        service.faults.add(fault)
    return _list_faults(service, request)


def _clear_faults(service: Service, request: Request) -> Answer:
    service.faults.clear()
    return Answer(204)


def _list_presets(service: Service, request: Request) -> Answer:
    return Answer.json(
        [
            {"name": preset.name, "about": preset.about, "faults": [fault.describe() for fault in preset.faults]}
            for preset in PRESETS.values()
        ]
    )


def _set_preset(service: Service, request: Request) -> Answer:
    values = forms.read({"name": fields.one_of(*PRESETS)}, forms.read_object(request), service.switches, ["name"])
    service.faults.set(PRESETS[values["name"]].faults)
    return _list_faults(service, request)


def _list_switches(service: Service, request: Request) -> Answer:
    return Answer.json(service.switches.describe())


def _turn_switches(service: Service, request: Request) -> Answer:
    service.switches.turn(forms.read_object(request))
    return _list_switches(service, request)


def _reset_switches(service: Service, request: Request) -> Answer:
    service.switches.reset()
    return Answer(204)


def _reset(service: Service, request: Request) -> Answer:
    service.reset()
    return Answer(204)


def _show_document(service: Service, request: Request) -> Answer:
    document = resources.files("bronto_orders.sandbox").joinpath("openapi.json").read_bytes()
    return Answer(200, document, {"Content-Type": JSON_TYPE})


def _last(request: Request) -> int | None:
    """How many ``?last=n`` asks for."""
    last = request.parameters().get("last")
    if last is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", last):
        raise Malformed("last: must be a whole number")
    return int(last)


_ROUTES: Final[Mapping[str, Mapping[str, Handler]]] = {
    "": {"GET": console.read_console, "POST": console.act},
    "openapi.json": {"GET": _show_document},
    "orders": {"GET": _list_orders},
    "contacts": {"GET": _list_contacts, "POST": _save_contact},
    "returns": {"GET": _list_returns, "POST": _save_return},
    "events": {"GET": _list_events},
    "requests": {"GET": _list_requests},
    "clients": {"POST": _save_client},
    "tokens/revoke": {"POST": _revoke_tokens},
    "faults": {"GET": _list_faults, "POST": _add_faults, "PUT": _set_faults, "DELETE": _clear_faults},
    "presets": {"GET": _list_presets, "POST": _set_preset},
    "switches": {"GET": _list_switches, "PUT": _turn_switches, "DELETE": _reset_switches},
    "reset": {"POST": _reset},
}
