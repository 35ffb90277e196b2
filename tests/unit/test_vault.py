"""What the token keeper stores: names, labels, stubborn writing, and reading past a `latest` that is late."""

from __future__ import annotations

from datetime import timedelta

import pytest

from local.secret_manager import SecretManagerServer
from local.serving import Fault
from tokenkeeper import clock
from tokenkeeper.clock import Deadline
from tokenkeeper.connection import Connection
from tokenkeeper.errors import LeaseLost, SecretExists, SecretMissing, VaultForbidden, VaultUnavailable
from tokenkeeper.vault import Newest, Vault
from unit import parts
from unit.parts import NOON, PROJECT, HandClock, long_lived

TOKEN = "tiktok-ads-token-acme"
REFRESH = "tiktok-ads-refresh-acme"
OURS = {"managed-by": "tiktok-token-keeper", "holds": "token", "connection": "acme"}


@pytest.fixture(autouse=True)
def _time_stands_still(hand_clock: HandClock, store: SecretManagerServer) -> None:
    store.clock = lambda: hand_clock.now().timestamp()


@pytest.fixture
def time() -> Deadline:
    """A minute."""
    return Deadline(60)


@pytest.fixture
def acme(store: SecretManagerServer) -> None:
    """The token secret of a connection, without a version."""
    store.create(TOKEN, project=PROJECT, labels=OURS)


def versions(store: SecretManagerServer, *payloads: bytes) -> None:
    """Add versions with these payloads."""
    for payload in payloads:
        store.add_version(TOKEN, payload)


class TestNames:
    @pytest.mark.usefixtures("store")
    def test_names_of_the_three_secrets(self, vault: Vault) -> None:
        """The prefix, what it holds, and the connection's name."""
        assert vault.token_id("acme-eu") == "tiktok-ads-token-acme-eu"
        assert vault.refresh_id("acme-eu") == "tiktok-ads-refresh-acme-eu"
        assert vault.keeper_id == "tiktok-ads-keeper"

    def test_another_prefix_is_another_set_of_secrets(self, store: SecretManagerServer, time: Deadline) -> None:
        """Two keepers with different prefixes in one project do not see each other's connections."""
        ours = Vault(parts.read(SECRET_MANAGER_EMULATOR_HOST=store.address, SECRET_PREFIX="a"))
        theirs = Vault(parts.read(SECRET_MANAGER_EMULATOR_HOST=store.address, SECRET_PREFIX="b"))
        ours.create("acme", "", time)
        assert set(ours.inventory(time).connections) == {"acme"}
        assert not theirs.inventory(time).connections


class TestInventory:
    def test_one_listing_tells_everything(self, vault: Vault, store: SecretManagerServer, time: Deadline) -> None:
        """Connections, which of them have a refresh secret, and where the last run stopped, in one call."""
        vault.create("acme", "", time)
        vault.create("beta", "", time)
        vault.store(vault.refresh_id("beta"), b"x", time, create=True)
        vault.note_run({"resume-after": "acme"}, time)
        store.forget_calls()
        found = vault.inventory(time)
        assert set(found.connections) == {"acme", "beta"}
        assert found.refreshable == {"beta"}
        assert found.resume_after == "acme"
        assert [call.name for call in store.calls] == ["ListSecrets"]

    @pytest.mark.parametrize(
        ("secret_id", "labels"),
        [
            ("tiktok-ads-token-other", {**OURS}),
            ("something-else", {**OURS}),
            (TOKEN, {**OURS, "managed-by": "somebody"}),
            (TOKEN, {**OURS, "connection": "-odd-"}),
            (TOKEN, {"managed-by": "tiktok-token-keeper"}),
        ],
        ids=["a label of another connection", "another name", "not ours", "no connection's name", "no label"],
    )
    def test_what_is_no_connection_is_left_alone(
        self, vault: Vault, store: SecretManagerServer, time: Deadline, secret_id: str, labels: dict[str, str]
    ) -> None:
        """Name and labels have to agree."""
        store.create(secret_id, project=PROJECT, labels=labels)
        assert not vault.inventory(time).connections

    @pytest.mark.usefixtures("acme")
    def test_advertisers_only_where_they_are_asked_for(
        self, vault: Vault, store: SecretManagerServer, time: Deadline
    ) -> None:
        """Thousands of connections with thousands of ids each would not fit into a small function."""
        store.edit(TOKEN, annotations={"advertisers": "7001"})
        assert vault.inventory(time).connections["acme"].advertisers == ()
        assert vault.inventory(time, advertisers=True).connections["acme"].advertisers == ("7001",)


