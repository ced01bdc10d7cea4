"""What went wrong, in one shape for all views: ``application/problem+json`` (RFC 9457).

::

    {"type": "urn:bronto-orders:problem:invalid", "title": "Bad Request", "status": 400, "detail": "…",
     "errors": [{"path": "lineItems[2].quantity", "code": "invalid", "message": "…"}]}

``type`` names the kind of problem and is what clients tell problems apart by; ``errors`` is empty for all kinds but
``invalid`` and ``invalid_parameters``.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework import exceptions, status
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.views import exception_handler

CONTENT_TYPE = "application/problem+json"
TYPE = "urn:bronto-orders:problem:"
#: Of names that a client has made up, so much is repeated to it.
LONGEST_NAME = 100


class InvalidParametersError(exceptions.ValidationError):
    """The query holds parameters that the view does not know, or values that it cannot use."""

    default_code = "invalid_parameters"


class ConflictError(exceptions.APIException):
    """The order number cannot be told from another one by the database."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "conflict"


class ErasedError(exceptions.APIException):
    """The order's customer was erased, and it is never sent again."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "erased"


class ChangedMeanwhileError(exceptions.APIException):
    """The order is not, or no longer, what the caller took it for."""

    status_code = status.HTTP_412_PRECONDITION_FAILED
    default_code = "precondition_failed"
    default_detail = gettext_lazy("The order has changed meanwhile. Read it again.")


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """Answer an exception that a view has raised; None for those that are nobody's fault but ours."""
    response = exception_handler(error, context)
    if response is not None:
        response.data = _problem(error, response)
        response.content_type = CONTENT_TYPE
    return response


def _problem(error: Exception, response: Response) -> dict[str, Any]:
    problem: dict[str, Any] = {"title": HTTPStatus(response.status_code).phrase, "status": response.status_code}
    if isinstance(error, exceptions.ValidationError):
        in_query = isinstance(error, InvalidParametersError)
        detail = _("The query cannot be used.") if in_query else _("The content cannot be taken.")
        errors = list(flatten(error.detail))
        return {"type": f"{TYPE}{error.default_code}", **problem, "detail": detail, "errors": errors}
    detail = response.data.get("detail", "") if isinstance(response.data, Mapping) else ""
    # Http404 and Django's PermissionDenied come here as they were raised.
    code = getattr(detail, "code", None) or getattr(error, "default_code", "error")
    return {"type": f"{TYPE}{code}", **problem, "detail": str(detail), "errors": []}


def flatten(detail: Any, path: str = "") -> Iterator[dict[str, str]]:
    """Yield each error of a serializer with the path of what it is about."""
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            if isinstance(name, int):  # a place in a list
                yield from flatten(inner, f"{path}[{name}]")
            elif name == api_settings.NON_FIELD_ERRORS_KEY:
                yield from flatten(inner, path)
            else:
                yield from flatten(inner, f"{path}.{shorten(name)}" if path else shorten(name))
    elif isinstance(detail, list):
        for index, inner in enumerate(detail):
            yield from flatten(inner, f"{path}[{index}]" if isinstance(inner, Mapping | list) else path)
    else:
        yield {"path": path, "code": getattr(detail, "code", None) or "invalid", "message": str(detail)}


def unknown(name: str, known: Collection[str]) -> exceptions.ErrorDetail:
    """Say that there is no such name, and which one may have been meant."""
    near = difflib.get_close_matches(shorten(name).lower(), {each.lower(): each for each in known}, n=1)
    if near:
        meant = next(each for each in known if each.lower() == near[0])
        return exceptions.ErrorDetail(_("Unknown. Did you mean “%(name)s”?") % {"name": meant}, code="unknown")
    message = _("Unknown. Known are: %(names)s.")
    return exceptions.ErrorDetail(message % {"names": ", ".join(sorted(known))}, code="unknown")


def shorten(name: Any) -> str:
    """Return a client's own word, short enough to be repeated."""
    text = str(name)
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"
