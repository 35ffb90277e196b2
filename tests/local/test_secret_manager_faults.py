"""What the embedded Secret Manager does wrong on demand: Google's errors, lag, quotas, denials."""

from collections.abc import Callable
from typing import Any

import pytest
import requests
from google.api_core.exceptions import BadRequest, Forbidden, NotFound, ServiceUnavailable, TooManyRequests
from google.cloud import secretmanager_v1

from faults import google_error
from local.secret_manager import PERMISSIONS, Quotas, SecretManagerServer
from local.serving import Fault

Client = secretmanager_v1.SecretManagerServiceClient
SECRET = "projects/acme-dev/secrets/s"


@pytest.fixture(autouse=True)
def made(server: SecretManagerServer) -> None:
    server.create("s", project="acme-dev")


def add(client: Client, data: bytes) -> str:
    return client.add_secret_version(request={"parent": SECRET, "payload": {"data": data}}).name


def annotate(client: Client, value: str, etag: str = "") -> secretmanager_v1.Secret:
    secret = {"name": SECRET, "annotations": {"a": value}, "etag": etag}
    return client.update_secret(request={"secret": secret, "update_mask": {"paths": ["annotations"]}})


def version_read(client: Client, version: str = "latest") -> int:
    read = client.access_secret_version(name=f"{SECRET}/versions/{version}", retry=None)
    return int(read.name.rpartition("/")[2])


class TestFaults:
    def test_usual_body(self, server: SecretManagerServer, client: Client) -> None:
        """A failure that names no body has the one that Google sends with that status, and none of its effects."""
        server.add_fault(Fault("AddSecretVersion", status=503))
        with pytest.raises(ServiceUnavailable, match="The service is currently unavailable") as error:
            add(client, b"x")
        response: Any = error.value.response
        assert response.json()["error"]["status"] == "UNAVAILABLE"
        assert server.payloads("s") == []

    def test_google_error(self, server: SecretManagerServer, client: Client) -> None:
        """Any of Google's errors can be had with the details that say why."""
        metadata = {"service": "secretmanager.googleapis.com", "consumer": "projects/1"}
        server.add_fault(
            google_error(
                "PERMISSION_DENIED", "It is disabled.", reason="SERVICE_DISABLED", metadata=metadata, call="GetSecret"
            )
        )
        with pytest.raises(Forbidden, match=r"It is disabled\.") as error:
            client.get_secret(name=SECRET)
        assert (error.value.reason, error.value.domain) == ("SERVICE_DISABLED", "googleapis.com")
        assert error.value.metadata == metadata
        assert client.get_secret(name=SECRET)

    def test_lost_answer(self, server: SecretManagerServer, client: Client) -> None:
        """A version whose answer was lost is there all the same."""
        server.add_fault(Fault("AddSecretVersion", "secrets/s$", do="drop", when="after"))
        with pytest.raises(requests.ConnectionError):
            add(client, b"lost answer")
        assert server.payloads("s") == [b"lost answer"]