class TestChange:
    @pytest.mark.usefixtures("acme")
    def test_nothing_new_is_not_written(self, vault: Vault, store: SecretManagerServer, time: Deadline) -> None:
        """A transition that changes nothing makes no write."""
        vault.change("acme", lambda connection: connection, time)
        assert store.count("UpdateSecret") == 0

    @pytest.mark.usefixtures("acme")
    def test_others_may_write_in_between(self, vault: Vault, store: SecretManagerServer, time: Deadline) -> None:
        """A transition is applied anew to what somebody else wrote."""
        known = vault.connection("acme", time)
        store.edit(TOKEN, annotations={"note": "theirs"})
        vault.change("acme", lambda connection: connection.leased("me"), time, known)
        assert store.annotations(TOKEN) == {"note": "theirs", "lease": "me"}

    @pytest.mark.usefixtures("acme")
    def test_a_lost_answer_is_recognized(self, vault: Vault, store: SecretManagerServer, time: Deadline) -> None:
        """A change that took place is not made twice."""
        store.add_fault(Fault("UpdateSecret", do="drop", when="after"))
        vault.change("acme", lambda connection: connection.leased("me"), time)
        assert store.annotations(TOKEN) == {"lease": "me"}

    @pytest.mark.usefixtures("acme")
    def test_a_late_reading_is_waited_out(self, vault: Vault, store: SecretManagerServer, time: Deadline) -> None:
        """Where a reading is behind, the change waits until it is not."""
        store.edit(TOKEN, annotations={"note": "1"})
        store.set_lag(gets=1)
        seen = 0

        def transition(connection: Connection) -> Connection:
            nonlocal seen
            seen += 1
            if seen == 2:
                store.set_lag()
            return connection.leased("me")

        vault.change("acme", transition, time)
        assert store.annotations(TOKEN) == {"note": "1", "lease": "me"}

    @pytest.mark.usefixtures("acme")
    def test_what_a_transition_refuses_ends_it(self, vault: Vault, store: SecretManagerServer, time: Deadline) -> None:
        """An error of the transition is the caller's."""

        def refuse(connection: Connection) -> Connection:
            raise LeaseLost(connection.name)

        with pytest.raises(LeaseLost):
            vault.change("acme", refuse, time)
        assert store.count("UpdateSecret") == 0

    def test_a_connection_that_is_not_there(self, vault: Vault, time: Deadline) -> None:
        """There is nothing to change."""
        with pytest.raises(SecretMissing):
            vault.change("acme", lambda connection: connection, time)

    def test_making_one_that_is_there(self, vault: Vault, store: SecretManagerServer, time: Deadline) -> None:
        """A connection to be has labels and a lease, and is made once."""
        vault.create("acme", "me", time)
        assert store.labels(TOKEN) == OURS
        assert store.annotations(TOKEN) == {"lease": "me"}
        with pytest.raises(SecretExists):
            vault.create("acme", "me", time)


