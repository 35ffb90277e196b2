"""Plans and applies until everything is as it should be.

Again where Google has not heard of everything yet; and what exists without being in the state, made by a Terraform
that was killed or by another one, is taken over.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

from gcp.deploy.programs import HERE, Stop, say, try_gcloud
from gcp.deploy.refusals import NOT_YET_KNOWN, Refusal
from gcp.deploy.screen import RESOURCES, progress, summary
from gcp.deploy.state import State
from gcp.deploy.terraform import PLAN, Plan, Terraform, TerraformFailed
from gcp.deploy.variables import Target

TRIES = 10
PAUSE = float(os.environ.get("TOKENKEEPER_DEPLOY_PAUSE", "60"))  # seconds between them
LOCK = re.compile(r"acquiring the state lock.* ID: (\S+)")
EXISTS = re.compile(r"already exists|alreadyExists|ALREADY_EXISTS|you already own it|Error 409")
TAKE_OVER = HERE / "take_over.tf"  # which somebody has to remove afterwards


@dataclass
class Deployment:
    """What a command works on, and what somebody has agreed to.

    Attributes:
        who: whose rights are used, in words.
        yes: nobody is asked.
    """

    target: Target
    terraform: Terraform
    state: State
    who: str
    yes: bool
    _agreed: set[str] = field(default_factory=set)

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
        """Plan, with these arguments, as what somebody is going to agree to; raises `Stop` where that cannot be.

        With `unlock`, a lock that somebody else's Terraform left behind is taken, after a question.
        """
        try:
            plan = self.terraform.plan(*arguments)
        except TerraformFailed as failed:
            held = LOCK.search(failed.errors[0].words)
            if not unlock or not held:
                raise
            say(str(failed))
            self.confirm("Type yes if that is over for good (taking it from one that is alive loses things): ")
            self.terraform.run("force-unlock", "-force", held[1])
            say("The lock was taken.")
            plan = self.terraform.plan(*arguments)
        # What is made now may be deleted again: Google keeps what it could not build, and it is replaced.
        self._agreed = {change["address"] for change in plan.changes if change["actions"] != ["update"]}
        return plan

    def apply(self, plan: Plan) -> None:
        """Carry out the last plan, saying how it goes; raises `TerraformFailed`."""
        with progress(plan) as listen:
            self.terraform.run("apply", "-json", "-input=false", PLAN, listen=listen)

    def until_done(self, *arguments: str) -> None:
        """Plan, with these arguments, and apply until that works; raises `Stop` where it never will."""
        taken: dict[str, str] = {}
        plan = Plan([], known=False)
        try:
            for attempt in range(1, TRIES + 1):
                try:
                    plan = self.terraform.plan(*arguments)
                    found = existing(plan, self.target)
                    if not found:
                        self._agree(plan)
                        self.apply(plan)
                        return
                except TerraformFailed as failed:
                    found = existing(plan, self.target, failed.errors)
                    if not found and not all(NOT_YET_KNOWN.search(error.words) for error in failed.errors):
                        raise
                if found:
                    self._agreed -= found.keys()
                    taken |= found
                    _take_over(taken)
                elif attempt < TRIES:
                    say(f"Google has not heard of everything yet; trying again in {PAUSE:.0f} s ({attempt}/{TRIES}).")
                    time.sleep(PAUSE)
        finally:
            TAKE_OVER.unlink(missing_ok=True)
        raise Stop("Google still has not heard of what was made: run this again in some minutes.")

    def _agree(self, plan: Plan) -> None:
        """Ask again, where what turned out on the way deletes more than was said."""
        new = {change["address"] for change in plan.changes if "delete" in change["actions"]} - self._agreed
        if new:
            say(summary(plan))
            self.confirm("This deletes more than was said before. Type yes to go on: ")
            self._agreed |= new


def existing(plan: Plan, target: Target, errors: Iterable[Refusal] = ()) -> dict[str, str]:
    """Addresses of what a plan would make although it exists, with the ids by which to take it over.

    Google's errors tell what exists; only of alerts and the like it would make two with the same title.
    """
    refused = {error.address for error in errors if EXISTS.search(error.words)}
    domain = ".".join(reversed(target.project.split(":")))
    known = {"project": target.project, "region": target.region, "domain": domain}
    found = {}
    for change in plan.changes:
        address, after, about = change["address"], change["after"], RESOURCES.get(change["type"], {})
        if "listed" in about and change["actions"] == ["create"]:
            title = after.get("display_name") or json.loads(after.get("dashboard_json") or "{}").get("displayName")
            found[address] = _listed(about["listed"]).get(title)
        elif "id" in about and address in refused:
            found[address] = about["id"].format_map({**after, **known})
    return {address: id_ for address, id_ in found.items() if id_}


@cache
def _listed(command: str) -> dict[str, str]:
    """Names of what was there at the start, by title."""
    things = json.loads(try_gcloud(*command.split(), "--format=json") or "[]")
    return {thing.get("displayName", ""): thing["name"] for thing in things}


def _take_over(found: dict[str, str]) -> None:
    """Let the next plan take these over, and say so."""
    kinds = sorted({address.partition(".")[0].removeprefix("google_") for address in found})
    say(f"{len(found)} things exist already without being in the state; they are taken over: {', '.join(kinds)}.")
    blocks = (f"import {{\n  to = {address}\n  id = {json.dumps(id_)}\n}}\n" for address, id_ in found.items())
    TAKE_OVER.write_text("\n".join(blocks), encoding="utf-8")
