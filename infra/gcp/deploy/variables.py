"""What has to be known before Terraform runs, from where Terraform reads it, or from a person."""

from __future__ import annotations

import getpass
import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gcp.deploy.programs import HERE, ROOT, Stop, say

REQUIRED = {
    "project_id": ("Google Cloud project id", "my-project-123"),
    "region": ("region of the functions", "europe-west1"),
    "tiktok_app_id": ("App ID that the app's page in TikTok's portal shows", "7000000000000000000"),
}
DEFAULTS = {"name": "tiktok-ads", "secret_prefix": "tiktok-ads"}


@dataclass(frozen=True)
class Target:
    """What is to be set up, as far as it has to be known before Terraform runs."""

    project: str
    region: str
    name: str
    secret_prefix: str = ""

    def secret(self, name: str) -> str:
        """Id of one of the keeper's own secrets."""
        return f"{self.secret_prefix}-{name}"

    def function(self, name: str) -> str:
        """Full name of a function: `connect` or `refresh`."""
        return f"projects/{self.project}/locations/{self.region}/functions/{self.name}-{name}"


def read(given: Mapping[str, str], directory: Path = HERE) -> dict[str, str]:
    """The variables that this program has to know, in Terraform's order: later ones replace earlier ones."""
    names = [*REQUIRED, *DEFAULTS]
    found = DEFAULTS | {name: given[f"TF_VAR_{name}"] for name in names if given.get(f"TF_VAR_{name}")}
    automatic = sorted([*directory.glob("*.auto.tfvars"), *directory.glob("*.auto.tfvars.json")])
    for file in [directory / "terraform.tfvars", directory / "terraform.tfvars.json", *automatic]:
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        values = dict(re.findall(r'^\s*"?(\w+)"?\s*=\s*"([^"\n]*)"', text, re.MULTILINE))
        if text and file.suffix == ".json":
            values = json.loads(text)
        found |= {name: str(values[name]) for name in names if values.get(name)}
    return found


def complete(found: dict[str, str], problems: list[str]) -> None:
    """Ask for what is missing, and keep the answers in terraform.tfvars, where Terraform reads them.

    Args:
        found: what is known; the answers are added.
        problems: if there are some already, or no terminal, nobody is asked; what is missing then is another one.
    """
    missing = [name for name in REQUIRED if not found.get(name)]
    if missing and (problems or not sys.stdin.isatty()):
        problems.append(
            "Variables are missing. Write them to infra/gcp/terraform.tfvars (or set TF_VAR_… for each):\n"
            + "\n".join(f'    {name} = "{REQUIRED[name][1]}"  # {REQUIRED[name][0]}' for name in missing)
        )
    elif missing:
        file = HERE / "terraform.tfvars"
        say(f"Some variables are missing; the answers are kept in {file.relative_to(ROOT)}.")
        for name in missing:
            meaning, example = REQUIRED[name]
            while not re.fullmatch(r"[\w.:-]+", found.get(name, ""), re.ASCII):
                found[name] = input(f"{name} ({meaning}, like {example}): ").strip().strip('"')
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        lines += [f'{name} = "{found[name]}"' for name in missing]
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def app_secret() -> str:
    """The TikTok app's secret, from the environment or from a person, unseen.

    Raises:
        Stop: there is none, or it cannot be one.
    """
    given = os.environ.get("TIKTOK_APP_SECRET", "")
    if not given:
        if not sys.stdin.isatty():
            raise Stop("The app's secret is not stored yet, and there is no terminal to ask: set TIKTOK_APP_SECRET.")
        given = getpass.getpass("Secret of the TikTok app (portal, My Apps; it is not shown while you paste it): ")
    given = given.strip()
    if not re.fullmatch(r"[!-~]{1,256}", given):
        raise Stop("That cannot be the app's secret: copy the Secret from the app's page in TikTok's portal again.")
    return given
