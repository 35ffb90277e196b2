"""How figures are written: as medians with their spread, in a table of all, and in a plot of those that are ratios."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

_WIDTH, _LEFT, _BAR = 980, 430, 20  # pixels
_OURS, _OTHER, _AIM = "#1f6feb", "#9aa4b2", "#d1242f"
_LEGEND = "Blue: this product. Grey: the obvious way. Red: what is to be reached. Shorter is better."


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


def table(machine: str, rows: Sequence[Row]) -> str:
    """Markdown."""
    lines = [
        "# Measured",
        "",
        "Written by `make bench`. A figure is the median, its spread the middle half; ratios are taken pair by pair.",
        "",
        f"Machine: {machine}.",
        "",
        "| what | against | measured | spread | to reach |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [f"| {row.what} | {row.against} | **{row.figure}** | {row.spread} | {row.reach} |" for row in rows]
    return "\n".join([*lines, "", "![The ratios as bars](results.svg)", ""])


def plot(rows: Sequence[Row]) -> str:
    """SVG."""
    shown = [row for row in rows if row.bars]
    scale = (_WIDTH - _LEFT - 160) / max(value for row in shown for value in row.bars.values())
    parts, y = [_text(10, 20, _LEGEND)], 40
    for row in shown:
        parts.append(_text(_LEFT - 10, y + 14, row.what.replace("`", ""), "end"))
        aim = _LEFT + float(row.reach.split()[0]) * scale
        parts.append(f'<path d="M{aim:.1f} {y - 4}v{len(row.bars) * _BAR + 6}" stroke="{_AIM}" stroke-width="2"/>')
        for name, value in row.bars.items():
            size = f'width="{value * scale:.1f}" height="{_BAR - 2}" fill="{_OTHER if name else _OURS}"'
            parts.append(f'<rect x="{_LEFT}" y="{y}" {size} fill-opacity="0.8"/>')
            parts.append(_text(_LEFT + value * scale + 6, y + 14, f"{value:.2f} × {name}".strip()))
            y += _BAR
        y += _BAR
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y}" font-family="sans-serif"'
    return "\n".join([f'{head} font-size="12"><rect width="100%" height="100%" fill="#fff"/>', *parts, "</svg>", ""])


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'
