"""Personal data, and its place holder for those who may not see it."""

from __future__ import annotations

from typing import Any, Final

from bronto_orders import equality
from bronto_orders.api.permissions import VIEW_PERSONAL_DATA
from bronto_orders.client.redaction import PERSONAL
from bronto_orders.diffing import Change

MASK: Final = "…"
#: What Bronto may answer with beside these can be anything.
_KNOWN: Final = frozenset({*equality.FIELDS, *equality.ITEM_FIELDS, *equality.SERVER_FIELDS, "position"})


def may_see(user: Any) -> bool:
    """Whether the user sees personal data as it is."""
    return bool(user.has_perm(VIEW_PERSONAL_DATA))


def masked(name: str, value: Any) -> Any:
    """Return the value of a field as it is shown to those who may not see personal data."""
    return MASK if name in PERSONAL and value not in (None, "") else value


def masked_change(change: Change, value: Any) -> Any:
    """Return a value of a comparison likewise, and hide what nobody knows the meaning of."""
    name = change.path if change.item is None else change.field
    return masked(name, value) if name in _KNOWN or value in (None, "") else MASK
