"""The geometry of the chart of deliveries: what was taken stands on the line, what failed hangs from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bronto_orders.admin.columns import number
from bronto_orders.delivery.figures import HOUR, Hour, Traffic

#: In the chart's own units; the page stretches it.
SLOT, BAR, HEIGHT = 10, 7, 100
#: A bar for anything at all must be seen.
LEAST = 1.5


@dataclass(frozen=True)
class Bar:
    """One hour: what stands in the table, and where its two bars are drawn."""

    start: datetime
    end: datetime
    #: None while it has not been counted.
    traffic: Traffic | None
    #: Left edges of the hour's slot and of its bars.
    slot: float
    x: float
    up_y: float
    up_height: float
    down_height: float


@dataclass(frozen=True)
class Chart:
    """The last hours of one account."""

    bars: list[Bar]
    #: Where the line is.
    axis: float
    delivered: int
    failed: int
    #: Deliveries in the busiest hour.
    most: int
    #: Whether all hours have been counted.
    complete: bool

    width = SLOT
    bar = BAR
    height = HEIGHT

    @property
    def right(self) -> int:
        return SLOT * len(self.bars)

    @property
    def delivered_text(self) -> str:
        return number(self.delivered)

    @property
    def failed_text(self) -> str:
        return number(self.failed)

    @property
    def most_text(self) -> str:
        return number(self.most)

    @property
    def labels(self) -> list[datetime]:
        """The beginnings of hours that are written below, six hours apart."""
        return [bar.start for bar in self.bars[::6]]


def chart(account: str, hours: Sequence[Hour]) -> Chart:
    """Return the chart of one account. Both directions have one scale, so that heights compare."""
    traffic = [None if hour.traffic is None else hour.traffic.get(account, Traffic()) for hour in hours]
    known = [one for one in traffic if one is not None]
    most_up = max((one.delivered for one in known), default=0)
    most_down = max((one.failed for one in known), default=0)
    scale = (HEIGHT - 2 * LEAST) / ((most_up + most_down) or 1)
    axis = HEIGHT - (most_down * scale + LEAST if most_down else 0)

    def height(count: int) -> float:
        return round(max(LEAST, count * scale), 2) if count else 0.0

    bars = [
        Bar(
            start=hour.start,
            end=hour.start + HOUR,
            traffic=one,
            slot=SLOT * at,
            x=SLOT * at + (SLOT - BAR) / 2,
            up_y=round(axis - (height(one.delivered) if one else 0), 2),
            up_height=height(one.delivered) if one else 0,
            down_height=height(one.failed) if one else 0,
        )
        for at, (hour, one) in enumerate(zip(hours, traffic, strict=True))
    ]
    return Chart(
        bars=bars,
        axis=round(axis, 2),
        delivered=sum(one.delivered for one in known),
        failed=sum(one.failed for one in known),
        most=most_up,
        complete=len(known) == len(traffic),
    )
