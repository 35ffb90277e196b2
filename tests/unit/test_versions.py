"""Versions of a secret: what cannot be read, added or destroyed.

What can is in `reliability/test_store_faults`, where each call fails in turn.
"""

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


def test_the_newest_is_the_newest_though_it_cannot_be_read(versions: Versions, store: Store) -> None:
    """An older one never takes its place, also where `latest` is late."""
    stored(store, b"1", b"2")
    store.set_state(S, 2, "DISABLED")
    for lag in (0, 1):
        store.set_lag(latest=lag)
        assert versions.newest(S, soon()) == Version(2, None)


@pytest.mark.parametrize("known", [None, 0], ids=["who may not read", "who reads in vain"])
def test_what_cannot_be_read_back_is_added_once_more(versions: Versions, store: Store, known: int | None) -> None:
    """Nobody knows whether the lost version is there: the same token twice is no harm, none would be."""
    store.add_fault(Fault("AddSecretVersion", do="drop", when="after"))
    store.deny("secretmanager.versions.access")
    assert versions.add(S, b"new", soon(), known=known) == 2
    assert store.payloads(S) == [b"new", b"new"]


def test_a_missing_secret_is_created_where_that_is_allowed(
    versions: Versions, store: Store, hand_clock: HandClock
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


def test_destroying_never_takes_longer_than_it_may(versions: Versions, store: Store) -> None:
    """What is left is for the next run: that it is done then is in `reliability`."""
    stored(store, *[b"x"] * 5)
    assert versions.prune(S, 5, 0, Deadline(0)) == 0
    assert versions.prune(S, 5, 0, soon()) == 3
    assert store.destroyed(S) == [1, 2, 3]
