"""Starting a function: which one, with what settings, and how quickly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tokenkeeper import start
from unit.parts import COMPLETE

FUNCTIONS = Path(__file__).parents[2] / "functions"


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line in a process of its own, with a complete environment and these changes."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=FUNCTIONS,
        env={"PATH": os.environ["PATH"], **COMPLETE, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def _complete(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("TIKTOK_", "PORTAL_")) or name in {"K_SERVICE", "FUNCTION_TARGET"}:
            monkeypatch.delenv(name)
    for name, value in COMPLETE.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(("target", "made"), [("connect", "Connect"), ("refresh", "Refresh")])
def test_each_process_makes_the_function_that_it_serves(target: str, made: str) -> None:
    """`main` has both entry points and one function behind them."""
    done = python(
        "import main; print(type(main._function).__name__, callable(main.connect), callable(main.refresh))",
        FUNCTION_TARGET=target,
    )
    assert done.stdout.split() == [made, "True", "True"], done.stderr


@pytest.mark.parametrize("target", ["connect", "refresh"])
def test_a_start_does_not_wait_for_slow_libraries(target: str) -> None:
    """The HTTP and Google libraries are loaded afterwards, so that an instance is there quickly."""
    slow = ["requests", "google.cloud.secretmanager_v1", "google.api_core"]
    done = python(f"import sys, main; print([name for name in {slow} if name in sys.modules])", FUNCTION_TARGET=target)
    assert done.stdout.strip() == "[]", done.stderr


def test_warming_up_loads_them() -> None:
    """What a start left out is there before the first request that needs it."""
    done = python(
        "import sys; from tokenkeeper.start import warm_up; warm_up(); "
        "print('requests' in sys.modules and 'google.cloud.secretmanager_v1' in sys.modules)"
    )
    assert done.stdout.strip() == "True", done.stderr


@pytest.mark.usefixtures("_complete")
class TestWrongSettings:
    def test_one_sentence_instead_of_a_traceback(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """On a terminal the process ends with the sentence."""
        monkeypatch.setenv("PUBLIC_URL", "ftp://x")
        with pytest.raises(SystemExit) as end:
            start.start()
        assert str(end.value).startswith("PUBLIC_URL is not an address")

    def test_in_the_cloud_the_log_has_it(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A deployed function that cannot start says so as an alert."""
        monkeypatch.setenv("K_SERVICE", "connect")
        monkeypatch.delenv("TIKTOK_APP_ID")
        with pytest.raises(SystemExit) as end:
            start.start()
        assert end.value.code == 1
        entry = json.loads(capsys.readouterr().out)
        assert (entry["severity"], entry["event"]) == ("CRITICAL", "settings.invalid")
        assert entry["message"].startswith("TIKTOK_APP_ID is missing")

    def test_no_secret_is_in_what_is_said(self) -> None:
        """A key that is too short is not shown, neither on the terminal nor in the log."""
        for more in ({}, {"K_SERVICE": "connect"}):
            done = python("import main", FUNCTION_TARGET="connect", LINK_SIGNING_KEYS="short-canary-key", **more)
            assert done.returncode == 1
            assert "LINK_SIGNING_KEYS" in done.stdout + done.stderr
            assert "Traceback" not in done.stderr
            assert "short-canary-key" not in done.stdout + done.stderr
