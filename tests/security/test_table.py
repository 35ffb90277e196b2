"""The table in `tests/README.md` says the truth."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = (TESTS / "README.md").read_text()
ROWS = re.findall(r"^\| (\d+) \| (.+?) \| (.+?) \| (.+?) \|$", PAGE, re.MULTILINE)
SHORT = re.compile(r"^\| (\d+) \| ([^|]+) \| (`[^|]+`) \|$", re.MULTILINE)


def test_it_has_every_line_once() -> None:
    """58 lines, in order."""
    assert [int(number) for number, *_ in ROWS] == list(range(1, 59))


@pytest.mark.parametrize(("number", "named"), [(number, named) for number, _, named, _ in ROWS])
def test_every_test_that_it_names_is_there_and_names_the_line(number: str, named: str) -> None:
    """A test that was renamed or removed is missed here."""
    for name in re.findall(r"`([^`]+)`", named):
        file, *path = name.split("::")
        node: ast.AST = ast.parse((TESTS / file).read_text())
        for part in path:
            node = next(one for one in ast.iter_child_nodes(node) if getattr(one, "name", "") == part)
        assert isinstance(node, ast.FunctionDef)
        assert f"[{number}]" in (ast.get_docstring(node) or ""), name


@pytest.mark.parametrize(
    ("heading", "word", "count"),
    [("## The nine promises", "promise", 9), ("## What must not lose a token", "line", 23)],
    ids=["promises", "lines"],
)
def test_every_file_that_a_promise_or_line_names_says_so_at_its_top(heading: str, word: str, count: int) -> None:
    """Each promise and each line is there once, and the files behind it open with its number."""
    rows = SHORT.findall(PAGE.partition(heading)[2].partition("\n## ")[0])
    assert [int(number) for number, *_ in rows] == list(range(1, count + 1))
    for number, _, named in rows:
        for name in re.findall(r"`([^`]+)`", named):
            said = ast.get_docstring(ast.parse((TESTS / name).read_text())) or ""
            assert int(number) in _numbers(said, word), (number, name)


def _numbers(text: str, word: str) -> set[int]:
    """The numbers after a word, as in "lines 2, 3 and 15": all of them, and what lies between in "1 to 4"."""
    found: set[int] = set()
    for group in re.findall(rf"{word}s? ([0-9][0-9, andto]*)", " ".join(text.split()), re.IGNORECASE):
        found |= {int(number) for number in re.findall(r"\d+", group)}
        for first, last in re.findall(r"(\d+) to (\d+)", group):
            found |= set(range(int(first), int(last) + 1))
    return found
