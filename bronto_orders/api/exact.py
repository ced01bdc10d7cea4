"""JSON in and out with every number as the decimal that it is."""

from __future__ import annotations

from collections.abc import Mapping
from json import JSONDecodeError
from typing import IO, Any

from django.conf import settings
from django.utils.translation import gettext_lazy as _
from rest_framework import status
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer

from bronto_orders import wire


class BodyTooLarge(APIException):
    """The body is larger than DATA_UPLOAD_MAX_MEMORY_SIZE."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "too_large"
    default_detail = _("The body is too large.")


class ExactJSONParser(BaseParser):
    """Reads numbers with a fraction as Decimal, and no more than the project lets any request's body be."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        limit: int | None = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        # Django checks its limit in ``request.body`` alone, which is not read here.
        body = stream.read() if limit is None else stream.read(limit + 1)
        if limit is not None and len(body) > limit:
            raise BodyTooLarge
        try:
            return wire.loads(body)
        except JSONDecodeError as error:
            message = _("The body is not JSON: something is wrong in line %(line)d, column %(column)d.")
            raise ParseError(message % {"line": error.lineno, "column": error.colno}) from None
        except (ValueError, ArithmeticError, RecursionError):
            raise ParseError(_("The body is not JSON in UTF-8, or goes beyond what can be read.")) from None


class ExactJSONRenderer(BaseRenderer):
    """Writes Decimals in full, as numbers."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        return b"" if data is None else wire.dumps(data).encode()
