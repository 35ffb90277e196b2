"""The table in `tests/README.md` says the truth."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ROWS = re.findall(r"^\| (\d+) \| (.+?) \| (.+?) \| (.+?) \|$", (TESTS / "README.md").read_text(), re.MULTILINE)


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
