"""Where Terraform's state is kept: in a bucket of the project, so that it belongs to no laptop."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from gcp.deploy.programs import HERE, Stop, gcloud, say, try_gcloud
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
        pending: after `open`, what `settle` will do, in words; empty: nothing.
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
        self._is_there = False
        self.pending = ""

    def open(self) -> None:
        """Let Terraform use it; while something is pending, that is the state in a file, if there is one.

        Raises:
            Stop: it cannot be used.
        """
        if self._in_bucket:
            # In this project: names of buckets are the whole world's, and one of somebody else's is never written to.
            found = ("storage", "buckets", "list", f"--filter=name={self._bucket.removeprefix('gs://')}")
            self._is_there = bool(gcloud(*found, "--format=value(name)"))
            filled = _resources(LOCAL)
            if filled and self._is_there and try_gcloud("storage", "ls", f"{self.place}/default.tfstate"):
                raise Stop(
                    f"There are two states: the file infra/gcp/terraform.tfstate ({filled} resources) and {self.place}."
                    " Move the one that is not of this deployment away, or set STATE=local to use the file."
                )
            make = "" if self._is_there else f"Makes the bucket {self._bucket} for Terraform's state. "
            self.pending = make + (f"Moves the state from a file to {self._bucket}." if filled else "")
        if self._in_bucket and not self.pending:
            self._use_bucket("-reconfigure")
            return
        if OVERRIDE.exists():
            OVERRIDE.unlink()
            REMEMBERED.unlink(missing_ok=True)  # -reconfigure does not forget a backend that is configured no longer
        self._terraform.run("init", "-input=false", "-no-color")

    def settle(self) -> None:
        """Do what is pending: any machine can go on from here then."""
        if not self._is_there:
            gcloud(
                *("storage", "buckets", "create", self._bucket, f"--location={self._target.region}"),
                *("--uniform-bucket-level-access", "--public-access-prevention"),
            )
            gcloud("storage", "buckets", "update", self._bucket, "--versioning")
        self._use_bucket("-migrate-state", "-force-copy")
        say(f"The state is kept at {self.place} now.")

    def _use_bucket(self, *how: str) -> None:
        bucket = self._bucket.removeprefix("gs://")
        text = f'terraform {{\n  backend "gcs" {{\n    bucket = "{bucket}"\n    prefix = "{PREFIX}"\n  }}\n}}\n'
        OVERRIDE.write_text(text, encoding="utf-8")
        self._terraform.run("init", "-input=false", "-no-color", *how)


def _resources(file: Path) -> int:
    try:
        return len(json.loads(file.read_text(encoding="utf-8")).get("resources", []))
    except (OSError, ValueError):
        return 0
