"""A machine on which somebody deploys: a copy of the repository, real Terraform, stand-ins for what is behind it."""

import json
import os
import pty
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gcp.configuration import REQUIRED

STUB = Path(__file__).with_name("stub_program.py")
SECRET = "canary-app-secret-0123456789abcdef01234567"
VARIABLES = "".join(f'{name} = "{value}"\n' for name, value in REQUIRED.items())
# What gcloud says to somebody who is logged in and has a project with billing; then where secrets have values, too.
USUAL = [["gcloud", "auth list", 0, "me@example.com"], ["gcloud", "billing projects describe", 0, "True"]]
GOOD = [["gcloud", "secrets versions list", 0, "3"], *USUAL]


def install(folder: Path, *programs: str) -> None:
    """Put stand-ins for programs there that record how they are called."""
    folder.mkdir(parents=True)
    for program in programs:
        (folder / program).write_text(f"#!{sys.executable}\n{STUB.read_text()}")
        (folder / program).chmod(0o755)


@dataclass
class Machine:
    """A repository, and a PATH with stand-ins for programs."""

    repository: Path
    stubs: tuple[str, ...] = ("gcloud",)
    environment: dict[str, str] = field(default_factory=dict)
    path: str = ""

    def __post_init__(self) -> None:
        self.infra = self.repository / "infra" / "gcp"
        self.saved = self.repository / ".tokenkeeper"
        self.variables = self.infra / "terraform.tfvars"
        self.variables.write_text(VARIABLES)
        self.stub = self.repository / "stub"
        self.programs = self.stub / "bin"
        install(self.programs, *self.stubs)

    def start(self, *arguments: str, answers: list[list[Any]] = GOOD, **how: Any) -> subprocess.Popen[str]:
        """Start a command of the deployment."""
        (self.stub / "answers.json").write_text(json.dumps(answers))
        environment = {
            "PATH": f"{self.programs}:{self.path}",
            "PYTHONPATH": f"{self.repository / 'infra'}:{self.repository / 'functions'}",
            "STUB_DIRECTORY": str(self.stub),
            "HOME": str(self.repository),
            "TOKENKEEPER_DEPLOY_PAUSE": "0",
            **self.environment,
        }
        how = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} | how
        return subprocess.Popen(
            [sys.executable, "-m", "gcp.deploy", *arguments], env=environment, cwd=self.repository, text=True, **how
        )

    def run(self, *arguments: str, ends: int = 0, answers: list[list[Any]] = GOOD, typed: str | None = None) -> str:
        """What one says that ends with this status; with `typed`, at a terminal at which that is typed."""
        if typed is None:
            with self.start(*arguments, answers=answers) as process:
                said, _ = process.communicate(timeout=300)
        else:
            ours, theirs = pty.openpty()
            how = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "start_new_session": True}
            with self.start(*arguments, answers=answers, **how) as process:
                os.close(theirs)
                said = _talk(ours, typed.splitlines(keepends=True))
        assert process.returncode == ends, said
        return said

    @property
    def calls(self) -> list[dict[str, Any]]:
        """Every call of a stand-in."""
        file = self.stub / "calls.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def called(self, pattern: str) -> list[str]:
        """Calls that fit a regular expression."""
        return [call["called"] for call in self.calls if re.search(pattern, call["called"])]

    @property
    def kinds(self) -> set[str]:
        """Types of resources in the state that is a file; none while it is being written."""
        try:
            state = json.loads((self.infra / "terraform.tfstate").read_text())
        except ValueError:
            return set()
        return {entry["type"] for entry in state["resources"] if entry["mode"] == "managed" and entry["instances"]}


def _talk(terminal: int, lines: list[str]) -> str:
    """Answer each question at a terminal, until the other side is closed; returns what was shown."""
    shown = ""
    with os.fdopen(terminal, "r+b", buffering=0) as stream, suppress(OSError):  # Linux's word for a closed terminal
        while piece := stream.read(4096):
            shown += piece.decode()
            # A question is what stands at the end without a line's end.
            if lines and shown.endswith(": "):
                stream.write(lines.pop(0).encode())
    return shown
