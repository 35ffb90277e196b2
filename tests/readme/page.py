"""The repository's pages taken apart: their tables, their code blocks, their links."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Page:
    """A page in Markdown; `path` is where it is, from the repository's root."""

    path: str

    @property
    def file(self) -> Path:
        return ROOT / self.path

    @property
    def text(self) -> str:
        return self.file.read_text(encoding="utf-8")

    @property
    def prose(self) -> str:
        """All but the code blocks."""
        return re.sub(r"^ *```.*?^ *```", "", self.text, flags=re.DOTALL | re.MULTILINE)

    @property
    def anchors(self) -> set[str]:
        """The anchors that GitHub gives to its headings."""
        headings = re.findall(r"^#+ (.*)$", self.prose, re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}

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

    def table(self, name: str) -> list[list[str]]:
        """The rows between the marks of that name, without their head."""
        rows = [line for line in self.part(name).splitlines() if line.startswith("|")]
        return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def _in(folder: str) -> list[Page]:
    return [Page(str(file.relative_to(ROOT))) for file in sorted((ROOT / folder).glob("*.md"))]


README, OPERATING, CODE, GCP = map(
    Page, ("README.md", "infra/guide/operating.md", "functions/README.md", "infra/gcp/README.md")
)
GUIDES, RECIPES = _in("infra/guide"), _in("infra/readers")
PAGES = [README, *GUIDES, CODE, GCP, *RECIPES, Page("infra/THREATS.md"), Page("tests/README.md"), Page("CHANGELOG.md")]


def quoted(cell: str) -> list[str]:
    """What stands in a cell as code."""
    return re.findall(r"`([^`\n]+)`", cell)
