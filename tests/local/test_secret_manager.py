"""The embedded Secret Manager, held against the official client: secrets, versions, etags, limits, IAM."""

import datetime as dt
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import google_crc32c
import pytest
from google.api_core.exceptions import BadRequest, Conflict, GoogleAPICallError, NotFound
from google.cloud import secretmanager_v1

from local.secret_manager import SecretManagerServer

Client = secretmanager_v1.SecretManagerServiceClient
State = secretmanager_v1.SecretVersion.State
PROJECT = "projects/acme-dev"
AUTOMATIC: dict[str, Any] = {"automatic": {}}


def status(error: pytest.ExceptionInfo[GoogleAPICallError]) -> str:
    """The canonical code in an error's body, which HTTP's own status does not always tell."""
    response: Any = error.value.response
    return str(response.json()["error"]["status"])


def create(client: Client, secret_id: str = "s", **secret: Any) -> secretmanager_v1.Secret:
    request = {"parent": PROJECT, "secret_id": secret_id, "secret": {"replication": AUTOMATIC, **secret}}
    return client.create_secret(request=request)


def add(client: Client, data: bytes, secret_id: str = "s", **payload: Any) -> secretmanager_v1.SecretVersion:
    request = {"parent": f"{PROJECT}/secrets/{secret_id}", "payload": {"data": data, **payload}}
    return client.add_secret_version(request=request)


def update(client: Client, mask: list[str], **secret: Any) -> secretmanager_v1.Secret:
    request = {"secret": {"name": f"{PROJECT}/secrets/s", **secret}, "update_mask": {"paths": mask}}
    return client.update_secret(request=request)


