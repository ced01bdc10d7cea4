"""Where a page tells that somebody has come by a campaign link, if the request itself did not: it came from a cache.

Called by shoppers' browsers, so that it needs no login and tells nothing back.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.http import Http404, HttpRequest
from django.utils.http import is_same_domain
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework import serializers
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response

from bronto_orders import keeping, tracking
from bronto_orders.api import throttles
from bronto_orders.api.documents import Document
from bronto_orders.api.fields import TextField
from bronto_orders.api.openapi import describe
from bronto_orders.api.resources import Problem
from bronto_orders.api.views import View
from bronto_orders.conf import bronto_settings
from bronto_orders.visitor import Visitor

PROBLEMS = dict.fromkeys((400, 403, 404, 429), Problem)


class Click(Document):
    """The value of ``_bta_tid`` in the address of the page, decoded."""

    tid = TextField(help_text=gettext_lazy("Fifteen parts between dots, the first of them 3."))

    def validate_tid(self, tid: str) -> str:
        """Take what has the shape of a tid."""
        if not tracking.is_tid(tid):
            raise serializers.ValidationError(_("This is not a tracking ID."))
        return tid


def is_own(origin: str | None, request: HttpRequest) -> bool:
    """Tell whether a request's Origin is the shop's, or one of CSRF_TRUSTED_ORIGINS; or none, as no page sent it.

    Shoppers without a login have no token against forgery on a page from a cache. Browsers say where a POST or DELETE
    comes from, and no page can have them say otherwise.
    """
    if origin is None or origin == f"{request.scheme}://{request.get_host()}":
        return True
    scheme, _separator, host = origin.partition("://")
    trusted = map(urlsplit, settings.CSRF_TRUSTED_ORIGINS)
    return any(scheme == one.scheme and is_same_domain(host, one.netloc.lstrip("*")) for one in trusted)


class Landing(View):
    """The click that led a shopper here, kept until checkout where PERSIST says."""

    serializer_class = Click
    # The project's own ways of logging in are for those who read and write orders. Signed-in shoppers need their token
    # against forgery.
    authentication_classes = [SessionAuthentication]
    bronto_scope = throttles.LANDING

    def get_permissions(self) -> list[BasePermission]:
        return []

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if not is_own(request.headers.get("Origin"), request._request):
            raise PermissionDenied(_("The page that this comes from is not the shop's."))
        if bronto_settings.tracking.persist is None:
            raise Http404(_("Nothing is kept here: PERSIST is off."))

    @describe(request=Click, responses={204: None, **PROBLEMS})
    def post(self, request: Request) -> Response:
        """Keep a click. Without consent, nothing is kept, and what was kept is forgotten; the answer is the same."""
        click = Click(data=request.data)
        click.is_valid(raise_exception=True)
        response = Response(status=204)
        if Visitor(request._request).refusal():
            keeping.forget(request._request, response)
        else:
            keeping.keep(request._request, response, tracking.from_query(click.validated_data["tid"]))
        return response

    @describe(request=None, responses={204: None, **PROBLEMS})
    def delete(self, request: Request) -> Response:
        """Forget what was kept, as when consent is withdrawn."""
        response = Response(status=204)
        keeping.forget(request._request, response)
        return response
