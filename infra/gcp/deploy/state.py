"""Where Terraform's state is kept: in a bucket of the project, so that it belongs to no laptop."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import NamedTuple

from gcp.deploy.prepare import Target
from gcp.deploy.programs import HERE, gcloud, say, try_gcloud
from gcp.deploy.refusals import Stop, ours
from gcp.deploy.terraform import Terraform

# Written beside the configuration rather than into it, which stays usable as a module; ignored by git.
OVERRIDE = HERE / "state_override.tf"
LOCAL = HERE / "terraform.tfstate"
REMEMBERED = HERE / ".terraform" / "terraform.tfstate"  # which backend was used last
BACKEND = re.compile(r"^\s*(backend\s+\"|cloud\s*\{)", re.MULTILINE)


class State(NamedTuple):
    """The state of one deployment."""

    place: str  # where it is kept, in words
    pending: str = ""  # what `settle` will do, in words
    settle: Callable[[], None] = lambda: None


def opened(target: Target, terraform: Terraform) -> State:
    """Let Terraform use the state; while something is pending, that is the one in a file, if there is one."""
    own = [file.name for file in sorted(HERE.glob("*.tf")) if file != OVERRIDE and BACKEND.search(file.read_text())]
    if own or os.environ.get("STATE") == "local":
        _initialize(terraform)
        return State(f"where {own[0]} says" if own else "infra/gcp/terraform.tfstate")
    name = f"{re.sub('[.:]', '-', target.project)}-{target.name}-state"
    bucket, place = f"gs://{name}", f"gs://{name}/tokenkeeper"
    # In this project: names of buckets are the whole world's, and one of somebody else's is never written to.
    is_there = gcloud("storage", "buckets", "list", f"--filter=name={name}", "--format=value(name)")
    # OpenTofu writes it without spaces.
    filled = len(re.findall('"mode": ?"managed"', LOCAL.read_text(encoding="utf-8"))) if LOCAL.exists() else 0
    if is_there and not filled:
        _initialize(terraform, "-reconfigure", bucket=name)
        return State(place)
    if is_there and try_gcloud("storage", "ls", f"{place}/default.tfstate"):
        raise Stop(ours("two_states", filled=filled, place=place))

    def settle() -> None:
        if not is_there:
            closed = ("--uniform-bucket-level-access", "--public-access-prevention")
            gcloud("storage", "buckets", "create", bucket, f"--location={target.region}", *closed)
            gcloud("storage", "buckets", "update", bucket, "--versioning")
        _initialize(terraform, "-migrate-state", "-force-copy", bucket=name)
        say(f"The state is kept at {place} now.")

    _initialize(terraform)
    makes = "" if is_there else f"Makes the bucket {bucket} for Terraform's state. "
    return State(place, makes + (f"Moves the state from a file to {bucket}." if filled else ""), settle)


def _initialize(terraform: Terraform, *how: str, bucket: str = "") -> None:
    """Let Terraform use this bucket, or else a file, or what somebody else configured."""
    if bucket:
        keys = f'    bucket = "{bucket}"\n    prefix = "tokenkeeper"\n'
        OVERRIDE.write_text(f'terraform {{\n  backend "gcs" {{\n{keys}  }}\n}}\n', encoding="utf-8")
    elif OVERRIDE.exists():
        OVERRIDE.unlink()
        REMEMBERED.unlink(missing_ok=True)  # -reconfigure does not forget a backend that is configured no longer
    terraform.run("init", "-input=false", "-no-color", *how)
