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
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any, TextIO

from gcp.deploy.programs import HERE, SAVED, Stop, capture, environment, private_folder, say, write_private
from gcp.deploy.refusals import explained

LOG = SAVED / "deploy.log"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Event = dict[str, Any]


class TerraformFailed(Stop):
    """Terraform ended with an error; the text explains why.

    Attributes:
        errors: diagnostics of severity error, as Terraform tells them: `summary`, `detail`, `address`.
        lock: where somebody holds the lock, its `ID` and the rest of what Terraform says about it; else empty.
        holder: who holds the lock, in words.
    """

    def __init__(self, command: str, errors: list[Event], text: str) -> None:
        self.errors = errors
        held = next((error["detail"] for error in errors if "acquiring the state lock" in error["summary"]), "")
        self.lock: dict[str, str] = dict(re.findall(r"^ *(\w+): *(.*?) *$", held, re.MULTILINE))
        who, since, what = (self.lock.get(name, "unknown") for name in ("Who", "Created", "Operation"))
        self.holder = f"{who} has held it since {since} ({what})"
        reasons = explained(errors or [{"summary": text.strip() or "it gave no reason"}])
        super().__init__(
            f"The state is locked: {self.holder}. Wait until that is over. If it is over for good (a machine that "
            "died, a process that was killed), `make deploy UNLOCK=1` takes the lock."
            if self.lock
            else f"terraform {command} failed. Everything it said is in {LOG.parent.name}/{LOG.name}.\n{reasons}"
        )


@dataclass(frozen=True)
class Plan:
    """What a plan would do.

    Attributes:
        changes: what would be made, changed, replaced, deleted or imported: `address`, `type`, `actions`, `before`,
            `after` and `importing` as `terraform show -json` has them.
        outputs: names of outputs that would change: some settings are nothing but that.
        known: how many resources the state has.
    """

    changes: list[dict[str, Any]]
    outputs: list[str]
    known: int

    @classmethod
    def of(cls, shown: Mapping[str, Any]) -> Plan:
        """The plan that `terraform show -json` shows."""
        changes = [{**change, **change["change"]} for change in shown.get("resource_changes", [])]
        outputs = shown.get("output_changes", {}).items()
        root = shown.get("prior_state", {}).get("values", {}).get("root_module", {})
        return cls(
            [c for c in changes if c["mode"] == "managed" and (c["actions"] != ["no-op"] or c.get("importing"))],
            [name for name, change in outputs if change["actions"] != ["no-op"]],
            sum(resource["mode"] == "managed" for resource in root.get("resources", [])),
        )

    @property
    def deletes(self) -> set[str]:
        """Addresses of what would be deleted or replaced."""
        return {change["address"] for change in self.changes if "delete" in change["actions"]}


def program(problems: list[str]) -> str:
    """The program to run: TERRAFORM, else terraform, else tofu; that there is none is a problem."""
    wanted = os.environ.get("TERRAFORM")
    found = next((name for name in ([wanted] if wanted else ["terraform", "tofu"]) if shutil.which(name)), "")
    if not found:
        problems.append(
            f"{wanted or 'terraform'} is not installed: https://developer.hashicorp.com/terraform/install "
            "(or OpenTofu: https://opentofu.org/docs/intro/install)"
        )
    return found


class Terraform:
    """One program over `infra/gcp`; what it prints goes to `.tokenkeeper/deploy.log`."""

    def __init__(self, name: str) -> None:
        self._command = [name, f"-chdir={HERE}"]
        self._plan = f"{private_folder.name}/plan"
        self._process: subprocess.Popen[str] | None = None
        self._running = False
        self._received = 0
        write_private(LOG, "")
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN or number is signal.SIGINT:  # nohup stays as it is
                signal.signal(number, self._stop)

    def plan(self, *arguments: str) -> Plan:
        """What would be done; raises `TerraformFailed` where that cannot be said."""
        self.run("plan", "-json", "-input=false", f"-out={self._plan}", *arguments)
        return Plan.of(json.loads(capture(*self._command, "show", "-json", self._plan)))

    def apply(self, listen: Callable[[Event], None]) -> None:
        """Carry out the last plan, calling `listen` with each event; raises `TerraformFailed`."""
        self.run("apply", "-json", "-input=false", self._plan, listen=listen)

    def outputs(self) -> dict[str, Any]:
        """The values of all outputs."""
        shown = json.loads(capture(*self._command, "output", "-json"))
        return {name: output["value"] for name, output in shown.items()}

    def run(self, *arguments: str, listen: Callable[[Event], None] | None = None, echo: bool = False) -> None:
        """Run one command to its end.

        Args:
            arguments: of Terraform.
            listen: is called with each event of a command that is run with `-json`.
            echo: print every line as well.

        Raises:
            SystemExit: a signal came; Terraform has ended in order.
            TerraformFailed: it ended with an error.
        """
        errors: list[Event] = []
        text = ""
        self._running = True
        for line in self._lines(*arguments):
            event = _event(line)
            if event.get("diagnostic", {}).get("severity") == "error":
                errors.append(event["diagnostic"])
            if event and listen:
                listen(event)
            if echo:
                say(line)
            elif not event:
                text += f"{line}\n"
        self._running = False
        if self._received:
            say("\nStopped in order: what was made is in the state. Run it again to go on from here.", error=True)
            sys.exit(128 + self._received)
        if self._process and self._process.returncode != 0:
            raise TerraformFailed(arguments[0], errors, text)

    def _lines(self, *arguments: str) -> Iterator[str]:
        with LOG.open("a", encoding="utf-8") as log, LOG.open(encoding="utf-8") as reader:
            log.write(f"$ {self._command[0]} {' '.join(arguments)}\n")
            log.flush()
            reader.seek(0, os.SEEK_END)
            self._process = subprocess.Popen(
                [*self._command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                env=environment,
                start_new_session=True,
            )
            if self._received:
                self._process.send_signal(signal.SIGINT)
            yield from _follow(reader, self._process)

    def _stop(self, number: int, _: FrameType | None) -> None:
        if not self._running:
            raise KeyboardInterrupt
        if self._received:
            say("Still waiting for Terraform: stopping it now would lose what is being made.")
            return
        self._received = number
        say("\nStopping. Terraform finishes what it has begun and saves its state; that can take some minutes.")
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)


def _follow(reader: TextIO, process: subprocess.Popen[str]) -> Iterator[str]:
    rest, ended = "", False
    while not ended:
        ended = process.poll() is not None  # looked at before reading: what is written before the end is read
        *lines, rest = (rest + reader.read()).split("\n")
        yield from lines
        time.sleep(0.05)
    if rest:
        yield rest


def _event(line: str) -> Event:
    """The event that a line is; empty where it is none."""
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) and "@message" in event else {}
