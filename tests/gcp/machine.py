"""A machine on which somebody deploys: a copy of the repository, real Terraform, stand-ins for what is behind it."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any

from gcp.configuration import REQUIRED

STUB = Path(__file__).with_name("stub_program.py")
SECRET = "canary-app-secret-0123456789abcdef01234567"
VARIABLES = "".join(f'{name} = "{value}"\n' for name, value in REQUIRED.items())
ACCOUNT = ["gcloud", "auth list", 0, "me@example.com"]
BILLING = ["gcloud", "billing projects describe", 0, "True"]
HAS_VALUES = ["gcloud", "secrets versions list", 0, "3"]
USUAL = [ACCOUNT, BILLING]


@dataclass
class Machine:
    """A repository, and a PATH with stand-ins for programs that record how they are called."""

    repository: Path
    programs: tuple[str, ...] = ("gcloud",)
    environment: dict[str, str] = field(default_factory=dict)
    path: str = ""

    def __post_init__(self) -> None:
        self.infra = self.repository / "infra" / "gcp"
        self.saved = self.repository / ".tokenkeeper"
        self.variables = self.infra / "terraform.tfvars"
        self.variables.write_text(VARIABLES)
        self.stub = self.repository / "stub"
        (self.stub / "bin").mkdir(parents=True)
        for program in self.programs:
            executable = self.stub / "bin" / program
            executable.write_text(f"#!{sys.executable}\n{STUB.read_text()}")
            executable.chmod(0o755)

    def link(self, program: str) -> None:
        """Let a real program of this machine be found."""
        (self.stub / "bin" / Path(program).name).symlink_to(program)

    def start(self, *arguments: str, answers: list[list[Any]], **how: Any) -> subprocess.Popen[str]:
        """Start a command of the deployment."""
        (self.stub / "answers.json").write_text(json.dumps(answers))
        environment = {
            "PATH": f"{self.stub / 'bin'}:{self.path}",
            "PYTHONPATH": f"{self.repository / 'infra'}:{self.repository / 'functions'}",
            "STUB_DIRECTORY": str(self.stub),
            "HOME": str(self.repository),
            "TOKENKEEPER_DEPLOY_PAUSE": "0",
            **self.environment,
        }
        return subprocess.Popen(
            [sys.executable, "-m", "gcp.deploy", *arguments], env=environment, cwd=self.repository, text=True, **how
        )

    def run(self, *arguments: str, answers: list[list[Any]], typed: str | None = None) -> tuple[int, str]:
        """Run one; with `typed`, at a terminal at which that is typed. Returns exit status and all output."""
        how: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        if typed is None:
            with self.start(*arguments, answers=answers, **how) as process:
                said, _ = process.communicate(timeout=300)
            return process.returncode, said
        ours, theirs = pty.openpty()
        how = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "start_new_session": True}
        with self.start(*arguments, answers=answers, **how) as process:
            os.close(theirs)
            shown, lines = "", typed.splitlines(keepends=True)
            with os.fdopen(ours, "r+b", buffering=0) as terminal:
                while piece := _read(terminal):
                    shown += piece
                    # A question is what stands at the end without a line's end.
                    if lines and shown.endswith(": "):
                        terminal.write(lines.pop(0).encode())
        return process.returncode, shown

    @property
    def calls(self) -> list[dict[str, Any]]:
        """Every call of a stand-in."""
        file = self.stub / "calls.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def called(self, pattern: str) -> list[str]:
        """Calls that fit a regular expression."""
        return [call["called"] for call in self.calls if re.search(pattern, call["called"])]

    def forget_calls(self) -> None:
        """Look only at what comes."""
        (self.stub / "calls.jsonl").unlink(missing_ok=True)

    @property
    def kinds(self) -> set[str]:
        """Types of resources in the state that is a file; none while it is being written."""
        try:
            state = json.loads((self.infra / "terraform.tfstate").read_text())
        except ValueError:
            return set()
        return {entry["type"] for entry in state["resources"] if entry["mode"] == "managed" and entry["instances"]}


def _read(terminal: FileIO) -> str:
    try:
        return terminal.read(4096).decode()
    except OSError:  # Linux says so when the other side is closed
        return ""
