"""What the embedded Secret Manager does wrong on demand: faults, lag, quotas, denials, by Python and over HTTP."""

from collections.abc import Callable
from typing import Any

import pytest
import requests
from google.api_core.exceptions import (
    BadRequest,
    Forbidden,
    GoogleAPICallError,
    NotFound,
    ServiceUnavailable,
    TooManyRequests,
)
from google.cloud import secretmanager_v1

from local.secret_manager import SecretManagerServer
from local.secret_manager.limits import PERMISSIONS
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
    def test_fail_with_googles_usual_body(self, server: SecretManagerServer, client: Client) -> None:
        """A failure that names no body has the one that Google sends with that status."""
        server.add_fault(Fault("AddSecretVersion", status=503))
        with pytest.raises(ServiceUnavailable, match="The service is currently unavailable") as error:
            add(client, b"x")
        response: Any = error.value.response
        assert response.json()["error"] == {
            "code": 503,
            "message": "The service is currently unavailable.",
            "status": "UNAVAILABLE",
        }
        assert server.payloads("s") == []

    def test_drop_the_answer_after_the_commit(self, server: SecretManagerServer, client: Client) -> None:
        """A version whose answer was lost is there all the same."""
        server.add_fault(Fault("AddSecretVersion", "secrets/s$", do="drop", when="after"))
        with pytest.raises(requests.ConnectionError):
            add(client, b"lost answer")
        assert server.payloads("s") == [b"lost answer"]

    @pytest.mark.parametrize(
        ("name", "resource", "call"),
        [
            ("ListSecrets", "projects/acme-dev", lambda c: list(c.list_secrets(parent="projects/acme-dev"))),
            ("GetSecret", SECRET, lambda c: c.get_secret(name=SECRET)),
            ("UpdateSecret", SECRET, lambda c: annotate(c, "1")),
            ("DeleteSecret", SECRET, lambda c: c.delete_secret(name=SECRET)),
            ("AddSecretVersion", SECRET, lambda c: add(c, b"x")),
            ("ListSecretVersions", SECRET, lambda c: list(c.list_secret_versions(parent=SECRET))),
            ("GetSecretVersion", f"{SECRET}/versions/1", lambda c: c.get_secret_version(name=f"{SECRET}/versions/1")),
            (
                "AccessSecretVersion",
                f"{SECRET}/versions/latest",
                lambda c: c.access_secret_version(name=f"{SECRET}/versions/latest"),
            ),
            (
                "EnableSecretVersion",
                f"{SECRET}/versions/1",
                lambda c: c.enable_secret_version(name=f"{SECRET}/versions/1"),
            ),
            (
                "DisableSecretVersion",
                f"{SECRET}/versions/1",
                lambda c: c.disable_secret_version(name=f"{SECRET}/versions/1"),
            ),
            (
                "DestroySecretVersion",
                f"{SECRET}/versions/1",
                lambda c: c.destroy_secret_version(name=f"{SECRET}/versions/1"),
            ),
            ("GetIamPolicy", SECRET, lambda c: c.get_iam_policy(request={"resource": SECRET})),
            ("SetIamPolicy", SECRET, lambda c: c.set_iam_policy(request={"resource": SECRET, "policy": {}})),
            (
                "TestIamPermissions",
                SECRET,
                lambda c: c.test_iam_permissions(request={"resource": SECRET, "permissions": []}),
            ),
            (
                "CreateSecret",
                "projects/acme-dev/secrets/new",
                lambda c: c.create_secret(
                    request={
                        "parent": "projects/acme-dev",
                        "secret_id": "new",
                        "secret": {"replication": {"automatic": {}}},
                    }
                ),
            ),
        ],
    )
    def test_calls_are_known_by_the_apis_names(
        self,
        server: SecretManagerServer,
        client: Client,
        name: str,
        resource: str,
        call: Callable[[Client], object],
    ) -> None:
        """Each call is recorded under the API's name with its resource, and needs a known permission."""
        server.add_version("s", b"x")
        call(client)
        assert [(c.name, c.resource, c.status) for c in server.calls] == [(name, resource, 200)]
        server.deny(PERMISSIONS[name] or "-")
        if PERMISSIONS[name]:
            with pytest.raises(Forbidden):
                call(client)


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

    def test_latest_may_not_be_there_yet(self, server: SecretManagerServer, client: Client) -> None:
        """With ``hide_first`` even the first version takes its time to become the latest."""
        server.set_lag(latest=1, lists=1, hide_first=True)
        add(client, b"one")
        with pytest.raises(NotFound, match="not found or has no versions"):
            version_read(client)
        assert list(client.list_secret_versions(parent=SECRET)) == []
        assert list(client.list_secrets(parent="projects/acme-dev")) == []
        assert version_read(client, "1") == 1

    def test_lists_show_what_was(self, server: SecretManagerServer, client: Client) -> None:
        """Lists show annotations and etags as so many changes ago; an update compares with the true etag."""
        first = annotate(client, "1")
        annotate(client, "2")
        third = annotate(client, "3")
        server.set_lag(lists=2)
        [listed] = client.list_secrets(parent="projects/acme-dev")
        assert listed == first
        assert client.get_secret(name=SECRET) == third
        with pytest.raises(BadRequest, match="etag"):
            annotate(client, "4", listed.etag)
        annotate(client, "4", third.etag)

    def test_lists_of_versions_lack_the_newest(self, server: SecretManagerServer, client: Client) -> None:
        """A late list of versions does not know the newest ones."""
        for number in range(1, 4):
            server.add_version("s", str(number).encode())
        server.set_lag(lists=1)
        names = [version.name for version in client.list_secret_versions(parent=SECRET)]
        assert [name.rpartition("/")[2] for name in names] == ["2", "1"]

    def test_lists_still_have_the_deleted(self, server: SecretManagerServer, client: Client) -> None:
        """A late list still has a secret that was deleted, until the lag is set anew or it is made again."""
        server.set_lag(lists=1)
        client.delete_secret(name=SECRET)
        assert len(list(client.list_secrets(parent="projects/acme-dev"))) == 1
        with pytest.raises(NotFound):
            client.get_secret(name=SECRET)
        server.set_lag()
        assert list(client.list_secrets(parent="projects/acme-dev")) == []

    def test_gets(self, server: SecretManagerServer, client: Client) -> None:
        """Reading a secret's metadata can be late as well."""
        first = annotate(client, "1")
        annotate(client, "2")
        server.set_lag(gets=1)
        assert client.get_secret(name=SECRET) == first

    def test_has_a_limit(self, server: SecretManagerServer) -> None:
        """A lag beyond what is remembered is refused."""
        with pytest.raises(ValueError, match="0 to 16"):
            server.set_lag(lists=17)


