"""The eleven calls to Secret Manager through Google's own client: what each does, and how each fails."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from emulators.secret_manager import SecretManagerServer
from emulators.serving import Fault
from tokenkeeper.clock import Deadline
from tokenkeeper.errors import (
    SecretChanged,
    SecretExists,
    SecretMissing,
    StoreForbidden,
    StoreUnavailable,
    VersionUnreadable,
)
from tokenkeeper.store.secretmanager import SecretManager, StoredSecret, Version
from unit.parts import PROJECT, HandClock

Call = Callable[[SecretManager, Deadline], object]


@pytest.fixture
def manager(store: SecretManagerServer) -> SecretManager:
    """The secrets of an empty project; waiting between tries takes no time."""
    return SecretManager(PROJECT, store.address)


@pytest.fixture
def deadline(hand_clock: HandClock) -> Deadline:
    """Half a minute."""
    return Deadline(30)


@pytest.fixture
def one_secret(store: SecretManagerServer) -> None:
    """A secret `s` with one version."""
    store.create("s", project=PROJECT, labels={"a": "b"})
    store.add_version("s", b"first")


CALLS: dict[str, tuple[str, Call]] = {
    "list": ("ListSecrets", lambda manager, deadline: list(manager.list("s", deadline))),
    "get": ("GetSecret", lambda manager, deadline: manager.get("s", deadline)),
    "create": ("CreateSecret", lambda manager, deadline: manager.create("new", {}, {}, deadline)),
    "update": (
        "UpdateSecret",
        lambda manager, deadline: manager.update(StoredSecret("s", {"c": "d"}, {}, ""), deadline),
    ),
    "delete": ("DeleteSecret", lambda manager, deadline: manager.delete("s", "", deadline)),
    "access": ("AccessSecretVersion", lambda manager, deadline: manager.access("s", "latest", deadline)),
    "number": ("GetSecretVersion", lambda manager, deadline: manager.number("s", "latest", deadline)),
    "versions": ("ListSecretVersions", lambda manager, deadline: manager.versions("s", deadline)),
    "destroy": ("DestroySecretVersion", lambda manager, deadline: manager.destroy("s", 1, deadline)),
    "permissions": ("TestIamPermissions", lambda manager, deadline: manager.permissions("s", ["a.b.c"], deadline)),
}
ADD: tuple[str, Call] = ("AddSecretVersion", lambda manager, deadline: manager.add("s", b"x", deadline))
every_call = pytest.mark.parametrize(("name", "call"), [*CALLS.values(), ADD], ids=[*CALLS, "add"])
every_call_but_add = pytest.mark.parametrize(("name", "call"), CALLS.values(), ids=CALLS)


class TestSecrets:
    def test_created_read_changed_and_deleted(
        self, manager: SecretManager, store: SecretManagerServer, deadline: Deadline
    ) -> None:
        """A secret has labels and annotations, and an etag for the next change."""
        made = manager.create("s", {"a": "b"}, {"note": "one"}, deadline)
        assert manager.get("s", deadline) == made
        assert (made.id, made.labels, made.annotations) == ("s", {"a": "b"}, {"note": "one"})
        changed = manager.update(StoredSecret("s", {"a": "c"}, {"note": "two"}, made.etag), deadline)
        assert (changed.labels, changed.annotations) == ({"a": "c"}, {"note": "two"})
        assert changed.etag != made.etag
        manager.delete("s", changed.etag, deadline)
        assert not store.secrets()

    def test_a_list_follows_its_pages(
        self, manager: SecretManager, store: SecretManagerServer, deadline: Deadline
    ) -> None:
        """All secrets whose name holds the part come, with labels, annotations and etags, however many pages."""
        for number in range(1001):
            store.create(f"ours-{number}", project=PROJECT, labels={"n": str(number)}, annotations={"n": str(number)})
        store.create("other", project=PROJECT)
        found = {one.id: one for one in manager.list("ours-", deadline)}
        assert len(found) == 1001
        assert found["ours-7"].labels == found["ours-7"].annotations == {"n": "7"}
        assert all(one.etag for one in found.values())
        assert store.count("ListSecrets") == 2

    @pytest.mark.usefixtures("one_secret")
    def test_a_stale_etag_changes_nothing(
        self, manager: SecretManager, store: SecretManagerServer, deadline: Deadline
    ) -> None:
        """Whoever did not see the present state neither changes nor deletes it."""
        seen = manager.get("s", deadline)
        store.edit("s", annotations={"by": "another"})
        with pytest.raises(SecretChanged):
            manager.update(StoredSecret("s", {}, {"by": "me"}, seen.etag), deadline)
        with pytest.raises(SecretChanged):
            manager.delete("s", seen.etag, deadline)
        assert store.annotations("s") == {"by": "another"}

    @pytest.mark.usefixtures("one_secret")
    def test_a_second_one_of_the_same_name(self, manager: SecretManager, deadline: Deadline) -> None:
        """What is there already is an error of its own kind."""
        with pytest.raises(SecretExists, match="Secret s exists already"):
            manager.create("s", {}, {}, deadline)

    @pytest.mark.usefixtures("one_secret")
    def test_permissions(self, manager: SecretManager, store: SecretManagerServer, deadline: Deadline) -> None:
        """Only those that the caller has come back."""
        store.deny("secretmanager.versions.access")
        asked = ["secretmanager.versions.add", "secretmanager.versions.access"]
        assert manager.permissions("s", asked, deadline) == {"secretmanager.versions.add"}


@pytest.mark.usefixtures("one_secret")
class TestVersions:
    def test_added_and_read_by_number(self, manager: SecretManager, deadline: Deadline) -> None:
        """The number of a new version comes back; `latest` says which one it is."""
        assert manager.add("s", b"second", deadline) == 2
        assert manager.access("s", 1, deadline) == Version(1, b"first")
        assert manager.access("s", "latest", deadline) == Version(2, b"second")

    def test_a_payload_that_arrives_broken_is_read_again(
        self, manager: SecretManager, store: SecretManagerServer, deadline: Deadline
    ) -> None:
        """A checksum that does not fit says so."""
        broken = {"name": "projects/1/secrets/s/versions/1", "payload": {"data": "eHl6", "dataCrc32c": "5"}}
        store.add_fault(Fault("AccessSecretVersion", status=200, body=broken))
        assert manager.access("s", 1, deadline).payload == b"first"
        assert store.count("AccessSecretVersion") == 2

    @pytest.mark.parametrize("state", ["DISABLED", "DESTROYED"])
    def test_one_that_is_disabled_or_destroyed(
        self, manager: SecretManager, store: SecretManagerServer, deadline: Deadline, state: str
    ) -> None:
        """It cannot be read, but it still has its number."""
        store.set_state("s", 1, state)
        with pytest.raises(VersionUnreadable):
            manager.access("s", 1, deadline)
        assert manager.number("s", "latest", deadline) == 1

    def test_one_that_is_not_there(self, manager: SecretManager, deadline: Deadline) -> None:
        """A number beyond the newest, and a secret that does not exist, are missing."""
        for secret_id, number in (("s", 2), ("nothing", 1)):
            with pytest.raises(SecretMissing):
                manager.access(secret_id, number, deadline)

    def test_destroyed_for_good_and_once_more(
        self, manager: SecretManager, store: SecretManagerServer, deadline: Deadline
    ) -> None:
        """A version that is destroyed already, or was never there, is no error."""
        for number in (1, 1, 9):
            manager.destroy("s", number, deadline)
        assert store.destroyed("s") == [1]

    def test_listed_by_number(self, manager: SecretManager, store: SecretManagerServer, deadline: Deadline) -> None:
        """Disabled ones are not destroyed: they cost money."""
        for _ in range(3):
            store.add_version("s", b"x")
        store.set_state("s", 1, "DESTROYED")
        store.set_state("s", 2, "DISABLED")
        assert manager.versions("s", deadline) == {4: True, 3: True, 2: True, 1: False}

    def test_no_repr_shows_a_payload(self, manager: SecretManager, deadline: Deadline) -> None:
        """A version can be shown."""
        assert "first" not in repr(manager.access("s", 1, deadline))


@pytest.mark.usefixtures("one_secret")
class TestEveryCall:
    @every_call_but_add
    def test_tries_again_what_may_pass(
        self, manager: SecretManager, store: SecretManagerServer, deadline: Deadline, name: str, call: Call
    ) -> None:
        """Two server errors and a lost connection are not noticed."""
        store.add_fault(Fault(name, times=2, status=503))
        store.add_fault(Fault(name, do="drop"))
        call(manager, deadline)
        assert store.count(name) == 4

    @every_call
    def test_does_not_try_again_what_is_refused(
        self, manager: SecretManager, store: SecretManagerServer, deadline: Deadline, name: str, call: Call
    ) -> None:
        """A missing permission is not there a second later either; the error names the secret and quotes Google."""
        store.add_fault(Fault(name, times=None, status=403))
        with pytest.raises(StoreForbidden, match=r"cannot .*Google: The caller does not have permission") as error:
            call(manager, deadline)
        assert store.count(name) == 1
        assert error.value.secret_id == {"ListSecrets": "", "CreateSecret": "new"}.get(name, "s")
        assert error.value.__cause__ is None

    def test_adding_is_never_repeated_by_itself(
        self, manager: SecretManager, store: SecretManagerServer, deadline: Deadline
    ) -> None:
        """Secret Manager cannot tell a second try from a second version."""
        store.add_fault(Fault("AddSecretVersion", do="drop", when="after"))
        with pytest.raises(StoreUnavailable):
            manager.add("s", b"second", deadline)
        assert store.count("AddSecretVersion") == 1
        assert store.payloads("s") == [b"first", b"second"]

    def test_a_change_can_be_tried_once_only(
        self, manager: SecretManager, store: SecretManagerServer, deadline: Deadline
    ) -> None:
        """For a lease that is taken over at once or not at all."""
        store.add_fault(Fault("UpdateSecret", status=503))
        with pytest.raises(StoreUnavailable):
            manager.update(manager.get("s", deadline), deadline, retry=False)
        assert store.count("UpdateSecret") == 1
