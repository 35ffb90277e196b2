"""Tables that fit."""

from __future__ import annotations

import pytest

from tokenkeeper.cli import terminal

HEAD = ("name", "state", "what to do")
ROWS = [
    ("acme", "\x1b[32mok\x1b[0m", ""),
    ("beta-long-name", "bad", "ask somebody who knows: make link CONNECTION=beta-eu"),
]


class TestTable:
    def test_without_bounds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Outside of a window every row is one line, in columns."""
        monkeypatch.setenv("NO_COLOR", "1")
        lines = list(terminal.table(HEAD, ROWS, None))
        assert lines[0] == "name            state  what to do"
        assert lines[1] == "acme            \x1b[32mok\x1b[0m"
        assert lines[2].endswith("  ask somebody who knows: make link CONNECTION=beta-eu")

    @pytest.mark.parametrize("columns", range(52, 80))
    def test_wraps_the_last_column(self, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """In a window that is not quite wide enough the last column is wrapped, below itself."""
        monkeypatch.setenv("NO_COLOR", "1")
        lines = list(terminal.table(HEAD, ROWS, columns))
        assert max(map(len, lines[2:])) <= columns
        assert all(line.startswith(" " * 23) for line in lines[3:])
        assert " ".join(" ".join(line[23:] for line in lines[2:]).split()) == ROWS[1][2]

    @pytest.mark.parametrize("columns", [30, 40, 50])
    def test_records(self, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """In a narrow window each row is a record of its own, empty cells left out."""
        monkeypatch.setenv("NO_COLOR", "1")
        lines = list(terminal.table(HEAD, ROWS, columns))
        assert lines[:4] == ["acme", "  state       \x1b[32mok\x1b[0m", "", "beta-long-name"]
        assert max(map(len, lines[3:])) <= columns
