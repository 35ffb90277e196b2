"""README.md against the code: what it says of settings, events, layout, commands and pages is so."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from readme.page import PROSE, ROOT, TEXT, blocks, quoted, slug, table
from tokenkeeper import pages, settings
from tokenkeeper.pages import Notice
from tokenkeeper.settings import CONNECT, REFRESH, Needs

PACKAGE = ROOT / "functions" / "tokenkeeper"
SEVERITIES = {"INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL"}
EVERYTHING = CONNECT | REFRESH
USED_BY = {
    Needs.STORE: "all",
    Needs.APP: "all",
    Needs.LINKS: "`connect`, command line",
    Needs.CALLBACK: "`connect`",
    Needs.RUN: "`refresh`",
}


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    """Every call in a module."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def texts(node: ast.AST) -> set[str]:
    """The texts that stand in an expression."""
    return {one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)}


def value(node: ast.expr) -> str:
    """A text as it is written, or that of a constant of the settings."""
    return str(getattr(settings, node.id) if isinstance(node, ast.Name) else ast.literal_eval(node))


def called(call: ast.Call) -> str:
    """What is called, as it is written."""
    return ast.unparse(call.func)


class TestSettings:
    def test_every_variable_is_in_the_table_and_no_other(self) -> None:
        """The table has what the settings read, by name."""
        assert sorted(quoted(row[0])[0] for row in table("settings")) == sorted(settings.survey(EVERYTHING, {}))

    def test_defaults_are_those_of_the_code(self) -> None:
        """A default in the table is the one without the variable; what is required is missing without it."""
        tree = ast.parse((PACKAGE / "settings.py").read_text(encoding="utf-8"))
        defaults: dict[str, str | None] = {}
        for call in calls(tree):
            if called(call) == "source.number":
                defaults[ast.literal_eval(call.args[0])] = str(ast.literal_eval(call.args[2]))
            elif called(call) == "source.text":
                defaults[ast.literal_eval(call.args[0])] = value(call.args[3]) if len(call.args) > 3 else None
        for name, _, _, default in table("settings"):
            there = defaults[quoted(name)[0]]
            if there is None:
                assert default == "required", name
            elif there == "":
                assert default.startswith(("unset", "what the credentials say")), name
            else:
                assert default == f"`{there}`", name

    def test_it_says_who_uses_them(self) -> None:
        """Whatever only one of the programs looks at is said to be so."""
        for name, used_by, *_ in table("settings"):
            (need,) = [need for need in USED_BY if quoted(name)[0] in settings.survey(need, {})]
            assert used_by == USED_BY[need], name


@cache
def events() -> dict[str, set[str]]:
    """Every event in the code with the severities that it may have."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for file in PACKAGE.glob("*.py"):
        for call in calls(ast.parse(file.read_text(encoding="utf-8"))):
            if called(call) in {"log.event", "event"} and len(call.args) > 2:
                names, severity = call.args[1], call.args[0]
            elif called(call) in {"Stop", "_refused"}:
                given = {keyword.arg: keyword.value for keyword in call.keywords}
                names = given.get("event", ast.Constant("connection.refused"))
                severity = given.get("severity", ast.Constant("WARNING"))
            else:
                continue
            for name in texts(names):
                found[name] |= texts(severity) & SEVERITIES
    return dict(found)


class TestEvents:
    def test_every_event_is_in_the_table_and_no_other(self) -> None:
        """Whatever the log may say is explained."""
        assert sorted(quoted(row[0])[0] for row in table("events")) == sorted(events())

    def test_severities_are_those_of_the_code(self) -> None:
        """What is said to be an alert is one."""
        for name, severities, *_ in table("events"):
            assert set(severities.split(", ")) == events()[quoted(name)[0]], name

    def test_each_says_what_happened_and_what_to_do(self) -> None:
        """No cell is left empty, and nobody is left alone with an alert."""
        for name, severities, happened, todo in table("events"):
            assert happened, name
            assert todo, name
            if severities in {"ERROR", "CRITICAL"}:
                assert not todo.startswith("nothing"), name


class TestLayout:
    def test_every_module_is_there_and_no_other(self) -> None:
        """The table of the package is its folder."""
        listed = [name for row in table_of_layout("functions/tokenkeeper/") for name in quoted(row)]
        there = [path.name + ("/" if path.is_dir() else "") for path in PACKAGE.iterdir() if path.name[0] != "_"]
        assert sorted(listed) == sorted([*there, "__init__.py", "__main__.py"])

    @pytest.mark.parametrize("folder", ["functions/", "infra/"])
    def test_the_other_folders(self, folder: str) -> None:
        """What is said to be there is there."""
        for row in table_of_layout(folder):
            for name in quoted(row):
                assert (ROOT / folder / name).exists(), name


def table_of_layout(folder: str) -> list[str]:
    """The first cells of the rows below a folder's own row."""
    rows = [row[0] for row in [["", ""], *table("layout")]]
    begin = rows.index(f"**`{folder}`**") + 1
    end = next((place for place in range(begin, len(rows)) if rows[place].startswith("**")), len(rows))
    return rows[begin:end]


