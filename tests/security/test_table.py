"""The tables in `tests/README.md` say the truth."""

import ast
import functools
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = (TESTS / "README.md").read_text()
ROWS = re.findall(r"^\| (\d+) \| (.+?) \| (.+?) \| (.+?) \|$", PAGE, re.MULTILINE)
SHORT = re.compile(r"^\| (\d+) \| ([^|]+) \| (`[^|]+`) \|$", re.MULTILINE)


@functools.cache
def _parsed(file: str) -> ast.Module:
    return ast.parse((TESTS / file).read_text())


def _docstring(name: str) -> str:
    """What a test says of itself, found by its file, class and name; empty where it is not there."""
    file, *path = name.split("::")
    node: ast.AST = _parsed(file)
    for part in path:
        node = next((one for one in ast.iter_child_nodes(node) if getattr(one, "name", "") == part), ast.Pass())
    return (isinstance(node, ast.FunctionDef) and ast.get_docstring(node)) or ""


def test_the_security_table_names_tests_that_name_their_line() -> None:
    """Each of 58 lines is there once, in order; a test that was renamed or removed is missed here."""
    assert [int(number) for number, *_ in ROWS] == list(range(1, 59))
    named = [(number, name) for number, _, names, _ in ROWS for name in re.findall(r"`([^`]+)`", names)]
    assert {number for number, _ in named} == {number for number, *_ in ROWS}
    silent = [(number, name) for number, name in named if f"[{number}]" not in _docstring(name)]
    assert not silent, silent


@pytest.mark.parametrize(
    ("heading", "word", "count"),
    [("## The nine promises", "promise", 9), ("## What must not lose a token", "line", 23)],
    ids=["promises", "lines"],
)
def test_every_file_that_a_promise_or_line_names_says_so_at_its_top(heading: str, word: str, count: int) -> None:
    """Each promise and each line is there once, and the files behind it open with its number."""
    rows = SHORT.findall(PAGE.partition(heading)[2].partition("\n## ")[0])
    assert [int(number) for number, *_ in rows] == list(range(1, count + 1))
    files = [(int(number), name) for number, _, names in rows for name in re.findall(r"`([^`]+)`", names)]
    silent = [one for one in files if one[0] not in _numbers(ast.get_docstring(_parsed(one[1])) or "", word)]
    assert not silent, silent


def _numbers(text: str, word: str) -> set[int]:
    """The numbers after a word, as in "lines 2, 3 and 15": all of them, and what lies between in "1 to 4"."""
    found: set[int] = set()
    for group in re.findall(rf"{word}s? ([0-9][0-9, andto]*)", " ".join(text.split()), re.IGNORECASE):
        found |= {int(number) for number in re.findall(r"\d+", group)}
        for first, last in re.findall(r"(\d+) to (\d+)", group):
            found |= set(range(int(first), int(last) + 1))
    return found
