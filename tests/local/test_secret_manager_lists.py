"""The embedded Secret Manager's lists, held against the official client: order, pages, filters."""

from typing import Any

import pytest
from google.api_core.exceptions import BadRequest
from google.cloud import secretmanager_v1

from local.secret_manager import SecretManagerServer

Client = secretmanager_v1.SecretManagerServiceClient
PROJECT = "projects/acme-dev"


def ids(client: Client, **request: Any) -> list[str]:
    return [secret.name.rpartition("/")[2] for secret in client.list_secrets(request={"parent": PROJECT, **request})]


def numbers(client: Client, **request: Any) -> list[int]:
    found = client.list_secret_versions(request={"parent": f"{PROJECT}/secrets/a", **request})
    return [int(version.name.rpartition("/")[2]) for version in found]


@pytest.fixture
def filled(server: SecretManagerServer) -> SecretManagerServer:
    """Secrets a, b, c, d with labels, made in that order an hour apart."""
    server.clock = lambda: 1_800_000_000.0
    for hour, (name, labels) in enumerate(
        {
            "a": {"env": "dev", "team": "x"},
            "b": {"env": "prod"},
            "c": {"env": "prod", "team": "y-z"},
            "acme-d": {},
        }.items()
    ):
        server.set_time_offset(3600 * hour)
        server.create(name, project="acme-dev", labels=labels)
    return server


