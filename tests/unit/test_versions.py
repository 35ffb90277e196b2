"""Versions of a secret: what cannot be read, added or destroyed.

What can is in `reliability/test_store_faults`, where each call fails in turn.
"""

from __future__ import annotations

import pytest

from emulators.secret_manager import SecretManagerServer as Store
from emulators.serving import Fault
from tokenkeeper.clock import Deadline
from tokenkeeper.errors import SecretMissing, StoreForbidden
from tokenkeeper.store.secretmanager import SecretManager
from tokenkeeper.store.versions import Version, Versions
from unit.parts import PROJECT, HandClock, soon

S = "s"


@pytest.fixture
def versions(store: Store) -> Versions:
    """The versions of one secret, of which two are kept."""
    store.create(S, project=PROJECT)
    return Versions(SecretManager(PROJECT, store.address), keep=2)


def stored(store: Store, *payloads: bytes) -> None:
    """Add versions with these payloads."""
    for payload in payloads:
        store.add_version(S, payload)


class TestNewest:
    @pytest.mark.parametrize("lag", [0, 1])
    def test_that_cannot_be_read_is_still_the_newest(self, versions: Versions, store: Store, lag: int) -> None:
        """An older one never takes its place."""
        stored(store, b"1", b"2")
        store.set_state(S, 2, "DISABLED")
        store.set_lag(latest=lag)
        assert versions.newest(S, soon()) == Version(2, None)


class TestAdd:
    @pytest.mark.parametrize("known", [None, 0], ids=["who may not read", "who reads in vain"])
    def test_what_cannot_be_read_back_is_added_once_more(
        self, versions: Versions, store: Store, known: int | None
    ) -> None:
        """Nobody knows whether the lost version is there: the same token twice is no harm, none would be."""
        store.add_fault(Fault("AddSecretVersion", do="drop", when="after"))
        store.deny("secretmanager.versions.access")
        assert versions.add(S, b"new", soon(), known=known) == 2
        assert store.payloads(S) == [b"new", b"new"]

    def test_a_missing_secret_is_created_where_that_is_allowed(
        self, versions: Versions, store: Store, hand_clock: HandClock
    ) -> None:
        """Else the caller gets the error at once, or the refusal at the end; nobody waits after creating it."""

        def create(secret_id: str, _: Deadline) -> None:
            store.create(secret_id, project=PROJECT)

        def refused(secret_id: str, _: Deadline) -> None:
            raise StoreForbidden(f"cannot create {secret_id}")

        with pytest.raises(SecretMissing):
            versions.add("new", b"x", soon())
        with pytest.raises(StoreForbidden, match="cannot create new"):
            versions.add("new", b"x", Deadline(0), create=refused)
        assert versions.add("new", b"x", soon(), create=create) == 1
        assert hand_clock.slept == []


class TestPrune:
    def test_what_could_not_be_destroyed_is_left_for_the_next_run(self, versions: Versions, store: Store) -> None:
        """The number up to which all are destroyed never skips one; it never takes longer than it may."""
        stored(store, *[b"x"] * 5)
        store.add_fault(Fault("DestroySecretVersion", "versions/2", times=None, status=503))
        assert versions.prune(S, 5, 0, Deadline(0)) == 0
        assert versions.prune(S, 5, 0, soon()) == 1
        store.clear_faults()
        assert versions.prune(S, 5, 1, soon()) == 3
        assert store.destroyed(S) == [1, 2, 3]