class TestCommands:
    def test_every_make_target_exists(self) -> None:
        """`make x` in the text is a target of the Makefile, and its variables are known there."""
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
        commands = [line for block in blocks("sh") for line in block.splitlines()] + quoted(PROSE)
        for command in commands:
            for target, rest in re.findall(r"(?:^|\()make (?:-s )?([a-z][a-z-]*)((?: [A-Z_]+=\S+)*)", command):
                assert target in targets, command
                for variable in re.findall(r"([A-Z_]+)=", rest):
                    assert re.search(rf"\b{variable}\b", makefile), command

    def test_shell_blocks_can_be_read_by_bash(self) -> None:
        """Whatever is there to be pasted is at least a command."""
        for block in blocks("sh"):
            done = subprocess.run(["bash", "-n"], input=block, text=True, capture_output=True, check=False)
            assert done.returncode == 0, done.stderr

    def test_help_is_what_the_program_says(self) -> None:
        """A block that begins with a command shows what it prints."""
        shown = [block for block in blocks("text") if block.startswith("$ python -m tokenkeeper")]
        assert shown
        for block in shown:
            command, _, said = block.partition("\n")
            done = subprocess.run(
                [sys.executable, *command.split()[2:]],
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": str(ROOT / "functions"),
                    "COLUMNS": "80",
                    "NO_COLOR": "1",
                },
                capture_output=True,
                text=True,
                check=True,
            )
            assert said.strip() == done.stdout.strip()


class TestPages:
    def test_every_page_that_is_named_has_that_status(self) -> None:
        """What an approver may see is called as on the page."""
        notices = [value for value in vars(pages).values() if isinstance(value, Notice)]
        notices.append(pages.tiktok_said_no("", ""))
        known = {notice.title: notice.status for notice in notices}
        part = TEXT.partition("What an approver may see")[2].partition("\n## ")[0]
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line[:1] == "|"]
        assert len(rows) > 8
        for title, status, _ in rows[2:]:
            if title.endswith(", or was used"):
                assert (known["This connect link has expired"], known["This connect link was used"]) == (410, 409)
            else:
                assert known[title] == int(status), title


class TestLinks:
    @pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)]+)\)", TEXT))))
    def test_links_lead_somewhere(self, target: str) -> None:
        """A heading of this page, a file of the repository, or an address that begins with https."""
        if target.startswith("https://"):
            return
        path, _, anchor = target.partition("#")
        file = ROOT / path if path else ROOT / "README.md"
        assert file.exists(), target
        if anchor:
            page = file / "README.md" if file.is_dir() else file
            headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, target


def test_nothing_of_how_it_was_made() -> None:
    """The page speaks of the product only."""
    assert not re.search(r"/(work|tmp|root)/|issue #?\d|\bTODO\b|\bFIXME\b", TEXT)
    assert Path(ROOT / "LICENSE").exists()
