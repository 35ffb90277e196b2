"""What each module may know: one reads the environment, one writes logs, one knows the time, one knows HTML."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "functions" / "tokenkeeper"
ALONE = "reader"  # is copied out of here into pipelines, so it brings along whatever it needs
EVERY_MODULE = {file.stem: ast.parse(file.read_text(encoding="utf-8")) for file in sorted(PACKAGE.glob("*.py"))}
MODULES = {name: tree for name, tree in EVERY_MODULE.items() if name != ALONE}


def users(*names: str) -> set[str]:
    """The modules in which one of these dotted names is used or imported."""
    return {module for module, tree in MODULES.items() if set(names) & set(_mentioned(tree))}


def _mentioned(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.Import):
            yield from (f"import {alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield f"from {node.module}"
            yield from (f"from {node.module} import {alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield f"{node.func.id}()"


def test_only_settings_reads_the_environment() -> None:
    """Every variable is found in one place."""
    assert users("os.environ", "os.getenv", "from os import environ") == {"settings"}


def test_only_log_writes_logs() -> None:
    """Nobody prints or logs beside it."""
    assert users("print()", "import logging", "logging.getLogger") == {"log"}


def test_only_clock_knows_the_time() -> None:
    """A test that moves the clock moves it for everybody."""
    asking = ("import time", "from time", "datetime.now", "datetime.utcnow", "datetime.today", "date.today")
    assert users(*asking) == {"clock"}


def test_only_pages_knows_html() -> None:
    """Templates and markup are nowhere else."""
    assert users("from jinja2", "from markupsafe", "import html", "from flask import render_template") == {"pages"}


def test_only_secretmanager_knows_googles_client() -> None:
    """Everybody else speaks of secrets and versions."""
    assert users("from google.cloud", "from google.cloud import secretmanager_v1") == {"secretmanager"}


@pytest.mark.parametrize(
    ("module", "strangers"),
    [
        ("tiktok", {"vault", "secretmanager", "lease", "connection"}),
        ("transport", {"vault", "secretmanager", "settings"}),
        ("vault", {"tiktok", "transport", "pages"}),
        ("secretmanager", {"tiktok", "transport", "grant", "connection", "vault"}),
        ("grant", {"tiktok", "transport", "vault", "secretmanager", "settings", "log"}),
        ("connection", {"tiktok", "transport", "vault", "secretmanager", "settings", "log"}),
        ("callback", {"renewal", "refresh", "cli"}),
        ("refresh", {"callback", "connect", "pages", "links", "cli"}),
        ("renewal", {"callback", "connect", "pages", "links", "cli"}),
    ],
)
def test_what_a_module_does_not_know(module: str, strangers: set[str]) -> None:
    """Each knows its own subject and no more."""
    known = {name.removeprefix("from tokenkeeper import ") for name in _mentioned(MODULES[module])}
    known |= {name.removeprefix("from tokenkeeper.") for name in _mentioned(MODULES[module])}
    assert not known & strangers


def test_one_module_stands_alone() -> None:
    """It imports nothing of the others, only Google's client and what that brings; and none of the others uses it."""
    mentioned = [name.split() for name in _mentioned(EVERY_MODULE[ALONE])]
    imported = {words[1].partition(".")[0] for words in mentioned if words[0] in {"import", "from"}}
    assert imported - sys.stdlib_module_names == {"google", "requests"}
    assert users(f"from tokenkeeper import {ALONE}", f"from tokenkeeper.{ALONE}") == set()


def test_every_module_says_what_it_is_for() -> None:
    """The first line of each is a sentence about it."""
    for name, tree in EVERY_MODULE.items():
        said = ast.get_docstring(tree)
        assert said, name
        first = said.splitlines()[0]
        assert first[0].isupper() or first[0] == "`", name
        assert first.endswith((".", ":")), name
