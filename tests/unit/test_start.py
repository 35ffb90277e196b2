"""Starting a function: settings first, then the class that is served, and nothing that a start need not wait for."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.parametrize(("target", "other"), [("connect", "refresh"), ("refresh", "connect")])
def test_a_process_loads_only_what_it_serves(target: str, other: str) -> None:
    """`main` has both entry points; the other function, and the slow libraries, are not loaded by a start."""
    code = "import json, sys, main; assert main.connect and main.refresh; print(json.dumps(sorted(sys.modules)))"
    done = python(code, FUNCTION_TARGET=target)
    assert done.returncode == 0, done.stderr
    modules = json.loads(done.stdout)
    assert f"tokenkeeper.{target}.app" in modules
    assert f"tokenkeeper.{other}.app" not in modules
    assert {"urllib3", "requests", "google.auth"}.isdisjoint(modules)


def test_calls_on_cloud_run_do_without_what_is_slow_to_import() -> None:
    """A cold instance waits for its first calls: `requests` and `cryptography` cost as much as all else."""
    code = """if True:
        import json, sys, main
        from contextlib import suppress
        from tokenkeeper.clock import Deadline
        from tokenkeeper.errors import StoreUnavailable, TikTokError
        from tokenkeeper.secret import Secret
        served = main._function
        with suppress(StoreUnavailable):
            served._vault.connection("acme", Deadline(0.01))
        with suppress(TikTokError):
            served._tiktok.family("advertiser").exchange(Secret("code"), 0.1)
        print(json.dumps(sorted(sys.modules)))
    """
    nobody = {"GCE_METADATA_HOST": "127.0.0.1:1", "TIKTOK_API_URL": "http://127.0.0.1:1"}
    done = python(code, K_SERVICE="connect", **nobody)
    assert done.returncode == 0, done.stderr
    modules = json.loads(done.stdout.splitlines()[-1])
    assert {"tokenkeeper.store.credentials", "tokenkeeper.tiktok.transport"} <= set(modules)
    assert {"requests", "cryptography", "google.auth.compute_engine"}.isdisjoint(modules)


def test_a_wrong_setting_is_one_sentence_instead_of_a_traceback() -> None:
    """On a terminal the process ends with it."""
    done = python("import main", PUBLIC_URL="ftp://x")
    assert done.returncode == 1
    assert done.stderr.startswith("PUBLIC_URL is not an address")
    assert "Traceback" not in done.stderr


def test_in_the_cloud_the_log_has_it_as_an_alert() -> None:
    """A deployed function that cannot start says so; a key that is too short is not shown."""
    done = python("import main", LINK_SIGNING_KEYS="short-canary-key", K_SERVICE="connect")
    entry = json.loads(done.stdout)
    assert (entry["severity"], entry["event"]) == ("CRITICAL", "settings.invalid")
    assert entry["message"].startswith("LINK_SIGNING_KEYS has 16 characters")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "short-canary-key" not in done.stdout + done.stderr
