"""The command line as a process of its own, in front of the stage."""

import json
import os
import pty
import select
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from emulators.tiktok import Grant
from stage import ROOT, Stage
from warm import Process

SECONDS = 60


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    status: int
    out: str
    err: str


@dataclass
class Cli:
    """Runs commands; nothing is saved for them but what a test saves in `state`."""

    stage: Stage
    state: Path

    def environment(self, **changes: str | None) -> dict[str, str]:
        """What a command is started with; None takes a variable away."""
        usual = {"TOKENKEEPER_STATE": str(self.state), "PUBLIC_URL": "http://localhost:8080", "NO_GCE_CHECK": "true"}
        return self.stage.environment(1, **{**usual, **changes})

    def save(self, place: str, **values: str) -> None:
        """Save settings as `make run` and `make deploy` do."""
        self.state.mkdir(exist_ok=True)
        (self.state / f"{place}.env").write_text("".join(f"{name}={value}\n" for name, value in values.items()))
        (self.state / "current").write_text(place + "\n")

    def __call__(self, *words: str, typed: str | None = None, **changes: str | None) -> Done:
        with TemporaryFile() as given, TemporaryFile() as out, TemporaryFile() as err:
            given.write((typed or "").encode())
            given.seek(0)
            process = self._begun(words, self.environment(**changes), (given.fileno(), out.fileno(), err.fileno()))
            status = process.wait(SECONDS)
            out.seek(0)
            err.seek(0)
            return self._heard(words, Done(status, out.read().decode(), err.read().decode()))

    def started(self, *words: str, **changes: str | None) -> subprocess.Popen[str]:
        """The same, and not waited for."""
        return subprocess.Popen(
            [sys.executable, "-m", "tokenkeeper", *words],
            env=self.environment(**changes),
            cwd=ROOT / "functions",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def on_terminal(
        self, *words: str, typed: str = "", question: bytes = b"[y/N]", columns: int = 100, **changes: str | None
    ) -> Done:
        """The same in a window; what is typed is typed at the question. All output is in `out`."""
        environment = self.environment(TERM="xterm", COLUMNS=str(columns), LINES="24", **changes)
        ours, theirs = pty.openpty()
        process = self._begun(words, environment, (theirs, theirs, theirs))
        os.close(theirs)
        said = b""
        while select.select([ours], [], [], SECONDS)[0]:
            try:
                piece = os.read(ours, 65_536)
            except OSError:  # the other side is closed
                break
            if not piece:
                break
            said += piece
            if typed and question in said:
                os.write(ours, typed.encode())
                typed = ""
        status = process.wait(SECONDS)
        os.close(ours)
        return self._heard(words, Done(status, said.decode().replace("\r\n", "\n"), ""))

    @staticmethod
    def _begun(words: tuple[str, ...], environment: dict[str, str], streams: tuple[int, int, int]) -> Process:
        return Process(["tokenkeeper", *words], environment, ROOT / "functions", streams)

    def _heard(self, words: tuple[str, ...], done: Done) -> Done:
        self.stage.canaries.record(f"what {words[:1]} says", done.err)
        if "token" not in words and "link" not in words:  # theirs is a secret, and the purpose of it
            self.stage.canaries.record(f"what {words[:1]} prints", done.out)
        assert "Traceback" not in done.out + done.err
        assert "defect" not in done.err
        return done


def sentence(done: Done) -> str:
    """What a command that could not do it says: one line, and nothing on standard output."""
    assert done.status == 2, done
    assert not done.out
    said = done.err.strip()
    assert said
    assert "\n" not in said, said
    return said


def answer(grant: Grant, **more: Any) -> str:
    """TikTok's whole JSON answer, with more keys beside it."""
    data: dict[str, Any] = {"access_token": grant.access_token}
    if grant.family == "account":
        data |= {"open_id": grant.open_id, "scope": ",".join(grant.scope), "token_type": "Bearer"}
    else:
        data |= {"advertiser_ids": list(grant.advertiser_ids), "scope": list(grant.scope)}
    if grant.refresh_token:
        data |= {
            "expires_in": 86_400,
            "refresh_token": grant.refresh_token,
            "refresh_token_expires_in": 31_536_000,
        }
    return json.dumps({"code": 0, "message": "OK", "request_id": "R1", "data": data, **more})


def imported(cli: Cli, name: str, grant: Grant, *words: str) -> Done:
    """Import a grant, which has to succeed."""
    done = cli("import", name, "--family", grant.family, *words, typed=answer(grant))
    assert done.status == 0, done
    return done
