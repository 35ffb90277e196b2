"""Terraform or OpenTofu, run so that it always comes to its own end.

It writes to a file, not to a pipe, and is in a session of its own: neither a closed terminal nor the end of this
program can cut it off. SIGINT, SIGTERM and SIGHUP become one SIGINT, at which it finishes what it has begun, saves its
state and releases the lock. A second one would let it stop at once, and lose what was being made.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from subprocess import DEVNULL, Popen
from types import FrameType
from typing import Any, NamedTuple, TextIO

from gcp.deploy.programs import HERE, ROOT, SAVED, capture, environment, private_folder, say, write_private
from gcp.deploy.refusals import Refusal, Refused, ours

LOG = SAVED / "deploy.log"
PLAN = f"{private_folder.name}/plan"  # the last one
FORGOTTEN = ("google_project_service", "delete")  # the API stays on: nobody has to hear of it

Shown = dict[str, Any]  # an event, or a part of a plan, as Terraform shows it in JSON


class Plan(NamedTuple):
    """What a plan would do."""

    # What would be made, changed, replaced, deleted or imported: address, type, actions, before, after, importing.
    changes: list[Shown]
    known: bool  # whether the state has anything

    @classmethod
    def of(cls, shown: Shown) -> Plan:
        """The plan that `terraform show -json` shows."""
        managed = [
            {**each, **each["change"]} for each in shown.get("resource_changes", []) if each["mode"] == "managed"
        ]
        said = [change for change in managed if (change["type"], *change["actions"]) != FORGOTTEN]
        changes = [change for change in said if change["actions"] != ["no-op"] or change.get("importing")]
        return cls(changes, known=any(change["actions"] != ["create"] for change in managed))


class Terraform:
    """One program over `infra/gcp`; what it prints goes to `.tokenkeeper/deploy.log`."""

    def __init__(self, name: str) -> None:
        self._name = [name, f"-chdir={HERE}"]
        self._running = False
        self._received: list[int] = []
        write_private(LOG, "")
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN or number is signal.SIGINT:  # nohup stays as it is
                signal.signal(number, self._receive)

    def plan(self, *arguments: str) -> Plan:
        """What would be done; raises `Refused` where that cannot be said."""
        self.run("plan", "-json", "-input=false", f"-out={PLAN}", *arguments)
        return Plan.of(json.loads(self.said("show", "-json", PLAN)))

    def said(self, *arguments: str) -> str:
        """What a command prints that only shows something."""
        return capture(*self._name, *arguments)

    def run(self, *arguments: str, listen: Callable[[Shown], None] = lambda _: None) -> None:
        """Run one command to its end; `listen` hears of each event of one with `-json`.

        Raises `Refused` where it ended with an error, and `SystemExit` where a signal came and it has ended in order.
        """
        command = [*self._name, *arguments]
        errors, words = [], ""
        with LOG.open("a", encoding="utf-8") as log, LOG.open(encoding="utf-8") as reader:
            print("$", *command, file=log, flush=True)
            reader.seek(0, os.SEEK_END)
            self._running = True
            process = Popen(command, stdin=DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True)
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
            say(ours("stopped"), error=True)
            sys.exit(128 + self._received[0])
        if process.returncode != 0:
            what = f"{self._name[0]} {arguments[0]} failed. Everything it said is in {LOG.relative_to(ROOT)}."
            raise Refused(what, errors or [Refusal(words.strip() or "it gave no reason")])

    def _lines(self, process: Popen[bytes], reader: TextIO) -> Iterator[str]:
        """What a process writes until it ends; of the signals that come meanwhile it gets one."""
        told, rest, ended = 0, "", False
        while not ended:
            for _ in self._received[told:]:
                say(ours("waiting" if told else "stopping"))
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
