"""`make run`: everything on one machine, as real processes, from the banner to the end."""

import ast
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
import requests

from canaries import Canaries
from local import run
from stage import ROOT, Browser
from tiktok_client import Form

SECONDS = 60
OPTIONS = ("PORT", "REFRESH_PORT", "SECRET_MANAGER_PORT", "TIKTOK_PORT")


class Running:
    """One `make run`, without make; what it says goes into a file."""

    def __init__(self, state: Path, ports: dict[str, str], **changes: str) -> None:
        self._state, self._ports = state, ports
        self._said = tempfile.NamedTemporaryFile()  # noqa: SIM115
        paths = {"PYTHONPATH": f"{ROOT / 'infra'}:{ROOT / 'functions'}", "TOKENKEEPER_STATE": str(state)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "local.run"],
            env={"PATH": os.environ["PATH"], **paths, **ports, **changes},
            cwd=ROOT,
            stdout=self._said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def text(self) -> str:
        return Path(self._said.name).read_text()

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until it has said something."""
        end = time.monotonic() + SECONDS
        while not (found := re.search(pattern, self.text)):
            assert time.monotonic() < end, self.text
            time.sleep(0.02)
        return found

    def link(self) -> str:
        """The connect link of the banner."""
        return self.wait_for(r"(?m)^ +(http\S+/start\?link=\S+)$")[1]

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Ask it to end, as Ctrl-C does; returns the exit status."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        """The exit status, once it has ended; nothing of it may be left."""
        status = self.process.wait(SECONDS)
        assert not [port for port in self._ports.values() if listens(port)], "somebody still serves"
        return status

    def make(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`make` with these words, and nothing set but where settings are saved."""
        return make(*words, TOKENKEEPER_STATE=str(self._state))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Make sure that nothing is left."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(SECONDS)
        self._said.close()


