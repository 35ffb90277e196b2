"""Whose rights are used: Terraform's provider and gcloud have to act as the same identity, or it has to be said."""

from __future__ import annotations

import json
import os
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from gcp.deploy import programs
from gcp.deploy.programs import private_folder, try_gcloud, write_private

# Where the provider looks for credentials, in its own order: contents or the path of a file.
KEYS = (
    *("GOOGLE_OAUTH_ACCESS_TOKEN", "GOOGLE_CREDENTIALS", "GOOGLE_CLOUD_KEYFILE_JSON", "GCLOUD_KEYFILE_JSON"),
    "GOOGLE_APPLICATION_CREDENTIALS",
)


def rights(project: str, problems: list[str]) -> str:
    """Whose rights Terraform and gcloud use from now on, in words; where they have none, that is a problem."""
    if who := use(os.environ, project):
        return who
    account = try_gcloud("auth", "list", "--filter=status:ACTIVE", "--format=value(account)")
    if not account:
        problems.append("gcloud is not logged in: run `gcloud auth login`.")
    token = try_gcloud("auth", "application-default", "print-access-token")
    if token is None:
        problems.append("Terraform has no credentials: run `gcloud auth application-default login`.")
    terraforms = _email(token) if token else ""
    if terraforms in {"", account}:
        return account or ""
    return (
        f"{terraforms} (Terraform, by application default credentials) and {account} (gcloud); "
        "`gcloud auth application-default login` changes the first"
    )


def check_project(project: str, who: str, problems: list[str]) -> None:
    """A project that does not exist, or has no billing, is a problem; later it would cost a deployment half-way."""
    if try_gcloud("projects", "describe", project, "--format=value(projectNumber)") is None:
        problems.append(
            f"The project {project} does not exist, or {who} may not see it: check project_id, or log in again."
        )
    elif try_gcloud("billing", "projects", "describe", project, "--format=value(billingEnabled)") == "False":
        problems.append(
            f"The project {project} has no billing account: link one at "
            f"https://console.cloud.google.com/billing/linkedaccount?project={project}"
        )


def use(given: Mapping[str, str], project: str) -> str:
    """Let gcloud act in this project, and as the identity that an environment gives Terraform's provider.

    Returns:
        Who that is, in words; empty where it names nobody and both use what they are logged in with.
    """
    programs.environment["CLOUDSDK_CORE_PROJECT"] = project
    who = ""
    key = next((name for name in KEYS if given.get(name)), "")
    if key:
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


def _email(token: str) -> str:
    body = urllib.parse.urlencode({"access_token": token}).encode()
    try:
        with urllib.request.urlopen("https://oauth2.googleapis.com/tokeninfo", body, timeout=10) as answer:
            return str(json.load(answer).get("email", ""))
    except (OSError, ValueError):
        return ""
