"""Output never fails for its encoding, and columns are right whatever the script."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from command_line import SECONDS, Cli, imported
from stage import ROOT, TOKEN, Stage
from tokenkeeper.cli import terminal
from tokenkeeper.cli.textwidth import cut, padded, width, wrapped

NAMES = {"7000000000000000001": "靴のアクメ株式会社 · Zürich 👩\u200d💻"}


@pytest.mark.parametrize(
    "environment",
    [{"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}],
    ids=["Latin-1", "C"],
)
@pytest.mark.parametrize("words", [["status"], ["status", "--json"], ["config", "acme", "--for", "env"]])
def test_never_fails(cli: Cli, stage: Stage, environment: dict[str, str], words: list[str]) -> None:
    """What the encoding cannot show is replaced; JSON is ASCII anyway."""
    imported(cli, "acme", stage.tiktok.grant())
    stage.secrets.edit(TOKEN + "acme", annotations={"advertiser-names": json.dumps(NAMES)})
    done = subprocess.run(
        [sys.executable, "-m", "tokenkeeper", *words],
        env=cli.environment(**environment),
        cwd=ROOT / "functions",
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done
    if "--json" in words:
        assert done.stdout.isascii()
        (acme,) = json.loads(done.stdout)["connections"]
        assert acme["advertiser_names"] == NAMES
    elif "PYTHONIOENCODING" in environment:
        assert b"????????? " in done.stdout


class TestColumns:
    @pytest.mark.parametrize(
        ("text", "columns"),
        [
            ("acme", 4),
            ("Zürich", 6),
            ("Zu\u0308rich", 6),
            ("靴", 2),
            ("ｱｸﾒ", 3),
            ("\x1b[31m靴\x1b[0m", 2),
            ("می\u200cخواهم", 7),
        ],
    )
    def test_width(self, text: str, columns: int) -> None:
        """East Asian wide characters take two columns; marks, joiners and colours none."""
        assert width(text) == columns
        assert width(padded(text, 10)) == 10

    def test_table(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Columns begin where they should, behind any script."""
        monkeypatch.setenv("NO_COLOR", "1")
        rows = [("靴のアクメ", "here"), ("Zürich", "here"), ("می\u200cخواهم", "here")]
        lines = list(terminal.table(("name", "what"), rows, 80))
        assert {width(line.partition("here")[0]) for line in lines[1:]} == {12}

    def test_cut_and_wrapped(self) -> None:
        """Nothing is longer than its column, and no character is halved or lost."""
        assert cut("靴のアクメ株式会社", 8) == "靴のア…"
        assert cut("acme", 4) == "acme"
        text = "靴のアクメ株式会社 and more words, some-very-long-word-without-a-space"
        lines = list(wrapped(text, 11))
        assert max(map(width, lines)) <= 11
        assert "".join(lines).replace(" ", "") == text.replace(" ", "")
