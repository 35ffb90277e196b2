"""The embedded Secret Manager, held against the official client: secrets, versions, etags, lists, limits, IAM."""

from typing import Any

import google_crc32c
import pytest
import requests
from google.api_core.exceptions import BadRequest, Conflict, GoogleAPICallError, NotFound
from google.cloud import secretmanager_v1

from emulators.secret_manager import SecretManagerServer

Client = secretmanager_v1.SecretManagerServiceClient
State = secretmanager_v1.SecretVersion.State
PROJECT = "projects/acme-dev"
SECRET = f"{PROJECT}/secrets/s"
ADDRESSES = "/v1/projects/acme-dev/secrets"


def status(error: pytest.ExceptionInfo[GoogleAPICallError]) -> str:
    """The canonical code in an error's body, which HTTP's own status does not always tell."""
    response: Any = error.value.response
    return str(response.json()["error"]["status"])


def create(client: Client, secret_id: str = "s", **secret: Any) -> secretmanager_v1.Secret:
    request = {"parent": PROJECT, "secret_id": secret_id, "secret": {"replication": {"automatic": {}}, **secret}}
    return client.create_secret(request=request)


def add(client: Client, data: bytes, **payload: Any) -> secretmanager_v1.SecretVersion:
    return client.add_secret_version(request={"parent": SECRET, "payload": {"data": data, **payload}})


def update(client: Client, mask: list[str], **secret: Any) -> secretmanager_v1.Secret:
    return client.update_secret(request={"secret": {"name": SECRET, **secret}, "update_mask": {"paths": mask}})


class TestLife:
    """What the official client does with a secret and its versions; the product's own client is in `unit`."""

    def test_of_a_secret(self, client: Client) -> None:
        """It is created once, read by name or number, changed where the mask says, and gone with its versions."""
        key = {"customer_managed_encryption": {"kms_key_name": "projects/p/locations/l/keyRings/r/cryptoKeys/k"}}
        replication = {"user_managed": {"replicas": [{"location": "europe-west1", **key}, {"location": "us-east1"}]}}
        made = create(client, labels={"env": "dev"}, annotations={"Note.1": "any ünicode"}, replication=replication)
        number = made.name.removeprefix("projects/").removesuffix("/secrets/s")
        assert number.isdecimal()
        assert (dict(made.labels), dict(made.annotations)) == ({"env": "dev"}, {"Note.1": "any ünicode"})
        assert made.replication.user_managed.replicas[0].customer_managed_encryption.kms_key_name.endswith("/k")
        assert client.get_secret(name=SECRET) == client.get_secret(name=made.name) == made
        with pytest.raises(Conflict) as taken:
            create(client)
        assert status(taken) == "ALREADY_EXISTS"
        changed = update(client, ["labels"], labels={"c": "3"}, annotations={"ignored": "x"}, etag=made.etag)
        assert (dict(changed.labels), dict(changed.annotations)) == ({"c": "3"}, {"Note.1": "any ünicode"})
        for etag in (made.etag, changed.etag.strip('"')):
            with pytest.raises(BadRequest) as error:
                client.delete_secret(request={"name": SECRET, "etag": etag})
            assert (error.value.code, status(error)) == (400, "FAILED_PRECONDITION")
        asked: dict[str, Any] = {"resource": SECRET, "permissions": ["secretmanager.versions.add", "pubsub.topics.get"]}
        assert list(client.test_iam_permissions(request=asked).permissions) == asked["permissions"][:1]
        client.delete_secret(request={"name": SECRET, "etag": changed.etag})
        assert not client.test_iam_permissions(request=asked).permissions
        with pytest.raises(NotFound) as missing:
            client.get_secret(name=SECRET)
        assert missing.value.message.endswith(f"Secret [{made.name}] not found.")

    def test_of_a_version(self, client: Client, server: SecretManagerServer) -> None:
        """It is read with its checksum under its number; ``latest`` is the newest, whatever its state."""
        secret = create(client)
        latest, data = f"{secret.name}/versions/latest", b"\x00\xff two"
        with pytest.raises(NotFound, match="not found or has no versions"):
            client.access_secret_version(name=latest)
        first, second = add(client, b"one"), add(client, data)
        read = client.access_secret_version(name=latest)
        assert (read.name, read.payload.data) == (f"{secret.name}/versions/2", data)
        assert read.payload.data_crc32c == google_crc32c.value(data)
        assert client.get_secret_version(name=latest) == second
        assert [version.name for version in client.list_secret_versions(parent=SECRET)] == [second.name, first.name]
        server.set_state("s", 2, "DISABLED")
        with pytest.raises(BadRequest, match=r"versions/2\] is in DISABLED state\."):
            client.access_secret_version(name=latest)
        destroyed: Any = client.destroy_secret_version(request={"name": first.name, "etag": first.etag})
        assert destroyed.state is State.DESTROYED
        assert destroyed.destroy_time >= destroyed.create_time
        for call in (client.access_secret_version, client.destroy_secret_version):
            with pytest.raises(BadRequest, match="is in DESTROYED state") as error:
                call(name=first.name)
            assert status(error) == "FAILED_PRECONDITION"
        for version in ("3", "nickname", "9" * 30):
            with pytest.raises(NotFound) as missing:
                client.access_secret_version(name=f"{SECRET}/versions/{version}")
            assert missing.value.message.endswith(f"Secret Version [{secret.name}/versions/{version}] not found.")


