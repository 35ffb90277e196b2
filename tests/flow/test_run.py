"""`make run`: everything on one machine, as real processes, from the banner to the end."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
import requests

from canaries import Canaries
from local import run
from stage import ROOT, Browser, Form

SECONDS = 60
OPTIONS = ("PORT", "REFRESH_PORT", "SECRET_MANAGER_PORT", "TIKTOK_PORT")


class Running:
    """One `make run`, without make."""

    def __init__(self, state: Path, ports: dict[str, str], **changes: str) -> None:
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT / 'infra'}:{ROOT / 'functions'}",
            "TOKENKEEPER_STATE": str(state),
            **ports,
            **changes,
        }
        self.lines: list[str] = []
        self._said = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "local.run"],
            env=self.environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stdout
        with self.process.stdout as lines:
            for line in lines:
                with self._said:
                    self.lines.append(line.rstrip("\n"))
                    self._said.notify_all()

    @property
    def text(self) -> str:
        return "\n".join(list(self.lines))

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until it has said something."""
        with self._said:
            assert self._said.wait_for(lambda: re.search(pattern, self.text), SECONDS), self.text
        found = re.search(pattern, self.text)
        assert found
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
        self._listener.join(SECONDS)
        assert not [name for name in OPTIONS if listens(self.environment.get(name, ""))], "somebody still serves"
        return status

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of the command line, with nothing set but where settings are saved."""
        environment = {name: self.environment[name] for name in ("PATH", "TOKENKEEPER_STATE")}
        return subprocess.run(
            [sys.executable, "-m", "tokenkeeper", *words],
            env={**environment, "PYTHONPATH": str(ROOT / "functions")},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Make sure that nothing is left."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(SECONDS)
        self._listener.join(SECONDS)


def listens(port: str) -> bool:
    with socket.socket() as caller:
        return bool(port) and caller.connect_ex(("127.0.0.1", int(port))) == 0


def go_on(link: str) -> tuple[Browser, str]:
    """Open the link and continue; returns the browser, and TikTok's page that it is sent to."""
    base = link.partition("/start")[0]
    browser = Browser(base, Canaries())
    form = Form(browser.get(link.removeprefix(base)).text)
    return browser, browser.post("/start", data=form.fields).headers["Location"]


def approve(link: str) -> requests.Response:
    """What an approver does: go on to TikTok and confirm there; returns what the browser ends at."""
    browser, consent = go_on(link)
    fields = Form(browser.session.get(consent, timeout=SECONDS).text).fields
    chosen = {name: fields[name] for name in ("app_id", "redirect_uri", "state", "scope")}
    answer = browser.session.post(
        consent.partition("?")[0],
        data={**chosen, "advertiser_id": ["7000000000000000001"], "decision": "confirm"},
        timeout=SECONDS,
    )
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
def ports() -> dict[str, str]:
    return free_ports()


@pytest.fixture
def running(tmp_path: Path, ports: dict[str, str]) -> Iterator[Running]:
    with Running(tmp_path / "state", ports) as started:
        yield started


class TestRun:
    def test_whole_way(self, running: Running, tmp_path: Path, ports: dict[str, str]) -> None:
        """The printed link connects; the commands work with nothing set; after a restart all is there again."""
        done = approve(running.link())
        assert done.status_code == 200
        assert done.url.endswith("/done")
        token = running.command("token", "main")
        assert re.fullmatch(r"\S+\n", token.stdout), token
        assert running.command("status").returncode == 0
        assert running.command("refresh").stdout.endswith("1 verified.\n")
        assert running.command("doctor").returncode == 0
        beta = running.command("link", "beta", "--expires", "7d")
        assert approve(beta.stdout.strip()).status_code == 200
        running.wait_for(r"connect +\| \S+ NOTICE +connection.stored +beta was connected")
        assert running.end() == 0
        assert running.lines[-1] == "Stopping."
        assert "is not running: start it with `make run`" in running.command("status").stderr

        with Running(tmp_path / "state", ports) as again:
            link = again.link()
            assert "main is connected already" in again.text
            assert again.command("token", "main").stdout == token.stdout
            assert again.command("refresh").stdout.endswith("2 verified.\n")
            assert approve(link).status_code == 200
            assert again.command("token", "main").stdout not in ("", token.stdout)
            assert again.end(signal.SIGTERM) == 0

    @pytest.mark.slow
    def test_nobody_else_reads_what_is_kept(self, running: Running, tmp_path: Path) -> None:
        """Everything that is kept is for this user's eyes only, and no token lies there in the open."""
        approve(running.link())
        token = running.command("token", "main").stdout.strip()
        files = list((tmp_path / "state").iterdir())
        assert {"current", "local.env", "secrets.db", "secrets.db.key", "signing-key", "tiktok.json"} <= {
            file.name for file in files
        }
        assert {oct(file.stat().st_mode & 0o777) for file in files} == {"0o600"}
        assert oct((tmp_path / "state").stat().st_mode & 0o777) == "0o700"
        assert token.encode() not in (tmp_path / "state" / "secrets.db").read_bytes()
        assert token not in running.text

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("who", "word"), [("refresh", "--target=refresh"), ("secret manager", "local.secret_manager")]
    )
    def test_one_dies(self, running: Running, who: str, word: str) -> None:
        """When one process dies, the others are stopped, and it is said which and how."""
        running.link()
        (pid,) = [pid for pid, words in children(running.process.pid).items() if word in words]
        os.kill(pid, signal.SIGKILL)
        assert running.ended() == 1
        assert f"{who} was killed by signal 9, so everything else is stopped, too." in running.text

    @pytest.mark.slow
    def test_ctrl_c_while_starting(self, running: Running) -> None:
        """Ctrl-C before the banner ends it cleanly as well."""
        end = time.monotonic() + SECONDS
        while not children(running.process.pid) and time.monotonic() < end:
            time.sleep(0.01)
        assert running.end() == 0
        assert "Traceback" not in running.text

    @pytest.mark.slow
    def test_two_at_once(self, running: Running, tmp_path: Path) -> None:
        """A second one for the same store says so, and leaves the first alone."""
        link = running.link()
        with Running(tmp_path / "state", free_ports()) as second:
            assert second.ended() == 1
            assert "Another process is using the store" in second.text
        assert approve(link).status_code == 200

    def test_wrong_setting(self, tmp_path: Path, ports: dict[str, str]) -> None:
        """Settings that cannot work end in one sentence before anything is started."""
        with Running(tmp_path / "state", ports, TIKTOK_APP_ID="7123") as refused:
            assert refused.ended() == 1
        (said,) = refused.lines
        assert said.startswith("TIKTOK_APP_ID is set and TIKTOK_APP_SECRET is not: set both")

    @pytest.mark.slow
    def test_real_app(self, tmp_path: Path, ports: dict[str, str]) -> None:
        """With a real app's credentials there is no simulation, and it says which address to register."""
        changes = {"TIKTOK_APP_ID": "7123456789012345678", "TIKTOK_APP_SECRET": "a-real-secret" * 3}
        with Running(tmp_path / "state", ports, **changes) as running:
            link = running.link()
            assert "your TikTok app 7123456789012345678" in running.text
            assert f"its Advertiser redirect URL: http://localhost:{ports['PORT']}" in running.text
            assert changes["TIKTOK_APP_SECRET"] not in running.text
            assert not listens(ports["TIKTOK_PORT"])
            consent = "https://business-api.tiktok.com/portal/auth?app_id=7123456789012345678&"
            assert go_on(link)[1].startswith(consent)
            assert running.end() == 0


