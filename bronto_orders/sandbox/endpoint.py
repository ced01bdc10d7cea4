"""What every view here shares, whatever the settings of the project that includes it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from django.core.exceptions import BadRequest, RequestDataTooBig, SuspiciousOperation
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException, MethodNotAllowed
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.permissions import BasePermission
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from bronto_orders.sandbox.wire import REASON_HEADER, WireRenderer, error_body, one_line

logger = logging.getLogger(__name__)


class AnyAccept(BaseContentNegotiation):
    """Answers in JSON whatever the client says it accepts; the Java sample asks for text (S2)."""

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        renderer = next(iter(renderers))
        return renderer, renderer.media_type


class Endpoint(APIView):
    """A view that owes nothing to a host's REST_FRAMEWORK settings."""

    authentication_classes: Sequence[type[BaseAuthentication]] = ()
    permission_classes: Sequence[type[BasePermission]] = ()
    throttle_classes = ()
    parser_classes = ()
    renderer_classes = (WireRenderer,)
    content_negotiation_class = AnyAccept
    versioning_class = None
    metadata_class = None
    schema = None
    http_method_names = ["get", "post", "put", "patch", "delete"]

    @property
    def default_response_headers(self) -> dict[str, str]:
        return {}

    def get_exception_handler(self) -> Callable[[Exception, dict[str, Any]], Response]:
        return answer_failure


def answer_failure(error: Exception, context: dict[str, Any]) -> Response:
    """Turn any failure into an answer with an ``X-Reason`` header."""
    status, reason = describe_failure(error)
    headers = {REASON_HEADER: one_line(reason)}
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = ", ".join(context["view"].allowed_methods)
    return Response(error_body(status, reason), status=status, headers=headers)


def describe_failure(error: Exception) -> tuple[int, str]:
    """The status and the reason of a failure."""
    if isinstance(error, MethodNotAllowed):
        return error.status_code, "the method is not allowed here"
    if isinstance(error, APIException):
        return error.status_code, str(error.detail)
    if isinstance(error, RequestDataTooBig):
        return 413, "the body is too large"
    if isinstance(error, (SuspiciousOperation, BadRequest)):
        return 400, "the request is malformed"
    logger.error("The sandbox failed to answer", exc_info=error)
    return 500, "internal error of the sandbox"