class TestQuota:
    def test_of_a_secret_each_second(self, server: SecretManagerServer, client: Client) -> None:
        """A secret takes two additions and updates a second; other secrets and reads do not mind."""
        server.clock = lambda: 1000.0
        server.set_quota(per_secret=True)
        add(client, b"1")
        annotate(client, "1")
        with pytest.raises(TooManyRequests, match="Quota exceeded") as error:
            add(client, b"2")
        response: Any = error.value.response
        assert response.json()["error"]["status"] == "RESOURCE_EXHAUSTED"
        assert version_read(client) == 1
        server.set_time_offset(1)
        assert add(client, b"2").endswith("/2")

    def test_of_a_version_each_second(self, server: SecretManagerServer, client: Client) -> None:
        """A version changes its state once a second, each version for itself."""
        server.clock = lambda: 1000.0
        server.set_quota(per_secret=True)
        for number in ("1", "2"):
            server.add_version("s", b"x")
            client.disable_secret_version(name=f"{SECRET}/versions/{number}")
        with pytest.raises(TooManyRequests):
            client.destroy_secret_version(name=f"{SECRET}/versions/2")
        server.set_time_offset(1)
        client.destroy_secret_version(name=f"{SECRET}/versions/2")

    @pytest.mark.parametrize("kind", ["writes", "reads", "accesses"])
    def test_of_the_project(self, server: SecretManagerServer, client: Client, kind: str) -> None:
        """Writes, reads and accesses of a project each have a quota a minute, and without one nothing is counted."""
        server.clock = lambda: 1000.0
        server.add_version("s", b"x")
        calls: dict[str, Callable[[], object]] = {
            "writes": lambda: annotate(client, "x"),
            "reads": lambda: client.get_secret(name=SECRET),
            "accesses": lambda: version_read(client),
        }
        limits: dict[str, Any] = {f"{kind}_per_minute": 3}
        server.set_quota(**limits)
        for call in calls.values():
            for _ in range(3):
                call()
        with pytest.raises(TooManyRequests):
            calls.pop(kind)()
        for call in calls.values():
            call()
        server.set_quota()
        annotate(client, "x")