VERSION = f"{SECRET}/versions/1"
NEW = {"parent": "projects/acme-dev", "secret_id": "new", "secret": {"replication": {"automatic": {}}}}
CALLS: dict[str, tuple[str, Callable[[Client], object]]] = {
    "ListSecrets": ("projects/acme-dev", lambda c: list(c.list_secrets(parent="projects/acme-dev"))),
    "GetSecret": (SECRET, lambda c: c.get_secret(name=SECRET)),
    "UpdateSecret": (SECRET, lambda c: annotate(c, "1")),
    "DeleteSecret": (SECRET, lambda c: c.delete_secret(name=SECRET)),
    "AddSecretVersion": (SECRET, lambda c: add(c, b"x")),
    "ListSecretVersions": (SECRET, lambda c: list(c.list_secret_versions(parent=SECRET))),
    "GetSecretVersion": (VERSION, lambda c: c.get_secret_version(name=VERSION)),
    "AccessSecretVersion": (VERSION, lambda c: c.access_secret_version(name=VERSION)),
    "EnableSecretVersion": (VERSION, lambda c: c.enable_secret_version(name=VERSION)),
    "DisableSecretVersion": (VERSION, lambda c: c.disable_secret_version(name=VERSION)),
    "DestroySecretVersion": (VERSION, lambda c: c.destroy_secret_version(name=VERSION)),
    "GetIamPolicy": (SECRET, lambda c: c.get_iam_policy(request={"resource": SECRET})),
    "SetIamPolicy": (SECRET, lambda c: c.set_iam_policy(request={"resource": SECRET, "policy": {}})),
    "CreateSecret": ("projects/acme-dev/secrets/new", lambda c: c.create_secret(request=NEW)),
    "TestIamPermissions": (SECRET, lambda c: c.test_iam_permissions(request={"resource": SECRET, "permissions": []})),
}


class TestCalls:
    @pytest.mark.parametrize("name", list(CALLS))
    def test_names(self, server: SecretManagerServer, client: Client, name: str) -> None:
        """Each call is recorded under the API's name with its resource, and needs the permission that Google names."""
        resource, call = CALLS[name]
        server.add_version("s", b"x")
        call(client)
        assert [(c.name, c.resource, c.status) for c in server.calls] == [(name, resource, 200)]
        if PERMISSIONS[name]:
            server.deny(PERMISSIONS[name])
            with pytest.raises(Forbidden) as error:
                call(client)
            assert error.value.reason == "IAM_PERMISSION_DENIED"
            assert error.value.metadata["permission"] == PERMISSIONS[name]
            server.allow_all()
        assert set(CALLS) == set(PERMISSIONS)

    def test_denials(self, server: SecretManagerServer, client: Client) -> None:
        """A denial covers permissions on the resources that match, and does not tell what exists."""
        server.deny("secretmanager.versions.*", "secrets/s$")
        server.deny("secretmanager.secrets.get", "none$")
        with pytest.raises(Forbidden) as error:
            add(client, b"x")
        assert error.value.message.endswith(
            f"Permission 'secretmanager.versions.add' denied for resource '{SECRET}' (or it may not exist)."
        )
        with pytest.raises(Forbidden):
            client.get_secret(name="projects/acme-dev/secrets/none")
        assert client.get_secret(name=SECRET)


class TestLag:
    @pytest.mark.parametrize(("late", "seen"), [(0, 4), (1, 3), (2, 2), (9, 1)])
    def test_latest(self, server: SecretManagerServer, client: Client, late: int, seen: int) -> None:
        """``latest`` answers so many versions late, and a number always answers exactly."""
        for number in range(1, 5):
            server.add_version("s", str(number).encode())
        server.set_lag(latest=late)
        assert version_read(client) == seen
        assert version_read(client, "4") == 4
        server.set_lag()
        assert version_read(client) == 4

    def test_hide_first(self, server: SecretManagerServer, client: Client) -> None:
        """With ``hide_first`` even a secret and its first version take their time to be seen."""
        server.set_lag(latest=1, lists=1, gets=1, hide_first=True)
        add(client, b"one")
        with pytest.raises(NotFound, match="not found or has no versions"):
            version_read(client)
        with pytest.raises(NotFound):
            client.get_secret(name=SECRET)
        assert list(client.list_secret_versions(parent=SECRET)) == []
        assert list(client.list_secrets(parent="projects/acme-dev")) == []
        assert version_read(client, "1") == 1

    def test_lists_and_gets(self, server: SecretManagerServer, client: Client) -> None:
        """Secrets are shown as so many changes ago; an update compares with the true etag."""
        first, second, third = (annotate(client, value) for value in "123")
        server.set_lag(lists=2)
        [listed] = client.list_secrets(parent="projects/acme-dev")
        assert listed == first
        assert client.get_secret(name=SECRET) == third
        server.set_lag(gets=1)
        assert client.get_secret(name=SECRET) == second
        with pytest.raises(BadRequest, match="etag"):
            annotate(client, "4", listed.etag)
        annotate(client, "4", third.etag)

    def test_versions_and_deletions(self, server: SecretManagerServer, client: Client) -> None:
        """A late list lacks the newest versions, and still has a deleted secret until the lag is set again."""
        for number in range(1, 4):
            server.add_version("s", str(number).encode())
        server.set_lag(lists=1)
        names = [version.name for version in client.list_secret_versions(parent=SECRET)]
        assert [name.rpartition("/")[2] for name in names] == ["2", "1"]
        client.delete_secret(name=SECRET)
        assert len(list(client.list_secrets(parent="projects/acme-dev"))) == 1
        with pytest.raises(NotFound):
            client.get_secret(name=SECRET)
        server.set_lag()
        assert list(client.list_secrets(parent="projects/acme-dev")) == []
        with pytest.raises(ValueError, match="0 to 16"):
            server.set_lag(lists=17)