def children(pid: int) -> dict[int, str]:
    """The processes that it has started, with their words."""
    asked = ["ps", "-o", "pid=,args=", "--ppid", str(pid)]
    lines = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.splitlines()
    return {int(number): words for number, words in (line.split(maxsplit=1) for line in lines)}


class TestUnfit:
    def test_python(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A Python that is not supported is told which ones are."""
        assert run.unfit() == ""
        monkeypatch.setattr(run, "NEWEST", (3, 10))
        assert re.match(r"Python 3\.\d+ is not supported: use 3\.11 to ", run.unfit())

    def test_can_be_read_by_old_pythons(self) -> None:
        """What tells that has to be understood by the Pythons that it is told to."""
        ast.parse((ROOT / "infra/local/run.py").read_text(), feature_version=(3, 7))

    def test_installation(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A package that is missing ends in a sentence that says how to mend it."""
        monkeypatch.setattr(run, "PACKAGES", ("flask", "no_such.package"))
        assert run.unfit().startswith(
            "The installation is broken (no_such.package is missing): remove the folder .venv"
        )


class TestMake:
    """The Makefile, with the Python of this test run in place of the one that it would set up."""

    def make(self, running: Running | None, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
        if running:
            environment["TOKENKEEPER_STATE"] = running.environment["TOKENKEEPER_STATE"]
        ready = f"{sys.prefix}/run-ready"
        return subprocess.run(
            ["make", f"VENV={sys.prefix}", "-o", ready, "-o", "functions/requirements.txt", *words],
            env=environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def test_commands(self, running: Running) -> None:
        """Variables become options, and nothing but the result is on standard output."""
        running.link()
        link = self.make(running, "link", "CONNECTION=main", "EXPIRES=7d", "ANY_ACCOUNT=1")
        assert re.fullmatch(r"http://localhost:\d+/start\?link=\S+\n", link.stdout), link
        assert "entirely different" in link.stderr
        approve(link.stdout.strip())
        assert re.fullmatch(r"[0-9a-f]{40}\n", self.make(running, "token", "CONNECTION=main").stdout)
        assert self.make(running, "status", "JSON=1").stdout.startswith("{")
        assert self.make(running, "refresh", "FORCE=1", "CONNECTION=main").stdout.startswith("1 connection in ")
        gone = self.make(running, "disconnect", "CONNECTION=main", "YES=1")
        assert gone.returncode == 0, gone
        assert "There is no connection main." in self.make(running, "token", "CONNECTION=main").stderr

    def test_name_missing(self) -> None:
        """Without a connection's name there is a sentence that shows how to give one."""
        done = self.make(None, "disconnect")
        assert done.returncode == 2
        assert done.stderr.startswith("Name the connection: make disconnect CONNECTION=acme\n")

    def test_nothing_is_a_command(self, tmp_path: Path) -> None:
        """What is in a variable never reaches the shell as a command."""
        done = self.make(None, "token", f"CONNECTION=a; touch {tmp_path}/oops; '$(touch {tmp_path}/oops)")
        assert "not a connection's name" in done.stderr
        assert not (tmp_path / "oops").exists()

    def test_help(self) -> None:
        """Every target is explained in a line."""
        out = self.make(None, "help").stdout
        text = (ROOT / "Makefile").read_text()
        phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
        assert phony
        listed = {line.split()[0] for line in out.splitlines() if line.startswith("  ")}
        assert listed == set(phony[1].split()) - {"sound"}
