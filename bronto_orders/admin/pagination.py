from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.utils.functional import cached_property

if TYPE_CHECKING:
    AnyPaginator = Paginator[Any]
else:
    AnyPaginator = Paginator

#: How far rows are counted, and paged through.
LIMIT = 10_000


class AtLeast(int):
    """The number at which counting stopped; there are more."""

    def __str__(self) -> str:
        # One character before the digits, so that the admin's own templates can group these.
        return f"≥{int(self):d}"


class BoundedPaginator(AnyPaginator):
    """Counts up to ``LIMIT`` rows, and pages through as many.

    Counting a million rows takes longer than all else that a list does, and skipping as many to show the last page
    does, too. Whoever looks for something narrows the list.
    """

    object_list: QuerySet[Any]

    @cached_property
    def count(self) -> int:
        found = self.object_list.order_by()[: LIMIT + 1].count()
        return AtLeast(LIMIT) if found > LIMIT else found
