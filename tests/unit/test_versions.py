"""Versions of a secret: the newest one for certain, adding with retries until the deadline, and pruning."""

from __future__ import annotations

import pytest

from emulators.secret_manager import SecretManagerServer
from emulators.serving import Fault
from tokenkeeper.clock import Deadline
from tokenkeeper.errors import LeaseLost, SecretMissing, StoreForbidden, StoreUnavailable
from tokenkeeper.store.secretmanager import SecretManager
from tokenkeeper.store.versions import Newest, Versions
from unit.parts import PROJECT, HandClock

S = "s"


@pytest.fixture
def versions(store: SecretManagerServer) -> Versions:
    """The versions of one secret, of which two are kept."""
    store.create(S, project=PROJECT)
    return Versions(SecretManager(PROJECT, store.address), keep=2)


@pytest.fixture
def deadline(hand_clock: HandClock) -> Deadline:
    """A minute."""
    return Deadline(60)


def stored(store: SecretManagerServer, *payloads: bytes) -> None:
    """Add versions with these payloads."""
    for payload in payloads:
        store.add_version(S, payload)


class TestNewest:
    @pytest.mark.parametrize("lag", [0, 1, 2])
    def test_is_found_however_late_latest_is(
        self, versions: Versions, store: SecretManagerServer, deadline: Deadline, lag: int
    ) -> None:
        """From what `latest` says on, each next number is asked for until there is none."""
        stored(store, b"1", b"2", b"3")
        store.set_lag(latest=lag)
        assert versions.newest(S, deadline) == Newest(3, b"3")
        assert versions.latest(S, deadline) == Newest(3 - lag, str(3 - lag).encode())

    @pytest.mark.parametrize("state", ["DISABLED", "DESTROYED"])
    @pytest.mark.parametrize("lag", [0, 1])
    def test_that_cannot_be_read_is_still_the_newest(
        self, versions: Versions, store: SecretManagerServer, deadline: Deadline, state: str, lag: int
    ) -> None:
        """An older one never takes its place."""
        stored(store, b"1", b"2")
        store.set_state(S, 2, state)
        store.set_lag(latest=lag)
        assert versions.newest(S, deadline) == Newest(2, None)

    @pytest.mark.parametrize("secret_id", [S, "nothing-here"], ids=["no version", "no secret"])
    def test_of_nothing_has_number_0(self, versions: Versions, deadline: Deadline, secret_id: str) -> None:
        """A secret without versions, and one that is not there, look the same."""
        assert versions.newest(secret_id, deadline) == Newest(0, None)

    def test_what_is_known_saves_asking(
        self, versions: Versions, store: SecretManagerServer, deadline: Deadline
    ) -> None:
        """From a version that is known only the next number is asked for."""
        stored(store, b"1", b"2")
        versions.newest(S, deadline, Newest(2, b"2"))
        assert [call.resource.rpartition("/")[2] for call in store.calls] == ["3"]

    def test_one_version_by_number(self, versions: Versions, store: SecretManagerServer, deadline: Deadline) -> None:
        """What cannot be read has its number and no payload."""
        stored(store, b"1", b"2")
        store.set_state(S, 1, "DESTROYED")
        assert [versions.at(S, number, deadline) for number in (1, 2, 3)] == [
            Newest(1, None),
            Newest(2, b"2"),
            Newest(3, None),
        ]

    def test_no_repr_shows_a_payload(self) -> None:
        """A version can be shown."""
        assert "secret" not in repr(Newest(1, b"secret"))


