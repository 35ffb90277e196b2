"""The configurations of `terraform.md` and `airbyte.md`, with real Terraform and a fake of the providers.

Schemas and calls are those of Google's provider, release 7 (`ephemeral_google_secret_manager_secret_version.go`,
`data_source_secret_manager_secret_version_access.go`), and of Airbyte's, 1.1 (documentation of `airbyte_source`).
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
from readers.internet import Internet
from readers.recipe import recipe, run
from readers.tools import ACCOUNTS, CAMPAIGNS, configured

pytestmark = [
    pytest.mark.readers,
    pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not installed"),
]

PAGE = recipe("terraform")
DATA, SECRET = "google_secret_manager_secret_version_access", "tiktok-ads-token-acme"
LOOK, READ = ("GetSecretVersion", SECRET), ("AccessSecretVersion", SECRET)
ARGUMENTS = {"project": "string", "secret": "string required", "version": "string", "is_secret_data_base64": "bool"}
ANSWERS = {"name": "string computed", "secret_data": "string computed"}
TIMES = {"create_time": "string computed", "destroy_time": "string computed", "enabled": "bool computed"}
SOURCE = {"configuration": "string required", "name": "string required", "workspace_id": "string required"} | {
    "definition_id": "string",
    "secret_id": "string",
    **dict.fromkeys(("created_at", "source_id", "source_type"), "string computed"),
}
SCHEMA = {
    "resources": {"airbyte_source": {"attributes": SOURCE, "blocks": {}}},
    "data": {DATA: {"attributes": {**ARGUMENTS, **ANSWERS, "id": "string computed"}, "blocks": {}}},
    "ephemeral": {
        "google_secret_manager_secret_version": {"attributes": {**ARGUMENTS, **ANSWERS, **TIMES}, "blocks": {}}
    },
}
CALL = """\
import base64, sys
import google.auth
from google.auth.transport.requests import AuthorizedSession
credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
session = AuthorizedSession(credentials)
for suffix in sys.argv[2:]:
    answer = session.get(sys.argv[1] + suffix)
    if not answer.ok:
        sys.exit(answer.json()["error"]["message"])
sys.stdout.write(base64.b64decode(answer.json()["payload"]["data"]).decode())
"""


@pytest.fixture
def variables(internet: Internet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """By which Terraform finds the fake, which reads secrets with the reader's credentials."""

    def cloud(kind: str, attribute: str, known: dict[str, Any]) -> str:
        if attribute != "secret_data":
            return f"some {attribute}"
        secret = known["secret"] if "/" in known["secret"] else f"projects/my-project-123/secrets/{known['secret']}"
        address = f"https://secretmanager.googleapis.com/v1/{secret}/versions/{known['version'] or 'latest'}"
        command = [sys.executable, "-c", CALL, address, *([":access"] if kind == DATA else ["", ":access"])]
        done = subprocess.run(command, env=internet.environ(), capture_output=True, text=True, check=False)
        if done.returncode:
            raise PermissionError(done.stderr)
        return done.stdout

    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    (tmp_path / "terraformrc").touch()
    monkeypatch.setattr(stub_provider, "SCHEMA", tmp_path / "schema.json")
    with stub_provider.running(cloud) as found:
        attached = json.loads(found["TF_REATTACH_PROVIDERS"])
        attached["airbytehq/airbyte"] = attached["hashicorp/google"]
        yield {
            "TF_REATTACH_PROVIDERS": json.dumps(attached),
            "CHECKPOINT_DISABLE": "1",
            "TF_CLI_CONFIG_FILE": str(tmp_path / "terraformrc"),
            "TF_CLI_ARGS": "-no-color",
        }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "configuration").mkdir()
    return tmp_path / "configuration"


def terraform(internet: Internet, variables: dict[str, str], folder: Path, *words: str) -> str:
    """One command; returns what it printed."""
    command, environment = ["terraform", *words], internet.environ(**variables)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_ephemeral_token(internet: Internet, variables: dict[str, str], folder: Path) -> None:
    """The script lists the campaigns, and no state, plan or line has the token; a revoked one fails the apply."""
    internet.allow("secretmanager.versions.get")
    run(PAGE, internet, environment=None, folder=folder, variables=variables)
    rows = json.loads((folder / "campaigns.json").read_text())
    assert sorted(row["campaign_name"] for row in rows) == CAMPAIGNS
    assert terraform(internet, variables, folder, "fmt", "-check", "-recursive") == ""
    terraform(internet, variables, folder, "plan", "-out=plan")
    assert internet.token()["access_token"] not in terraform(internet, variables, folder, "show", "-json", "plan")
    assert internet.holding(folder) == []
    assert (set(internet.secrets_calls()), internet.refused) == ({LOOK, READ}, [])
    internet.stage.tiktok.revoke(internet.token()["access_token"])
    script = "terraform apply -auto-approve -replace=module.campaigns.terraform_data.campaigns"
    done = run(PAGE, internet, environment=None, folder=folder, commands=[script], variables=variables, check=False)
    assert (done.returncode, "TikTok answers code 40105" in " ".join(done.stderr.replace("│", " ").split())) == (
        1,
        True,
    )


def test_it_needs_a_second_role(internet: Internet, variables: dict[str, str], folder: Path) -> None:
    """With the one role of readers it is refused when it gets the version's metadata, before it reads it."""
    done = run(PAGE, internet, environment=None, folder=folder, variables=variables, check=False)
    assert done.returncode == 1
    assert "Permission 'secretmanager.versions.get' denied" in " ".join(done.stderr.replace("│", " ").split())
    assert set(internet.secrets_calls()) == {LOOK}


def test_the_data_source(internet: Internet, variables: dict[str, str], folder: Path) -> None:
    """It needs the one role, and writes the token into the state, as the page warns."""
    stored = PAGE.write(folder) / "stored"
    for words in (["init"], ["apply", "-auto-approve"]):
        terraform(internet, variables, stored, *words)
    token = internet.token()["access_token"]
    assert terraform(internet, variables, stored, "output", "-raw", "access_token") == token
    assert internet.holding(stored) == ["terraform.tfstate"]
    assert set(internet.secrets_calls()) == {READ}


@pytest.mark.parametrize("printed", [False, True], ids=["page", "config"])
def test_airbytes_source(internet: Internet, variables: dict[str, str], folder: Path, *, printed: bool) -> None:
    """The page's source is for one advertiser; the one that `make config` prints, without a token, is for all."""
    text = recipe("airbyte").files["main.tf"]
    if printed:
        text = text.partition("variable ")[0] + configured(internet, "airbyte-terraform", folder)
        assert internet.token()["access_token"] not in text
    (folder / "main.tf").write_text(text)
    names = {"workspace_id": "w", "airbyte_workspace_id": "w", "tiktok_app_secret": "the app secret"}
    variables = variables | {f"TF_VAR_{name}": value for name, value in names.items()}
    for words in ("fmt -check", "init -input=false", "plan -input=false -out=plan"):
        terraform(internet, variables, folder, *words.split())
    plan = json.loads(terraform(internet, variables, folder, "show", "-json", "plan"))
    (resource,) = plan["planned_values"]["root_module"]["resources"]
    credentials = {"auth_type": "oauth2.0", "app_id": internet.token()["app_id"]}
    credentials |= {"access_token": internet.token()["access_token"]}
    credentials |= {"secret": "the app secret"} if printed else {"secret": "unused", "advertiser_id": ACCOUNTS[0]}
    assert json.loads(resource["values"]["configuration"]) == {"credentials": credentials, "start_date": "2026-01-01"}
