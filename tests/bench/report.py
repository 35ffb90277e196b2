"""The table and the plot."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from bench.figures import Row

_WIDTH, _LEFT, _BAR, _GAP = 980, 430, 18, 34
_INTRODUCTION = """\
Written by `make bench`. Ratios are taken pair by pair, one measurement of each in turn; a figure is the median, its
spread the middle half. What each line measures is in the module that `__main__.py` names for it."""
_OURS, _OTHER, _AIM = "#1f6feb", "#9aa4b2", "#d1242f"


def table(machine: str, rows: Sequence[Row]) -> str:
    """Markdown."""
    lines = [
        "# Measured",
        "",
        _INTRODUCTION,
        "",
        f"Machine: {machine}.",
        "",
        "| what | against | measured | spread | to reach |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [f"| {row.what} | {row.against} | **{row.figure}** | {row.spread} | {row.reach} |" for row in rows]
    return "\n".join([*lines, "", "![The ratios as bars](results.svg)", ""])


def plot(rows: Sequence[Row]) -> str:
    """The ratios as bars, as SVG."""
    shown = [row for row in rows if row.ratio]
    longest = max((value for row in shown for value in (row.ratio, row.aim, *dict(row.others).values())), default=1.0)
    scale = (_WIDTH - _LEFT - 160) / longest
    parts, y = [], 40
    for row in shown:
        parts.append(_text(_LEFT - 10, y + 14, row.what.replace("`", ""), "end"))
        bars = [("", row.ratio, _OURS), *((name, value, _OTHER) for name, value in row.others)]
        for name, value, colour in bars:
            width = value * scale
            parts.append(f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR}" fill="{colour}"/>')
            parts.append(_text(_LEFT + width + 6, y + 14, f"{value:.2f} × {name}".strip()))
            y += _BAR + 2
        line = _LEFT + row.aim * scale
        top = y - len(bars) * (_BAR + 2) - 4
        parts.append(f'<path d="M{line:.1f} {top}V{y + 2}" stroke="{_AIM}" stroke-width="2"/>')
        y += _GAP - _BAR
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y}" viewBox="0 0 {_WIDTH} {y}" '
        'font-family="sans-serif" font-size="12" fill="#24292f">'
        f'<rect width="{_WIDTH}" height="{y}" fill="#ffffff"/>'
    )
    title = _text(10, 22, "Blue: this product. Grey: the obvious way. Red: what is to be reached. Shorter is better.")
    return "\n".join([head, title, *parts, "</svg>", ""])


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'
