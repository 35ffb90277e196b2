"""How figures are taken: pair by pair, as medians with their spread."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    """One figure."""

    what: str  # what was measured
    against: str  # what it is compared with
    figure: str  # the median, with its unit
    spread: str  # the middle half of the measurements, or how many there were
    reach: str  # what the product is meant to reach
    # ratios for the plot, by name: ours first, then the obvious way's where there is one
    bars: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Spread:
    """Median and middle half of some measurements."""

    median: float
    low: float
    high: float
    count: int

    def text(self, unit: str = "", digits: int = 2, scale: float = 1.0) -> str:
        """The median, with its unit."""
        return f"{self.median * scale:.{digits}f}{unit}"

    def middle(self, unit: str = "", digits: int = 2, scale: float = 1.0) -> str:
        """The middle half."""
        return f"{self.low * scale:.{digits}f}–{self.high * scale:.{digits}f}{unit}, n={self.count}"


def spread(values: Sequence[float]) -> Spread:
    """Sum up measurements."""
    low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else (values[0],) * 3
    return Spread(statistics.median(values), low, high, len(values))


def percentile(values: Sequence[float], percent: int) -> float:
    """The value that so many percent do not exceed."""
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def in_turn(count: int, *ways: Callable[[], float]) -> list[list[float]]:
    """Measure ways to do something in turn (A B C A B C …), so that what disturbs the machine disturbs all of them.

    Returns:
        A list for each way.
    """
    found: list[list[float]] = [[] for _ in ways]
    for _ in range(count):
        for way, values in zip(ways, found, strict=True):
            values.append(way())
    return found


def ratios(values: Sequence[float], base: Sequence[float]) -> Spread:
    """The ratios of two lists, pair by pair."""
    return spread([value / one for value, one in zip(values, base, strict=True)])
