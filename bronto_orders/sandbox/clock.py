"""The service's idea of the time, which a switch can put ahead or behind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from bronto_orders.sandbox.switches import SwitchBoard


class Clock:
    """Tells the time of one sandbox."""

    def __init__(self, switches: SwitchBoard) -> None:
        self._switches = switches

    def now(self) -> datetime:
        """The time in whole milliseconds, which is what the wire can carry (C:om)."""
        moment = datetime.now(UTC) + timedelta(seconds=self._switches["clockSkewSeconds"])
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)

    def http_date(self) -> str:
        """The time as the ``Date`` header has it."""
        return format_datetime(self.now(), usegmt=True)


def wire_moment(moment: datetime) -> str:
    """UTC with milliseconds and a Z (C:om)."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
