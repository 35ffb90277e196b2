"""The embedded Secret Manager under ``gcloud secrets``, unchanged, by its endpoint override."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emulators.secret_manager import SecretManagerServer

pytestmark = [
    pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed"),
    pytest.mark.slow,  # each command takes a second to start
]

Gcloud = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def shared() -> Iterator[SecretManagerServer]:
    with SecretManagerServer() as running:
        yield running


@pytest.fixture(scope="module")
def gcloud(shared: SecretManagerServer, tmp_path_factory: pytest.TempPathFactory) -> Gcloud:
    """Runs ``gcloud secrets ...`` with a configuration of its own against the embedded Secret Manager."""
    folder: Path = tmp_path_factory.mktemp("gcloud")
    environment = {
        **os.environ,
        "CLOUDSDK_CONFIG": str(folder),
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER": f"{shared.url}/",
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_CORE_PROJECT": "acme-dev",
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "true",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
        "CLOUDSDK_CORE_DISABLE_FILE_LOGGING": "true",
    }

    def run(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["gcloud", "secrets", *arguments],
            input=given,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def test_the_life_of_a_secret(shared: SecretManagerServer, gcloud: Gcloud) -> None:
    """Create, add, access, label, list with a filter, destroy and delete work as against Google."""
    labels = "--labels=health=ok,holds=token"
    made = gcloud("create", "life", "--replication-policy=automatic", labels, "--set-annotations=note=x")
    assert (made.returncode, made.stderr) == (0, "Created secret [life].\n")
    assert (shared.labels("life"), shared.annotations("life")) == ({"health": "ok", "holds": "token"}, {"note": "x"})
    added = gcloud("versions", "add", "life", "--data-file=-", given="the value")
    assert added.stderr == "Created version [1] of the secret [life].\n"
    assert gcloud("versions", "access", "latest", "--secret=life").stdout == "the value"
    assert gcloud("update", "life", "--update-labels=health=reauthorize").returncode == 0
    found = gcloud("list", "--filter=labels.holds=token AND labels.health=reauthorize", "--format=value(name)")
    assert found.stdout == "life\n"
    assert gcloud("versions", "destroy", "1", "--secret=life", "--quiet").returncode == 0
    refused = gcloud("versions", "access", "1", "--secret=life")
    assert refused.returncode == 1
    assert "FAILED_PRECONDITION: Secret Version" in refused.stderr
    assert "is in DESTROYED state." in refused.stderr
    listed = gcloud("versions", "list", "life", "--format=value(name,state)")
    assert listed.stdout.lower().split() == ["1", "destroyed"]
    assert gcloud("delete", "life", "--quiet").stderr == "Deleted secret [life].\n"
    assert "life" not in shared.secrets()
    assert "NOT_FOUND: Secret [projects/" in gcloud("describe", "life").stderr


def test_policies(shared: SecretManagerServer, gcloud: Gcloud) -> None:
    """A binding is added to a secret's policy and read back."""
    shared.create("policies", project="acme-dev")
    role, member = "roles/secretmanager.secretAccessor", "user:a@example.com"
    added = gcloud("add-iam-policy-binding", "policies", f"--role={role}", f"--member={member}")
    assert added.returncode == 0
    shown = gcloud("get-iam-policy", "policies", "--format=value(bindings.role,bindings.members)")
    assert role in shown.stdout
    assert member in shown.stdout
