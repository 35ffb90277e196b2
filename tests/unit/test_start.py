"""Starting a function: settings first, then the class that is served, and nothing that a start need not wait for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tokenkeeper.start import start
from unit.conftest import Logged
from unit.parts import COMPLETE

FUNCTIONS = Path(__file__).parents[2] / "functions"
CLASSES = {"connect": "tokenkeeper.connect.app:Connect", "refresh": "tokenkeeper.refresh.app:Refresh"}


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


@pytest.fixture(autouse=True)
def _complete(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("TIKTOK_", "PORTAL_")) or name in {"K_SERVICE", "FUNCTION_TARGET"}:
            monkeypatch.delenv(name)
    for name, value in COMPLETE.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(("target", "other"), [("connect", "refresh"), ("refresh", "connect")])
def test_a_process_loads_only_what_it_serves(target: str, other: str) -> None:
    """`main` has both entry points; the other function, and the slow libraries, are not loaded by a start."""
    code = (
        "import json, sys, main; "
        "print(json.dumps([callable(main.connect), callable(main.refresh), sorted(sys.modules)]))"
    )
    done = python(code, FUNCTION_TARGET=target)
    assert done.returncode == 0, done.stderr
    connect, refresh, modules = json.loads(done.stdout)
    assert connect
    assert refresh
    assert f"tokenkeeper.{target}.app" in modules
    assert f"tokenkeeper.{other}.app" not in modules
    assert {"requests", "google.cloud.secretmanager_v1", "google.api_core"}.isdisjoint(modules)


def test_warming_up_loads_the_slow_libraries() -> None:
    """What a start left out is there before the first request that needs it."""
    done = python(
        "import sys; from tokenkeeper.start import warm_up; warm_up(); "
        "print('requests' in sys.modules and 'google.cloud.secretmanager_v1' in sys.modules)"
    )
    assert done.stdout.strip() == "True", done.stderr


class TestWrongSettings:
    def test_one_sentence_instead_of_a_traceback(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """On a terminal the process ends with the sentence."""
        monkeypatch.setenv("PUBLIC_URL", "ftp://x")
        with pytest.raises(SystemExit) as end:
            start(**CLASSES)
        assert str(end.value).startswith("PUBLIC_URL is not an address")

    def test_in_the_cloud_the_log_has_it(self, monkeypatch: pytest.MonkeyPatch, logged: Logged) -> None:
        """A deployed function that cannot start says so as an alert."""
        monkeypatch.setenv("K_SERVICE", "connect")
        monkeypatch.delenv("TIKTOK_APP_ID")
        with pytest.raises(SystemExit) as end:
            start(**CLASSES)
        assert end.value.code == 1
        (entry,) = logged.entries
        assert (entry["severity"], entry["event"]) == ("CRITICAL", "settings.invalid")
        assert entry["message"].startswith("TIKTOK_APP_ID is missing")

    def test_no_secret_is_in_what_is_said(self) -> None:
        """A key that is too short is not shown; in the cloud the entry goes to standard output, which is the log."""
        done = python(
            "import main", FUNCTION_TARGET="connect", LINK_SIGNING_KEYS="short-canary-key", K_SERVICE="connect"
        )
        assert done.returncode == 1
        assert json.loads(done.stdout)["message"].startswith("LINK_SIGNING_KEYS has 16 characters")
        assert "Traceback" not in done.stderr
        assert "short-canary-key" not in done.stdout + done.stderr
