"""README.md taken apart: its tables, its code blocks, its links."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")

PROSE = re.sub(r"^```.*?^```", "", TEXT, flags=re.DOTALL | re.MULTILINE)
"""All but the code blocks."""


def table(name: str) -> list[list[str]]:
    """The rows between the marks of that name, without their head."""
    part = TEXT.partition(f"<!-- {name}: begin -->")[2].partition(f"<!-- {name}: end -->")[0]
    rows = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def blocks(language: str) -> list[str]:
    """The code blocks in a language, without the indentation of a list that they stand in."""
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


def quoted(cell: str) -> list[str]:
    """What stands in a cell as code."""
    return re.findall(r"`([^`\n]+)`", cell)


def slug(heading: str) -> str:
    """The anchor that GitHub gives to a heading."""
    text = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
    return text.strip().replace(" ", "-")
