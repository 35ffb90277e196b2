"""What README and guides say of events, pages, settings, commands, modules and costs is what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from readme.page import GCP, GUIDES, OPERATING, PAGES, README, RECIPES, ROOT, Page, quoted, table
from readme.tables import documented
from tokenkeeper import settings
from tokenkeeper.events import EVENTS
from tokenkeeper.settings import CONNECT, REFRESH, Needs

FUNCTIONS = ROOT / "functions"
PACKAGE = FUNCTIONS / "tokenkeeper"
EVERYTHING = CONNECT | REFRESH
USED_BY = {
    Needs.STORE: "all",
    Needs.APP: "all",
    Needs.LINKS: "`connect`, command line",
    Needs.CALLBACK: "`connect`",
    Needs.RUN: "`refresh`",
}


class TestMade:
    def test_events_endings_pages_and_help_are_those_of_the_code(self) -> None:
        """The guide has what `tables.py` would write."""
        assert OPERATING.text == documented()

    def test_every_alert_says_what_to_do(self) -> None:
        """Nobody is left alone with an alert, and what ends one is an event."""
        for event in EVENTS.values():
            assert event.what, event.name
            assert not ({"ERROR", "CRITICAL"}.issuperset(event.severities) and event.remedy == "nothing"), event.name
            assert set(event.ended_by) <= set(EVENTS), event.name


class TestSettings:
    def test_every_variable_is_in_the_table_and_no_other(self) -> None:
        """The table has what the settings read, by name."""
        assert sorted(quoted(row[0])[0] for row in table("settings")) == sorted(settings.survey(EVERYTHING, {}))

    def test_defaults_are_those_of_the_code(self) -> None:
        """A default in the table is the one without the variable; what is required is missing without it."""
        defaults = {setting.variable: setting.default for setting in settings.SETTINGS.values()}
        for name, _, _, default in table("settings"):
            there = defaults[quoted(name)[0]]
            if there is None:
                assert default == "required", name
            elif there == "":
                assert default.startswith(("unset", "what the credentials say")), name
            else:
                assert default == f"`{there}`", name

    def test_it_says_who_uses_them(self) -> None:
        """Whatever only one of the programs reads is said to be so."""
        for name, used_by, *_ in table("settings"):
            (need,) = [need for need in USED_BY if quoted(name)[0] in settings.survey(need, {})]
            assert used_by == USED_BY[need], name


class TestLayout:
    def test_every_module_is_there_and_no_other(self) -> None:
        """The table of the code is its folder."""
        listed, folder = set(), ""
        for cell, _ in table("layout"):
            if cell.startswith("**"):
                (folder,) = quoted(cell)
                continue
            listed |= {folder + name for name in quoted(cell)}
        assert listed == {_shown(path) for path in FUNCTIONS.rglob("*") if _is_listed(path)}


def _is_listed(path: Path) -> bool:
    """Whether the table has a line for it: not for what is in a folder that has a line of its own."""
    parts = path.relative_to(FUNCTIONS).parts
    if "__pycache__" in parts or path.suffix == ".md" or parts[-1] in {"tokenkeeper", "connect", "refresh"}:
        return False
    if path.is_dir():
        return parts[-1] in {"templates", "doctor"}
    inner = parts[-1] == "__init__.py" and len(parts) > 2
    return not inner and not {"templates", "doctor"} & set(parts)


def _shown(path: Path) -> str:
    return str(path.relative_to(FUNCTIONS)) + ("/" if path.is_dir() else "")


class TestReadme:
    def test_it_can_be_read_at_one_sitting(self) -> None:
        """It is at most 12 KB."""
        assert len(README.text.encode()) <= 12 * 1024

    def test_it_leads_to_every_guide_and_recipe(self) -> None:
        """What is not linked is not found."""
        wanted = {page.path for page in (*GUIDES, *RECIPES)}
        assert wanted <= {link.partition("#")[0] for link in README.links}

    def test_costs_are_those_of_the_sum(self) -> None:
        """What one connection and a hundred cost is what the table of the costs adds up to."""
        one, hundred, _ = re.findall(r"\*\*([\d.]+)\*\*", GCP.text.partition("| **together**")[2].partition("\n")[0])
        assert README.part("costs") == f"${one} a month with one connection, ${hundred} with a hundred"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path)
class TestPage:
    def test_links_lead_somewhere(self, page: Page) -> None:
        """To a heading, to a file of the repository, or to an address that begins with https."""
        for target in page.links:
            if target.startswith("https://"):
                continue
            path, _, anchor = target.partition("#")
            file = (page.file.parent / path).resolve() if path else page.file
            assert file.exists(), target
            if anchor:
                there = file / "README.md" if file.is_dir() else file
                assert anchor in Page(str(there.relative_to(ROOT))).anchors, target

    def test_every_make_target_exists(self, page: Page) -> None:
        """`make x` is a target of the Makefile, and its variables are known there."""
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
        for command in [line for block in page.blocks("sh") for line in block.splitlines()] + quoted(page.prose):
            for target, rest in re.findall(r"(?:^|\()make (?:-s )?([a-z][a-z-]*)((?: [A-Z_]+=\S+)*)", command):
                assert target in targets, command
                for variable in re.findall(r"([A-Z_]+)=", rest):
                    assert re.search(rf"\b{variable}\b", makefile), command

    def test_it_speaks_of_the_product_only(self, page: Page) -> None:
        """Nothing of how it was made, and nothing unfinished."""
        assert not re.search(r"/(work|tmp|root)/|issue #?\d|\bTODO\b|\bFIXME\b", page.text)
