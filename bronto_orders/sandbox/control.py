"""The control API under ``/_sandbox/``: what a test looks at and what it may stage.

It has no authentication and answers to callers on this machine only.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any, TypeVar

from django.db import router, transaction
from django.db.models import Model, QuerySet
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response

from bronto_orders.sandbox.endpoint import Endpoint
from bronto_orders.sandbox.faults import FAULTS, read_rules
from bronto_orders.sandbox.fields import AddressField, FlagField, TextField, ValueField
from bronto_orders.sandbox.journal import CALLS_KEPT
from bronto_orders.sandbox.models import (
    SCOPES,
    AccessToken,
    Call,
    Client,
    Contact,
    Event,
    Order,
    RefreshToken,
    Return,
    digest,
)
from bronto_orders.sandbox.orders import add_contact, add_return, list_orders
from bronto_orders.sandbox.refusals import Forbidden, Malformed
from bronto_orders.sandbox.representation import wire_moment, wire_order
from bronto_orders.sandbox.serializers import ID_LIMIT, Form
from bronto_orders.sandbox.switches import SWITCHES
from bronto_orders.sandbox.wire import decode, read_object

M = TypeVar("M", bound=Model)


class IsOnThisMachine(BasePermission):
    """Loopback callers only: there is nothing else to tell a tester from a stranger."""

    def has_permission(self, request: Request, view: Any) -> bool:
        try:
            address = ipaddress.ip_address(request.META.get("REMOTE_ADDR", ""))
        except ValueError:
            raise Forbidden("the control API answers to this machine only") from None
        mapped = getattr(address, "ipv4_mapped", None)
        if not (mapped or address).is_loopback:
            raise Forbidden("the control API answers to this machine only")
        return True


class Control(Endpoint):
    """A view of the control API."""

    permission_classes = (IsOnThisMachine,)


class ContactForm(Form):
    emailAddress = AddressField(required=True, allow_null=False)
    status = TextField(default=Contact.Status.ACTIVE, allow_null=False)


class ReturnForm(Form):
    customerOrderId = TextField(required=True, allow_null=False, allow_blank=False, max_length=ID_LIMIT)


class ScopesField(ValueField):
    expected = f"a list out of {', '.join(SCOPES)}"

    def parse(self, data: Any) -> list[str] | None:
        return data if isinstance(data, list) and all(scope in SCOPES for scope in data) else None


class ClientForm(Form):
    clientId = TextField(required=True, allow_null=False, allow_blank=False, max_length=ID_LIMIT)
    clientSecret = TextField(required=True, allow_null=False, allow_blank=False)
    scopes = ScopesField(default=list(SCOPES), allow_null=False)


class RevokeForm(Form):
    refresh = FlagField(default=False, allow_null=False)


class OrdersView(Control):
    """``GET``: all orders in wire shape."""

    def get(self, request: Request) -> Response:
        orders = list_orders(_newest(Order.objects.all(), request))
        return Response([wire_order(order) for order in reversed(orders)])


class ContactsView(Control):
    """``GET``: all contacts. ``POST``: make one, or change its status."""

    def get(self, request: Request) -> Response:
        return _describe(Contact.objects.all(), request, describe_contact)

    def post(self, request: Request) -> Response:
        values = ContactForm.read(read_object(request._request))
        if values["status"] not in Contact.Status.values:
            raise Malformed(f"status: must be one of {', '.join(Contact.Status.values)}")
        contact, made = add_contact(values["emailAddress"], values["status"])
        return Response(describe_contact(contact), status=201 if made else 200)


class ReturnsView(Control):
    """``GET``: the ids that returns hold. ``POST``: let a return take an id."""

    def get(self, request: Request) -> Response:
        return _describe(Return.objects.all(), request, describe_return)

    def post(self, request: Request) -> Response:
        values = ReturnForm.read(read_object(request._request))
        return Response(describe_return(add_return(values["customerOrderId"])), status=201)


class EventsView(Control):
    """``GET``: every time the workflows fired."""

    def get(self, request: Request) -> Response:
        return _describe(Event.objects.all(), request, describe_event)


class RequestsView(Control):
    """``GET``: the token and order calls, secrets masked."""

    def get(self, request: Request) -> Response:
        return _describe(Call.objects.all(), request, describe_call, most=CALLS_KEPT)


class ClientsView(Control):
    """``POST``: make a client with the scopes given; a reset takes it away again."""

    def post(self, request: Request) -> Response:
        values = ClientForm.read(read_object(request._request))
        client, made = Client.objects.update_or_create(
            client_id=values["clientId"],
            defaults={"secret_digest": digest(values["clientSecret"]), "scopes": " ".join(values["scopes"])},
        )
        return Response({"clientId": client.client_id, "scopes": client.scopes.split()}, status=201 if made else 200)


class RevokeView(Control):
    """``POST``: end all access tokens, and with ``{"refresh": true}`` the refresh tokens as well."""

    def post(self, request: Request) -> Response:
        body = read_object(request._request) if request._request.body else {}
        values = RevokeForm.read(body)
        access, _ = AccessToken.objects.all().delete()
        refresh = RefreshToken.objects.all().delete()[0] if values["refresh"] else 0
        return Response({"accessTokens": access, "refreshTokens": refresh})


class FaultsView(Control):
    """``GET``, ``PUT`` (replaces all) and ``DELETE`` of the fault rules."""

    def get(self, request: Request) -> Response:
        return Response(FAULTS.describe())

    def put(self, request: Request) -> Response:
        FAULTS.replace(read_rules(decode(request._request.body)))
        return Response(FAULTS.describe())

    def delete(self, request: Request) -> Response:
        FAULTS.replace(())
        return Response(status=204)


class SwitchesView(Control):
    """``GET`` the switches, ``PUT`` those to change, ``DELETE`` to put back the defaults."""

    def get(self, request: Request) -> Response:
        return Response(SWITCHES.describe())

    def put(self, request: Request) -> Response:
        SWITCHES.turn(read_object(request._request))
        return Response(SWITCHES.describe())

    def delete(self, request: Request) -> Response:
        SWITCHES.reset()
        return Response(status=204)


class ResetView(Control):
    """``POST``: back to the beginning. Only the client the server started with stays, with its tokens."""

    def post(self, request: Request) -> Response:
        FAULTS.replace(())
        FAULTS.wake()
        SWITCHES.reset()
        with transaction.atomic(using=router.db_for_write(Order)):
            for model in (Order, Return, Contact, Event, Call):
                model._default_manager.all().delete()
            Client.objects.filter(permanent=False).delete()
        return Response(status=204)


def describe_contact(contact: Contact) -> dict[str, Any]:
    return {
        "emailAddress": contact.email_address,
        "status": contact.status,
        "createdDate": wire_moment(contact.created_at),
    }


def describe_return(taken: Return) -> dict[str, Any]:
    return {"customerOrderId": taken.customer_order_id, "createdDate": wire_moment(taken.created_at)}


def describe_event(event: Event) -> dict[str, Any]:
    return {
        "kind": event.kind,
        "customerOrderId": event.customer_order_id,
        "orderId": str(event.order_id),
        "emailAddress": event.email_address,
        "firedDate": wire_moment(event.fired_at),
    }


def describe_call(call: Call) -> dict[str, Any]:
    return {
        "time": wire_moment(call.started_at),
        "durationMs": call.duration_ms,
        "method": call.method,
        "path": call.path,
        "query": call.query,
        "requestBody": call.request_body,
        "status": call.status,
        "reason": call.reason,
        "responseBody": call.response_body,
        "fault": call.fault,
    }


def _describe(rows: QuerySet[M], request: Request, describe: Callable[[M], Any], most: int | None = None) -> Response:
    return Response([describe(row) for row in reversed(_newest(rows, request, most))])


def _newest(rows: QuerySet[M], request: Request, most: int | None = None) -> QuerySet[M]:
    """The newest rows first, as many as ``?last=n`` asks for."""
    last = request.query_params.get("last")
    if last is not None and not re.fullmatch(r"[0-9]{1,9}", last):
        raise Malformed("last: must be a whole number")
    limit = most if last is None else min(int(last), most or int(last))
    return rows.order_by("-pk")[:limit]