class TestDenials:
    def test_by_permission_resource_and_identity(self, server: SecretManagerServer, client: Client) -> None:
        """A denial covers one permission on the resources that match, for one caller, before anything else is said."""
        server.deny("secretmanager.versions.*", "secrets/s$", identity="connect")
        with pytest.raises(Forbidden) as error:
            client.add_secret_version(
                request={"parent": SECRET, "payload": {"data": b"x"}}, metadata=[("x-identity", "connect")]
            )
        assert error.value.message.endswith(
            f"Permission 'secretmanager.versions.add' denied for resource '{SECRET}' (or it may not exist)."
        )
        response: Any = error.value.response
        assert response.json()["error"]["status"] == "PERMISSION_DENIED"
        assert add(client, b"x").endswith("/1")
        client.get_secret(name=SECRET, metadata=[("x-identity", "connect")])
        assert [call.identity for call in server.calls] == ["connect", "", "connect"]

    def test_do_not_tell_what_exists(self, server: SecretManagerServer, client: Client) -> None:
        """A denied caller gets the same answer for what is not there."""
        server.deny("secretmanager.secrets.get")
        with pytest.raises(Forbidden):
            client.get_secret(name="projects/acme-dev/secrets/none")

    def test_are_seen_by_testing_permissions(self, server: SecretManagerServer, client: Client) -> None:
        """What is denied is left out when permissions are tested."""
        server.deny("secretmanager.versions.add")
        asked = ["secretmanager.versions.add", "secretmanager.secrets.update"]
        held = client.test_iam_permissions(request={"resource": SECRET, "permissions": asked}).permissions
        assert list(held) == ["secretmanager.secrets.update"]
        server.allow_all()
        held = client.test_iam_permissions(request={"resource": SECRET, "permissions": asked}).permissions
        assert list(held) == asked


class TestControl:
    def test_lag_quota_and_denials_over_http(self, server: SecretManagerServer, client: Client) -> None:
        """Another process sets what Python sets, and sees what is kept, never a payload."""

        def post(path: str, body: dict[str, Any]) -> None:
            assert requests.post(f"{server.url}/_control/{path}", json=body, timeout=20).status_code == 200

        server.add_version("s", b"first-payload")
        server.add_version("s", b"second-payload")
        post("lag", {"latest": 1})
        assert version_read(client) == 1
        post("quota", {"accesses_per_minute": 1})
        version_read(client)
        with pytest.raises(TooManyRequests):
            version_read(client)
        post("quota", {})
        post("deny", {"permission": "secretmanager.versions.access"})
        with pytest.raises(Forbidden):
            version_read(client)
        assert requests.delete(f"{server.url}/_control/deny", timeout=20).ok
        shown = requests.get(f"{server.url}/_control/secrets", timeout=20)
        assert shown.json()["secrets"]["s"]["states"] == {"1": "ENABLED", "2": "ENABLED"}
        assert "payload" not in shown.text

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("lag", {"latest": "two"}),
            ("lag", {"latest": -1}),
            ("lag", {"latest": 17}),
            ("lag", {"late": 1}),
            ("lag", {"latest": True}),
            ("quota", {"per_secret": 1}),
            ("deny", {}),
            ("deny", {"permission": 1}),
        ],
    )
    def test_nonsense_is_refused(self, server: SecretManagerServer, path: str, body: dict[str, Any]) -> None:
        """A control request that makes no sense is 400 with a sentence."""
        answer = requests.post(f"{server.url}/_control/{path}", json=body, timeout=20)
        assert answer.status_code == 400
        assert answer.json()["message"].endswith(".")


class TestLookingInside:
    def test_sees_and_changes_what_is_kept(self, server: SecretManagerServer, client: Client) -> None:
        """Tests see and change what is kept, past lag and faults, as somebody else's hand would."""
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
        assert list(server.secrets("acme-dev")) == ["s"]
        assert server.secrets("other") == {}
        with pytest.raises(KeyError):
            server.labels("none")
        server.delete("s")
        assert server.secrets() == {}
        with pytest.raises(GoogleAPICallError):
            client.get_secret(name=SECRET)
        assert server.count("*") == 1
