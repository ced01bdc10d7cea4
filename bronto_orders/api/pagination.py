from __future__ import annotations

from typing import Any, Final

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, NotFound
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request

from bronto_orders.api.parameters import Parameter
from bronto_orders.api.problems import InvalidParametersError

LARGEST_PAGE: Final = 500


def _page_size(value: str) -> int:
    field = serializers.IntegerField(min_value=1, max_value=LARGEST_PAGE)
    return int(field.run_validation(value))


PARAMETERS: Final = (
    Parameter(name="cursor", meaning=_("Where the page begins, out of “next” or “previous” of another page.")),
    Parameter(name="page_size", meaning=_("How many orders a page has."), read=_page_size),
)


class NewestFirst(CursorPagination):
    """Pages by primary key: no page counts or skips rows, and new orders move none from one page to another."""

    ordering = "-pk"
    page_size = 100
    page_size_query_param = "page_size"
    max_page_size = LARGEST_PAGE

    def decode_cursor(self, request: Request) -> Any:
        wrong = InvalidParametersError(
            {self.cursor_query_param: [ErrorDetail(self.invalid_cursor_message, code="invalid")]}
        )
        try:
            cursor = super().decode_cursor(request)
        except NotFound:
            raise wrong from None
        # Django would fail to compare a key with anything else.
        if cursor is not None and cursor.position is not None and not str(cursor.position).isdecimal():
            raise wrong
        return cursor