class TestSecrets:
    def test_created_secret_is_echoed_and_found(self, client: Client) -> None:
        """A created secret comes back with name, time, etag and what was set, now and when it is read."""
        made = create(client, labels={"env": "dev"}, annotations={"Note.1": "any ünicode text"})
        assert made.name.startswith("projects/")
        assert made.name.endswith("/secrets/s")
        assert (dict(made.labels), dict(made.annotations)) == ({"env": "dev"}, {"Note.1": "any ünicode text"})
        assert made.etag.startswith('"')
        assert client.get_secret(name=f"{PROJECT}/secrets/s") == made

    def test_names_have_the_projects_number(self, client: Client) -> None:
        """Answers name the project by number, and the number works as well as the id."""
        made = create(client)
        number = made.name.split("/")[1]
        assert number.isdecimal()
        assert client.get_secret(name=f"projects/{number}/secrets/s") == made
        assert [secret.name for secret in client.list_secrets(parent=f"projects/{number}")] == [made.name]

    def test_projects_are_apart(self, client: Client) -> None:
        """One project's secrets are not another's."""
        create(client)
        with pytest.raises(NotFound):
            client.get_secret(name="projects/other-project/secrets/s")
        assert list(client.list_secrets(parent="projects/other-project")) == []

    def test_a_taken_name_conflicts(self, client: Client) -> None:
        """Creating what exists is ALREADY_EXISTS and changes nothing."""
        made = create(client)
        with pytest.raises(Conflict) as error:
            create(client, labels={"a": "b"})
        assert status(error) == "ALREADY_EXISTS"
        assert error.value.message.endswith(f"Secret [{made.name}] already exists.")
        assert client.get_secret(name=made.name) == made

    @pytest.mark.parametrize("secret_id", ["a.b", "ü", "a b", "x" * 256])
    def test_ids_follow_the_pattern(self, client: Client, secret_id: str) -> None:
        """An id has 1 to 255 letters, digits, dashes and underscores."""
        with pytest.raises(BadRequest) as error:
            create(client, secret_id)
        assert status(error) == "INVALID_ARGUMENT"

    def test_the_longest_id_works(self, client: Client) -> None:
        """255 characters of all kinds are an id."""
        create(client, "aZ0_-" * 51)
        assert client.get_secret(name=f"{PROJECT}/secrets/{'aZ0_-' * 51}")

    def test_missing_secret_is_not_found(self, client: Client) -> None:
        """A secret that is not there is NOT_FOUND, in Google's words."""
        with pytest.raises(NotFound) as error:
            client.get_secret(name="projects/123/secrets/none")
        assert error.value.message.endswith("Secret [projects/123/secrets/none] not found.")

    def test_update_changes_what_the_mask_names(self, client: Client) -> None:
        """Only fields of the mask change, a field without a value is emptied, and the etag is new."""
        made = create(client, labels={"a": "1"}, annotations={"b": "2"})
        changed = update(client, ["labels"], labels={"c": "3"}, annotations={"ignored": "x"})
        assert (dict(changed.labels), dict(changed.annotations)) == ({"c": "3"}, {"b": "2"})
        assert changed.etag != made.etag
        emptied = update(client, ["annotations"])
        assert (dict(emptied.labels), dict(emptied.annotations)) == ({"c": "3"}, {})

    @pytest.mark.parametrize("mask", [[], ["name"], ["create_time"], ["nonsense"], ["labels.a"], ["annotations.a"]])
    def test_update_refuses_other_masks(self, client: Client, mask: list[str]) -> None:
        """A mask that is empty or names what cannot be updated is INVALID_ARGUMENT."""
        create(client)
        with pytest.raises(BadRequest) as error:
            update(client, mask, labels={"a": "b"})
        assert status(error) == "INVALID_ARGUMENT"

    def test_delete_takes_everything_along(self, client: Client) -> None:
        """A deleted secret is gone with its versions; one of the same name starts anew."""
        create(client)
        add(client, b"one")
        client.delete_secret(name=f"{PROJECT}/secrets/s")
        with pytest.raises(NotFound):
            client.delete_secret(name=f"{PROJECT}/secrets/s")
        with pytest.raises(NotFound, match="not found or has no versions"):
            client.access_secret_version(name=f"{PROJECT}/secrets/s/versions/1")
        create(client)
        assert add(client, b"other").name.endswith("/versions/1")

    def test_user_managed_replication_is_echoed(self, client: Client) -> None:
        """Locations and keys of a user-managed replication come back, and versions show them."""
        key = "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k"
        replicas = [
            {"location": "europe-west1", "customer_managed_encryption": {"kms_key_name": key}},
            {"location": "us-east1"},
        ]
        made = create(client, replication={"user_managed": {"replicas": replicas}})
        assert [replica.location for replica in made.replication.user_managed.replicas] == ["europe-west1", "us-east1"]
        shown = add(client, b"x").replication_status.user_managed.replicas
        assert [replica.location for replica in shown] == ["europe-west1", "us-east1"]
        assert shown[0].customer_managed_encryption.kms_key_version_name == f"{key}/cryptoKeyVersions/1"

    def test_automatic_replication_with_a_key_is_echoed(self, client: Client) -> None:
        """The key of an automatic replication comes back, and may be changed where the places may not."""
        key = "projects/p/locations/global/keyRings/r/cryptoKeys/"
        first = {"automatic": {"customer_managed_encryption": {"kms_key_name": key + "1"}}}
        second = {"automatic": {"customer_managed_encryption": {"kms_key_name": key + "2"}}}
        assert create(client, replication=first).replication.automatic.customer_managed_encryption.kms_key_name == (
            key + "1"
        )
        changed = update(client, ["replication"], replication=second)
        assert changed.replication.automatic.customer_managed_encryption.kms_key_name == key + "2"
        with pytest.raises(BadRequest):
            update(client, ["replication"], replication={"user_managed": {"replicas": [{"location": "us-east1"}]}})

    @pytest.mark.parametrize(
        "secret",
        [
            {"replication": {}},
            {"replication": {"user_managed": {}}},
            {"topics": [{"name": "no topic"}]},
            {"topics": [{"name": f"projects/p/topics/{number}"} for number in range(11)]},
            {"rotation": {"rotation_period": dt.timedelta(days=1)}},
            {"expire_time": dt.datetime(2001, 1, 1, tzinfo=dt.UTC)},
            {"ttl": dt.timedelta(seconds=-1)},
            {"version_destroy_ttl": dt.timedelta(seconds=5)},
            {"version_aliases": {"good": 1}},
            {"version_aliases": {"latest": 1}},
        ],
    )
    def test_refuses_what_google_refuses(self, client: Client, secret: Mapping[str, Any]) -> None:
        """Fields that make no sense are INVALID_ARGUMENT, and nothing is created."""
        with pytest.raises(BadRequest) as error:
            create(client, **secret)
        assert status(error) == "INVALID_ARGUMENT"
        assert list(client.list_secrets(parent=PROJECT)) == []

    def test_topics_and_rotation_are_echoed(self, client: Client) -> None:
        """Topics and the rotation that needs them come back."""
        made = create(
            client,
            topics=[{"name": "projects/p/topics/t"}],
            rotation={
                "rotation_period": dt.timedelta(days=30),
                "next_rotation_time": dt.datetime(2099, 1, 1, tzinfo=dt.UTC),
            },
        )
        assert made.topics[0].name == "projects/p/topics/t"
        assert made.rotation.rotation_period == dt.timedelta(days=30)

    def test_a_secret_ends_at_its_time(self, server: SecretManagerServer, client: Client) -> None:
        """A lifetime is answered as the time it ends, and the secret is gone from then on."""
        made: Any = create(client, ttl=dt.timedelta(hours=1))
        assert made.expire_time - made.create_time == dt.timedelta(hours=1)
        server.set_time_offset(3599)
        assert client.get_secret(name=made.name)
        server.set_time_offset(3601)
        with pytest.raises(NotFound):
            client.get_secret(name=made.name)
        assert list(client.list_secrets(parent=PROJECT)) == []


