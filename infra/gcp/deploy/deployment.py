"""Plans and applies until everything is as it should be.

Again where Google has not heard of everything yet; and what exists without being in the state, made by a Terraform
that was killed or by another one, is taken over.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache

from gcp.deploy import deployed, prepare, state
from gcp.deploy.prepare import Target
from gcp.deploy.programs import HERE, say, try_gcloud
from gcp.deploy.refusals import Refusal, Refused, Stop, ours
from gcp.deploy.screen import RESOURCES, progress, summary
from gcp.deploy.state import State
from gcp.deploy.terraform import PLAN, Plan, Terraform

TRIES = 10
PAUSE = float(os.environ.get("TOKENKEEPER_DEPLOY_PAUSE", "60"))  # seconds between them
TAKE_OVER = HERE / "take_over.tf"  # which somebody has to remove afterwards


@dataclass
class Deployment:
    """What a command works on, and what somebody has agreed to."""

    target: Target
    terraform: Terraform
    state: State
    place: str  # where everything is made, with whose rights, and where the state is, in words
    yes: bool  # nobody is asked
    _agreed: set[str] = field(default_factory=set)

    @classmethod
    def prepared(cls, *, yes: bool = False) -> Deployment:
        """One with its state open; raises `Stop` where something is missing."""
        target, program, who = prepare.ready()
        terraform = Terraform(program)
        kept = state.opened(target, terraform)
        place = f"Project {target.project}, region {target.region}, as {who}. State: {kept.place}."
        return cls(target, terraform, kept, place, yes)

    def confirm(self, question: str, right: str = "yes") -> None:
        """Ask, unless nobody is to be asked; raises `Stop` where the answer is another, or where there is nobody."""
        if self.yes:
            return
        if not sys.stdin.isatty():
            raise Stop(ours("no_terminal"))
        if input(question).strip() != right:
            raise Stop(ours("no_consent"))

    def plan(self, *arguments: str, unlock: bool, adopt: bool = False) -> Plan:
        """Plan, with these arguments, as what somebody is going to agree to; raises `Stop` where that cannot be.

        With `unlock`, a lock that somebody else's Terraform left behind is taken, after a question. Without `adopt`, a
        state that knows nothing of functions that there are is another deployment's.
        """
        try:
            plan = self.terraform.plan(*arguments)
        except Refused as refused:
            held = refused.refusals[0].means("locked")
            if not unlock or not held:
                raise
            say(str(refused))
            self.confirm("Type yes if that is over for good (taking it from one that is alive loses things): ")
            self.terraform.run("force-unlock", "-force", held[1])
            say("The lock was taken.")
            return self.plan(*arguments, unlock=False, adopt=adopt)
        if not (adopt or plan.known) and deployed.functions(self.target):
            raise Stop(ours("no_state", **self.target._asdict(), state=self.state.place))
        # What is made now may be deleted again: Google keeps what it could not build, and it is replaced.
        self._agreed = {change["address"] for change in plan.changes if change["actions"] != ["update"]}
        return plan

    def apply(self, plan: Plan) -> None:
        """Carry out the last plan, saying how it goes; raises `Refused`."""
        self.terraform.run("apply", "-json", "-input=false", PLAN, listen=progress(plan))

    def until_done(self, *arguments: str) -> None:
        """Plan, with these arguments, and apply until that works; raises `Stop` where it never will."""
        taken: dict[str, str] = {}
        plan = Plan([], known=False)
        for attempt in range(1, TRIES + 1):
            try:
                plan = self._taking_over(taken, *arguments)
                found = existing(plan, self.target)
                if not found:
                    self._agree(plan)
                    self.apply(plan)
                    return
            except Refused as refused:
                found = existing(plan, self.target, refused.refusals)
                if not found and not all(refusal.means("not_yet_known") for refusal in refused.refusals):
                    raise
            if found:
                kinds = ", ".join(sorted({address.partition(".")[0].removeprefix("google_") for address in found}))
                say(f"{len(found)} things exist already without being in the state; they are taken over: {kinds}.")
                self._agreed -= found.keys()
                taken |= found
            elif attempt < TRIES:
                say(f"Google has not heard of everything yet; trying again in {PAUSE:.0f} s ({attempt}/{TRIES}).")
                time.sleep(PAUSE)
        raise Stop(ours("unheard"))

    def _taking_over(self, taken: Mapping[str, str], *arguments: str) -> Plan:
        """A plan that takes these over."""
        blocks = (f"import {{\n  to = {address}\n  id = {json.dumps(id_)}\n}}\n" for address, id_ in taken.items())
        TAKE_OVER.write_text("\n".join(blocks), encoding="utf-8")
        try:
            return self.terraform.plan(*arguments)
        finally:
            TAKE_OVER.unlink()

    def _agree(self, plan: Plan) -> None:
        """Ask again, where what turned out on the way deletes more than was said."""
        new = {change["address"] for change in plan.changes if "delete" in change["actions"]} - self._agreed
        if new:
            say(summary(plan))
            self.confirm("This deletes more than was said before. Type yes to go on: ")
            self._agreed |= new


def existing(plan: Plan, target: Target, refusals: Iterable[Refusal] = ()) -> dict[str, str]:
    """Addresses of what a plan would make although it exists, with the ids by which to take it over.

    What Google refused tells what exists; only of alerts and the like it would make two with the same title.
    """
    refused = {refusal.address for refusal in refusals if refusal.means("exists")}
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
