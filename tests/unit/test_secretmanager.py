"""The eleven calls to Secret Manager over HTTP: what each does, and how each fails."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from emulators.secret_manager import SecretManagerServer as Store
from emulators.serving import Fault
from tokenkeeper.errors import (
    SecretChanged,
    StoreForbidden,
    StoreUnavailable,
)
from tokenkeeper.store.secretmanager import SecretManager, StoredSecret
from unit.parts import PROJECT, soon

Call = Callable[[SecretManager], object]


@pytest.fixture
def manager(store: Store) -> SecretManager:
    """The secrets of an empty project; waiting between tries takes no time."""
    return SecretManager(PROJECT, store.address)


@pytest.fixture
def one_secret(store: Store) -> None:
    """A secret `s` with one version."""
    store.create("s", project=PROJECT, labels={"a": "b"})
    store.add_version("s", b"first")


CALLS: dict[str, Call] = {
    "ListSecrets": lambda manager: list(manager.list("s", soon())),
    "GetSecret": lambda manager: manager.get("s", soon()),
    "CreateSecret": lambda manager: manager.create("new", {}, {}, soon()),
    "UpdateSecret": lambda manager: manager.update(StoredSecret("s", {"c": "d"}, {}, ""), soon()),
    "DeleteSecret": lambda manager: manager.delete("s", "", soon()),
    "AccessSecretVersion": lambda manager: manager.access("s", "latest", soon()),
    "GetSecretVersion": lambda manager: manager.number("s", "latest", soon()),
    "ListSecretVersions": lambda manager: manager.versions("s", soon()),
    "DestroySecretVersion": lambda manager: manager.destroy("s", 1, soon()),
    "TestIamPermissions": lambda manager: manager.permissions("s", ["a.b.c"], soon()),
    "AddSecretVersion": lambda manager: manager.add("s", b"x", soon()),
}


class TestSecrets:
    def test_a_list_follows_its_pages(self, manager: SecretManager, store: Store) -> None:
        """All secrets whose name holds the part come, with labels, annotations and etags, however many pages."""
        for number in range(1001):
            store.create(f"ours-{number}", project=PROJECT, labels={"n": str(number)}, annotations={"n": str(number)})
        store.create("other", project=PROJECT)
        found = {one.id: one for one in manager.list("ours-", soon())}
        assert len(found) == 1001
        assert found["ours-7"].labels == found["ours-7"].annotations == {"n": "7"}
        assert all(one.etag for one in found.values())
        assert store.count("ListSecrets") == 2

    def test_a_list_may_leave_etags_out(self, manager: SecretManager, store: Store) -> None:
        """Who needs one reads the secret."""
        listed = {"secrets": [{"name": "projects/1/secrets/s"}]}
        store.add_fault(Fault("ListSecrets", status=200, body=listed))
        assert list(manager.list("s", soon())) == [StoredSecret("s", {}, {}, "")]

    @pytest.mark.parametrize("listed", [[{"etag": "e"}], [7], 7], ids=["no name", "no object", "no list"])
    def test_a_list_that_is_not_googles_is_asked_for_again(
        self, manager: SecretManager, store: Store, listed: object
    ) -> None:
        """Whatever stands between here and Google."""
        store.create("s", project=PROJECT)
        store.add_version("s", b"first")
        for call, key in (("ListSecrets", "secrets"), ("ListSecretVersions", "versions")):
            store.add_fault(Fault(call, status=200, body={key: listed}))
        assert [one.id for one in manager.list("s", soon())] == ["s"]
        assert manager.versions("s", soon()) == {1: True}

    @pytest.mark.usefixtures("one_secret")
    def test_a_stale_etag_changes_nothing(self, manager: SecretManager, store: Store) -> None:
        """Whoever did not see the present state neither changes nor deletes it."""
        seen = manager.get("s", soon())
        store.edit("s", annotations={"by": "another"})
        with pytest.raises(SecretChanged):
            manager.update(StoredSecret("s", {}, {"by": "me"}, seen.etag), soon())
        with pytest.raises(SecretChanged):
            manager.delete("s", seen.etag, soon())
        assert store.annotations("s") == {"by": "another"}


@pytest.mark.usefixtures("one_secret")
class TestVersions:
    def test_a_payload_that_arrives_broken_is_read_again(self, manager: SecretManager, store: Store) -> None:
        """A checksum that does not fit says so."""
        broken = {"name": "projects/1/secrets/s/versions/1", "payload": {"data": "eHl6", "dataCrc32c": "5"}}
        store.add_fault(Fault("AccessSecretVersion", status=200, body=broken))
        assert manager.access("s", 1, soon()).payload == b"first"
        assert store.count("AccessSecretVersion") == 2

    def test_listed_by_number(self, manager: SecretManager, store: Store) -> None:
        """Disabled ones are not destroyed: they cost money."""
        for _ in range(3):
            store.add_version("s", b"x")
        store.set_state("s", 1, "DESTROYED")
        store.set_state("s", 2, "DISABLED")
        assert manager.versions("s", soon()) == {4: True, 3: True, 2: True, 1: False}


@pytest.mark.usefixtures("one_secret")
class TestEveryCall:
    @pytest.mark.parametrize("name", CALLS)
    def test_tries_again_what_may_pass_and_nothing_else(self, manager: SecretManager, store: Store, name: str) -> None:
        """A refusal is final, names the secret and quotes Google; adding cannot be told from adding a second time."""
        store.add_fault(Fault(name, status=503))
        store.add_fault(Fault(name, do="drop"))
        store.add_fault(Fault(name, times=None, status=403))
        error = StoreUnavailable if name == "AddSecretVersion" else StoreForbidden
        with pytest.raises(error, match="cannot ") as raised:
            CALLS[name](manager)
        assert store.count(name) == (1 if name == "AddSecretVersion" else 3)
        assert raised.value.secret_id == {"ListSecrets": "", "CreateSecret": "new"}.get(name, "s")
        store.clear_faults()
        CALLS[name](manager)