class TestLimits:
    def test_labels_up_to_the_limit(self, client: Client) -> None:
        """64 labels of the longest keys and values, in letters of any script without case, are stored."""
        labels = {f"k{number:02}" + "x" * 60: "é_-9" + "字" * 30 for number in range(64)}
        assert dict(create(client, labels=labels).labels) == labels

    @pytest.mark.parametrize(
        "labels",
        [
            {f"k{number}": "" for number in range(65)},
            {"": "v"},
            {"Upper": "v"},
            {"1digit": "v"},
            {"k" * 64: "v"},
            {"k": "Upper"},
            {"k": "v" * 64},
            {"k": "字" * 43},
            {"k": "dot.ted"},
            {"k": "2026-11-22T10:00:00Z"},
        ],
    )
    def test_labels_beyond_it(self, client: Client, labels: dict[str, str]) -> None:
        """Labels of other characters, too long or too many are INVALID_ARGUMENT, on create and on update."""
        with pytest.raises(BadRequest):
            create(client, labels=labels)
        create(client)
        with pytest.raises(BadRequest) as error:
            update(client, ["labels"], labels=labels)
        assert status(error) == "INVALID_ARGUMENT"

    def test_annotations_up_to_the_limit(self, client: Client) -> None:
        """Keys and values together stay under 16 KiB, counted in bytes."""
        assert create(client, annotations={"k" * 63: "é" * 8160})
        with pytest.raises(BadRequest) as error:
            update(client, ["annotations"], annotations={"k" * 63: "é" * 8160 + "x"})
        assert status(error) == "INVALID_ARGUMENT"

    @pytest.mark.parametrize("key", ["", "-a", "a-", "a b", "ü", "k" * 64])
    def test_annotation_keys(self, client: Client, key: str) -> None:
        """An annotation's key has 1 to 63 characters and alphanumeric ends."""
        with pytest.raises(BadRequest):
            create(client, annotations={key: "v"})

    def test_payload_of_64_kib(self, client: Client) -> None:
        """65,536 bytes are stored, one more is INVALID_ARGUMENT and takes no number."""
        create(client)
        payload = bytes(range(256)) * 256
        with pytest.raises(BadRequest) as error:
            add(client, payload + b"x")
        assert status(error) == "INVALID_ARGUMENT"
        name = add(client, payload).name
        assert name.endswith("/versions/1")
        assert client.access_secret_version(name=name).payload.data == payload

    def test_empty_payload(self, client: Client) -> None:
        """An empty payload, and none at all, are INVALID_ARGUMENT in Google's words."""
        create(client)
        with pytest.raises(BadRequest, match="Secret Payload cannot be empty"):
            add(client, b"")
        with pytest.raises(BadRequest, match=r"Field \[payload\] is required"):
            client.add_secret_version(request={"parent": f"{PROJECT}/secrets/s"})


