"""Output never fails for its encoding, and columns are right whatever the script and the window."""

import json
import subprocess
import sys

import pytest

from command_line import SECONDS, Cli, imported
from stage import ROOT, TOKEN, Stage
from tokenkeeper.cli.show import cut, in_columns, padded, width
from tokenkeeper.cli.terminal import colour_wanted

NAMES = {"7000000000000000001": "靴のアクメ株式会社 · Zürich 👩\u200d💻"}
HEAD = ("name", "state", "what to do")
ROWS = [
    ("acme", "\x1b[32mok\x1b[0m", ""),
    ("beta-long-name", "bad", "ask somebody who knows: make link CONNECTION=beta-eu"),
]


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.mark.parametrize(
    "environment",
    [{"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}],
    ids=["Latin-1", "C"],
)
def test_encodings(cli: Cli, stage: Stage, environment: dict[str, str]) -> None:
    """What the encoding cannot show is replaced; JSON is ASCII anyway."""
    imported(cli, "acme", stage.tiktok.grant())
    stage.secrets.edit(TOKEN + "acme", annotations={"advertiser-names": json.dumps(NAMES)})

    def printed(*words: str) -> bytes:
        return subprocess.run(
            [sys.executable, "-m", "tokenkeeper", "status", *words],
            env=cli.environment(**environment),
            cwd=ROOT / "functions",
            capture_output=True,
            timeout=SECONDS,
            check=True,
        ).stdout

    (acme,) = json.loads(printed("--json").decode("ascii"))["connections"]
    assert acme["advertiser_names"] == NAMES
    assert b"????????? " in printed() or "LC_ALL" in environment


@pytest.mark.parametrize(
    ("no_color", "term", "wanted"), [("", "xterm", True), ("1", "xterm", False), ("", "dumb", False)]
)
def test_colours(monkeypatch: pytest.MonkeyPatch, no_color: str, term: str, *, wanted: bool) -> None:
    """NO_COLOR and a dumb terminal turn colours off."""
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("TERM", term)
    assert colour_wanted() is wanted


class TestColumns:
    def test_width(self) -> None:
        """East Asian wide characters take two columns; marks, joiners and colours none; no character is halved."""
        widths = {"acme": 4, "Zu\u0308rich": 6, "靴": 2, "ｱｸﾒ": 3, "\x1b[31m靴\x1b[0m": 2, "می\u200cخواهم": 7}
        assert {text: width(text) for text in widths} == widths
        assert {width(padded(text, 10)) for text in widths} == {10}
        assert (cut("靴のアクメ株式会社", 8), cut("acme", 4)) == ("靴のア…", "acme")


class TestTable:
    def test_without_bounds(self) -> None:
        """Outside of a window every row is one line, in columns, behind any script."""
        lines = list(in_columns(HEAD, [*ROWS, ("靴のアクメ", "bad", "here")], None))
        assert lines[0] == "name            state  what to do"
        assert lines[1] == "acme            \x1b[32mok\x1b[0m"
        assert lines[2].endswith("  ask somebody who knows: make link CONNECTION=beta-eu")
        assert width(lines[3].partition("here")[0]) == 23

    @pytest.mark.parametrize("window", [51, 60, 74])
    def test_wraps_the_last_column(self, window: int) -> None:
        """In a window that is not quite wide enough the last column is wrapped, below itself."""
        lines = list(in_columns(HEAD, ROWS, window))
        assert max(map(len, lines[2:])) <= window
        assert all(line.startswith(" " * 23) for line in lines[3:])
        assert " ".join(" ".join(line[23:] for line in lines[2:]).split()) == ROWS[1][2]

    @pytest.mark.parametrize("window", [30, 50])
    def test_narrow(self, window: int) -> None:
        """In a narrow window what the last column says begins below its row."""
        lines = list(in_columns(HEAD, ROWS, window))
        assert lines[2:4] == ["acme            \x1b[32mok\x1b[0m", "beta-long-name  bad"]
        assert " ".join(line.removeprefix("    ") for line in lines[4:]) == ROWS[1][2]
        assert max(map(len, lines[3:])) <= window
