"""The repository's pages taken apart: their tables, their code blocks, their links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Page:
    """A page in Markdown.

    Attributes:
        path: Where it is, from the repository's root.
    """

    path: str

    @property
    def file(self) -> Path:
        """Its file."""
        return ROOT / self.path

    @property
    def text(self) -> str:
        """All of it."""
        return self.file.read_text(encoding="utf-8")

    @property
    def prose(self) -> str:
        """All but the code blocks."""
        return re.sub(r"^ *```.*?^ *```", "", self.text, flags=re.DOTALL | re.MULTILINE)

    @property
    def anchors(self) -> set[str]:
        """The anchors of its headings."""
        return {slug(heading) for heading in re.findall(r"^#+ (.*)$", self.prose, re.MULTILINE)}

    @property
    def links(self) -> list[str]:
        """What its links and pictures lead to."""
        return sorted(set(re.findall(r"\]\(([^)\s]+)\)", self.prose)))

    def blocks(self, language: str) -> list[str]:
        """The code blocks in a language."""
        return re.findall(rf"^```{language}\n(.*?)^```", self.text, re.DOTALL | re.MULTILINE)

    def part(self, name: str) -> str:
        """What stands between the marks of that name."""
        return self.text.partition(f"<!-- {name}: begin -->")[2].partition(f"<!-- {name}: end -->")[0]


README = Page("README.md")
GUIDES = [Page(str(file.relative_to(ROOT))) for file in sorted((ROOT / "infra" / "guide").glob("*.md"))]
OPERATING = Page("infra/guide/operating.md")
CODE = Page("functions/README.md")
GCP = Page("infra/gcp/README.md")
RECIPES = [Page(str(file.relative_to(ROOT))) for file in sorted((ROOT / "infra" / "readers").glob("*.md"))]
PAGES = [README, *GUIDES, CODE, GCP, *RECIPES, Page("infra/THREATS.md"), Page("tests/README.md"), Page("CHANGELOG.md")]


def table(name: str) -> list[list[str]]:
    """The rows between the marks of that name in README or a guide, without their head."""
    part = next(part for page in (README, CODE, *GUIDES) if (part := page.part(name)))
    rows = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def quoted(cell: str) -> list[str]:
    """What stands in a cell as code."""
    return re.findall(r"`([^`\n]+)`", cell)


def slug(heading: str) -> str:
    """The anchor that GitHub gives to a heading."""
    text = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
    return text.strip().replace(" ", "-")
