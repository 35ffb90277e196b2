"""Secret Manager through its official client: what each call does, and what each failure becomes."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from local.secret_manager import SecretManagerServer
from local.serving import Fault
from tokenkeeper import secretmanager
from tokenkeeper.clock import Deadline
from tokenkeeper.errors import (
    SecretChanged,
    SecretExists,
    SecretMissing,
    SecretUnreadable,
    SettingsError,
    VaultError,
    VaultForbidden,
    VaultRejected,
    VaultThrottled,
    VaultUnavailable,
)
from tokenkeeper.secretmanager import SecretManager
from unit.parts import PROJECT, HandClock

Call = Callable[[SecretManager, Deadline], object]


@pytest.fixture
def manager(store: SecretManagerServer, hand_clock: HandClock) -> SecretManager:
    """The secrets of an empty project; waiting between tries takes no time."""
    store.clock = lambda: hand_clock.now().timestamp()
    return SecretManager(PROJECT, store.address)


@pytest.fixture
def time(manager: SecretManager) -> Deadline:  # the clock has to be in place first
    """Half a minute."""
    return Deadline(30)


CALLS: dict[str, tuple[str, Call]] = {
    "a listing": ("ListSecrets", lambda manager, time: list(manager.secrets({"a": "b"}, time))),
    "a look": ("GetSecret", lambda manager, time: manager.get("s", time)),
    "making one": ("CreateSecret", lambda manager, time: manager.create("new", {}, {}, time)),
    "a change": ("UpdateSecret", lambda manager, time: manager.update("s", {}, {"a": "b"}, "", time)),
    "deleting": ("DeleteSecret", lambda manager, time: manager.delete("s", "", time)),
    "reading": ("AccessSecretVersion", lambda manager, time: manager.access("s", "latest", time)),
    "a number": ("GetSecretVersion", lambda manager, time: manager.number("s", "latest", time)),
    "a list of versions": ("ListSecretVersions", lambda manager, time: manager.versions("s", time)),
    "destroying": ("DestroySecretVersion", lambda manager, time: manager.destroy("s", 1, time)),
    "permissions": ("TestIamPermissions", lambda manager, time: manager.permitted("s", ["a.b.c"], time)),
}
ADDING: tuple[str, Call] = ("AddSecretVersion", lambda manager, time: manager.add("s", b"x", time))
every_call = pytest.mark.parametrize(("name", "call"), [*CALLS.values(), ADDING], ids=[*CALLS, "adding"])
every_call_but_adding = pytest.mark.parametrize(("name", "call"), CALLS.values(), ids=CALLS)


@pytest.fixture
def one_secret(store: SecretManagerServer) -> None:
    """A secret `s` with one version."""
    store.create("s", project=PROJECT, labels={"a": "b"})
    store.add_version("s", b"first")


class TestSecrets:
    def test_made_looked_at_changed_and_deleted(
        self, manager: SecretManager, store: SecretManagerServer, time: Deadline
    ) -> None:
        """A secret has labels and annotations, and an etag for the next change."""
        made = manager.create("s", {"a": "b"}, {"note": "one"}, time)
        seen = manager.get("s", time)
        assert made == seen
        assert (seen.id, seen.labels, seen.annotations) == ("s", {"a": "b"}, {"note": "one"})
        changed = manager.update("s", {"a": "c"}, {"note": "two"}, seen.etag, time)
        assert (changed.labels, changed.annotations) == ({"a": "c"}, {"note": "two"})
        manager.delete("s", changed.etag, time)
        assert not store.secrets()

    def test_a_listing_follows_its_pages_and_labels(
        self,
        manager: SecretManager,
        store: SecretManagerServer,
        time: Deadline,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """All secrets with the labels come, page by page, with labels, annotations and etags."""
        monkeypatch.setattr(secretmanager, "PAGE_SIZE", 2)
        for number in range(5):
            store.create(f"s{number}", project=PROJECT, labels={"ours": "yes"}, annotations={"n": str(number)})
        store.create("other", project=PROJECT, labels={"ours": "no"})
        found = list(manager.secrets({"ours": "yes"}, time))
        assert sorted((one.id, one.annotations["n"]) for one in found) == [(f"s{n}", str(n)) for n in range(5)]
        assert all(one.etag for one in found)
        assert store.count("ListSecrets") == 3

    @pytest.mark.usefixtures("one_secret")
    def test_a_stale_etag_changes_nothing(
        self, manager: SecretManager, store: SecretManagerServer, time: Deadline
    ) -> None:
        """Whoever did not see the present state neither changes nor deletes it."""
        seen = manager.get("s", time)
        store.edit("s", annotations={"by": "another"})
        with pytest.raises(SecretChanged):
            manager.update("s", {}, {"by": "me"}, seen.etag, time)
        with pytest.raises(SecretChanged):
            manager.delete("s", seen.etag, time)
        assert store.annotations("s") == {"by": "another"}

    @pytest.mark.usefixtures("one_secret")
    def test_a_second_one_of_the_same_name(self, manager: SecretManager, time: Deadline) -> None:
        """What is there already is an error of its own kind."""
        with pytest.raises(SecretExists):
            manager.create("s", {}, {}, time)


class TestVersions:
    @pytest.mark.usefixtures("one_secret")
    def test_added_with_a_checksum_and_read_by_number(
        self, manager: SecretManager, time: Deadline, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The number of a new version comes back; a payload that arrives changed is not taken."""
        assert manager.add("s", b"second", time) == 2
        assert manager.access("s", 1, time).payload == b"first"
        latest = manager.access("s", "latest", time)
        assert (latest.number, latest.payload) == (2, b"second")
        monkeypatch.setattr(secretmanager, "google_crc32c", SimpleNamespace(value=lambda _: 1))
        with pytest.raises(VaultRejected):
            manager.add("s", b"third", time)

    @pytest.mark.usefixtures("one_secret")
    def test_a_payload_that_arrives_broken_is_not_believed(
        self, manager: SecretManager, store: SecretManagerServer, time: Deadline
    ) -> None:
        """A reading whose checksum is wrong is read again."""
        broken = {"name": "projects/1/secrets/s/versions/1", "payload": {"data": "eHl6", "dataCrc32c": "5"}}
        store.add_fault(Fault("AccessSecretVersion", status=200, body=broken))
        assert manager.access("s", 1, time).payload == b"first"

    @pytest.mark.usefixtures("one_secret")
    @pytest.mark.parametrize("state", ["DISABLED", "DESTROYED"])
    def test_one_that_is_disabled_or_destroyed(
        self, manager: SecretManager, store: SecretManagerServer, time: Deadline, state: str
    ) -> None:
        """It cannot be read, but it has its number still."""
        store.set_state("s", 1, state)
        with pytest.raises(SecretUnreadable):
            manager.access("s", 1, time)
        assert manager.number("s", "latest", time) == 1

    @pytest.mark.usefixtures("one_secret")
    def test_destroyed_for_good_and_once_more(
        self, manager: SecretManager, store: SecretManagerServer, time: Deadline
    ) -> None:
        """A version that is destroyed already, or was never there, is no trouble."""
        manager.destroy("s", 1, time)
        manager.destroy("s", 1, time)
        manager.destroy("s", 9, time)
        assert store.destroyed("s") == [1]

    @pytest.mark.usefixtures("one_secret")
    def test_all_versions_and_which_of_them_live(
        self,
        manager: SecretManager,
        store: SecretManagerServer,
        time: Deadline,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Disabled ones live, since they cost money; destroyed ones do not."""
        monkeypatch.setattr(secretmanager, "PAGE_SIZE", 2)
        for _ in range(3):
            store.add_version("s", b"x")
        store.set_state("s", 1, "DESTROYED")
        store.set_state("s", 2, "DISABLED")
        assert manager.versions("s", time) == {4: True, 3: True, 2: True, 1: False}

    @pytest.mark.usefixtures("one_secret")
    def test_no_repr_shows_a_payload(self, manager: SecretManager, time: Deadline) -> None:
        """A version can be shown."""
        assert "first" not in repr(manager.access("s", 1, time))

    @pytest.mark.usefixtures("one_secret")
    def test_permissions_are_asked_for(
        self, manager: SecretManager, store: SecretManagerServer, time: Deadline
    ) -> None:
        """Only those that the caller has come back."""
        store.deny("secretmanager.versions.access")
        asked = ["secretmanager.versions.add", "secretmanager.versions.access"]
        assert manager.permitted("s", asked, time) == {"secretmanager.versions.add"}


@pytest.mark.usefixtures("one_secret")
class TestFailures:
    @every_call_but_adding
    def test_a_passing_failure_is_tried_again(
        self, manager: SecretManager, store: SecretManagerServer, time: Deadline, name: str, call: Call
    ) -> None:
        """Two server errors and a lost connection are not noticed."""
        store.add_fault(Fault(name, times=2, status=503))
        store.add_fault(Fault(name, do="drop"))
        call(manager, time)
        assert store.count(name) == 4

    def test_adding_is_never_repeated_by_itself(
        self, manager: SecretManager, store: SecretManagerServer, time: Deadline
    ) -> None:
        """Secret Manager cannot tell a second try from a second version."""
        store.add_fault(Fault("AddSecretVersion", do="drop", when="after"))
        with pytest.raises(VaultUnavailable):
            manager.add("s", b"second", time)
        assert store.count("AddSecretVersion") == 1

    @every_call
    def test_what_lasts_is_over_in_time(
        self, manager: SecretManager, store: SecretManagerServer, hand_clock: HandClock, name: str, call: Call
    ) -> None:
        """Trying again ends with the time that was given, with growing pauses in between."""
        store.add_fault(Fault(name, times=None, status=503))
        with pytest.raises(VaultUnavailable):
            call(manager, Deadline(20))
        assert sum(hand_clock.slept) <= 20
        assert len(hand_clock.slept) < 15

    @every_call
    @pytest.mark.parametrize(
        ("status", "body", "error"),
        [
            (403, None, VaultForbidden),
            (404, None, SecretMissing),
            (429, None, VaultThrottled),
            (500, None, VaultUnavailable),
            (502, b"<html>bad gateway</html>", VaultUnavailable),
            (504, None, VaultUnavailable),
            (200, b"this is no JSON", VaultUnavailable),
            (400, None, VaultRejected),
        ],
        ids=["403", "404", "429", "500", "502 in HTML", "504", "200 without JSON", "400"],
    )
    def test_every_failure_is_one_of_ours(
        self,
        manager: SecretManager,
        store: SecretManagerServer,
        name: str,
        call: Call,
        status: int,
        body: bytes | None,
        error: type[VaultError],
    ) -> None:
        """Whatever comes back, the error says what it means for the caller and nothing of what was sent."""
        store.add_fault(Fault(name, times=None, status=status, body=body))
        if (name, error) == ("DestroySecretVersion", SecretMissing) or (name, status) == ("DeleteSecret", 200):
            call(manager, Deadline(0.1))  # gone is gone
            return
        with pytest.raises(error) as raised:
            call(manager, Deadline(0.1))
        assert type(raised.value) is error
        assert raised.value.__cause__ is None
        assert PROJECT not in str(raised.value)

    def test_a_refusal_is_not_tried_again(
        self, manager: SecretManager, store: SecretManagerServer, time: Deadline
    ) -> None:
        """What permission is lacking for will not work a second later."""
        store.deny("secretmanager.versions.access")
        with pytest.raises(VaultForbidden):
            manager.access("s", "latest", time)
        assert store.count("AccessSecretVersion") == 1

    def test_throttling_is_remembered_for_seconds(
        self, manager: SecretManager, store: SecretManagerServer, time: Deadline, hand_clock: HandClock
    ) -> None:
        """After a complaint of too many calls everybody knows for a few seconds."""
        assert not manager.throttled
        store.add_fault(Fault("GetSecret", status=429))
        manager.get("s", time)
        assert manager.throttled
        hand_clock.pass_by(seconds=10)
        assert not manager.throttled

    @pytest.mark.parametrize(
        ("status", "body"),
        [
            (200, {}),
            (200, {"name": "x"}),
            (200, {"error": {"code": 302}}),
            (503, {"error": {"details": ["x"]}}),
            (500, {"error": "x"}),
        ],
        ids=["nothing", "a name without a number", "an error that says 200", "details that are no objects", "a text"],
    )
    def test_what_is_no_answer_of_googles_is_unavailable(
        self, manager: SecretManager, store: SecretManagerServer, status: int, body: dict[str, object]
    ) -> None:
        """So that storing is tried again, whatever stands between here and Google."""
        store.add_fault(Fault("A*", status=status, body=body, times=None))
        with pytest.raises(VaultUnavailable):
            manager.add("s", b"x", Deadline(0.1))
        with pytest.raises(VaultUnavailable):
            manager.access("s", 1, Deadline(0.1))

    def test_nobody_listening_is_unavailable(self, manager: SecretManager) -> None:
        """A Secret Manager that is away is an error of ours, in time."""
        away = SecretManager(PROJECT, "127.0.0.1:1")
        assert manager.project == PROJECT
        with pytest.raises(VaultUnavailable):
            away.get("s", Deadline(0.1))


def test_without_credentials_a_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without Google credentials is told how to get some."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/at/all.json")
    with pytest.raises(SettingsError, match="gcloud auth application-default login"):
        SecretManager("").get("s", Deadline(1))
