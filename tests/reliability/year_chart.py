"""The year as a picture and as a table, both drawn from its numbers alone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

from reliability.year_story import CANCELLED, KILL, OURS, TIKTOK

WIDTH, LEFT, RIGHT = 900, 86, 24
TOP, PANEL, GAP = 104, 88, 44
BANDS = {"tiktok_away": "TikTok away", "google_away": "Secret Manager away", "hiccups": "5 % of calls fail"}
COLOURS = {TIKTOK: "a", CANCELLED: "c", KILL: "d", OURS: "e"}
_MONTH = 365 / 12
_STYLE = """
  .card { fill: #ffffff; stroke: #d0d7de } text { fill: #1f2328; font: 12px system-ui, sans-serif }
  .title { font-size: 17px; font-weight: 600 } .name { font-weight: 600 } .quiet { fill: #59636e }
  .grid { stroke: #d8dee4; stroke-width: 1 } .band { fill: #818b98; opacity: .22 } .line { stroke-width: 1.5 }
  .a { fill: #bf3989; stroke: #bf3989 } .b { fill: #0969da; stroke: #0969da } .c { fill: #9a6700; stroke: #9a6700 }
  .d { fill: #59636e; stroke: #59636e } .e { fill: #d1242f; stroke: #d1242f } .f { fill: #1a7f37; stroke: #1a7f37 }
  path.line { fill: none } rect { stroke: none } rect.card { stroke-width: 1 }
  @media (prefers-color-scheme: dark) {
    .card { fill: #0d1117; stroke: #3d444d } text { fill: #f0f6fc } .quiet { fill: #9198a1 } .grid { stroke: #2a313c }
    .a { fill: #f778ba; stroke: #f778ba } .b { fill: #4493f8; stroke: #4493f8 } .c { fill: #d29922; stroke: #d29922 }
    .d { fill: #9198a1; stroke: #9198a1 } .e { fill: #f85149; stroke: #f85149 } .f { fill: #3fb950; stroke: #3fb950 }
  }
"""


class _Panel:
    """One of the small charts below each other.

    Args:
        number: Which one, from the top.
        days: How many there are.
        most: The largest value.
        logarithmic: Whether each step up is ten times as much.
    """

    def __init__(self, number: int, days: int, most: float, *, logarithmic: bool = False) -> None:
        self.top = TOP + number * (PANEL + GAP)
        self.base = self.top + PANEL
        self._day = (WIDTH - LEFT - RIGHT) / days
        self._logarithmic = logarithmic
        if logarithmic:
            powers = math.ceil(math.log10(max(10, most)))
            self.ticks = [0, *(10**power for power in range(powers + 1))]
        else:
            step = _round_step(most)
            self.ticks = [step * number for number in range(math.ceil(most / step) + 1)]
        self._most = self._measure(self.ticks[-1])

    def _measure(self, value: float) -> float:
        if not self._logarithmic:
            return value
        return math.log10(value) + 1 if value >= 1 else value

    def x(self, day: float) -> float:
        return LEFT + day * self._day

    def y(self, value: float) -> float:
        return self.base - PANEL * self._measure(value) / self._most

    def frame(self, name: str, legend: Sequence[tuple[str, str]]) -> list[str]:
        drawn = [_text(LEFT, self.top - 14, name, "name")]
        at = float(WIDTH - RIGHT)
        for colour, words in reversed(legend):
            at -= 6.4 * len(words)
            drawn.append(_text(at, self.top - 14, words))
            drawn.append(f'<rect class="{colour}" x="{at - 15:.1f}" y="{self.top - 23}" width="10" height="10"/>')
            at -= 34
        for tick in self.ticks:
            y = self.y(tick)
            drawn.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
            drawn.append(_text(LEFT - 8, y + 4, f"{tick:,}", "quiet", anchor="end"))
        return drawn

    def line(self, values: Sequence[float], colour: str) -> str:
        points = " ".join(f"{self.x(day + 0.5):.1f},{self.y(value):.1f}" for day, value in enumerate(values))
        return f'<path class="line {colour}" d="M{points}"/>'

    def bars(self, values: Sequence[float], colour: str) -> list[str]:
        return [
            f'<rect class="{colour}" x="{self.x(day):.1f}" y="{self.y(value):.1f}" width="{max(1.6, self._day):.1f}" '
            f'height="{self.base - self.y(value):.1f}"/>'
            for day, value in enumerate(values)
            if value
        ]


def draw(year: Mapping[str, Any]) -> str:
    """The picture, as SVG that is readable on light and on dark pages."""
    days, count = year["days"], len(year["days"]["tiktok"])
    without, alerts = days["without"], days["alerts"]
    alerted = [sum(column) for column in zip(*alerts.values(), strict=True)] or [0]
    calls = _Panel(0, count, max(max(days["tiktok"]), max(days["google"])))
    versions = _Panel(1, count, max(days["versions"]))
    readers = _Panel(2, count, max(1, *map(max, without.values())), logarithmic=True)
    told = _Panel(3, count, max(1, *alerted), logarithmic=True)
    mended = _Panel(4, count, max(1, *days["recoveries"]), logarithmic=True)
    height = mended.base + 72
    long_lived = year["connections"] - year["expiring"]
    causes = [(COLOURS[cause], cause, without[cause]) for cause in COLOURS if cause in without]
    drawn = [
        f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>',
        _text(24, 34, f"{year['connections']:,} connections, {count} simulated days", "title"),
        _text(24, 56, f"{long_lived:,} long-lived, {year['expiring']:,} expiring; four runs a day", "quiet"),
        *_bands(year["away"], calls, mended),
        *calls.frame("Calls a day", [("a", "TikTok"), ("b", "Secret Manager")]),
        calls.line(days["google"], "b"),
        calls.line(days["tiktok"], "a"),
        *versions.frame("Versions that are not destroyed", []),
        versions.line(days["versions"], "b"),
        *readers.frame("Most readers at once without a working token", [cause[:2] for cause in causes]),
        *itertools.chain.from_iterable(readers.bars(values, colour) for colour, _, values in causes),
        *told.frame("Alerts a day (ERROR, CRITICAL)", []),
        *told.bars(alerted, "e"),
        *mended.frame("Recoveries a day", []),
        *mended.bars(days["recoveries"], "f"),
        *_months(count, mended),
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
            "<title>A simulated year of the token keeper</title>",
            f"<style>{_STYLE}</style>",
            *drawn,
            "</svg>",
            "",
        ]
    )


def _bands(away: Sequence[tuple[str, float, float]], first: _Panel, last: _Panel) -> list[str]:
    drawn = []
    for number, (name, start, length) in enumerate(sorted(away, key=lambda band: band[1])):
        x, width = first.x(start), max(2.0, first.x(length) - first.x(0))
        words = BANDS[name] if name == "hiccups" else f"{BANDS[name]}, {round(length * 24)} h"
        label = last.base + 42 + 15 * (number % 2)
        drawn.append(
            f'<rect class="band" x="{x:.1f}" y="{first.top - 6}" width="{width:.1f}" height="{label - first.top - 6}"/>'
        )
        drawn.append(_text(x + width / 2, label, words, "quiet", anchor="middle"))
    return drawn


def _months(days: int, panel: _Panel) -> list[str]:
    drawn = []
    for month in range(math.floor(days / _MONTH)):
        x = panel.x(month * _MONTH)
        drawn.append(f'<path class="grid" d="M{x:.1f} {panel.base}v5"/>')
        drawn.append(_text(x + 3, panel.base + 16, f"month {month + 1}", "quiet"))
    return drawn


def _text(x: float, y: float, words: str, style: str = "", *, anchor: str = "start") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _round_step(most: float) -> int:
    """Between two lines of the grid: 1, 2 or 5 times a power of ten, so that there are three to six lines."""
    rough = max(1.0, most / 4)
    power: int = 10 ** math.floor(math.log10(rough))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= rough)


def table(year: Mapping[str, Any]) -> str:
    """The numbers for the README, as Markdown."""
    calls, runs, without = year["calls"], year["runs"], year["looks_without_token"]
    google = sum(count for name, count in calls.items() if name[0].isupper())
    tiktok = sum(calls.values()) - google
    refreshed, versions = year["events"]["INFO token.refreshed"], year["days"]["versions"]
    cost = year["dollars_a_month"]
    late, latest = year["refreshes_after_the_tokens_end"], year["longest_such_gap_seconds"]
    rows = {
        "runs, those tried again included": runs["200"] + runs["503"] + runs.get("killed", 0),
        "calls to TikTok": tiktok,
        "most calls to TikTok in a day": year["most_calls_to_tiktok_in_a_day"],
        "calls to Secret Manager": google,
        "of those refused, being too many": year["refused_by_secret_manager"],
        "expiring tokens refreshed": refreshed,
        "versions added": calls["AddSecretVersion"],
        "versions not destroyed on the first day": versions[0],
        "on the last day": versions[-1],
        "dollars a month, by the first 30 days": round(cost["first"]),
        "by the last 30 days": round(cost["last"]),
        "looks of readers": year["looks"],
        "without a working token, TikTok being away": without.get(TIKTOK, 0),
        "because the advertiser had cancelled": without.get(CANCELLED, 0),
        "because a run was killed with the new token in hand": without.get(KILL, 0),
        "by the keeper's own doing": without.get(OURS, 0),
        "refreshed after the token's end, TikTok being away": late.get(TIKTOK, 0),
        f"otherwise, by {latest.get(OURS, 0)} s at most": late.get(OURS, 0),
    }
    return "\n".join(["| | |", "| --- | ---: |", *(f"| {name} | {value:,} |" for name, value in rows.items())])
