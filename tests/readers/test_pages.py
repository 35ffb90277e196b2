"""The pages of `infra/readers`: each is in the table, has a test, and says what everybody asks; versions are right.

That they can be pasted, and that links and make targets exist, is proved for all pages in `tests/readme`.
"""

import re
import shlex
from collections.abc import Iterable
from pathlib import Path

import hcl2

from gcp import configuration
from readers.recipe import ENVIRONMENTS, PAGES, Recipe, recipe
from readme.page import Page

INDEX = Page("infra/readers/README.md")
RECIPES = [recipe(page.stem) for page in sorted(PAGES.glob("*.md")) if page.stem != "README"]
PINS = {file.stem: file.read_text() for file in ENVIRONMENTS.glob("*.txt")}
PINS["tiktok-account"] = PINS["dlt"]
ROLE = "roles/secretmanager.secretAccessor"


def names(requirements: Iterable[str]) -> set[str]:
    """The packages that requirements name."""
    return {match[0].lower() for line in requirements if (match := re.match(r"[\w.-]+", line))}


def installed(page: Recipe) -> set[str]:
    """The packages that a page tells people to install with pip."""
    commands = [shlex.split(line) for line in page.installation.splitlines() if line.startswith("pip install ")]
    return names(word for command in commands for word in command[2:])


def wrong_versions(page: Recipe) -> list[str]:
    """The packages of which a page claims another version than the one that is pinned."""
    said = page.text.rpartition("```")[2]
    return [
        package
        for package, pinned in re.findall(r"^([\w.-]+)==([\w.]+)", PINS.get(page.name, ""), re.MULTILINE)
        for claimed in re.findall(rf"(?<![\w-]){re.escape(package)} (\d+(?:\.\d+)*)", said, re.IGNORECASE)
        if not f"{pinned}.".startswith(f"{claimed}.")
    ]


def test_every_page_is_in_the_table_once() -> None:
    """Each row says how the token is read, when again, and how far the recipe is run."""
    rows = INDEX.table("recipes")
    assert sorted(re.findall(r"\]\(([\w-]+)\.md\)", " ".join(row[0] for row in rows))) == [
        page.name for page in RECIPES
    ]
    assert [row for row in rows if len(row) != 4 or not all(row)] == []


def test_every_page_has_a_test() -> None:
    """What is published is run, or at least read, and no tool is installed that nothing runs."""
    tests = "".join(file.read_text() for file in Path(__file__).parent.glob("*.py"))
    named = {*(page.name for page in RECIPES), *(file.stem for file in ENVIRONMENTS.iterdir())}
    assert [name for name in sorted(named) if not re.search(rf'["/]{name}"', tests)] == []


def test_every_page_says_what_everybody_asks() -> None:
    """Which role, where that is explained, what a refreshed token and a refused one do to it."""
    wanted = (ROLE, "](README.md#the-one-role)", "40105", "refresh")
    assert [(page.name, words) for page in RECIPES for words in wanted if words not in page.text] == []


def test_what_is_installed_is_what_the_tests_run_with() -> None:
    """Each package of a published `pip install` is in the environment, in the version that the page claims."""
    missing = {page.name: installed(page) - names(PINS.get(page.name, "").splitlines()) for page in RECIPES}
    assert {name: packages for name, packages in missing.items() if packages} == {}
    assert [(page.name, package) for page in RECIPES for package in wrong_versions(page)] == []


def test_terraform_is_told_who_reads_in_the_words_of_its_variable() -> None:
    """The setting that is shown has the keys that `infra/gcp` knows."""
    (shown,) = INDEX.blocks("hcl")
    (variable,) = (body for name, body in configuration.blocks("variable") if name == "readers")
    keys = {key for reader in hcl2.loads(shown)["readers"] for key in reader}
    assert keys == {"principal", "connections"}
    assert [key for key in keys if not re.search(rf"\b{key}\b", str(variable["type"]))] == []
