"""Whose rights are used: Terraform's provider and gcloud have to act as the same identity, or it has to be said."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from gcp.deploy import programs
from gcp.deploy.programs import try_gcloud, write_private

# Where the provider looks for credentials, in its own order: contents or the path of a file.
KEYS = (
    *("GOOGLE_OAUTH_ACCESS_TOKEN", "GOOGLE_CREDENTIALS", "GOOGLE_CLOUD_KEYFILE_JSON", "GCLOUD_KEYFILE_JSON"),
    "GOOGLE_APPLICATION_CREDENTIALS",
)


def use(environment: Mapping[str, str]) -> str:
    """Let gcloud act as the identity that the environment gives Terraform's provider.

    Returns:
        Who that is, in words; empty where the environment names nobody and both use what they are logged in with.
    """
    who = ""
    key = next((name for name in KEYS if environment.get(name)), "")
    if key:
        token = key == "GOOGLE_OAUTH_ACCESS_TOKEN"
        setting = "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE" if token else "CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE"
        programs.for_gcloud[setting] = str(_file(environment[key]))
        who = f"the identity of {key}"
    account = environment.get("GOOGLE_IMPERSONATE_SERVICE_ACCOUNT", "")
    if account:
        programs.for_gcloud["CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT"] = account
        who = f"{account}, impersonated"
    return who


def logged_in(*, terraform: bool) -> tuple[str, str, list[str]]:
    """Who gcloud is logged in as, who Terraform would be (empty: unknown), and what is missing.

    Args:
        terraform: whether Terraform needs credentials as well.
    """
    problems = []
    account = try_gcloud("auth", "list", "--filter=status:ACTIVE", "--format=value(account)") or ""
    if not account:
        problems.append("gcloud is not logged in: run `gcloud auth login`.")
    token = try_gcloud("auth", "application-default", "print-access-token") if terraform else ""
    if token is None:
        problems.append("Terraform has no credentials: run `gcloud auth application-default login`.")
    return account, _email(token) if token else "", problems


def _file(given: str) -> Path:
    """The file that a variable names; one that nobody else may read, gone at the end, where it holds the contents."""
    try:
        if Path(given).expanduser().exists():
            return Path(given).expanduser()
    except OSError:  # contents are too long for a name
        pass
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    write_private(folder / "credentials", given)
    return folder / "credentials"


def _email(token: str) -> str:
    body = urllib.parse.urlencode({"access_token": token}).encode()
    try:
        with urllib.request.urlopen("https://oauth2.googleapis.com/tokeninfo", body, timeout=10) as answer:
            return str(json.load(answer).get("email", ""))
    except (OSError, ValueError):
        return ""
