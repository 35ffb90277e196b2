"""The commands of the guide *Without Terraform*, run with a gcloud that records them; what gcloud says of commands."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from gcp.configuration import INFRA, NUMBER, ROOT
from gcp.machine import install

PAGE = INFRA.parent / "guide" / "without-terraform.md"
REFRESH_URL = "https://tiktok-ads-refresh-abc.a.run.app"
ANSWERS = [
    ["gcloud", "projects describe", 0, NUMBER],
    ["gcloud", "functions describe", 0, REFRESH_URL],
    ["gcloud", "channels create", 0, "projects/my-project-123/notificationChannels/7"],
]


@dataclass(frozen=True)
class Recording:
    """What the commands of the guide did."""

    calls: list[list[str]]
    given: dict[str, str]
    directory: Path

    def find(self, *words: str) -> list[dict[str, str]]:
        """Options of every call that begins with these words, by name; its own argument under an empty name."""
        found = [call[len(words) :] for call in self.calls if call[: len(words)] == list(words)]
        return [
            {"": next((part for part in call if not part.startswith("--")), "")}
            | dict(part[2:].partition("=")[::2] for part in call if part.startswith("--"))
            for call in found
        ]


def recorded(directory: Path) -> Recording:
    """Run the published commands by bash with a gcloud that records how it is called."""
    programs = directory / "bin"
    install(programs, "gcloud")
    (directory / "functions").symlink_to(ROOT / "functions")
    for name, text in {"make": 'echo "$@" > attached', "openssl": "printf '%064d\\n' 7"}.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    (directory / "answers.json").write_text(json.dumps(ANSWERS))
    done = subprocess.run(
        ["/bin/bash", "-eu", "-c", "\n".join(re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL))],
        input="the-app-secret\n",
        env={"PATH": f"{programs}:/usr/bin:/bin", "STUB_DIRECTORY": str(directory), "HOME": str(directory)},
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    calls = [json.loads(line) for line in (directory / "calls.jsonl").read_text().splitlines()]
    given = {call["arguments"][3]: call["given"] for call in calls if call["given"]}
    return Recording([call["arguments"] for call in calls], given, directory)


def mentioned() -> list[str]:
    """The commands of gcloud in sentences of the README and in the texts of alerts."""
    texts = (INFRA / "README.md").read_text() + (INFRA / "alerts.tf").read_text()
    return [re.sub(r"\$\{[^}]*\}", "x", command) for command in re.findall(r"`(gcloud [^`]+)`", texts)]


def complaints(commands: list[str]) -> list[str]:
    """What gcloud's own parser finds wrong."""
    gcloud = shutil.which("gcloud")
    if not gcloud:
        pytest.skip("gcloud is not installed")
    told = dict.fromkeys(commands)  # it judges each once
    done = subprocess.run(
        [gcloud, "meta", "lint-gcloud-commands", "--commands-file=/dev/stdin"],
        input=json.dumps([{"command_string": command} for command in told]),
        capture_output=True,
        text=True,
        check=True,
    )
    judged = json.loads(done.stdout)
    assert len(judged) == len(told)
    return [f"{entry['command_string']}: {entry['error_message']}" for entry in judged if not entry["success"]]
