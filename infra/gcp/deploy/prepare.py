"""What has to be there before anything is done: programs, variables, somebody's rights, and the project."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import requests

from gcp.deploy import programs
from gcp.deploy.programs import HERE, private_folder, say, try_gcloud, write_private
from gcp.deploy.refusals import Stop, ours

REQUIRED = {
    "project_id": ("Google Cloud project id", "my-project-123"),
    "region": ("region of the functions", "europe-west1"),
    "tiktok_app_id": ("App ID that the app's page in TikTok's portal shows", "7000000000000000000"),
}
DEFAULTS = {"name": "tiktok-ads", "secret_prefix": "tiktok-ads"}
# Where Google's provider looks for credentials, in its own order: contents or the path of a file.
KEYS = (
    *("GOOGLE_OAUTH_ACCESS_TOKEN", "GOOGLE_CREDENTIALS", "GOOGLE_CLOUD_KEYFILE_JSON", "GCLOUD_KEYFILE_JSON"),
    "GOOGLE_APPLICATION_CREDENTIALS",
)


class Target(NamedTuple):
    """What is to be set up, as far as it has to be known before Terraform runs."""

    project: str
    region: str
    name: str
    secret_prefix: str = ""


def ready() -> tuple[Target, str, str]:
    """What is to be set up, by which program, and with whose rights; raises `Stop`, with all that is missing."""
    problems: list[str] = []
    names = [wanted] if (wanted := os.environ.get("TERRAFORM")) else ["terraform", "tofu"]
    terraform, gcloud = next(filter(shutil.which, names), ""), shutil.which("gcloud")
    if not terraform:
        problems.append(ours("no_terraform", name=names[0]))
    if not gcloud:
        problems.append(ours("no_gcloud"))
    found = variables(os.environ)
    missing = {name: REQUIRED[name] for name in REQUIRED if not found.get(name)}
    if missing and not problems and sys.stdin.isatty():
        found |= _answers(missing)
    elif missing:
        lines = [f'    {name} = "{example}"  # {meaning}' for name, (meaning, example) in missing.items()]
        problems.append("\n".join([ours("no_variables"), *lines]))
    project = found.get("project_id", "")
    who = (use(os.environ, project) or _logged_in(problems)) if gcloud else ""
    if who and project:
        _check(project, who, problems)
    if problems:
        raise Stop("Not everything that is needed is there:\n" + "\n".join(f"- {problem}" for problem in problems))
    return Target(project, found["region"], found["name"], found["secret_prefix"]), terraform, who


def variables(given: Mapping[str, str], directory: Path = HERE) -> dict[str, str]:
    """Those that have to be known here, in Terraform's order: later ones replace earlier ones."""
    names = [*REQUIRED, *DEFAULTS]
    sources: list[Mapping[str, str]] = [DEFAULTS, {name: given.get(f"TF_VAR_{name}", "") for name in names}]
    automatic = sorted([*directory.glob("*.auto.tfvars"), *directory.glob("*.auto.tfvars.json")])
    for file in [directory / "terraform.tfvars", directory / "terraform.tfvars.json", *automatic]:
        text = file.read_text(encoding="utf-8") if file.exists() else "{}"
        pairs = re.findall(r'^\s*"?(\w+)"?\s*=\s*"([^"\n]*)"', text, re.MULTILINE)
        sources.append(json.loads(text) if file.suffix == ".json" else dict(pairs))
    return {name: str(values[name]) for values in sources for name in names if values.get(name)}


def use(given: Mapping[str, str], project: str) -> str:
    """Let gcloud act in this project, and as the identity that an environment gives Terraform's provider.

    Returns:
        Who that is, in words; empty where it names nobody and both use what they are logged in with.
    """
    who = ""
    programs.environment["CLOUDSDK_CORE_PROJECT"] = project
    if key := next(filter(given.get, KEYS), ""):
        token = key == "GOOGLE_OAUTH_ACCESS_TOKEN"
        file = Path(given[key]).expanduser()
        if token or given[key].lstrip().startswith("{"):  # contents
            file = Path(private_folder.name) / "credentials"
            write_private(file, given[key])
        setting = "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE" if token else "CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE"
        programs.environment[setting] = str(file)
        who = f"the identity of {key}"
    if account := given.get("GOOGLE_IMPERSONATE_SERVICE_ACCOUNT", ""):
        programs.environment["CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT"] = account
        who = f"{account}, impersonated"
    return who


def _answers(missing: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """What a person answers, kept where Terraform reads it."""
    say("Some variables are missing; the answers are kept in infra/gcp/terraform.tfvars.")
    found: dict[str, str] = {}
    for name, (meaning, example) in missing.items():
        while not re.fullmatch(r"[\w.:-]+", found.get(name, ""), re.ASCII):
            found[name] = input(f"{name} ({meaning}, like {example}): ").strip().strip('"')
    file = HERE / "terraform.tfvars"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    lines += [f'{name} = "{value}"' for name, value in found.items()]
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return found


def _logged_in(problems: list[str]) -> str:
    """Who gcloud and, by application default credentials, Terraform are logged in as, in words."""
    gclouds = try_gcloud("auth", "list", "--filter=status:ACTIVE", "--format=value(account)") or ""
    token = try_gcloud("auth", "application-default", "print-access-token")
    if not gclouds:
        problems.append(ours("no_login"))
    if token is None:
        problems.append(ours("no_credentials"))
    terraforms = ""
    if token:
        with suppress(requests.RequestException):  # it only serves to say who that is
            answer = requests.post("https://oauth2.googleapis.com/tokeninfo", {"access_token": token}, timeout=10)
            terraforms = str(answer.json().get("email", ""))
    if terraforms in {"", gclouds}:
        return gclouds
    return ours("two_identities", terraforms=terraforms, gclouds=gclouds)


def _check(project: str, who: str, problems: list[str]) -> None:
    """A project that cannot be used would cost a deployment half-way."""
    if try_gcloud("projects", "describe", project, "--format=value(projectNumber)") is None:
        problems.append(ours("no_project", project=project, who=who))
    elif try_gcloud("billing", "projects", "describe", project, "--format=value(billingEnabled)") == "False":
        problems.append(ours("no_billing", project=project))