class TestAdd:
    @pytest.mark.parametrize("status", [503, 429, 403, 400])
    def test_every_failure_is_tried_again(
        self, versions: Versions, store: SecretManagerServer, deadline: Deadline, status: int
    ) -> None:
        """What TikTok issued is not given up, not even after a refusal."""
        store.add_fault(Fault("AddSecretVersion", times=4, status=status))
        assert versions.add(S, b"x", deadline) == 1
        assert store.payloads(S) == [b"x"]

    def test_the_deadline_ends_it(self, versions: Versions, store: SecretManagerServer, hand_clock: HandClock) -> None:
        """The last try is made just before the end, and its failure is raised."""
        store.deny("secretmanager.versions.add")
        with pytest.raises(StoreForbidden):
            versions.add(S, b"x", Deadline(50))
        assert sum(hand_clock.slept) == pytest.approx(49.5)

    def test_a_version_whose_answer_was_lost_is_found(
        self, versions: Versions, store: SecretManagerServer, deadline: Deadline
    ) -> None:
        """Whoever may read versions does not add a second one."""
        stored(store, b"old")
        store.add_fault(Fault("AddSecretVersion", do="drop", when="after"))
        assert versions.add(S, b"new", deadline, known=1) == 2
        assert store.payloads(S) == [b"old", b"new"]

    def test_without_reading_it_is_added_once_more(
        self, versions: Versions, store: SecretManagerServer, deadline: Deadline
    ) -> None:
        """Whoever may not read adds again: the same token twice is no harm, none would be."""
        store.add_fault(Fault("AddSecretVersion", do="drop", when="after"))
        assert versions.add(S, b"new", deadline) == 2
        assert store.payloads(S) == [b"new", b"new"]

    def test_a_missing_secret_is_created_where_that_is_allowed(
        self, versions: Versions, store: SecretManagerServer, deadline: Deadline, hand_clock: HandClock
    ) -> None:
        """Else the caller gets the error at once; nobody waits after creating it."""

        def create(secret_id: str, _: Deadline) -> None:
            store.create(secret_id, project=PROJECT)

        with pytest.raises(SecretMissing):
            versions.add("new", b"x", deadline)
        assert store.count("AddSecretVersion") == 1
        assert versions.add("new", b"x", deadline, create=create) == 1
        assert hand_clock.slept == []

    def test_a_secret_that_may_not_be_created_is_tried_until_the_deadline(
        self, versions: Versions, store: SecretManagerServer
    ) -> None:
        """The refusal is what the caller gets."""

        def create(secret_id: str, _: Deadline) -> None:
            raise StoreForbidden(f"cannot create {secret_id}")

        with pytest.raises(StoreForbidden, match="cannot create new"):
            versions.add("new", b"x", Deadline(10), create=create)
        assert store.count("AddSecretVersion") > 3

    def test_what_cannot_be_read_back_is_added_again(
        self, versions: Versions, store: SecretManagerServer, deadline: Deadline
    ) -> None:
        """Nobody knows whether the lost version is there; twice is no harm, none would be."""
        store.add_fault(Fault("AddSecretVersion", do="drop", when="after"))
        store.deny("secretmanager.versions.access")
        assert versions.add(S, b"new", deadline, known=0) == 2
        assert store.payloads(S) == [b"new", b"new"]

    def test_the_precondition_is_checked_before_each_try(
        self, versions: Versions, store: SecretManagerServer, deadline: Deadline
    ) -> None:
        """A failure of the store counts as the try's; anything else ends the trying."""
        tries = 0

        def precondition() -> None:
            nonlocal tries
            tries += 1
            if tries == 1:
                raise StoreUnavailable("away")
            raise LeaseLost("gone")

        with pytest.raises(LeaseLost):
            versions.add(S, b"x", deadline, precondition=precondition)
        assert tries == 2
        assert store.count("AddSecretVersion") == 0


class TestPrune:
    @pytest.mark.parametrize(
        ("newest", "destroyed_to", "destroyed"),
        [
            (1, 0, []),
            (2, 0, []),
            (3, 0, [1]),
            (5, 0, [1, 2, 3]),
            (9, 0, [1, 2, 3, 4, 5, 6, 7]),
            (9, 5, [6, 7]),
            (9, 7, []),
        ],
    )
    def test_the_newest_and_the_one_before_stay(
        self,
        versions: Versions,
        store: SecretManagerServer,
        deadline: Deadline,
        newest: int,
        destroyed_to: int,
        destroyed: list[int],
    ) -> None:
        """With two versions to keep, all before them are destroyed."""
        stored(store, *[b"x"] * newest)
        assert versions.prune(S, newest, destroyed_to, deadline) == max(destroyed_to, newest - 2)
        assert store.destroyed(S) == destroyed

    def test_nothing_to_prune_costs_no_call(
        self, versions: Versions, store: SecretManagerServer, deadline: Deadline
    ) -> None:
        """Finding that there is nothing to do is free."""
        stored(store, b"1", b"2", b"3")
        versions.prune(S, 3, 1, deadline)
        assert store.calls == []

    def test_many_that_are_destroyed_already_are_not_destroyed_one_by_one(
        self, versions: Versions, store: SecretManagerServer, deadline: Deadline
    ) -> None:
        """Where many are behind, it is first asked which of them are left."""
        stored(store, *[b"x"] * 20)
        for number in range(1, 18):
            store.set_state(S, number, "DESTROYED")
        versions.prune(S, 20, 0, deadline)
        assert store.count("DestroySecretVersion") == 1
        assert store.destroyed(S) == list(range(1, 19))

    def test_more_versions_may_be_kept(self, store: SecretManagerServer, deadline: Deadline) -> None:
        """`KEEP_VERSIONS` says how many."""
        store.create(S, project=PROJECT)
        stored(store, *[b"x"] * 6)
        Versions(SecretManager(PROJECT, store.address), keep=4).prune(S, 6, 0, deadline)
        assert store.destroyed(S) == [1, 2]

    def test_what_could_not_be_destroyed_is_left_for_the_next_run(
        self, versions: Versions, store: SecretManagerServer, deadline: Deadline
    ) -> None:
        """The number up to which all are destroyed never skips one."""
        stored(store, *[b"x"] * 5)
        store.add_fault(Fault("DestroySecretVersion", "versions/2", times=None, status=503))
        assert versions.prune(S, 5, 0, deadline) == 1
        store.clear_faults()
        assert versions.prune(S, 5, 1, Deadline(60)) == 3
        assert store.destroyed(S) == [1, 2, 3]

    def test_a_deadline_that_is_over_destroys_nothing(self, versions: Versions, store: SecretManagerServer) -> None:
        """It never takes longer than it may."""
        stored(store, *[b"x"] * 4)
        assert versions.prune(S, 4, 0, Deadline(0)) == 0
        assert store.destroyed(S) == []
