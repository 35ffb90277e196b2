"""What README and guides say of events, pages, settings, commands, modules and costs is what the code says."""

import re
from collections.abc import Iterator

from readme.page import CODE, GCP, GUIDES, OPERATING, PAGES, README, RECIPES, ROOT, Page, quoted
from readme.tables import documented
from tokenkeeper import settings
from tokenkeeper.events import EVENTS
from tokenkeeper.settings import CONNECT, REFRESH, Needs

FUNCTIONS = ROOT / "functions"
USED_BY = {
    Needs.STORE: "all",
    Needs.APP: "all",
    Needs.LINKS: "`connect`, command line",
    Needs.CALLBACK: "`connect`",
    Needs.RUN: "`refresh`",
}


def test_events_endings_pages_and_help_are_those_of_the_code() -> None:
    """The guide has what `tables.py` would write."""
    assert OPERATING.text == documented()


def test_every_alert_says_what_to_do() -> None:
    """Nobody is left alone with an alert."""
    alerts = [event for event in EVENTS.values() if {"ERROR", "CRITICAL"}.issuperset(event.severities)]
    assert "nothing" not in [event.remedy for event in alerts]


def test_settings_are_those_that_the_code_reads() -> None:
    """The table has each variable, which programs read it, and its default or that it is required."""
    defaults = {setting.variable: setting.default for setting in settings.SETTINGS.values()}
    used_by = {name: users for need, users in USED_BY.items() for name in settings.survey(need, {})}
    shown = {
        quoted(name)[0]: (users, default.partition(": ")[0])
        for name, users, _, default in Page("infra/guide/configuration.md").table("settings")
    }
    assert shown.pop("GOOGLE_CLOUD_PROJECT") == ("all", "what the credentials say")
    assert shown == {
        name: (used_by[name], _shown(defaults[name]))
        for name in settings.survey(CONNECT | REFRESH, {})
        if name != "GOOGLE_CLOUD_PROJECT"
    }


def _shown(default: object) -> str:
    return "required" if default is None else "unset" if default == "" else f"`{default}`"


def test_every_module_is_in_the_layout_and_no_other() -> None:
    """The table of the code is its folder."""
    listed, folder = set(), ""
    for cell, _ in CODE.table("layout"):
        if cell.startswith("**"):
            (folder,) = quoted(cell)
            continue
        listed |= {folder + name for name in quoted(cell)}
    assert listed == set(_to_be_listed())


def _to_be_listed() -> Iterator[str]:
    """Every file, or the folder instead where that has a line of its own; packages themselves need none."""
    for path in FUNCTIONS.rglob("*.*"):
        name = str(path.relative_to(FUNCTIONS))
        if path.suffix not in {".md", ".pyc"} and not re.search(r"/.+/__init__\.py$", name):
            folder = re.match(r".*/(templates|doctor)/", name)
            yield folder[0] if folder else name


def test_the_readme_can_be_read_at_one_sitting_and_leads_to_every_guide_and_recipe() -> None:
    """It is at most 12 KB; what is not linked is not found."""
    assert len(README.text.encode()) <= 12 * 1024
    assert {page.path for page in (*GUIDES, *RECIPES)} <= {link.partition("#")[0] for link in README.links}


def test_costs_are_those_of_the_sum() -> None:
    """What one connection and a hundred cost is what the table of the costs adds up to."""
    one, hundred, _ = re.findall(r"\*\*([\d.]+)\*\*", GCP.text.partition("| **together**")[2].partition("\n")[0])
    assert README.part("costs") == f"${one} a month with one connection, ${hundred} with a hundred"


def test_links_lead_somewhere() -> None:
    """To a heading, to a file of the repository, or to an address that begins with https."""
    links = [(page, target) for page in PAGES for target in page.links if not target.startswith("https://")]
    assert [(page.path, target) for page, target in links if not _is_there(page, target)] == []


def _is_there(page: Page, target: str) -> bool:
    path, _, anchor = target.partition("#")
    file = (page.file.parent / path).resolve() if path else page.file
    if not file.exists() or not anchor:
        return file.exists()
    there = file / "README.md" if file.is_dir() else file
    return anchor in Page(str(there.relative_to(ROOT))).anchors


def test_every_make_target_exists() -> None:
    """`make x` is a target of the Makefile, and its variables are known there."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    known = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)) | set(re.findall(r"\b[A-Z_]+\b", makefile))
    commands = [(page.path, line) for page in PAGES for block in page.blocks("sh") for line in block.splitlines()]
    commands += [(page.path, command) for page in PAGES for command in quoted(page.prose)]
    assert [(page, command) for page, command in commands if not _words_of_make(command) <= known] == []


def _words_of_make(command: str) -> set[str]:
    """The targets and variables in it."""
    found = re.findall(r"(?:^|\()make (?:-s )?([a-z][a-z-]*)((?: [A-Z_]+=\S+)*)", command)
    return {word for target, rest in found for word in (target, *re.findall(r"([A-Z_]+)=", rest))}


def test_pages_speak_of_the_product_only() -> None:
    """Nothing of how it was made, and nothing unfinished."""
    foreign = r"/(work|tmp|root)/|issue #?\d|\bTODO\b|\bFIXME\b"
    assert [page.path for page in PAGES if re.search(foreign, page.text)] == []
