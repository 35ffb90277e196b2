"""`infra/readers/terraform.md`, run as it stands with real Terraform and a stand-in for Google's provider.

The schema and the calls are those of the provider's sources, release 7:
`ephemeral_google_secret_manager_secret_version.go` and `data_source_secret_manager_secret_version_access.go`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gcp import stub_provider
from local.tiktok import ads
from readers.internet import Internet
from readers.recipe import recipe, run

pytestmark = [
    pytest.mark.readers,
    pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not installed"),
]

PAGE = recipe("terraform")
EPHEMERAL = "google_secret_manager_secret_version"
DATA = "google_secret_manager_secret_version_access"
SECRET = "tiktok-ads-token-acme"
LOOK, READ = ("GetSecretVersion", SECRET), ("AccessSecretVersion", SECRET)
ARGUMENTS = {"project": "string", "secret": "string required", "version": "string", "is_secret_data_base64": "bool"}
ANSWERS = {"name": "string computed", "secret_data": "string computed"}
TIMES = {"create_time": "string computed", "destroy_time": "string computed", "enabled": "bool computed"}
SCHEMA = {
    "resources": {},
    "data": {DATA: {"attributes": {**ARGUMENTS, **ANSWERS, "id": "string computed"}, "blocks": {}}},
    "ephemeral": {EPHEMERAL: {"attributes": {**ARGUMENTS, **ANSWERS, **TIMES}, "blocks": {}}},
}
CALL = """\
import base64, sys
import google.auth
from google.auth.transport.requests import AuthorizedSession
credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
session = AuthorizedSession(credentials)
address, *suffixes = sys.argv[1:]
for suffix in suffixes:
    answer = session.get(address + suffix)
    if not answer.ok:
        sys.exit(answer.json()["error"]["message"])
sys.stdout.write(base64.b64decode(answer.json()["payload"]["data"]).decode())
"""


class Google:
    """What the provider does when it is asked for a secret, with the reader's credentials."""

    def __init__(self, internet: Internet) -> None:
        self._internet = internet

    def __call__(self, kind: str, attribute: str, known: dict[str, Any]) -> str:
        if attribute != "secret_data":
            return "my-project-123" if attribute == "project" else f"some {attribute}"
        secret = known["secret"] if "/" in known["secret"] else f"projects/my-project-123/secrets/{known['secret']}"
        suffixes = [":access"] if kind == DATA else ["", ":access"]
        address = f"https://secretmanager.googleapis.com/v1/{secret}/versions/{known['version'] or 'latest'}"
        done = subprocess.run(
            [sys.executable, "-c", CALL, address, *suffixes],
            env=self._internet.environ(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise PermissionError(done.stderr)
        return done.stdout


@pytest.fixture
def variables(internet: Internet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """By which Terraform finds the provider's stand-in."""
    schema, settings = tmp_path / "schema.json", tmp_path / "terraformrc"
    schema.write_text(json.dumps(SCHEMA))
    settings.touch()
    monkeypatch.setattr(stub_provider, "SCHEMA", schema)
    with stub_provider.running(Google(internet)) as found:
        yield {**found, "CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": str(settings), "TF_CLI_ARGS": "-no-color"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the page's files are."""
    made = tmp_path / "configuration"
    made.mkdir()
    return made


def test_a_module_gets_the_token_and_the_state_does_not(
    internet: Internet, variables: dict[str, str], folder: Path
) -> None:
    """The script lists the campaigns, and the token is in no file that Terraform writes, and in no line it prints."""
    internet.allow("secretmanager.versions.get")
    run(PAGE, internet, environment="python", folder=folder, variables=variables)
    assert json.loads((folder / "campaigns.json").read_text()) == ads.campaigns(internet.token()["advertiser_ids"][0])
    assert (folder / "terraform.tfstate").exists()
    assert internet.holding(folder) == []
    terraform(internet, variables, folder, "plan", "-out=plan")
    shown = terraform(internet, variables, folder, "show", "-json", "plan")
    assert internet.token()["access_token"] not in shown
    assert (set(internet.secrets_calls()), internet.refused) == ({LOOK, READ}, [])


def test_a_new_token_is_seen_by_the_next_plan(internet: Internet, variables: dict[str, str], folder: Path) -> None:
    """What was applied before with another token is not to be changed, and the new one is what is used."""
    internet.allow("secretmanager.versions.get")
    run(PAGE, internet, environment="python", folder=folder, variables=variables)
    internet.rotate()
    terraform(
        internet, variables, folder, "apply", "-auto-approve", "-replace=module.campaigns.terraform_data.campaigns"
    )
    new = internet.token()["access_token"]
    assert [call["Access-Token"] for call in internet.stage.tiktok.requests_of("campaign_get")][-1] == new


def test_a_script_that_is_refused_fails_the_apply(internet: Internet, variables: dict[str, str], folder: Path) -> None:
    """A revoked token is an error with TikTok's code."""
    internet.allow("secretmanager.versions.get")
    internet.stage.tiktok.revoke(internet.token()["access_token"])
    done = run(PAGE, internet, environment="python", folder=folder, variables=variables, check=False)
    assert done.returncode == 1
    assert "TikTok answers code 40105" in unwrapped(done.stderr)


def test_the_ephemeral_resource_needs_a_second_role(
    internet: Internet, variables: dict[str, str], folder: Path
) -> None:
    """With the one role of readers it is refused when it looks at the version, before it reads it."""
    done = run(PAGE, internet, environment="python", folder=folder, variables=variables, check=False)
    assert done.returncode == 1
    assert "Permission 'secretmanager.versions.get' denied" in unwrapped(done.stderr)
    assert set(internet.secrets_calls()) == {LOOK}


def test_the_data_source_needs_the_one_role_and_writes_the_token_into_the_state(
    internet: Internet, variables: dict[str, str], folder: Path
) -> None:
    """What the page warns of is so."""
    stored = PAGE.write(folder) / "stored"
    for words in (["init"], ["plan", "-out=plan"], ["apply", "plan"]):
        terraform(internet, variables, stored, *words)
    token = internet.token()["access_token"]
    assert token in terraform(internet, variables, stored, "show", "-json", "plan")
    assert terraform(internet, variables, stored, "output", "-raw", "access_token") == token
    assert internet.holding(stored) == ["terraform.tfstate"]
    assert set(internet.secrets_calls()) == {READ}


def test_the_files_are_formatted(internet: Internet, variables: dict[str, str], folder: Path) -> None:
    """`terraform fmt` would change nothing."""
    PAGE.write(folder)
    assert terraform(internet, variables, folder, "fmt", "-check", "-diff", "-recursive") == ""


def unwrapped(complaint: str) -> str:
    """Terraform's error in one line, without its frame."""
    return " ".join(complaint.replace("│", " ").split())


def terraform(internet: Internet, variables: dict[str, str], folder: Path, *words: str) -> str:
    """One command; returns what it printed."""
    done = subprocess.run(
        ["terraform", *words],
        cwd=folder,
        env=internet.environ(**variables),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
