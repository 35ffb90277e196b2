"""Where Terraform's state is kept: in a bucket of the project, so that it belongs to no laptop."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from gcp.deploy.programs import HERE, Stop, described, gcloud, say, try_gcloud
from gcp.deploy.terraform import Terraform
from gcp.deploy.variables import Target

# Written beside the configuration rather than into it, which stays usable as a module; ignored by git.
OVERRIDE = HERE / "state_override.tf"
LOCAL = HERE / "terraform.tfstate"
REMEMBERED = HERE / ".terraform" / "terraform.tfstate"  # which backend was used last
PREFIX = "tokenkeeper"
BACKEND = re.compile(r"^\s*(backend\s+\"|cloud\s*\{)", re.MULTILINE)


class State:
    """The state of one deployment.

    Attributes:
        place: where it is kept, in words.
        pending: what `open(create=True)` will do beforehand, in words, after `open(create=False)`; empty: nothing.
    """

    def __init__(self, target: Target, terraform: Terraform) -> None:
        self._target = target
        self._terraform = terraform
        self._bucket = f"gs://{re.sub('[.:]', '-', target.project)}-{target.name}-state"
        own = [file for file in sorted(HERE.glob("*.tf")) if file != OVERRIDE and BACKEND.search(file.read_text())]
        self._in_bucket = not own and os.environ.get("STATE") != "local"
        self.place = f"{self._bucket}/{PREFIX}" if self._in_bucket else "infra/gcp/terraform.tfstate"
        if own:
            self.place = f"where {own[0].name} says"
        self.pending = ""

    def open(self, *, create: bool) -> None:
        """Let Terraform use it.

        Args:
            create: make the bucket where it is missing, and move a state there that is a file. Otherwise a first plan
                is made with no state, and nothing is made or moved.

        Raises:
            Stop: it cannot be used.
        """
        there = self._in_bucket and self._exists()
        filled = _resources(LOCAL) if self._in_bucket else 0
        if there and filled and try_gcloud("storage", "ls", f"{self.place}/default.tfstate"):
            raise Stop(
                f"There are two states: the file infra/gcp/terraform.tfstate ({filled} resources) and {self.place}. "
                "Move the one that is not of this deployment away, or set STATE=local to use the file."
            )
        if self._in_bucket and not there:
            moved = ", and moves the state there that is in a file now" if filled else ""
            self.pending = f"Makes the bucket {self._bucket} for Terraform's state{moved}."
        elif filled:
            self.pending = f"Moves the state from a file to {self._bucket}."
        if self._in_bucket and create and not there:
            self._make()
        arguments: tuple[str, ...] = ()
        if self._in_bucket and (create or (there and not filled)):
            where = f'    bucket = "{self._bucket.removeprefix("gs://")}"\n    prefix = "{PREFIX}"\n'
            OVERRIDE.write_text(f'terraform {{\n  backend "gcs" {{\n{where}  }}\n}}\n', encoding="utf-8")
            arguments = ("-migrate-state", "-force-copy") if filled else ("-reconfigure",)
        elif OVERRIDE.exists():
            OVERRIDE.unlink()
            REMEMBERED.unlink(missing_ok=True)  # -reconfigure does not forget a backend that is configured no longer
        self._terraform.run("init", "-input=false", "-no-color", *arguments)
        if "-migrate-state" in arguments:
            say(f"The state was moved from a file to {self.place}: any machine can go on from here.")

    def _exists(self) -> bool:
        """Whether the bucket is there; one of somebody else's project is never used."""
        bucket = described("storage", "buckets", "describe", self._bucket, "--raw")
        if bucket and str(bucket.get("projectNumber")) != gcloud(
            *("projects", "describe", self._target.project, "--format=value(projectNumber)")
        ):
            raise Stop(
                f"The bucket {self._bucket} belongs to another project: choose another name, or keep the state in a "
                "file (STATE=local) or in a bucket of your own (a *_override.tf with a backend)."
            )
        return bool(bucket)

    def _make(self) -> None:
        gcloud(
            *("storage", "buckets", "create", self._bucket, f"--location={self._target.region}"),
            *("--uniform-bucket-level-access", "--public-access-prevention"),
        )
        gcloud("storage", "buckets", "update", self._bucket, "--versioning")
        say(f"Made {self._bucket} for Terraform's state.")


def _resources(file: Path) -> int:
    try:
        return len(json.loads(file.read_text(encoding="utf-8")).get("resources", []))
    except (OSError, ValueError):
        return 0