class TestQuota:
    def test_a_second(self, server: SecretManagerServer, client: Client) -> None:
        """A secret takes two additions and updates a second, and each version one change of state; reads are free."""
        server.clock = lambda: 1000.0
        server.set_quota(Quotas(per_secret=True))
        add(client, b"1")
        annotate(client, "1")
        with pytest.raises(TooManyRequests, match="Quota exceeded") as error:
            add(client, b"2")
        assert error.value.reason == "RATE_LIMIT_EXCEEDED"
        assert version_read(client) == 1
        server.set_time_offset(1)
        assert add(client, b"2").endswith("/2")
        for number in ("1", "2"):
            client.disable_secret_version(name=f"{SECRET}/versions/{number}")
        with pytest.raises(TooManyRequests):
            client.destroy_secret_version(name=f"{SECRET}/versions/2")

    @pytest.mark.parametrize("kind", ["writes", "reads", "accesses"])
    def test_a_minute(self, server: SecretManagerServer, client: Client, kind: str) -> None:
        """Writes, reads and accesses of a project each have a quota a minute."""
        server.clock = lambda: 1000.0
        server.add_version("s", b"x")
        calls: dict[str, Callable[[], object]] = {
            "writes": lambda: annotate(client, "x"),
            "reads": lambda: client.get_secret(name=SECRET),
            "accesses": lambda: version_read(client),
        }
        limit: dict[str, Any] = {f"{kind}_per_minute": 3}
        server.set_quota(Quotas(**limit))
        for call in calls.values():
            for _ in range(3):
                call()
        with pytest.raises(TooManyRequests):
            calls.pop(kind)()
        for call in calls.values():
            call()


class TestFromInside:
    def test_what_is_kept(self, server: SecretManagerServer) -> None:
        """Tests see and change what is kept, past lag and faults, as somebody else would."""
        server.set_lag(latest=1, lists=1, gets=1)
        server.add_fault(Fault(times=None))
        before = server.secrets()["s"].etag
        server.edit("s", labels={"a": "1", "b": "2"}, annotations={"c": "3"})
        server.edit("s", labels={"a": None})
        assert (server.labels("s"), server.annotations("s")) == ({"b": "2"}, {"c": "3"})
        assert server.secrets()["s"].etag != before
        assert [server.add_version("s", data) for data in (b"one", b"two", b"three")] == [1, 2, 3]
        server.set_state("s", 1, "DESTROYED")
        server.set_state("s", 2, "DISABLED")
        assert server.states("s") == {1: "DESTROYED", 2: "DISABLED", 3: "ENABLED"}
        assert server.destroyed("s") == [1]
        assert server.payloads("s") == [b"", b"two", b"three"]
        server.delete("s")
        assert server.secrets() == {}
        with pytest.raises(KeyError):
            server.labels("s")
        assert server.calls == []