def make(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The Makefile, with the Python of this test run in place of the one that it would set up."""
    ready = f"{sys.prefix}/run-ready"
    return subprocess.run(
        ["make", f"VENV={sys.prefix}", "-o", ready, "-o", "functions/requirements.txt", *words],
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **environment},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def listens(port: str) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", int(port))) == 0


def approve(link: str) -> requests.Response:
    """What an approver does: go on to TikTok and confirm there; returns what the browser ends at."""
    base = link.partition("/start")[0]
    browser = Browser(base, Canaries())
    shown = Form(browser.get(link.removeprefix(base)).text)
    consent = browser.post("/start", data=shown.fields).headers["Location"]
    page = Form(browser.session.get(consent, timeout=SECONDS).text)
    chosen = page.changed(("advertiser_id", "7000000000000000001"), ("decision", "confirm"))
    answer = browser.session.post(consent.partition("?")[0], data=chosen, timeout=SECONDS)
    assert isinstance(answer, requests.Response)
    return answer


def free_ports() -> dict[str, str]:
    """A port for each option, outside of the range that systems hand out by themselves to everybody else."""
    found: list[int] = []
    candidate = 20_000 + os.getpid() * 16 % 8_000
    while len(found) < len(OPTIONS):
        candidate += 1
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", candidate))
            found.append(candidate)
    return {name: str(port) for name, port in zip(OPTIONS, found, strict=True)}


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with Running(tmp_path / "state", free_ports()) as started:
        yield started


class TestRun:
    def test_whole_way(self, running: Running, tmp_path: Path) -> None:
        """The printed link connects; make's commands work with nothing set; after a restart all is there again.

        Variables become options, and nothing but the result is on standard output. What is kept is for this user's
        eyes only, and no token lies there in the open.
        """
        done = approve(running.link())
        assert (done.status_code, done.url.endswith("/done")) == (200, True)
        token = running.make("token", "CONNECTION=main")
        assert re.fullmatch(r"[0-9a-f]{40}\n", token.stdout), token
        assert running.make("status", "JSON=1").stdout.startswith("{")
        assert running.make("refresh").stdout.endswith("1 verified.\n")
        assert running.make("doctor").returncode == 0
        beta = running.make("link", "CONNECTION=beta", "EXPIRES=7d", "ANY_ACCOUNT=1")
        assert re.fullmatch(r"http://localhost:\d+/start\?link=\S+\n", beta.stdout), beta
        assert "entirely different" in beta.stderr
        assert approve(beta.stdout.strip()).status_code == 200
        running.wait_for(r"connect +\| \S+ NOTICE +connection.stored +beta was connected")
        modes = {file.name: oct(file.stat().st_mode & 0o777) for file in (tmp_path / "state").iterdir()}
        kept = {"current", "local.env", "secrets.db", "secrets.db.key", "signing-key", "tiktok.json"}
        assert modes == dict.fromkeys(kept, "0o600")
        assert oct((tmp_path / "state").stat().st_mode & 0o777) == "0o700"
        assert token.stdout.strip().encode() not in (tmp_path / "state" / "secrets.db").read_bytes()
        assert token.stdout.strip() not in running.text
        assert running.end() == 0
        assert running.text.endswith("Stopping.\n")
        assert "is not running: start it with `make run`" in running.make("status").stderr

        with Running(tmp_path / "state", free_ports()) as again:
            link = again.link()
            assert "main is connected already" in again.text
            assert again.make("token", "CONNECTION=main").stdout == token.stdout
            assert again.make("refresh").stdout.endswith("2 verified.\n")
            assert approve(link).status_code == 200
            assert again.make("token", "CONNECTION=main").stdout not in ("", token.stdout)
            assert again.make("refresh", "FORCE=1", "CONNECTION=main").stdout.startswith("1 connection in ")
            gone = again.make("disconnect", "CONNECTION=main", "YES=1")
            assert gone.returncode == 0, gone
            assert "There is no connection main." in again.make("token", "CONNECTION=main").stderr
            assert again.end(signal.SIGTERM) == 0

    @pytest.mark.slow
    def test_one_dies(self, running: Running) -> None:
        """When one process dies, the others are stopped, and it is said which and how."""
        running.link()
        (pid,) = [pid for pid, words in children(running.process.pid).items() if "local.secret_manager" in words]
        os.kill(pid, signal.SIGKILL)
        assert running.ended() == 1
        assert "secret manager was killed by signal 9, so everything else is stopped, too." in running.text

    @pytest.mark.slow
    def test_ctrl_c_while_starting(self, running: Running) -> None:
        """Ctrl-C before the banner ends it cleanly as well."""
        end = time.monotonic() + SECONDS
        while not children(running.process.pid) and time.monotonic() < end:
            time.sleep(0.01)
        assert running.end() == 0
        assert "Traceback" not in running.text


def children(pid: int) -> dict[int, str]:
    """The processes that it has started, with their words."""
    asked = ["ps", "-o", "pid=,args=", "--ppid", str(pid)]
    lines = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.splitlines()
    return {int(number): words for number, words in (line.split(maxsplit=1) for line in lines)}


def test_what_is_unfit_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python that is not supported, and a package that is missing, in words that old Pythons understand."""
    ast.parse((ROOT / "infra/local/run.py").read_text(), feature_version=(3, 7))
    assert run.unfit() == ""
    monkeypatch.setattr(run, "PACKAGES", ("flask", "no_such.package"))
    assert run.unfit().startswith("The installation is broken (no_such.package is missing): remove the folder .venv")
    monkeypatch.setattr(run, "NEWEST", (3, 10))
    assert re.match(r"Python 3\.\d+ is not supported: use 3\.11 to ", run.unfit())


class TestMake:
    """What it makes of words without anything running."""

    def test_words(self, tmp_path: Path) -> None:
        """A name that is missing is asked for; what is in a variable never reaches the shell as a command."""
        done = make("disconnect")
        assert done.returncode == 2
        assert done.stderr.startswith("Name the connection: make disconnect CONNECTION=acme\n")
        done = make("token", f"CONNECTION=a; touch {tmp_path}/oops; '$(touch {tmp_path}/oops)")
        assert "not a connection's name" in done.stderr
        assert not (tmp_path / "oops").exists()

    def test_help(self) -> None:
        """Every target is explained in a line."""
        phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert phony
        listed = {line.split()[0] for line in make("help").stdout.splitlines() if line.startswith("  ")}
        assert listed == set(phony[1].split()) - {"sound"}
