"""Figures, and how often something is done to get one."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """How much is done for each figure."""

    short: bool = False

    @property
    def runs(self) -> int:
        """How often each side is run; the median counts."""
        return 2 if self.short else 5

    def orders(self, full: int, short: int | None = None) -> int:
        """Return how many orders to take where a full run takes ``full``; a short one takes a tenth unless told."""
        if not self.short:
            return full
        return max(200, full // 10) if short is None else short

    @property
    def margin(self) -> float:
        """The factor by which a figure may miss its target before ``--check`` fails."""
        return 2.0 if self.short else 1.25


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure: the median of some runs, and what it should be."""

    benchmark: str
    what: str
    values: Sequence[float]
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    #: Counts are the same on each machine, so they have no margin.
    exact: bool = False

    @property
    def value(self) -> float:
        return statistics.median(self.values)

    @property
    def target(self) -> float | None:
        return self.at_most if self.at_most is not None else self.at_least

    @property
    def shortfall(self) -> float:
        """How the figure stands to its target: 1 is just met, 0.5 is twice as good, 2 is half as good."""
        if self.at_most is not None:
            if not self.at_most:
                return float("inf") if self.value > 0 else 0.0
            return max(0.0, self.value / self.at_most)
        if self.at_least is not None:
            return self.at_least / self.value if self.value else float("inf")
        return 0.0

    @property
    def verdict(self) -> str:
        if self.target is None:
            return ""
        return "met" if self.shortfall <= 1 else "missed"

    def is_far_off(self, margin: float) -> bool:
        """Whether the target is missed by more than the margin."""
        return self.shortfall > (1 if self.exact else margin)

    @property
    def measured(self) -> str:
        """The median as text."""
        return with_unit(self.value, self.unit)

    @property
    def range(self) -> str:
        """The lowest and the highest as text, empty when there is one value."""
        low, high = min(self.values), max(self.values)
        return "" if len(self.values) < 2 or low == high else f"{number(low, self.unit)} to {number(high, self.unit)}"

    @property
    def aim(self) -> str:
        """The target as text."""
        if self.target is None:
            return ""
        return f"{'≤' if self.at_most is not None else '≥'} {with_unit(self.target, self.unit)}"


def number(value: float, unit: str) -> str:
    """Write a number with as many digits as make sense."""
    if unit == "%":
        return f"{value * 100:.1f}"
    if value == int(value) and (abs(value) >= 100 or not unit):
        return f"{value:,.0f}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def with_unit(value: float, unit: str) -> str:
    """Write a number and its unit."""
    return f"{number(value, unit)} {unit}".rstrip()


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which that share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Divide run by run: both sides of a run had the same machine."""
    return [a / b for a, b in zip(above, below, strict=True)]
