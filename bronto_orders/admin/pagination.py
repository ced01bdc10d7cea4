from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
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


class SoundList(ChangeList):
    """A list that takes an address which a database cannot look up for one that filters by nonsense, and says so."""

    def get_filters_params(self, params: Any = None) -> Any:
        chosen = super().get_filters_params(params)
        if any("\x00" in part for values in chosen.values() for part in values):
            raise IncorrectLookupParameters
        return chosen

    def get_results(self, request: HttpRequest) -> None:
        try:
            super().get_results(request)
        except OverflowError as error:  # a number beyond those of SQLite
            raise IncorrectLookupParameters from error
