"""How figures are written: as medians with their spread."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
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


def median(values: Sequence[float], unit: str, digits: int = 2) -> str:
    """The median, with its unit."""
    return f"{statistics.median(values):.{digits}f}{unit}"


def middle(values: Sequence[float], unit: str = "", digits: int = 2) -> str:
    """The middle half, and how many there are."""
    low, _, high = statistics.quantiles(values, n=4)
    return f"{low:.{digits}f}–{high:.{digits}f}{unit}, n={len(values)}"
