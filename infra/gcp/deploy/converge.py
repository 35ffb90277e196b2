"""Plans and applies until everything is as it should be: again where Google has not heard of everything yet."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from gcp.deploy import adopt
from gcp.deploy.check import Work
from gcp.deploy.programs import Stop, confirm, say
from gcp.deploy.refusals import EXISTS, NOT_YET_KNOWN, explained, text_of
from gcp.deploy.screen import Progress, destroys, summary
from gcp.deploy.state import held_by, locked
from gcp.deploy.terraform import LOG, Outcome, Plan

# Made before the rest where a secret has no value yet: the containers for the values; what Google takes a while to let
# others know of (permissions to build, metrics) is made with them, and known by the time it is needed.
FIRST = (
    "google_secret_manager_secret.this",
    "google_secret_manager_secret_iam_member.credential",
    "google_project_iam_member.build",
    "google_project_iam_member.build_source",
    "google_logging_metric.counter",
    "google_logging_metric.gauge",
)
TRIES = 10
PAUSE = float(os.environ.get("TOKENKEEPER_DEPLOY_PAUSE", "60"))  # seconds between them


class Converge:
    """One agreement, carried out."""

    def __init__(self, work: Work, *, yes: bool, take_over: bool) -> None:
        self._work = work
        self._yes = yes
        self._take_over = take_over
        self._taken: dict[str, str] = {}
        self._agreed: set[str] = set()

    def plan(self, file: Path, *arguments: str, unlock: bool = False) -> Plan:
        """Plan, and remember what it would delete as agreed to, once somebody has.

        Raises:
            Stop: it could not be planned.
        """
        plan = self._work.terraform.plan(file, *arguments)
        if unlock and isinstance(plan, Outcome) and (held := locked(plan)):
            self._work.state.unlock(held, yes=self._yes)
            self._take_over = True
            plan = self._work.terraform.plan(file, *arguments)
        if isinstance(plan, Outcome):
            raise _failed("plan", plan)
        self._agreed = destroys(plan)
        self._progress = Progress(len(plan.changes))
        return plan

    def apply(self, plan: Plan) -> Outcome:
        """Carry out one plan, saying how it goes."""
        try:
            return self._work.terraform.run("apply", "-json", "-input=false", str(plan.file), listen=self._progress)
        finally:
            self._progress.end()

    def until_done(self, only: Sequence[str] = ()) -> None:
        """Plan and apply until nothing is left to do.

        Args:
            only: addresses; nothing else is made, but what they need.

        Raises:
            Stop: it failed for good; the text explains why.
        """
        targets = [f"-target={address}" for address in only]
        try:
            for attempt in range(1, TRIES + 1):
                with tempfile.TemporaryDirectory() as folder:
                    if self._once(Path(folder) / "plan", targets):
                        return
                if not self._fresh and attempt < TRIES:
                    say(f"Google has not heard of everything yet; trying again in {PAUSE:.0f} s ({attempt}/{TRIES}).")
                    time.sleep(PAUSE)
        finally:
            adopt.clear()
        raise Stop("Google still has not heard of what was made: run this again in some minutes.")

    def _once(self, file: Path, targets: Sequence[str]) -> bool:
        """One plan and apply; False: it is worth another try, at once where `_fresh`."""
        self._fresh = False
        planned = self._work.terraform.plan(file, *targets)
        if isinstance(planned, Outcome):
            return self._again("plan", planned, None)
        if not planned.changes and not planned.outputs:
            return True
        if self._take_over and self._adopt(adopt.doubles(planned, self._work.target)):
            return False
        if new := destroys(planned) - self._agreed:
            say(summary(planned))
            if not self._yes:
                confirm("This deletes more than was said before. Type yes to go on: ", "yes")
            self._agreed |= new
        outcome = self.apply(planned)
        return outcome.status == 0 or self._again("make all of it", outcome, planned)

    def _again(self, what: str, outcome: Outcome, plan: Plan | None) -> bool:
        """Whether to go on; always False.

        Raises:
            Stop: there is nothing to go on for.
        """
        if plan:
            found = adopt.existing(outcome.errors, plan, self._work.target)
            self._take_over |= bool(found)
            if self._adopt(found):
                return False
        rest = [error for error in outcome.errors if not (plan and EXISTS.search(text_of(error)))]
        if not outcome.errors or not rest or not all(NOT_YET_KNOWN.search(text_of(error)) for error in rest):
            raise _failed(what, outcome)
        return False

    def _adopt(self, found: dict[str, str]) -> bool:
        new = {address: id_ for address, id_ in found.items() if address not in self._taken}
        if new:
            self._taken |= new
            adopt.write(self._taken)
            self._fresh = True
        return bool(new)


def failed_to_apply(outcome: Outcome) -> Stop:
    """The error that explains an apply that failed."""
    return _failed("make all of it", outcome)


def _failed(what: str, outcome: Outcome) -> Stop:
    if held := locked(outcome):
        return Stop(held_by(held))
    reasons = explained(outcome.errors) or f"- {outcome.text.strip() or 'it gave no reason'}"
    return Stop(f"Terraform could not {what}. Everything it said is in {LOG.parent.name}/{LOG.name}.\n{reasons}")