class TestPages:
    def test_newest_come_first(self, filled: SecretManagerServer, client: Client) -> None:
        """Secrets and versions are listed newest first, with labels, annotations and etags."""
        filled.edit("b", annotations={"note": "x"})
        for data in (b"1", b"2", b"3"):
            filled.add_version("a", data)
        assert ids(client) == ["acme-d", "c", "b", "a"]
        assert numbers(client) == [3, 2, 1]
        listed = {secret.name.rpartition("/")[2]: secret for secret in client.list_secrets(parent=PROJECT)}
        assert dict(listed["b"].annotations) == {"note": "x"}
        assert listed["b"] == client.get_secret(name=f"{PROJECT}/secrets/b")

    @pytest.mark.usefixtures("filled")
    @pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
    def test_pages_are_followed(self, client: Client, size: int) -> None:
        """Pages of any size give everything once, each with the total."""
        pages = list(client.list_secrets(request={"parent": PROJECT, "page_size": size}).pages)
        assert [len(page.secrets) for page in pages] == [size] * (4 // size) + ([4 % size] if 4 % size else [])
        assert {page.total_size for page in pages} == {4}
        assert ids(client, page_size=size) == ["acme-d", "c", "b", "a"]

    def test_the_server_chooses_a_size(self, client: Client, server: SecretManagerServer) -> None:
        """Without a size a page has as many as the server is set to, so that clients have to follow pages."""
        server.create("a", project="acme-dev")
        for number in range(150):
            server.add_version("a", str(number).encode())
        pages = list(client.list_secret_versions(parent=f"{PROJECT}/secrets/a").pages)
        assert [len(page.versions) for page in pages] == [100, 50]
        assert pages[0].total_size == 150

    def test_stay_right_while_secrets_come_and_go(self, filled: SecretManagerServer, client: Client) -> None:
        """A page follows on the last one, whatever was created or deleted between."""
        first = next(iter(client.list_secrets(request={"parent": PROJECT, "page_size": 2}).pages))
        filled.create("new", project="acme-dev")
        filled.delete("c")
        assert ids(client, page_size=2, page_token=first.next_page_token) == ["b", "a"]

    @pytest.mark.usefixtures("filled")
    @pytest.mark.parametrize("request_", [{"page_size": -1}, {"page_token": "x"}, {"page_token": "bm9uZQ=="}])
    def test_bad_pages_are_refused(self, client: Client, request_: dict[str, Any]) -> None:
        """A negative size and a made-up token are INVALID_ARGUMENT."""
        with pytest.raises(BadRequest):
            ids(client, **request_)

    @pytest.mark.usefixtures("filled")
    def test_a_token_is_good_for_its_own_list(self, client: Client) -> None:
        """A token of another filter is INVALID_ARGUMENT."""
        first = next(iter(client.list_secrets(request={"parent": PROJECT, "page_size": 2}).pages))
        with pytest.raises(BadRequest):
            ids(client, page_token=first.next_page_token, filter="labels.env:*")


class TestFilters:
    @pytest.mark.usefixtures("filled")
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("labels.env=prod", ["c", "b"]),
            ("labels.env:prod", ["c", "b"]),
            ('labels.env="prod"', ["c", "b"]),
            ("labels.env=pr*", ["c", "b"]),
            ("labels.env!=prod", ["acme-d", "a"]),
            ("labels.env:*", ["c", "b", "a"]),
            ("labels:team", ["c", "a"]),
            ("labels.team=y-z", ["c"]),
            ("NOT labels.env:*", ["acme-d"]),
            ("-labels.env=prod", ["acme-d", "a"]),
            ("name:acme-d", ["acme-d"]),
            ("name:ACME-D", ["acme-d"]),
            ("name=acme-d", []),
            ("labels.env=prod AND labels.team:*", ["c"]),
            ("labels.env=prod labels.team:*", ["c"]),
            ("labels.env=dev OR labels.team=y-z", ["c", "a"]),
            ("labels.env=(dev OR prod) labels.team:*", ["c", "a"]),
            ("labels.env:* AND labels.team=x OR labels.team=y-z", ["c", "a"]),
            ("(labels.env=dev AND labels.team=x) OR name:acme-d", ["acme-d", "a"]),
            ("NOT (labels.env=dev OR labels.env=prod)", ["acme-d"]),
            ("create_time>2027-01-15T09:30:00Z", ["acme-d", "c"]),
            ("create_time<=2027-01-15T09:00:00Z", ["b", "a"]),
            ('createTime < "2027-01-15T08:30:00Z"', ["a"]),
            ("replication.automatic:*", ["acme-d", "c", "b", "a"]),
            ("replication.user_managed.replicas.location:us-east1", []),
            ("NOT rotation.next_rotation_time:*", ["acme-d", "c", "b", "a"]),
            ("  ", ["acme-d", "c", "b", "a"]),
        ],
    )
    def test_of_secrets(self, client: Client, text: str, expected: list[str]) -> None:
        """Filters select by name, labels, times and settings, combined as AIP-160 says."""
        assert ids(client, filter=text) == expected

    @pytest.mark.usefixtures("filled")
    def test_has_no_total(self, client: Client) -> None:
        """A filtered list tells no total, and its pages are full of what matches."""
        pages = list(client.list_secrets(request={"parent": PROJECT, "filter": "labels.env:*", "page_size": 2}).pages)
        assert [(len(page.secrets), page.total_size) for page in pages] == [(2, 0), (1, 0)]

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("state:ENABLED", [4, 1]),
            ("state=ENABLED", [4, 1]),
            ("state:(ENABLED OR DISABLED)", [4, 2, 1]),
            ("NOT state:ENABLED", [3, 2]),
            ("-state=DESTROYED", [4, 2, 1]),
            ("state!=DESTROYED", [4, 2, 1]),
            ("destroy_time:*", [3]),
        ],
    )
    def test_of_versions(self, filled: SecretManagerServer, client: Client, text: str, expected: list[int]) -> None:
        """Versions are selected by state and times."""
        for number in range(1, 5):
            filled.add_version("a", str(number).encode())
        filled.set_state("a", 2, "DISABLED")
        filled.set_state("a", 3, "DESTROYED")
        assert numbers(client, filter=text) == expected

    @pytest.mark.usefixtures("filled")
    @pytest.mark.parametrize(
        "text",
        [
            "annotations.note=x",
            "nonsense=1",
            "labels.env=",
            "labels.env",
            "=prod",
            "(labels.env=prod",
            "labels.env=prod)",
            "labels.env=(a OR",
            "AND",
            "labels.env=prod AND",
            "NOT",
            "labels.env~prod",
            'labels.env="prod',
            "create_time>yesterday",
        ],
    )
    def test_that_make_no_sense(self, client: Client, text: str) -> None:
        """A filter that is not understood, annotations among them, is INVALID_ARGUMENT."""
        with pytest.raises(BadRequest):
            ids(client, filter=text)
