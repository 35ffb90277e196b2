"""`infra/readers/external-secrets.md` against what the operator and Kubernetes publish.

The schemas are cut down to the fields that the page uses. The operator's are after its CRDs for
`external-secrets.io/v1` (`external-secrets.io_externalsecrets.yaml`, `external-secrets.io_secretstores.yaml`), and what
it does with a property after its `providers/v1/gcp/secretmanager/client.go`: one AccessSecretVersion, then a path into
the JSON.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import Any

import pytest

from gcp.test_readme import complaints
from readers.internet import Internet
from readers.recipe import programs, recipe

pytestmark = pytest.mark.readers

PAGE = recipe("external-secrets")
READ = ("AccessSecretVersion", "tiktok-ads-token-acme")
Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
NAME: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": 253,
    "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
}
KEY: Schema = {"type": "string", "minLength": 1, "maxLength": 253, "pattern": r"^[-._a-zA-Z0-9]+$"}
INTERVAL: Schema = {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$"}


def fields(required: dict[str, Schema], **optional: Schema) -> Schema:
    """An object with these fields and no other."""
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


def kind(version: str, name: str, **more: Schema) -> Schema:
    """A whole object of Kubernetes."""
    metadata = fields({"name": NAME}, namespace=NAME)
    return fields({"apiVersion": {"const": version}, "kind": {"const": name}, "metadata": metadata, **more})


def listed(item: Schema) -> Schema:
    """A list of one or more."""
    return {"type": "array", "items": item, "minItems": 1}


REMOTE = fields({"key": TEXT}, property=TEXT, version=TEXT)
WORKLOAD = fields(
    {"serviceAccountRef": fields({"name": NAME}, namespace=NAME)},
    clusterLocation=TEXT,
    clusterName=TEXT,
    clusterProjectID=TEXT,
)
FROM_SECRET = fields({"secretKeyRef": fields({"name": NAME, "key": KEY})})
CONTAINER = fields(
    {"name": NAME, "image": TEXT},
    env=listed(fields({"name": TEXT, "valueFrom": FROM_SECRET})),
    volumeMounts=listed(fields({"name": NAME, "mountPath": TEXT}, readOnly={"type": "boolean"})),
)
POD = fields(
    {"containers": listed(CONTAINER), "restartPolicy": {"enum": ["Never", "OnFailure"]}},
    volumes=listed(fields({"name": NAME, "secret": fields({"secretName": NAME})})),
)
JOB = fields({"spec": fields({"template": fields({"spec": POD})})})
SCHEMAS = {
    "ServiceAccount": kind("v1", "ServiceAccount"),
    "SecretStore": kind(
        "external-secrets.io/v1",
        "SecretStore",
        spec=fields(
            {"provider": fields({"gcpsm": fields({"projectID": TEXT, "auth": fields({"workloadIdentity": WORKLOAD})})})}
        ),
    ),
    "ExternalSecret": kind(
        "external-secrets.io/v1",
        "ExternalSecret",
        spec=fields(
            {
                "secretStoreRef": fields({"name": NAME}, kind={"enum": ["SecretStore", "ClusterSecretStore"]}),
                "data": listed(fields({"secretKey": KEY, "remoteRef": REMOTE})),
            },
            refreshInterval=INTERVAL,
            target=fields({"name": NAME}),
        ),
    ),
    "CronJob": kind("batch/v1", "CronJob", spec=fields({"schedule": TEXT, "jobTemplate": JOB})),
}
JUDGE = """\
import json, sys
import jsonschema, yaml
texts, schemas = json.load(sys.stdin)
documents = [document for text in texts for document in yaml.safe_load_all(text)]
wrong = [f"{one['kind']}: {error.json_path}: {error.message}" for one in documents
         for error in jsonschema.Draft202012Validator(schemas[one["kind"]]).iter_errors(one)]
