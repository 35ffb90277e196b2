"""The state belongs to the project, not to a laptop: in a bucket, with Terraform's own backend and the real gcloud."""

import json
import shutil
from collections.abc import Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
import requests
from gcp_storage_emulator.exceptions import Conflict
from gcp_storage_emulator.server import RequestHandler
from gcp_storage_emulator.storage import Storage

from gcp import configuration
from gcp.machine import Machine

BUCKET = "my-project-123-tiktok-ads-state"
STATE, LOCKED = "tokenkeeper/default.tfstate", "tokenkeeper/default.tflock"
LOCK = {"ID": "", "Who": "colleague@laptop", "Created": "2026-11-27T10:00:00Z", "Operation": "OperationTypeApply"}


class CloudStorage(Storage):
    """Cloud Storage as a package has it, where a lock can be taken once."""

    def create_file(self, bucket_name: str, file_name: str, *about: Any) -> None:
        """Write an object."""
        if file_name == LOCKED and file_name in self.objects.get(bucket_name, {}):
            raise Conflict("conditionNotMet")
        super().create_file(bucket_name, file_name, *about)  # type: ignore[no-untyped-call]


@pytest.fixture
def storage(machine: Machine) -> Iterator[CloudStorage]:
    """Cloud Storage, which the machine's Terraform and gcloud talk to."""
    gcloud = shutil.which("gcloud")
    if not gcloud:
        pytest.skip("gcloud is not installed")
    storage = CloudStorage(use_memory_fs=True)  # type: ignore[no-untyped-call]
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(RequestHandler, storage)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{server.server_port}"
        machine.path = "/usr/bin:/bin"  # the real gcloud is a shell script
        machine.environment |= {
            "REAL_GCLOUD": gcloud,
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": f"http://{address}/storage/v1/",
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
            "GOOGLE_BACKEND_STORAGE_CUSTOM_ENDPOINT": f"http://{address}/storage/v1/",
            "STORAGE_EMULATOR_HOST": address,
            "GOOGLE_OAUTH_ACCESS_TOKEN": "made-up",
        }
        yield storage
        server.shutdown()


def test_a_state_moves_from_a_file_into_a_bucket_once(
    storage: CloudStorage, machine: Machine, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The bucket is closed and versioned; another machine plans nothing, and a lock is said, and taken when asked."""
    machine.run("deploy", "--yes")
    assert storage.buckets == {}
    kinds = machine.kinds
    del machine.environment["STATE"]
    said = machine.run("deploy", typed="yes\n")
    assert f"Makes the bucket gs://{BUCKET} for Terraform's state. Moves the state from a file" in said
    assert machine.called("buckets create .*--uniform-bucket-level-access --public-access-prevention")
    assert storage.buckets[BUCKET]["versioning"]["enabled"]
    state = json.loads(storage.get_file(BUCKET, STATE))  # type: ignore[no-untyped-call]
    assert kinds <= {entry["type"] for entry in state["resources"]}

    folder = tmp_path_factory.mktemp("other")
    configuration.copy(folder)
    other = Machine(folder, environment=machine.environment, path=machine.path)
    (other.programs / "terraform").symlink_to(str(configuration.TERRAFORM))
    shutil.copy(machine.stub / "functions.json", other.stub)
    assert "Nothing is to be changed" in other.run("deploy")

    upload = f"http://{machine.environment['STORAGE_EMULATOR_HOST']}/upload/storage/v1/b/{BUCKET}/o"
    requests.post(upload, json.dumps(LOCK), params={"uploadType": "media", "name": LOCKED}, timeout=10)
    said = other.run("deploy", "--yes", ends=1)
    assert "colleague@laptop has held it since 2026-11-27 10:00:00" in said
    assert "make deploy UNLOCK=1" in said
    assert "The lock was taken" in other.run("deploy", "--unlock", typed="yes\n")
