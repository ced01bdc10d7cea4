"""Points the documents leave open or contradict, to be set while the sandbox runs."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass, fields, replace
from decimal import Decimal
from typing import Any

from bronto_orders.sandbox.refusals import Malformed

ACCESS_TOKEN_SECONDS = 3600
REFRESH_TOKEN_SECONDS = 30 * 24 * 3600


@dataclass(frozen=True)
class Switches:
    """The settings in force. The names are those of the control API."""

    #: An ``orderDate`` in an update: S0 says it cannot change, S1 lists it. ignore, refuse or take.
    orderDateOnUpdate: str = "ignore"
    #: ``customerOrderId`` or ``cartId`` in an update (S0: they cannot change). ignore or refuse.
    idsOnUpdate: str = "ignore"
    accessTokenSeconds: int = ACCESS_TOKEN_SECONDS
    refreshTokenSeconds: int = REFRESH_TOKEN_SECONDS


CHOICES = {"orderDateOnUpdate": ("ignore", "refuse", "take"), "idsOnUpdate": ("ignore", "refuse")}
LONGEST_SECONDS = 10 * 365 * 24 * 3600


class SwitchBoard:
    """Holds the switches of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._switches = Switches()

    @property
    def now(self) -> Switches:
        return self._switches

    def turn(self, changes: dict[str, Any]) -> None:
        """Change the named switches, all or none."""
        checked = {name: _check(name, value) for name, value in changes.items()}
        with self._lock:
            self._switches = replace(self._switches, **checked)

    def reset(self) -> None:
        """Put every switch back to its default."""
        with self._lock:
            self._switches = Switches()

    def describe(self) -> dict[str, Any]:
        return asdict(self._switches)


SWITCHES = SwitchBoard()


def _check(name: str, value: Any) -> Any:
    if name not in {field.name for field in fields(Switches)}:
        raise Malformed(f"{name}: no such switch")
    if name in CHOICES:
        if value not in CHOICES[name]:
            raise Malformed(f"{name}: must be one of {', '.join(CHOICES[name])}")
        return value
    if not isinstance(value, Decimal) or not 0 <= value <= LONGEST_SECONDS or value != int(value):
        raise Malformed(f"{name}: must be a whole number of seconds")
    return int(value)