print(json.dumps([documents, wrong]))
"""
ACCESS = """\
import sys
from google.cloud import secretmanager
client = secretmanager.SecretManagerServiceClient()
sys.stdout.write(client.access_secret_version(name=sys.argv[1]).payload.data.decode())
"""


def judged(texts: list[str]) -> tuple[dict[str, Any], list[str]]:
    """The objects of YAML files by their kind, and what is wrong with them."""
    python = str(programs("external-secrets") / "python")
    given = json.dumps([texts, SCHEMAS])
    done = subprocess.run([python, "-c", JUDGE], input=given, capture_output=True, text=True, check=True)
    documents, wrong = json.loads(done.stdout)
    return {one["kind"]: one for one in documents}, wrong


@pytest.fixture(scope="module")
def objects() -> dict[str, Any]:
    """What the page makes, by kind."""
    found, wrong = judged(list(PAGE.files.values()))
    assert wrong == []
    return found


def test_every_object_is_as_its_schema_demands(objects: dict[str, Any]) -> None:
    """No field is unknown, misspelt or of the wrong type, and none is missing."""
    assert set(objects) == set(SCHEMAS)


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        ("remoteRef:", "remoteref:", "'remoteref' was unexpected"),
        ("projectID:", "projectId:", "'projectID' is a required property"),
        ("15m", "15 minutes", "does not match"),
        ("external-secrets.io/v1\n", "external-secrets.io/v1beta1\n", "was expected"),
    ],
)
def test_a_mistake_would_be_found(right: str, wrong: str, complaint: str) -> None:
    """The check fails for a misspelt field, a missing one, a duration that is none and an old version."""
    text = PAGE.files["tiktok.yaml"]
    assert right in text
    assert complaint in "\n".join(judged([text.replace(right, wrong)])[1])


def test_the_names_belong_together(objects: dict[str, Any]) -> None:
    """What one object refers to is what another is called, all in one namespace."""
    store, external = objects["SecretStore"], objects["ExternalSecret"]
    pod = objects["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    identity = store["spec"]["provider"]["gcpsm"]["auth"]["workloadIdentity"]
    assert {one["metadata"]["namespace"] for one in objects.values()} == {"pipelines"}
    assert identity["serviceAccountRef"]["name"] == objects["ServiceAccount"]["metadata"]["name"]
    assert external["spec"]["secretStoreRef"] == {"name": store["metadata"]["name"], "kind": "SecretStore"}
    made, keys = external["spec"]["target"]["name"], {one["secretKey"] for one in external["spec"]["data"]}
    assert [volume["secret"]["secretName"] for volume in pod["volumes"]] == [made]
    for variable in pod["containers"][0]["env"]:
        assert variable["valueFrom"]["secretKeyRef"]["name"] == made
        assert variable["valueFrom"]["secretKeyRef"]["key"] in keys
    assert [mount["name"] for mount in pod["containers"][0]["volumeMounts"]] == [one["name"] for one in pod["volumes"]]


def test_the_properties_are_in_the_payload(objects: dict[str, Any], internet: Internet) -> None:
    """Each reference is a secret that the reader may read with its one role, and a key of what is in it."""
    project = objects["SecretStore"]["spec"]["provider"]["gcpsm"]["projectID"]
    found = {}
    for entry in objects["ExternalSecret"]["spec"]["data"]:
        name = f"projects/{project}/secrets/{entry['remoteRef']['key']}/versions/latest"
        done = subprocess.run(
            [sys.executable, "-c", ACCESS, name], env=internet.environ(), capture_output=True, text=True, check=True
        )
        value = json.loads(done.stdout)[entry["remoteRef"]["property"]]
        found[entry["secretKey"]] = value if isinstance(value, str) else json.dumps(value)
    assert found["access_token"] == internet.token()["access_token"]
    assert json.loads(found["advertiser_ids"]) == internet.token()["advertiser_ids"]
    assert set(internet.secrets_calls()) == {READ}


@pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed")
def test_gcloud_understands_the_command(objects: dict[str, Any]) -> None:
    """The command that gives the role is one, and names the service account of the page."""
    (text,) = PAGE.blocks("text")
    command = text.splitlines()[0]
    account = objects["ServiceAccount"]["metadata"]
    assert command.endswith(f"/subject/ns/{account['namespace']}/sa/{account['name']}")
    assert complaints([command]) == []