class TestVersions:
    def test_are_numbered_and_read_back(self, client: Client) -> None:
        """Versions count from 1; payload and checksum come back with the numeric name, for ``latest`` as well."""
        secret = create(client)
        for data in (b"one", b"\x00\xff two"):
            add(client, data)
        read = client.access_secret_version(name=f"{PROJECT}/secrets/s/versions/latest")
        assert (read.name, read.payload.data) == (f"{secret.name}/versions/2", b"\x00\xff two")
        assert read.payload.data_crc32c == google_crc32c.value(b"\x00\xff two")
        assert client.access_secret_version(name=f"{secret.name}/versions/1").payload.data == b"one"
        assert client.get_secret_version(name=f"{secret.name}/versions/latest").name == f"{secret.name}/versions/2"

    def test_adding_one_leaves_the_secrets_etag(self, client: Client) -> None:
        """A version's changes do not touch its secret's etag."""
        secret = create(client)
        version = add(client, b"x")
        client.disable_secret_version(name=version.name)
        assert client.get_secret(name=secret.name).etag == secret.etag

    def test_checksum_is_checked(self, client: Client) -> None:
        """A right checksum is noted on the version, a wrong one is INVALID_ARGUMENT and stores nothing."""
        secret = create(client)
        with pytest.raises(BadRequest) as error:
            add(client, b"x", data_crc32c=1)
        assert status(error) == "INVALID_ARGUMENT"
        checksum = google_crc32c.value(b"x")
        version = add(client, b"x", data_crc32c=checksum)
        assert (version.name, version.client_specified_payload_checksum) == (f"{secret.name}/versions/1", True)
        assert not add(client, b"x").client_specified_payload_checksum

    def test_go_through_their_states(self, client: Client) -> None:
        """Enabled and disabled are for both ways, destroyed for ever; only an enabled version is read."""
        create(client)
        name = add(client, b"x").name
        assert client.get_secret_version(name=name).state is State.ENABLED
        assert client.disable_secret_version(name=name).state is State.DISABLED
        with pytest.raises(BadRequest) as error:
            client.access_secret_version(name=name)
        assert status(error) == "FAILED_PRECONDITION"
        assert error.value.message.endswith(f"Secret Version [{name}] is in DISABLED state.")
        assert client.enable_secret_version(name=name).state is State.ENABLED
        assert client.access_secret_version(name=name).payload.data == b"x"
        destroyed: Any = client.destroy_secret_version(name=name)
        assert destroyed.state is State.DESTROYED
        assert destroyed.destroy_time >= destroyed.create_time
        for call in (
            client.access_secret_version,
            client.enable_secret_version,
            client.disable_secret_version,
            client.destroy_secret_version,
        ):
            with pytest.raises(BadRequest, match="is in DESTROYED state") as error:
                call(name=name)
            assert status(error) == "FAILED_PRECONDITION"
        assert client.get_secret_version(name=name) == destroyed

    def test_latest_is_the_newest_whatever_its_state(self, client: Client) -> None:
        """``latest`` is the version created last, and fails where that one cannot be read."""
        secret = create(client)
        add(client, b"one")
        second = add(client, b"two").name
        client.destroy_secret_version(name=second)
        with pytest.raises(BadRequest, match="versions/2"):
            client.access_secret_version(name=f"{secret.name}/versions/latest")
        assert add(client, b"three").name.endswith("/versions/3")

    def test_missing_versions_are_not_found(self, client: Client) -> None:
        """A number, alias, or ``latest`` without a version is NOT_FOUND, in Google's words."""
        secret = create(client)
        with pytest.raises(NotFound) as error:
            client.access_secret_version(name=f"{secret.name}/versions/latest")
        assert error.value.message.endswith(f"Secret [{secret.name}] not found or has no versions.")
        add(client, b"x")
        for version in ("2", "0", "nickname", "9" * 30):
            with pytest.raises(NotFound) as error:
                client.access_secret_version(name=f"{secret.name}/versions/{version}")
            assert error.value.message.endswith(f"Secret Version [{secret.name}/versions/{version}] not found.")

    def test_aliases_answer_with_the_number(self, client: Client) -> None:
        """An alias reads the version it names, and changes of state want the number."""
        secret = create(client)
        add(client, b"one")
        add(client, b"two")
        changed = update(client, ["version_aliases"], version_aliases={"stable": 1})
        assert dict(changed.version_aliases) == {"stable": 1}
        assert client.access_secret_version(name=f"{secret.name}/versions/stable").name == f"{secret.name}/versions/1"
        assert client.get_secret_version(name=f"{secret.name}/versions/stable").name == f"{secret.name}/versions/1"
        for version in ("stable", "latest"):
            with pytest.raises(BadRequest) as error:
                client.destroy_secret_version(name=f"{secret.name}/versions/{version}")
            assert status(error) == "INVALID_ARGUMENT"

    def test_destruction_can_be_postponed(self, server: SecretManagerServer, client: Client) -> None:
        """With a destroy lifetime a version is disabled first, may be enabled again, and ends in its time."""
        create(client, version_destroy_ttl=dt.timedelta(days=1))
        name = add(client, b"x").name
        waiting: Any = client.destroy_secret_version(name=name)
        assert waiting.state is State.DISABLED
        assert waiting.scheduled_destroy_time > waiting.create_time
        assert client.enable_secret_version(name=name).state is State.ENABLED
        client.destroy_secret_version(name=name)
        server.set_time_offset(86_401)
        assert client.get_secret_version(name=name).state is State.DESTROYED