@pytest.mark.usefixtures("acme")
class TestNewest:
    @pytest.mark.parametrize("lag", [0, 1, 2])
    def test_the_newest_is_found_however_late_latest_is(
        self, vault: Vault, store: SecretManagerServer, time: Deadline, lag: int
    ) -> None:
        """From what `latest` says on, each next number is asked for until there is none."""
        versions(store, b"1", b"2", b"3")
        store.set_lag(latest=lag)
        newest = vault.newest(TOKEN, time)
        assert (newest.number, newest.payload) == (3, b"3")

    @pytest.mark.parametrize("state", ["DISABLED", "DESTROYED"])
    def test_a_newest_that_cannot_be_read_is_still_the_newest(
        self, vault: Vault, store: SecretManagerServer, time: Deadline, state: str
    ) -> None:
        """An older one never stands in for it."""
        versions(store, b"1", b"2")
        store.set_state(TOKEN, 2, state)
        assert vault.newest(TOKEN, time) == Newest(2, None)
        store.set_lag(latest=1)
        assert vault.newest(TOKEN, time) == Newest(2, None)

    def test_no_version_at_all(self, vault: Vault, time: Deadline) -> None:
        """A secret without versions, and one that is not there, have number 0."""
        assert vault.newest(TOKEN, time) == Newest(0, None)
        assert vault.newest("nothing-here", time) == Newest(0, None)

    def test_what_is_known_saves_asking(self, vault: Vault, store: SecretManagerServer, time: Deadline) -> None:
        """From a version that is known only the next number is asked for."""
        versions(store, b"1", b"2")
        store.forget_calls()
        vault.newest(TOKEN, time, Newest(2, b"2"))
        assert [call.resource.rpartition("/")[2] for call in store.calls] == ["3"]

    def test_no_repr_shows_a_payload(self) -> None:
        """A version can be shown."""
        assert "secret" not in repr(Newest(1, b"secret"))


class TestStore:
    @pytest.mark.usefixtures("acme")
    @pytest.mark.parametrize("status", [503, 429, 403, 400])
    def test_every_failure_is_tried_again(
        self, vault: Vault, store: SecretManagerServer, time: Deadline, status: int
    ) -> None:
        """What TikTok handed out is not given up, not even after a refusal."""
        store.add_fault(Fault("AddSecretVersion", times=4, status=status))
        assert vault.store(TOKEN, b"x", time) == 1
        assert store.payloads(TOKEN) == [b"x"]

    @pytest.mark.usefixtures("acme")
    def test_the_time_ends_it(self, vault: Vault, store: SecretManagerServer, hand_clock: HandClock) -> None:
        """When the time is over the last failure comes out."""
        store.deny("secretmanager.versions.add")
        with pytest.raises(VaultForbidden):
            vault.store(TOKEN, b"x", Deadline(50))
        assert sum(hand_clock.slept) == pytest.approx(49.5)  # the last try is made just before the end

    @pytest.mark.usefixtures("acme")
    def test_a_version_whose_answer_was_lost_is_found(
        self, vault: Vault, store: SecretManagerServer, time: Deadline
    ) -> None:
        """Whoever may read versions does not add a second one."""
        versions(store, b"old")
        store.add_fault(Fault("AddSecretVersion", do="drop", when="after"))
        assert vault.store(TOKEN, b"new", time, newest=1) == 2
        assert store.payloads(TOKEN) == [b"old", b"new"]

    @pytest.mark.usefixtures("acme")
    def test_without_reading_it_is_added_once_more(
        self, vault: Vault, store: SecretManagerServer, time: Deadline
    ) -> None:
        """Whoever may not read adds again: the same token twice is no harm, none would be."""
        store.add_fault(Fault("AddSecretVersion", do="drop", when="after"))
        assert vault.store(TOKEN, b"new", time) == 2
        assert store.payloads(TOKEN) == [b"new", b"new"]

    @pytest.mark.parametrize(("secret_id", "holds"), [(TOKEN, "token"), (REFRESH, "refresh")])
    def test_a_missing_secret_is_made(
        self, vault: Vault, store: SecretManagerServer, time: Deadline, secret_id: str, holds: str
    ) -> None:
        """Where it may be made it gets its labels; where it may not, the caller hears of it."""
        with pytest.raises(SecretMissing):
            vault.store(secret_id, b"x", time)
        vault.store(secret_id, b"x", time, create=True)
        assert store.labels(secret_id) == {**OURS, "holds": holds}
        assert store.payloads(secret_id) == [b"x"]

    @pytest.mark.usefixtures("acme")
    def test_what_is_checked_before_each_try(self, vault: Vault, store: SecretManagerServer, time: Deadline) -> None:
        """A lost lease ends the trying; trouble of the store does not."""
        tries = 0

        def before() -> None:
            nonlocal tries
            tries += 1
            if tries == 1:
                raise VaultUnavailable("away")
            raise LeaseLost("gone")

        with pytest.raises(LeaseLost):
            vault.store(TOKEN, b"x", time, before_try=before)
        assert tries == 2
        assert store.count("AddSecretVersion") == 0

    @pytest.mark.usefixtures("acme")
    def test_whether_versions_may_be_added(self, vault: Vault, store: SecretManagerServer, time: Deadline) -> None:
        """It is asked for without writing anything."""
        assert vault.may_add(TOKEN, time)
        store.deny("secretmanager.versions.add")
        assert not vault.may_add(TOKEN, time)
        assert [call.name for call in store.calls] == ["TestIamPermissions"] * 2


