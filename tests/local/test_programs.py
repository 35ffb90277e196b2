"""Both emulators as programs of their own: how they greet, log, stop, and what keeps them from starting."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from emulators.secret_manager import SecretManagerServer
from local import ROOT

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts ``python -m local.…`` on a free port."""
    started: list[subprocess.Popen[str]] = []

    def run(module: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", module, "--port", "0", *arguments],
            cwd=ROOT / "infra",
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        with process:
            process.kill()


def greeting(process: subprocess.Popen[str]) -> str:
    """The address in the first line."""
    assert process.stdout
    found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
    return found[0] if found else ""


@pytest.mark.parametrize(
    ("module", "path", "logged", "number"),
    [
        ("local.secret_manager", "/v1/projects/p%0Aq/secrets/s?fields=x", "404", signal.SIGTERM),
        ("local.tiktok", "/open_api/v1.3/user/info/", "user_info 40104 Access token is empty.", signal.SIGINT),
    ],
)
def test_serves(start: Start, module: str, path: str, logged: str, number: signal.Signals) -> None:
    """Each says where it is, logs when asked to, and stops cleanly on a signal; TikTok answers to names it was told.

    A line of the log holds no query, and no line break of the caller's.
    """
    names = {"local.tiktok": ["--name", "tiktok.example"]}.get(module, [])
    process = start(module, "--log", *names)
    url = greeting(process)
    assert requests.get(url, headers={"Host": "evil.example"}, timeout=20).status_code == 421
    requests.get(url + path, headers={"Host": "tiktok.example" if names else "localhost"}, timeout=20)
    process.send_signal(number)
    shown = path.partition("?")[0].replace("%0A", r"\n")
    assert process.communicate(timeout=20)[0] == f"GET {shown} {logged}\n"
    assert process.returncode == 0


def test_nothing_answered_is_lost_by_sigkill(start: Start, tmp_path: Path) -> None:
    """What was answered is there after SIGKILL, and nothing is left beside the store."""
    path = tmp_path / "store" / "secrets.db"
    process = start("local.secret_manager", "--store", str(path))
    secret = f"{greeting(process)}/v1/projects/acme-dev/secrets"
    requests.post(f"{secret}?secretId=s", json={"replication": {"automatic": {}}}, timeout=20)
    for _ in range(20):
        requests.post(f"{secret}/s:addVersion", json={"payload": {"data": "eA=="}}, timeout=20)
    process.kill()
    process.wait()
    with SecretManagerServer(path=path) as server:
        assert server.payloads("s") == [b"x"] * 20
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["secrets.db", "secrets.db.key"]


def test_cannot_start(start: Start, tmp_path: Path) -> None:
    """A damaged state and a cloud function's environment are one sentence and status 1."""
    state = tmp_path / "state.json"
    state.write_text("{")
    for process, sentence in (
        (start("local.tiktok", "--state", str(state)), "remove the file"),
        (start("local.secret_manager", FUNCTION_TARGET="connect"), "FUNCTION_TARGET"),
    ):
        said = process.communicate(timeout=20)[0]
        assert (sentence in said, said.count("\n"), process.returncode) == (True, 1, 1)