class TestEtags:
    def test_update_compares_and_sets(self, client: Client) -> None:
        """An update with the present etag goes through, one with a stale etag is HTTP 400 FAILED_PRECONDITION."""
        first = create(client)
        second = update(client, ["labels"], labels={"a": "1"}, etag=first.etag)
        for etag in (first.etag, second.etag.strip('"')):
            with pytest.raises(BadRequest) as error:
                update(client, ["labels"], labels={"a": "2"}, etag=etag)
            assert (error.value.code, status(error)) == (400, "FAILED_PRECONDITION")
        assert client.get_secret(name=first.name) == second

    def test_an_update_without_a_change_makes_a_new_etag(self, client: Client) -> None:
        """Even an update that changes nothing makes older etags stale."""
        made = create(client, labels={"a": "1"})
        assert update(client, ["labels"], labels={"a": "1"}).etag != made.etag

    def test_delete_compares(self, client: Client) -> None:
        """A deletion with a stale etag is refused."""
        made = create(client)
        changed = update(client, ["labels"], labels={"a": "1"})
        with pytest.raises(BadRequest) as error:
            client.delete_secret(request={"name": made.name, "etag": made.etag})
        assert status(error) == "FAILED_PRECONDITION"
        client.delete_secret(request={"name": made.name, "etag": changed.etag})

    @pytest.mark.parametrize("verb", ["enable", "disable", "destroy"])
    def test_changes_of_state_compare(self, client: Client, verb: str) -> None:
        """Enabling, disabling and destroying with a stale etag are refused; enabling the enabled makes a new one."""
        create(client)
        version = add(client, b"x")
        newer = client.enable_secret_version(name=version.name)
        assert newer.etag != version.etag
        call = getattr(client, f"{verb}_secret_version")
        with pytest.raises(BadRequest) as error:
            call(request={"name": version.name, "etag": version.etag})
        assert status(error) == "FAILED_PRECONDITION"
        assert client.get_secret_version(name=version.name) == newer
        call(request={"name": version.name, "etag": newer.etag})

    def test_one_of_many_writers_wins(self, client: Client, server: SecretManagerServer) -> None:
        """Of many updates with the same etag exactly one goes through."""
        made = create(client)

        def race(number: int) -> bool:
            try:
                update(client, ["annotations"], annotations={"winner": str(number)}, etag=made.etag)
            except BadRequest:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(race, range(24)))
        assert sum(results) == 1
        assert server.annotations("s") == {"winner": str(results.index(True))}


class TestIam:
    def test_policy_is_kept_with_an_etag(self, client: Client) -> None:
        """A policy comes back as it was set, and a stale one is refused."""
        resource = create(client).name
        empty = client.get_iam_policy(request={"resource": resource})
        assert (list(empty.bindings), empty.etag) == ([], b"\x00 \x01")
        binding = {"role": "roles/secretmanager.secretAccessor", "members": ["user:a@example.com"]}
        kept = client.set_iam_policy(request={"resource": resource, "policy": {"bindings": [binding]}})
        assert client.get_iam_policy(request={"resource": resource}) == kept
        assert kept.bindings[0].members == ["user:a@example.com"]
        with pytest.raises(Conflict) as error:
            client.set_iam_policy(request={"resource": resource, "policy": {"etag": empty.etag}})
        assert status(error) == "ABORTED"

    def test_permissions_of_a_secret_that_is_not_there(self, client: Client) -> None:
        """Testing permissions on what does not exist answers none of them and is no error."""
        asked = {"resource": f"{PROJECT}/secrets/none", "permissions": ["secretmanager.versions.add"]}
        assert list(client.test_iam_permissions(request=asked).permissions) == []
        create(client, "none")
        assert list(client.test_iam_permissions(request=asked).permissions) == ["secretmanager.versions.add"]

    def test_wildcards_are_refused(self, client: Client) -> None:
        """Permissions are tested by their full names only."""
        create(client)
        with pytest.raises(BadRequest):
            client.test_iam_permissions(
                request={"resource": f"{PROJECT}/secrets/s", "permissions": ["secretmanager.*"]}
            )
