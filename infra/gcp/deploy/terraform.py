"""Terraform or OpenTofu, run so that it always comes to its own end.

It writes to a file, not to a pipe, and is in a session of its own: neither a closed terminal nor the end of this
program can cut it off. SIGINT, SIGTERM and SIGHUP become one SIGINT, at which it finishes what it has begun, saves its
state and releases the lock. A second one would let it stop at once, and lose what was being made.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any, TextIO

from gcp.deploy.programs import HERE, ROOT, SAVED, Stop, capture, environment, private_folder, say, write_private
from gcp.deploy.refusals import Refusal, explained

LOG = SAVED / "deploy.log"
PLAN = f"{private_folder.name}/plan"  # the last one
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
FORGOTTEN = ("google_project_service", "delete")  # the API stays on: nobody has to hear of it
STOPPING = "\nStopping. Terraform finishes what it has begun and saves its state; that can take some minutes."
WAITING = "Still waiting for Terraform: stopping it now would lose what is being made."

Event = dict[str, Any]


class TerraformFailed(Stop):
    """Terraform ended with an error; the text explains why.

    Attributes:
        errors: what it said; at least one.
    """

    def __init__(self, command: str, errors: list[Refusal]) -> None:
        self.errors = errors
        log = LOG.relative_to(ROOT)
        super().__init__(f"terraform {command} failed. Everything it said is in {log}.\n{explained(errors)}")


@dataclass(frozen=True)
class Plan:
    """What a plan would do.

    Attributes:
        changes: what would be made, changed, replaced, deleted or imported: `address`, `type`, `actions`, `before`,
            `after` and `importing` as `terraform show -json` has them.
        known: whether the state has anything.
    """

    changes: list[dict[str, Any]]
    known: bool

    @classmethod
    def of(cls, shown: dict[str, Any]) -> Plan:
        """The plan that `terraform show -json` shows."""
        found = [{**each, **each["change"]} for each in shown.get("resource_changes", []) if each["mode"] == "managed"]
        changes = [
            change
            for change in found
            if (change["type"], *change["actions"]) != FORGOTTEN
            and (change["actions"] != ["no-op"] or change.get("importing"))
        ]
        return cls(changes, any(change["actions"] != ["create"] for change in found))


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
        self._running = False
        self._received: list[int] = []
        write_private(LOG, "")
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN or number is signal.SIGINT:  # nohup stays as it is
                signal.signal(number, self._receive)

    def plan(self, *arguments: str) -> Plan:
        """What would be done; raises `TerraformFailed` where that cannot be said."""
        self.run("plan", "-json", "-input=false", f"-out={PLAN}", *arguments)
        return Plan.of(json.loads(self.said("show", "-json", PLAN)))

    def said(self, *arguments: str) -> str:
        """What a command prints that only shows something."""
        return capture(*self._command, *arguments)

    def run(self, *arguments: str, listen: Callable[[Event], None] = lambda _: None) -> None:
        """Run one command to its end.

        Args:
            arguments: of Terraform.
            listen: is called with each event of a command that is run with `-json`.

        Raises:
            SystemExit: a signal came; Terraform has ended in order.
            TerraformFailed: it ended with an error.
        """
        errors: list[Refusal] = []
        words = ""
        with LOG.open("a", encoding="utf-8") as log, LOG.open(encoding="utf-8") as reader:
            log.write(f"$ {self._command[0]} {' '.join(arguments)}\n")
            log.flush()
            reader.seek(0, os.SEEK_END)
            self._running = True
            process = subprocess.Popen(
                [*self._command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
            for line in self._lines(process, reader):
                try:
                    event = json.loads(line)
                except ValueError:
                    words += f"{line}\n"
                    continue
                listen(event)
                about = event.get("diagnostic", {})
                if about.get("severity") == "error":
                    said = " ".join(f"{about['summary']}\n{about.get('detail', '')}".split())
                    errors.append(Refusal(said, about.get("address", "")))
            self._running = False
        if self._received:
            say("\nStopped in order: what was made is in the state. Run it again to go on from here.", error=True)
            sys.exit(128 + self._received[0])
        if process.returncode != 0:
            raise TerraformFailed(arguments[0], errors or [Refusal(words.strip() or "it gave no reason")])

    def _lines(self, process: subprocess.Popen[bytes], reader: TextIO) -> Iterator[str]:
        """What a process writes until it ends; of the signals that come meanwhile it gets one."""
        told, rest, ended = 0, "", False
        while not ended:
            if told < len(self._received):
                say(WAITING if told else STOPPING)
                if not told:
                    process.send_signal(signal.SIGINT)
                told += 1
            ended = process.poll() is not None  # looked at before reading: what is written before the end is read
            *lines, rest = (rest + reader.read()).split("\n")
            yield from lines
            time.sleep(0.05)
        yield rest

    def _receive(self, number: int, _: FrameType | None) -> None:
        if not self._running:
            raise KeyboardInterrupt
        self._received.append(number)