@pytest.mark.usefixtures("acme")
class TestClear:
    @pytest.mark.parametrize(
        ("newest", "cleared_to", "destroyed"),
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
        vault: Vault,
        store: SecretManagerServer,
        time: Deadline,
        newest: int,
        cleared_to: int,
        destroyed: list[int],
    ) -> None:
        """With two versions to keep, all before them are destroyed."""
        versions(store, *[b"x"] * newest)
        assert vault.clear(TOKEN, newest, cleared_to, time) == max(cleared_to, newest - 2)
        assert store.destroyed(TOKEN) == destroyed

    def test_nothing_to_clear_costs_no_call(self, vault: Vault, store: SecretManagerServer, time: Deadline) -> None:
        """Finding that there is nothing to do is free."""
        versions(store, b"1", b"2", b"3")
        vault.clear(TOKEN, 3, 1, time)
        assert store.calls == []

    def test_many_that_are_destroyed_already_are_not_destroyed_one_by_one(
        self, vault: Vault, store: SecretManagerServer, time: Deadline
    ) -> None:
        """Where many are behind, it is first asked which of them still live."""
        versions(store, *[b"x"] * 20)
        for number in range(1, 18):
            store.set_state(TOKEN, number, "DESTROYED")
        vault.clear(TOKEN, 20, 0, time)
        assert store.count("DestroySecretVersion") == 1
        assert store.destroyed(TOKEN) == list(range(1, 19))

    def test_more_versions_may_be_kept(self, store: SecretManagerServer, time: Deadline) -> None:
        """`KEEP_VERSIONS` says how many."""
        versions(store, *[b"x"] * 6)
        keeps_four = Vault(parts.read(SECRET_MANAGER_EMULATOR_HOST=store.address, KEEP_VERSIONS="4"))
        keeps_four.clear(TOKEN, 6, 0, time)
        assert store.destroyed(TOKEN) == [1, 2]

    def test_what_could_not_be_destroyed_is_left_for_the_next(
        self, vault: Vault, store: SecretManagerServer, time: Deadline
    ) -> None:
        """The number that comes back is the last that is certain."""
        versions(store, *[b"x"] * 5)
        store.add_fault(Fault("DestroySecretVersion", "versions/2", times=None, status=503))
        assert vault.clear(TOKEN, 5, 0, time) == 1
        store.clear_faults()
        assert vault.clear(TOKEN, 5, 1, Deadline(60)) == 3
        assert store.destroyed(TOKEN) == [1, 2, 3]


class TestLastRun:
    def test_one_write_a_run(self, vault: Vault, store: SecretManagerServer, time: Deadline) -> None:
        """The keeper's secret has annotations and no version, and what is not mentioned stays."""
        vault.note_run({"last-run-started": "1", "resume-after": "acme"}, time)
        store.forget_calls()
        vault.note_run({"last-run-started": "2"}, time)
        assert store.annotations("tiktok-ads-keeper") == {"last-run-started": "2", "resume-after": "acme"}
        assert store.labels("tiktok-ads-keeper") == {"managed-by": "tiktok-token-keeper", "holds": "keeper"}
        assert store.payloads("tiktok-ads-keeper") == []
        assert [call.name for call in store.calls] == ["GetSecret", "UpdateSecret"]


@pytest.mark.usefixtures("acme")
def test_a_whole_connection_comes_back_as_it_was_written(vault: Vault, time: Deadline) -> None:
    """Labels and annotations survive the way through Secret Manager."""
    made = vault.change(
        "acme", lambda connection: connection.connected(long_lived(), NOON + timedelta(milliseconds=5), "l"), time
    )
    assert vault.connection("acme", time).same_state(made)
    assert made.connected_at == clock.parse("2026-11-22T12:00:00.005Z")