class TestLimits:
    def test_of_a_secret(self, client: Client) -> None:
        """What is beyond Google's limits is INVALID_ARGUMENT, and nothing is created."""
        wrong: dict[str, dict[str, Any]] = {
            "replication": {"replication": {}},
            "labels": {"labels": {f"k{number}": "" for number in range(65)}},
            "label key": {"labels": {"Upper": "v"}},
            "label value": {"labels": {"k": "2026-11-22T10:00:00Z"}},
            "annotation key": {"annotations": {"a-": "v"}},
            "annotations": {"annotations": {"k" * 63: "é" * 8160 + "x"}},
        }
        found = {}
        for what, secret in wrong.items():
            with pytest.raises(BadRequest) as error:
                create(client, **secret)
            found[what] = status(error)
        assert found == dict.fromkeys(wrong, "INVALID_ARGUMENT")
        assert create(client, labels={"k" * 63: "é_-9" + "字" * 30}, annotations={"k" * 63: "é" * 8160})

    def test_of_a_payload(self, client: Client) -> None:
        """65,536 bytes with their checksum are stored; more, none, or another checksum is refused without a number."""
        create(client)
        payload = bytes(range(256)) * 256
        for data, more in ((payload + b"x", {}), (b"", {}), (payload, {"data_crc32c": 1})):
            with pytest.raises(BadRequest) as error:
                add(client, data, **more)
            assert status(error) == "INVALID_ARGUMENT"
        assert add(client, payload, data_crc32c=google_crc32c.value(payload)).name.endswith("/versions/1")


def test_filter(server: SecretManagerServer, client: Client) -> None:
    """Filters select by name and labels, and pages are full of matches, newest first; what is unknown is refused."""
    for name, env in {"a": "dev", "b": "prod", "c": "prod", "acme-d": ""}.items():
        server.create(name, project="acme-dev", labels={"env": env, "is": name} if env else {})

    def ids(**request: Any) -> list[str]:
        found = client.list_secrets(request={"parent": PROJECT, "page_size": 1, **request})
        return [secret.name.rpartition("/")[2] for secret in found]

    wanted = {
        "": ["acme-d", "c", "b", "a"],
        "name:ACME-D": ["acme-d"],
        'labels.env="prod"': ["c", "b"],
        "labels.env:*": ["c", "b", "a"],
        "labels.env=prod AND labels.is=c": ["c"],
    }
    assert {text: ids(filter=text) for text in wanted} == wanted
    for wrong in ({"filter": "annotations.note=x"}, {"page_token": "x"}, {"page_size": -1}):
        with pytest.raises(BadRequest):
            ids(**wrong)


def test_malformed(server: SecretManagerServer) -> None:
    """A body that is no JSON object, and a payload that is no base64, are INVALID_ARGUMENT; other addresses a 404."""
    server.create("s", project="acme-dev")
    for body in (b"[]", b'{"payload": {"data": "%%%"}}'):
        error = requests.post(f"{server.url}{ADDRESSES}/s:addVersion", data=body, timeout=20).json()["error"]
        assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
    assert requests.get(f"{server.url}{ADDRESSES}/s:addVersion", timeout=20).status_code == 404
    assert server.calls[-1].name == "Unknown"


def test_late_readings(server: SecretManagerServer, client: Client) -> None:
    """`latest`, lists and secrets are shown as they were some changes ago, a number exactly: tests rest on that."""
    made, changed = create(client), update(client, ["annotations"], annotations={"a": "1"})
    for number in b"123":
        server.add_version("s", bytes([number]))
    server.set_lag(latest=2, lists=1, gets=1)
    for version, number in {"latest": 1, "3": 3}.items():
        assert client.access_secret_version(name=f"{SECRET}/versions/{version}").name.endswith(f"/versions/{number}")
    assert len(list(client.list_secret_versions(parent=SECRET))) == 2
    assert [*client.list_secrets(parent=PROJECT), client.get_secret(name=SECRET)] == [made] * 2
    with pytest.raises(BadRequest, match="etag"):
        update(client, ["annotations"], etag=made.etag)
    update(client, ["annotations"], etag=changed.etag)
    server.set_lag(latest=9, lists=9, gets=9, hide_first=True)
    assert list(client.list_secrets(parent=PROJECT)) == []
    for call, name in ((client.get_secret, SECRET), (client.access_secret_version, f"{SECRET}/versions/latest")):
        with pytest.raises(NotFound):
            call(name=name)
