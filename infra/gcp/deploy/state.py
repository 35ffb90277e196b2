"""Where Terraform's state is kept: in a bucket of the project, so that it belongs to no laptop; and its lock."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from gcp.deploy.programs import HERE, Stop, confirm, found, gcloud, say, try_gcloud
from gcp.deploy.refusals import explained
from gcp.deploy.terraform import Event, Outcome, Terraform
from gcp.deploy.variables import Target

# Written beside the configuration rather than into it, which stays usable as a module; ignored by git.
OVERRIDE = HERE / "state_override.tf"
LOCAL = HERE / "terraform.tfstate"
REMEMBERED = HERE / ".terraform" / "terraform.tfstate"  # which backend was used last
PREFIX = "tokenkeeper"
BACKEND = re.compile(r"^\s*(backend\s+\"|cloud\s*\{)", re.MULTILINE)


class State:
    """The state of one deployment."""

    def __init__(self, target: Target, terraform: Terraform) -> None:
        self._target = target
        self._terraform = terraform
        self.bucket = f"{re.sub('[.:]', '-', target.project)}-{target.name}-state"
        self.other = next(
            (file.name for file in sorted(HERE.glob("*.tf")) if file != OVERRIDE and _has_backend(file)), ""
        )
        self.wants_file = os.environ.get("STATE", "") == "local"

    @property
    def place(self) -> str:
        """Where it is kept, in words."""
        if self.other:
            return f"where {self.other} says"
        return "infra/gcp/terraform.tfstate" if self.wants_file else f"gs://{self.bucket}/{PREFIX}"

    @property
    def pending(self) -> str:
        """What `open(create=True)` would do beforehand, in words; empty: nothing."""
        if self.other or self.wants_file:
            return ""
        if not self._exists():
            moved = ", and moves the state there that is in a file now" if _resources(LOCAL) else ""
            return f"Makes the bucket gs://{self.bucket} for Terraform's state{moved}."
        return f"Moves the state from a file to gs://{self.bucket}." if _resources(LOCAL) else ""

    def open(self, *, create: bool) -> None:
        """Let Terraform use it.

        Args:
            create: make the bucket where it is missing, and move a state there that is a file. Otherwise a first plan
                is made with no state, and nothing is made or moved.

        Raises:
            Stop: it cannot be used.
        """
        if not self.other and not self.wants_file and (create or self._exists()):
            self._use_bucket(move=create)
        else:
            self._use_no_bucket()

    def unlock(self, held: Event, *, yes: bool) -> None:
        """Take a lock that somebody else's Terraform left behind, after a question.

        Raises:
            Stop: somebody said no, or it could not be taken.
        """
        number = _field(held, "ID")
        say(f"The state is locked: {_holder(held)}.")
        if not yes:
            confirm("Type yes if that is over for good (taking it from one that is alive loses things): ", "yes")
        done = self._terraform.run("force-unlock", "-force", number)
        if done.status != 0:
            raise Stop(f"The lock could not be taken: {done.text.strip()}")
        say("The lock was taken.")

    def _use_bucket(self, *, move: bool) -> None:
        if not self._exists():
            self._make()
        there = try_gcloud("storage", "ls", f"gs://{self.bucket}/{PREFIX}/default.tfstate")
        filled = _resources(LOCAL)
        if filled and there:
            raise Stop(
                f"There are two states: the file infra/gcp/terraform.tfstate ({filled} resources) and gs://{self.bucket}/"
                f"{PREFIX}. Move the one that is not of this deployment away, or set STATE=local to use the file."
            )
        if filled and not move:
            self._use_no_bucket()
            return
        OVERRIDE.write_text(
            f'terraform {{\n  backend "gcs" {{\n    bucket = "{self.bucket}"\n    prefix = "{PREFIX}"\n  }}\n}}\n',
            encoding="utf-8",
        )
        if filled:
            self._init("-migrate-state", "-force-copy")
            say(f"The state was moved from a file to gs://{self.bucket}/{PREFIX}: any machine can go on from here.")
        else:
            self._init("-reconfigure")

    def _use_no_bucket(self) -> None:
        if OVERRIDE.exists():
            OVERRIDE.unlink()
            REMEMBERED.unlink(missing_ok=True)  # -reconfigure does not forget a backend that is configured no longer
        self._init()

    def _exists(self) -> bool:
        """Whether the bucket is there; one of somebody else's project is never used."""
        bucket = found("storage", "buckets", "describe", f"gs://{self.bucket}", "--raw")
        if bucket and str(bucket.get("projectNumber")) != gcloud(
            *("projects", "describe", self._target.project, "--format=value(projectNumber)")
        ):
            raise Stop(
                f"The bucket gs://{self.bucket} belongs to another project: choose another name, or keep the state in a"
                " file (STATE=local) or in a bucket of your own (a *_override.tf with a backend)."
            )
        return bool(bucket)

    def _make(self) -> None:
        project = f"--project={self._target.project}"
        gcloud(
            *("storage", "buckets", "create", f"gs://{self.bucket}", project, f"--location={self._target.region}"),
            *("--uniform-bucket-level-access", "--public-access-prevention"),
        )
        gcloud("storage", "buckets", "update", f"gs://{self.bucket}", project, "--versioning")
        say(f"Made gs://{self.bucket} for Terraform's state.")

    def _init(self, *arguments: str) -> None:
        done = self._terraform.run("init", "-input=false", "-no-color", *arguments)
        if done.status != 0:
            raise Stop(f"Terraform could not be set up:\n{explained([{'summary': done.text.strip()}])}")


def locked(outcome: Outcome) -> Event | None:
    """The diagnostic that says that somebody holds the lock."""
    return next((error for error in outcome.errors if "acquiring the state lock" in error["summary"]), None)


def held_by(held: Event) -> str:
    """Who holds it, and what to do."""
    return (
        f"The state is locked: {_holder(held)}. Wait until that is over. If it is over for good (a machine that died, "
        "a process that was killed), `make deploy UNLOCK=1` takes the lock."
    )


def _holder(held: Event) -> str:
    return f"{_field(held, 'Who')} has held it since {_field(held, 'Created')} ({_field(held, 'Operation')})"


def _field(held: Event, name: str) -> str:
    match = re.search(rf"^\s*{name}:\s*(.*?)\s*$", held.get("detail", ""), re.MULTILINE)
    return match[1] if match else "unknown"


def _has_backend(file: Path) -> bool:
    return bool(BACKEND.search(file.read_text(encoding="utf-8")))


def _resources(file: Path) -> int:
    try:
        return len(json.loads(file.read_text(encoding="utf-8")).get("resources", []))
    except (OSError, ValueError):
        return 0
