"""The embedded Secret Manager under the ``gcloud secrets`` of README, guide and recipes, by its endpoint override."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from emulators.secret_manager import SecretManagerServer


@pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed")
@pytest.mark.slow  # each command takes a second to start
def test_the_life_of_a_secret(server: SecretManagerServer, tmp_path: Path) -> None:
    """Create, add, access, annotate, list with a filter, bind, destroy and delete work as against Google."""
    environment = {
        **os.environ,
        "CLOUDSDK_CONFIG": str(tmp_path),
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER": f"{server.url}/",
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_CORE_PROJECT": "acme-dev",
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "true",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
        "CLOUDSDK_CORE_DISABLE_FILE_LOGGING": "true",
    }

    def gcloud(*words: str, given: str = "", status: int = 0) -> tuple[str, str]:
        command = ["gcloud", "secrets", *words]
        done = subprocess.run(command, input=given, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == status, done
        return done.stdout, done.stderr

    labels = "--labels=health=reauthorize,holds=token"
    made = gcloud("create", "life", "--replication-policy=automatic", labels, "--set-annotations=note=x")
    assert made[1] == "Created secret [life].\n"
    assert server.labels("life") == {"health": "reauthorize", "holds": "token"}
    added = gcloud("versions", "add", "life", "--data-file=-", given="the value")
    assert added[1] == "Created version [1] of the secret [life].\n"
    assert gcloud("versions", "access", "latest", "--secret=life")[0] == "the value"
    gcloud("update", "life", "--update-annotations=more=y")
    assert server.annotations("life") == {"more": "y"}  # gcloud takes the others away, as the guide says
    found = gcloud("list", "--filter=labels.holds=token AND labels.health=reauthorize", "--format=value(name)")
    assert found[0] == "life\n"
    role, member = "roles/secretmanager.secretAccessor", "user:a@example.com"
    gcloud("add-iam-policy-binding", "life", f"--role={role}", f"--member={member}")
    shown = gcloud("get-iam-policy", "life", "--format=value(bindings.role,bindings.members)")
    assert (role in shown[0], member in shown[0]) == (True, True)
    gcloud("versions", "destroy", "1", "--secret=life")
    refused = gcloud("versions", "access", "1", "--secret=life", status=1)
    assert "FAILED_PRECONDITION: Secret Version" in refused[1]
    assert gcloud("delete", "life")[1] == "Deleted secret [life].\n"
    assert "NOT_FOUND: Secret [projects/" in gcloud("describe", "life", status=1)[1]
