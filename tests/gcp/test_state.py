"""The state belongs to the project, not to a laptop: in a bucket, with Terraform's own backend and the real gcloud."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

import pytest

from gcp import configuration
from gcp.cloud_storage import CloudStorage, running
from gcp.machine import HAS_VALUES, USUAL, Machine

BUCKET = "my-project-123-tiktok-ads-state"
GOOD = [HAS_VALUES, *USUAL]
LOCK = {"ID": "", "Who": "colleague@laptop", "Created": "2026-11-27T10:00:00Z", "Operation": "OperationTypeApply"}


@pytest.fixture
def storage(machine: Machine) -> Iterator[CloudStorage]:
    """Cloud Storage, which the machine's Terraform and gcloud talk to."""
    gcloud = shutil.which("gcloud")
    if not gcloud:
        pytest.skip("gcloud is not installed")
    storage = CloudStorage()
    with running(storage) as address:
        machine.path = "/usr/bin:/bin"  # the real gcloud is a shell script
        machine.environment |= {
            "REAL_GCLOUD": gcloud,
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": f"{address}/storage/v1/",
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
            "GOOGLE_BACKEND_STORAGE_CUSTOM_ENDPOINT": f"{address}/storage/v1/",
            "STORAGE_EMULATOR_HOST": address.removeprefix("http://"),
            "GOOGLE_OAUTH_ACCESS_TOKEN": "made-up",
        }
        yield storage


def test_a_state_moves_from_a_file_into_a_bucket_once(
    storage: CloudStorage, machine: Machine, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The bucket is closed and versioned; another machine plans nothing, and a lock is said, and taken when asked."""
    status, said = machine.run("deploy", "--yes", answers=GOOD)
    assert (status, storage.buckets) == (0, {}), said
    kinds = machine.kinds
    del machine.environment["STATE"]
    status, said = machine.run("deploy", answers=GOOD, typed="yes\n")
    assert status == 0, said
    assert f"Makes the bucket gs://{BUCKET} for Terraform's state. Moves the state from a file" in said
    bucket = storage.buckets[BUCKET]
    assert bucket["iamConfiguration"]["uniformBucketLevelAccess"]["enabled"]
    assert bucket["iamConfiguration"]["publicAccessPrevention"] == "enforced"
    assert bucket["versioning"]["enabled"]
    state = json.loads(storage.objects[BUCKET, "tokenkeeper/default.tfstate"][0])
    assert kinds <= {entry["type"] for entry in state["resources"]}

    folder = tmp_path_factory.mktemp("other")
    configuration.copy(folder)
    other = Machine(folder, environment=machine.environment, path=machine.path)
    other.link(str(configuration.TERRAFORM))
    shutil.copy(machine.stub / "functions.json", other.stub)
    status, said = other.run("deploy", answers=GOOD)
    assert (status, "Nothing is to be changed" in said) == (0, True), said

    storage.put(BUCKET, "tokenkeeper/default.tflock", json.dumps(LOCK).encode())
    status, said = other.run("deploy", "--yes", answers=GOOD)
    assert (status, "colleague@laptop has held it since 2026-11-27 10:00:00" in said) == (1, True), said
    assert "make deploy UNLOCK=1" in said
    status, said = other.run("deploy", "--unlock", answers=GOOD, typed="yes\n")
    assert (status, "The lock was taken" in said) == (0, True), said


def test_a_bucket_of_somebody_else_s_is_not_used(storage: CloudStorage, machine: Machine) -> None:
    """Names of buckets are the whole world's: one of that name in another project is never written to."""
    del machine.environment["STATE"]
    storage.buckets[BUCKET] = {"kind": "storage#bucket", "name": BUCKET, "projectNumber": "666"}
    status, said = machine.run("deploy", "--yes", answers=GOOD)
    assert (status, "belongs to another project" in said, storage.objects) == (1, True, {}), said
