"""What tests have the embedded Secret Manager do without seeing it at once: lag and quotas."""

import pytest
from google.api_core.exceptions import BadRequest, NotFound, TooManyRequests
from google.cloud import secretmanager_v1

from emulators.secret_manager import Quotas, SecretManagerServer

Client = secretmanager_v1.SecretManagerServiceClient
PROJECT = "projects/acme-dev"
SECRET = f"{PROJECT}/secrets/s"


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


class TestLag:
    def test_latest(self, server: SecretManagerServer, client: Client) -> None:
        """``latest`` answers so many versions late, and a number always answers exactly."""
        for number in range(1, 5):
            server.add_version("s", str(number).encode())
        seen = []
        for late in (2, 9, 0):
            server.set_lag(latest=late)
            seen.append((version_read(client), version_read(client, "4")))
        assert seen == [(2, 4), (1, 4), (4, 4)]

    def test_hide_first(self, server: SecretManagerServer, client: Client) -> None:
        """With ``hide_first`` even a secret and its first version take their time to be seen."""
        server.set_lag(latest=1, lists=1, gets=1, hide_first=True)
        add(client, b"one")
        with pytest.raises(NotFound, match="not found or has no versions"):
            version_read(client)
        with pytest.raises(NotFound):
            client.get_secret(name=SECRET)
        assert list(client.list_secret_versions(parent=SECRET)) == []
        assert list(client.list_secrets(parent=PROJECT)) == []

    def test_lists_and_gets(self, server: SecretManagerServer, client: Client) -> None:
        """Secrets are shown as so many changes ago; an update compares with the true etag."""
        first, second, third = (annotate(client, value) for value in "123")
        server.set_lag(lists=2)
        [listed] = client.list_secrets(parent=PROJECT)
        assert (listed, client.get_secret(name=SECRET)) == (first, third)
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
        assert len(list(client.list_secret_versions(parent=SECRET))) == 2
        client.delete_secret(name=SECRET)
        assert len(list(client.list_secrets(parent=PROJECT))) == 1
        server.set_lag()
        assert list(client.list_secrets(parent=PROJECT)) == []


class TestQuota:
    def test_a_second(self, server: SecretManagerServer, client: Client) -> None:
        """A secret takes two additions and updates a second, and each version one destruction; reads are free."""
        server.clock = lambda: 1000.0
        server.set_quota(Quotas(per_secret=True))
        add(client, b"1")
        annotate(client, "1")
        with pytest.raises(TooManyRequests, match="Quota exceeded") as error:
            add(client, b"2")
        assert error.value.reason == "RATE_LIMIT_EXCEEDED"
        server.set_time_offset(1)
        add(client, b"2")
        client.destroy_secret_version(name=f"{SECRET}/versions/1")
        with pytest.raises(TooManyRequests):
            client.destroy_secret_version(name=f"{SECRET}/versions/1")
        assert version_read(client) == 2

    def test_a_minute(self, server: SecretManagerServer, client: Client) -> None:
        """Writes, reads and accesses of a project each have a quota a minute."""
        server.clock = lambda: 1000.0
        server.set_quota(Quotas(writes_per_minute=1, reads_per_minute=1, accesses_per_minute=1))
        for call in (lambda: add(client, b"x"), lambda: client.get_secret(name=SECRET), lambda: version_read(client)):
            call()
            with pytest.raises(TooManyRequests):
                call()
