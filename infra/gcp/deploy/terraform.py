"""Terraform or OpenTofu, run so that it always comes to its own end.

It writes to a file, not to a pipe, and is in a session of its own: neither a closed terminal nor the end of this
program can cut it off. SIGINT, SIGTERM and SIGHUP become one SIGINT, at which it finishes what it has begun, saves its
state and releases the lock. A second one would let it stop at once, and lose what was being made.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from gcp.deploy.programs import HERE, SAVED, Stop, environment, say

OLDEST = (1, 5)
LOG = SAVED / "deploy.log"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Event = dict[str, Any]
Listener = Callable[[Event], None]


class Interrupted(Exception):
    """A signal asked for the end; Terraform has ended in order.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@dataclass
class Outcome:
    """How a command ended.

    Attributes:
        status: exit status.
        errors: diagnostics of severity error, as Terraform tells them: `summary`, `detail`, `address`.
        text: everything that was no event.
    """

    status: int
    errors: list[Event] = field(default_factory=list)
    text: str = ""


@dataclass(frozen=True)
class Plan:
    """What a plan would do: `resource_changes` and `prior_state` as `terraform show -json` has them."""

    file: Path
    shown: Mapping[str, Any]

    @property
    def changes(self) -> list[dict[str, Any]]:
        """Changes that are none of `no-op` and `read`, and imports."""
        return [
            change
            for change in self.shown.get("resource_changes", [])
            if change["mode"] == "managed"
            and (change["change"]["actions"] != ["no-op"] or change["change"].get("importing"))
        ]

    @property
    def outputs(self) -> list[str]:
        """Outputs that would change: some settings are nothing but that."""
        changes = self.shown.get("output_changes", {}).items()
        return [name for name, change in changes if change["actions"] != ["no-op"]]

    @property
    def known(self) -> int:
        """How many resources the state has."""
        root = self.shown.get("prior_state", {}).get("values", {}).get("root_module", {})
        return sum(resource["mode"] == "managed" for resource in root.get("resources", []))


def program() -> str:
    """The program to run: TERRAFORM, else terraform, else tofu.

    Raises:
        Stop: there is none, or it is too old.
    """
    wanted = os.environ.get("TERRAFORM")
    found = next((name for name in ([wanted] if wanted else ["terraform", "tofu"]) if shutil.which(name)), None)
    if found is None:
        raise Stop(
            f"{wanted or 'terraform'} is not installed: https://developer.hashicorp.com/terraform/install "
            "(or OpenTofu: https://opentofu.org/docs/intro/install)"
        )
    done = subprocess.run([found, "version", "-json"], capture_output=True, text=True, check=False, env=environment())
    version = str(json.loads(done.stdout or "{}").get("terraform_version", "")) or "unknown"
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < OLDEST:
        raise Stop(f"{found} is version {version}, and 1.5 or later is needed: install a newer one.")
    return found


class Terraform:
    """One program over `infra/gcp`; what it prints goes to `.tokenkeeper/deploy.log`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._process: subprocess.Popen[str] | None = None
        self._received = 0
        SAVED.mkdir(mode=0o700, exist_ok=True)
        LOG.unlink(missing_ok=True)
        os.close(os.open(LOG, os.O_WRONLY | os.O_CREAT, 0o600))

    def run(self, *arguments: str, listen: Listener | None = None, echo: bool = False) -> Outcome:
        """Run one command to its end.

        Args:
            arguments: of Terraform.
            listen: is called with each event of a command that is run with `-json`.
            echo: print every line as well.

        Raises:
            Interrupted: a signal came; Terraform has ended.
        """
        outcome = Outcome(0)
        before = {number: signal.getsignal(number) for number in SIGNALS}
        for number in SIGNALS:
            if before[number] is not signal.SIG_IGN or number is signal.SIGINT:  # nohup stays as it is
                signal.signal(number, self._stop)
        try:
            for line in self._lines(*arguments):
                event = _event(line)
                if event is None:
                    outcome.text += line
                elif event.get("diagnostic", {}).get("severity") == "error":
                    outcome.errors.append(event["diagnostic"])
                if event and listen:
                    listen(event)
                if echo:
                    say(line, end="")
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        assert self._process
        outcome.status = self._process.returncode
        if self._received:
            raise Interrupted(self._received)
        return outcome

    def plan(self, file: Path, *arguments: str) -> Plan | Outcome:
        """Plan into a file; what would be done, or how it failed."""
        outcome = self.run("plan", "-json", "-input=false", f"-out={file}", *arguments)
        if outcome.status != 0:
            return outcome
        return Plan(file, json.loads(self.capture("show", "-json", str(file))))

    def capture(self, *arguments: str) -> str:
        """What a command that changes nothing prints.

        Raises:
            Stop: it failed.
        """
        done = subprocess.run(
            self._command(*arguments), capture_output=True, text=True, check=False, env=_surroundings()
        )
        if done.returncode != 0:
            raise Stop(f"{self._name} {arguments[0]} failed: {done.stderr.strip()}")
        return done.stdout

    def _command(self, *arguments: str) -> list[str]:
        return [self._name, f"-chdir={HERE}", *arguments]

    def _lines(self, *arguments: str) -> Iterator[str]:
        with LOG.open("a", encoding="utf-8") as log, LOG.open(encoding="utf-8") as reader:
            log.write(f"$ {self._name} {' '.join(arguments)}\n")
            log.flush()
            reader.seek(0, os.SEEK_END)
            self._process = subprocess.Popen(
                self._command(*arguments),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                env=_surroundings(),
                start_new_session=True,
            )
            if self._received:
                self._process.send_signal(signal.SIGINT)
            yield from _follow(reader, self._process)

    def _stop(self, number: int, _: FrameType | None) -> None:
        if self._received:
            say("Still waiting for Terraform: stopping it now would lose what is being made.")
            return
        self._received = number
        say("\nStopping. Terraform finishes what it has begun and saves its state; that can take some minutes.")
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)


def _follow(reader: TextIO, process: subprocess.Popen[str]) -> Iterator[str]:
    line = ""
    while True:
        ended = process.poll() is not None  # looked at before reading: what is written before the end is read
        line += reader.readline()
        if line.endswith("\n"):
            yield line
            line = ""
        elif ended:
            if line:
                yield f"{line}\n"
            return
        else:
            time.sleep(0.05)


def _surroundings() -> dict[str, str]:
    return {**environment(), "TF_IN_AUTOMATION": "1"}


def _event(line: str) -> Event | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "@message" in event else None
