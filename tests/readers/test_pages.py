"""The pages of `infra/readers`: each is in the table, has a test, and can be pasted; versions and links are right."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import hcl2
import pytest

from gcp import configuration
from gcp.test_readme import complaints
from readers.recipe import ENVIRONMENTS, PAGES, ROOT, Recipe, recipe
from readme.page import slug

INDEX = (PAGES / "README.md").read_text()
NAMES = sorted(page.stem for page in PAGES.glob("*.md") if page.stem != "README")
ROLE = "roles/secretmanager.secretAccessor"
SHARED = {"tiktok-account": "dlt"}  # pages that run in another one's environment


def table() -> list[list[str]]:
    """The rows of the README's table, without their head."""
    part = INDEX.partition("<!-- recipes: begin -->")[2].partition("<!-- recipes: end -->")[0]
    rows = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def names(requirements: str) -> set[str]:
    """The packages that lines of requirements name."""
    lines = [line.partition("#")[0].strip() for line in requirements.splitlines()]
    return {match[0].lower() for line in lines if (match := re.match(r"[\w.-]+", line))}


def installed(page: Recipe) -> set[str]:
    """The packages that a page tells people to install with pip."""
    commands = [shlex.split(line) for line in page.installation.splitlines() if line.startswith("pip install ")]
    return names("\n".join(word for command in commands for word in command[2:] if not word.startswith("-")))


def role_section() -> str:
    """What the README there says about the one role."""
    return INDEX.partition("## The one role\n")[2].partition("\n## ")[0]


class TestIndex:
    def test_every_page_is_in_the_table_and_no_other(self) -> None:
        """Whoever reads about reading finds each of them, once."""
        linked = [target for row in table() for target in re.findall(r"\]\(([\w-]+)\.md\)", row[0])]
        assert sorted(linked) == NAMES

    def test_no_cell_is_empty(self) -> None:
        """Each row says how the token is read, when again, and how far the recipe is run."""
        assert all(len(row) == 4 and all(row) for row in table())

    def test_environments_are_those_of_pages_or_named_in_a_test(self) -> None:
        """No tool is installed that nothing runs."""
        tests = "".join(test.read_text() for test in Path(__file__).parent.glob("*.py"))
        left = [file.stem for file in ENVIRONMENTS.glob("*.in") if f'"{file.stem}"' not in tests]
        assert left == []
        assert {file.stem for file in ENVIRONMENTS.glob("*.in")} == {file.stem for file in ENVIRONMENTS.glob("*.txt")}

    def test_terraform_is_told_who_reads_in_the_words_of_its_variable(self) -> None:
        """The setting that is shown has the keys that `infra/gcp` knows."""
        (shown,) = Recipe("README", role_section()).blocks("hcl")
        (variable,) = (body for name, body in configuration.blocks("variable") if name == "readers")
        keys = {key for reader in hcl2.loads(shown)["readers"] for key in reader}
        assert keys == {"principal", "connections"}
        assert all(re.search(rf"\b{key}\b", str(variable["type"])) for key in keys)

    @pytest.mark.readers
    def test_gcloud_understands_the_command(self) -> None:
        """The one that gives a reader its role."""
        (command,) = Recipe("README", role_section()).commands
        assert ROLE in command
        assert not complaints([command.strip()])


@pytest.mark.parametrize("name", NAMES)
class TestPage:
    def test_it_has_a_test(self, name: str) -> None:
        """What is published is run, or at least read."""
        tests = "".join(file.read_text() for file in Path(__file__).parent.glob("test_*.py"))
        assert re.search(rf'Case\(\s*"{name}"|recipe\("{name}"\)', tests)

    def test_it_says_what_everybody_asks(self, name: str) -> None:
        """Which role, where that is explained, what a refreshed token and a refused one do to it."""
        text = recipe(name).text
        assert ROLE in text
        assert "](README.md#the-one-role)" in text
        assert "40105" in text
        assert re.search("refresh", text)

    def test_what_is_installed_is_what_the_tests_run_with(self, name: str) -> None:
        """Each package of the published `pip install` is in the environment."""
        wanted = installed(recipe(name))
        assert not wanted or wanted <= names((ENVIRONMENTS / f"{SHARED.get(name, name)}.txt").read_text())

    def test_versions_are_those_that_are_pinned(self, name: str) -> None:
        """A version that a page claims to be run with is the one in its environment."""
        pins = ENVIRONMENTS / f"{SHARED.get(name, name)}.txt"
        text = recipe(name).text.rpartition("```")[2]
        pinned_here = pins.read_text() if pins.exists() else ""
        for package, pinned in re.findall(r"^([\w.-]+)==([\w.]+)", pinned_here, re.MULTILINE):
            for claimed in re.findall(rf"(?<![\w-]){re.escape(package)} (\d+(?:\.\d+)*)", text, re.IGNORECASE):
                assert f"{pinned}.".startswith(f"{claimed}."), package

    def test_commands_can_be_pasted(self, name: str) -> None:
        """Fences are in pairs, no block is empty, no command has a comment or reads what is pasted after it."""
        assert len(re.findall(r"^```", recipe(name).text, re.MULTILINE)) == 2 * len(recipe(name).fenced)
        assert all(block.text.strip() for block in recipe(name).fenced)
        for command in recipe(name).blocks("sh"):
            assert not re.search(r"(^|\s)#|\bread\b [a-zA-Z-]|<<", command.replace("source-tiktok-marketing read", ""))


@pytest.mark.parametrize("name", NAMES)
def test_every_make_target_exists(name: str) -> None:
    """`make x` on a page is a target of the Makefile, and its variables are known there."""
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for target, rest in re.findall(r"\bmake (?:-s )?([a-z][a-z-]*)((?: [A-Z_]+=\S+)+|(?=`))", recipe(name).text):
        assert target in targets
        for variable in re.findall(r"([A-Z_]+)=", rest):
            assert re.search(rf"\b{variable}\b", makefile), variable


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    """Files that are linked to are there, and so are headings."""
    text = re.sub(r"^```.*?^```", "", recipe(name).text, flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (PAGES / path).resolve() if path else PAGES / f"{name}.md"
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            assert anchor in [slug(heading) for heading in headings], target
