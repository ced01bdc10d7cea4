"""One call as it passes through: a fault may strike it, the journal keeps it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import wraps

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import transaction
from django.http import HttpRequest, HttpResponse, QueryDict
from django.http.request import UnreadablePostError
from django.template.response import SimpleTemplateResponse
from django.views.decorators.csrf import csrf_exempt

from bronto_orders.sandbox import journal
from bronto_orders.sandbox.cut import ask_cut
from bronto_orders.sandbox.faults import FAULTS, Rule
from bronto_orders.sandbox.lookup import raw_path, read_lookup
from bronto_orders.sandbox.models import Call, now
from bronto_orders.sandbox.refusals import Refusal
from bronto_orders.sandbox.wire import decode, error_response

BODY_LIMIT = 2 * 1024 * 1024
TOKEN_PATH = "/oauth2/token"  # noqa: S105
ORDERS_PATH = "/orders"
_LENGTH = re.compile(r"[0-9]{1,18}")


class Exchange:
    """A request on its way to an answer."""

    def __init__(self, request: HttpRequest, path: str, rest: str | None) -> None:
        self.request = request
        self.path = path + (rest or "")
        self.is_token_call = path == TOKEN_PATH
        self.started_at = now()
        self._clock = time.monotonic()
        self.body = _read_body(request)
        self.given_up = False
        self._rest = rest
        wanted = FAULTS.ask_customer_order_id and not self.is_token_call
        self.rule = FAULTS.claim(self.method, self.path, self._find_customer_order_id() if wanted else None)

    @property
    def method(self) -> str:
        return self.request.method or ""

    def answer(self, handle: Callable[[], HttpResponse]) -> HttpResponse:
        """Answer the call as its handler and its fault will have it."""
        rule = self.rule
        if rule is None:
            return handle()
        response = handle() if rule.apply == "after" else None
        if not FAULTS.sleep(rule.latency):
            self.given_up = True
            return error_response(503, "the sandbox was reset")
        if rule.replaces_answer:
            response = _invent(rule)
        if rule.drop or rule.truncate:
            ask_cut(self.request, "drop" if rule.drop else "truncate")
        return handle() if response is None else response

    def record(self, response: HttpResponse) -> None:
        """Keep the call in the journal, unless it was given up."""
        if self.given_up:
            return
        dropped = self.rule is not None and self.rule.drop
        journal.record(
            Call(
                started_at=self.started_at,
                duration_ms=round((time.monotonic() - self._clock) * 1000, 3),
                method=self.method[:16],
                path=journal.clean(raw_path(self.request)),
                query=journal.mask_query(self.request.META.get("QUERY_STRING", "")),
                request_body=journal.mask_request(self.request, self.body, is_token_call=self.is_token_call),
                status=None if dropped else response.status_code,
                reason="" if dropped else journal.reason_of(response),
                response_body="" if dropped else journal.mask_response(response, is_token_call=self.is_token_call),
                fault=self.rule is not None,
            )
        )

    def _find_customer_order_id(self) -> str | None:
        try:
            lookup = read_lookup(self.request, self._rest)
            if lookup is not None:
                return lookup.customer_order_id()
            value = decode(self.body) if self.body else self.request.GET
            found = value.get("customerOrderId") if isinstance(value, (dict, QueryDict)) else None
        except (Refusal, SuspiciousOperation):
            return None
        return found if isinstance(found, str) else None


def observed(path: str, view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Wrap a view so that faults and the journal see its calls."""

    # Each call makes its own transaction, so that its record outlives a refusal.
    @csrf_exempt
    @transaction.non_atomic_requests
    @wraps(view)
    def observe(request: HttpRequest, rest: str | None = None) -> HttpResponse:
        exchange = Exchange(request, path, rest)

        def handle() -> HttpResponse:
            if exchange.body is None:
                return error_response(413, f"the body is larger than {BODY_LIMIT} bytes")
            response = view(request) if rest is None else view(request, rest=rest)
            return response.render() if isinstance(response, SimpleTemplateResponse) else response

        response = exchange.answer(handle)
        exchange.record(response)
        return response

    return observe


def _invent(rule: Rule) -> HttpResponse:
    # A server other than the sandbox's own cannot drop a connection; 502 is what a proxy would make of it.
    response = error_response(rule.status or 502, rule.reason)
    for name, value in rule.headers.items():
        response[name] = value
    return response


def _read_body(request: HttpRequest) -> bytes | None:
    """The body, None if it is over the limit."""
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not _LENGTH.fullmatch(length) or int(length) > BODY_LIMIT:
        return None
    try:
        return request.body
    except RequestDataTooBig:
        return None
    except UnreadablePostError:
        return b""
