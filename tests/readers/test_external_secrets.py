"""`infra/readers/external-secrets.md`: every field is a published one, the names fit, the properties are stored."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from gcp.test_readme import complaints
from readers.internet import Internet
from readers.recipe import programs, recipe

pytestmark = pytest.mark.readers

PAGE = recipe("external-secrets")
# As the CRDs of external-secrets.io/v1 and Kubernetes' API (v1, batch/v1) have them; [] is an item of a list.
POD = "spec.jobTemplate.spec.template.spec"
FIELDS = {
    "ServiceAccount": set(),
    "SecretStore": {
        "spec.provider.gcpsm.projectID",
        "spec.provider.gcpsm.auth.workloadIdentity.serviceAccountRef.name",
    },
    "ExternalSecret": {
        *("spec.refreshInterval", "spec.secretStoreRef.name", "spec.secretStoreRef.kind", "spec.target.name"),
        *("spec.data[].secretKey", "spec.data[].remoteRef.key", "spec.data[].remoteRef.property"),
    },
    "CronJob": {
        *("spec.schedule", f"{POD}.restartPolicy", f"{POD}.containers[].name", f"{POD}.containers[].image"),
        *(f"{POD}.containers[].env[].name", f"{POD}.containers[].env[].valueFrom.secretKeyRef.name"),
        *(f"{POD}.containers[].env[].valueFrom.secretKeyRef.key", f"{POD}.containers[].volumeMounts[].name"),
        *(f"{POD}.containers[].volumeMounts[].mountPath", f"{POD}.containers[].volumeMounts[].readOnly"),
        *(f"{POD}.volumes[].name", f"{POD}.volumes[].secret.secretName"),
    },
}
VERSIONS = {"SecretStore": "external-secrets.io/v1", "ExternalSecret": "external-secrets.io/v1", "CronJob": "batch/v1"}
READ = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(sys.stdin))))"


def paths(value: Any, at: str = "") -> Iterator[str]:
    """Where the values of a document are."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths(inner, f"{at}.{key}".lstrip("."))
    elif isinstance(value, list):
        for inner in value:
            yield from paths(inner, f"{at}[]")
    else:
        yield at


@pytest.fixture(scope="module")
def objects() -> dict[str, Any]:
    """What the page makes, by kind."""
    text = "\n---\n".join(PAGE.files.values())
    command = [str(programs("external-secrets") / "python"), "-c", READ]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return {one["kind"]: one for one in json.loads(done.stdout)}


@pytest.mark.parametrize("kind", FIELDS)
def test_fields(objects: dict[str, Any], kind: str) -> None:
    """None is unknown or misspelt, none is missing."""
    always = {"apiVersion", "kind", "metadata.name", "metadata.namespace"}
    assert set(paths(objects[kind])) == FIELDS[kind] | always
    assert objects[kind]["apiVersion"] == VERSIONS.get(kind, "v1")
    assert objects[kind]["metadata"]["namespace"] == "pipelines"


def test_names(objects: dict[str, Any], internet: Internet) -> None:
    """What one object refers to is what another is called; the secret and its properties are the keeper's."""
    store, external = objects["SecretStore"], objects["ExternalSecret"]["spec"]
    account = objects["ServiceAccount"]["metadata"]
    reference = store["spec"]["provider"]["gcpsm"]["auth"]["workloadIdentity"]["serviceAccountRef"]
    assert (reference["name"], external["secretStoreRef"]["name"]) == (account["name"], store["metadata"]["name"])
    pod = objects["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    variable = pod["containers"][0]["env"][0]["valueFrom"]["secretKeyRef"]
    assert [variable["name"], pod["volumes"][0]["secret"]["secretName"]] == 2 * [external["target"]["name"]]
    assert variable["key"] in {one["secretKey"] for one in external["data"]}
    assert pod["containers"][0]["volumeMounts"][0]["name"] == pod["volumes"][0]["name"]
    assert {one["remoteRef"]["key"] for one in external["data"]} == {"tiktok-ads-token-acme"}
    assert {one["remoteRef"]["property"] for one in external["data"]} <= set(internet.token())


def test_commands(objects: dict[str, Any]) -> None:
    """The one that gives the role is one of gcloud's, and names the account of the page."""
    command = PAGE.commands[0].splitlines()[0]
    account = objects["ServiceAccount"]["metadata"]
    assert command.endswith(f"/subject/ns/{account['namespace']}/sa/{account['name']}")
    assert complaints([command]) == []
