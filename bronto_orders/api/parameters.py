"""Query parameters: which ones a view has, what they may say, and how they narrow the list of orders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db.models import Q
from django.http import QueryDict
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail
from rest_framework.settings import api_settings

from bronto_orders.api.fields import MomentField
from bronto_orders.api.problems import InvalidParametersError, unknown
from bronto_orders.models import SyncState

Reader = Callable[[str], Any]


def _text(value: str) -> str:
    if "\x00" in value:
        raise serializers.ValidationError(_("This holds a NUL character."))
    return value


def _moment(value: str) -> datetime:
    # A plus that was not written as %2B has become a space.
    head, _space, zone = value.rpartition(" ")
    return MomentField().to_internal_value(f"{head}+{zone}" if "T" in head else value)


def _one_of(**choices: Any) -> Reader:
    def read(value: str) -> Any:
        if value not in choices:
            raise serializers.ValidationError(_("This is none of: %(names)s.") % {"names": ", ".join(choices)})
        return choices[value]

    return read


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A query parameter. ``narrow`` makes the condition for its value, where it is a filter."""

    name: str
    meaning: str | Promise
    read: Reader = _text
    narrow: Callable[[Any], Q] | None = None
    required: bool = False
    choices: list[str] | None = None


def _between(name: str, column: str, what: str | Promise) -> tuple[Parameter, Parameter]:
    return (
        Parameter(
            name=f"{name}_after", meaning=what, read=_moment, narrow=lambda value: Q(**{f"{column}__gte": value})
        ),
        Parameter(
            name=f"{name}_before", meaning=what, read=_moment, narrow=lambda value: Q(**{f"{column}__lt": value})
        ),
    )


def _reason(code: str) -> Q:
    return Q(sync_reason__startswith="invalid:") if code == "invalid" else Q(sync_reason=code)


_TAKEN: Final = {"true": True, "false": False, "unknown": None}

FILTERS: Final = (
    Parameter(
        name="state",
        meaning=gettext_lazy("Where the order stands."),
        read=_one_of(**{state.value: state for state in SyncState}),
        narrow=lambda state: Q(sync_state=state),
        choices=list(SyncState.values),
    ),
    Parameter(
        name="reason",
        meaning=gettext_lazy("The machine code of the state's reason; “invalid” stands for all that begin with it."),
        narrow=_reason,
    ),
    Parameter(name="account", meaning=gettext_lazy("The account."), narrow=lambda name: Q(account=name)),
    Parameter(
        name="customer_order_id",
        meaning=gettext_lazy("The shop's order number."),
        narrow=lambda number: Q(customer_order_id=number),
    ),
    Parameter(
        name="bronto_order_id",
        meaning=gettext_lazy("Bronto's ID of the order."),
        narrow=lambda number: Q(bronto_order_id=number),
    ),
    Parameter(
        name="has_tracking",
        meaning=gettext_lazy("Whether Bronto has taken the tracking; “unknown” until it has answered."),
        read=_one_of(**_TAKEN),
        narrow=lambda taken: Q(has_tracking=taken),
        choices=list(_TAKEN),
    ),
    *_between("synced", "synced_at", gettext_lazy("When Bronto last acknowledged the order: from, and before.")),
    *_between("order_date", "order_date", gettext_lazy("The order's date: from, and before.")),
    *_between("bronto_updated", "bronto_updated_at", gettext_lazy("When Bronto last changed it: from, and before.")),
)

#: The address of one order, for numbers that the path of a URL cannot carry.
ADDRESS: Final = (
    Parameter(name="account", meaning=gettext_lazy("The account."), required=True),
    Parameter(name="customer_order_id", meaning=gettext_lazy("The shop's order number."), required=True),
)

ALL: Final = Parameter(
    name="all",
    meaning=gettext_lazy("“true”: fields that do not differ as well."),
    read=_one_of(true=True, false=False),
    choices=["true", "false"],
)


def read(query: QueryDict, known: Iterable[Parameter]) -> dict[str, Any]:
    """Return what the query says, by name. Raises InvalidParametersError with all that is wrong with it."""
    parameters = {each.name: each for each in known}
    values: dict[str, Any] = {}
    wrong: dict[str, Any] = {}
    for name, given in query.lists():
        if name not in parameters:
            if name != api_settings.URL_FORMAT_OVERRIDE:
                wrong[name] = [unknown(name, parameters) if parameters else _no_parameters()]
        elif len(given) > 1:
            wrong[name] = [ErrorDetail(_("This is given more than once."), code="repeated")]
        else:
            try:
                values[name] = parameters[name].read(given[0])
            except serializers.ValidationError as error:
                wrong[name] = error.detail
    for name, each in parameters.items():
        if each.required and name not in query:
            wrong[name] = [ErrorDetail(_("This parameter is needed."), code="required")]
    if wrong:
        raise InvalidParametersError(wrong)
    return values


def _no_parameters() -> ErrorDetail:
    return ErrorDetail(_("Unknown. There are no parameters here."), code="unknown")


def condition(values: Mapping[str, Any]) -> Q:
    """Return the condition that all the filters among the values make."""
    found = Q()
    for each in FILTERS:
        if each.narrow and each.name in values:
            found &= each.narrow(values[each.name])
    return found
