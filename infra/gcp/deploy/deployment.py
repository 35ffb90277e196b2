"""Plans and applies until everything is as it should be: again where Google has not heard of everything yet."""

from __future__ import annotations

import os
import shutil
import sys
import time
from dataclasses import dataclass, field

from gcp.deploy import adopt, variables
from gcp.deploy.identity import rights
from gcp.deploy.programs import Stop, say
from gcp.deploy.refusals import EXISTS, NOT_YET_KNOWN, text_of
from gcp.deploy.screen import RESOURCES, Progress, summary
from gcp.deploy.state import State
from gcp.deploy.terraform import Plan, Terraform, TerraformFailed, program
from gcp.deploy.variables import Target

FIRST = [f"{kind}.{name}" for kind, entry in RESOURCES.items() for name in entry.get("first", [])]
TRIES = 10
PAUSE = float(os.environ.get("TOKENKEEPER_DEPLOY_PAUSE", "60"))  # seconds between them


@dataclass
class Deployment:
    """What a command works on, and what somebody has agreed to.

    Attributes:
        who: whose rights are used, in words.
        yes: nobody is asked.
        take_over: what exists already without being in the state is looked for.
    """

    target: Target
    terraform: Terraform
    state: State
    who: str
    yes: bool = False
    take_over: bool = False
    _taken: dict[str, str] = field(default_factory=dict)
    _agreed: set[str] = field(default_factory=set)
    _progress: Progress = field(default_factory=lambda: Progress(0))

    @property
    def place(self) -> str:
        """Where everything is made, by whom, and where the state is, in words."""
        target = self.target
        return f"Project {target.project}, region {target.region}, as {self.who}. State: {self.state.place}."

    def confirm(self, question: str, right: str = "yes") -> None:
        """Ask, unless nobody is to be asked; raises `Stop` where the answer is another, or where there is nobody."""
        if self.yes:
            return
        if not sys.stdin.isatty():
            raise Stop("No terminal to confirm on: pass --yes (YES=1).")
        if input(question).strip() != right:
            raise Stop("Nothing was changed.")

    def plan(self, *arguments: str, unlock: bool) -> Plan:
        """Plan, as what somebody is going to agree to.

        Args:
            arguments: of `terraform plan`.
            unlock: take a lock that somebody else's Terraform left behind, after a question.

        Raises:
            Stop: it could not be planned.
        """
        try:
            plan = self.terraform.plan(*arguments)
        except TerraformFailed as failed:
            if not (unlock and failed.lock):
                raise
            say(f"The state is locked: {failed.holder}.")
            self.confirm("Type yes if that is over for good (taking it from one that is alive loses things): ")
            self.terraform.run("force-unlock", "-force", failed.lock["ID"])
            say("The lock was taken.")
            self.take_over = True
            plan = self.terraform.plan(*arguments)
        # What is made now may be deleted again: Google keeps what it could not build, and it is replaced.
        self._agreed = {change["address"] for change in plan.changes if change["actions"] != ["update"]}
        self._progress = Progress(len(plan.changes))
        return plan

    def apply(self) -> None:
        """Carry out the last plan, saying how it goes; raises `TerraformFailed`."""
        try:
            self.terraform.apply(self._progress)
        finally:
            self._progress.end()

    def until_done(self, *arguments: str) -> None:
        """Plan, with these arguments, and apply until nothing is left to do.

        Raises:
            Stop: it failed for good; the text explains why.
        """
        try:
            for attempt in range(1, TRIES + 1):
                found = self._once(arguments)
                if found is None:
                    return
                new = found.keys() - self._taken.keys()
                self._taken |= found
                if new:
                    self._agreed -= new
                    adopt.write(self._taken)
                elif attempt < TRIES:
                    say(f"Google has not heard of everything yet; trying again in {PAUSE:.0f} s ({attempt}/{TRIES}).")
                    time.sleep(PAUSE)
        finally:
            adopt.FILE.unlink(missing_ok=True)
        raise Stop("Google still has not heard of what was made: run this again in some minutes.")

    def _once(self, arguments: tuple[str, ...]) -> dict[str, str] | None:
        """Plan and apply once; what is to be taken over before the next time, or None where all is done."""
        plan = Plan([], [], 0)
        try:
            plan = self.terraform.plan(*arguments)
            if not plan.changes and not plan.outputs:
                return None
            found = adopt.doubles(plan) if self.take_over else {}
            if found.keys() - self._taken.keys():
                return found
            if new := plan.deletes - self._agreed:
                say(summary(plan))
                self.confirm("This deletes more than was said before. Type yes to go on: ")
                self._agreed |= new
            self.apply()
            return None
        except TerraformFailed as failed:
            found = adopt.existing(failed.errors, plan, self.target)
            self.take_over |= bool(found)
            rest = [words for words in map(text_of, failed.errors) if not EXISTS.search(words)]
            passing = bool(rest) and all(NOT_YET_KNOWN.search(words) for words in rest)
            if not passing and not found.keys() - self._taken.keys():
                raise
            return found


def prepared(*, ask: bool, yes: bool = False, take_over: bool = False) -> Deployment:
    """A deployment for which everything is there.

    Args:
        ask: ask a person for variables that are missing, if there is a terminal.
        yes: see `Deployment`.
        take_over: the same.

    Raises:
        Stop: something is missing; the text names all of it.
    """
    problems: list[str] = []
    name, found, who = program(problems), variables.read(os.environ), ""
    if not shutil.which("gcloud"):
        problems.append("gcloud is not installed: https://cloud.google.com/sdk/docs/install")
    variables.complete(found, problems, ask=ask)
    if shutil.which("gcloud"):
        who = rights(found.get("project_id", ""), problems, deploys=True)
    if problems:
        raise Stop("Not everything that is needed is there:\n" + "\n".join(f"- {problem}" for problem in problems))
    target = Target(found["project_id"], found["region"], found["name"], found["secret_prefix"])
    terraform = Terraform(name)
    return Deployment(target, terraform, State(target, terraform), who, yes, take_over)
