"""What the token keeper stores: names, the inventory, one connection's changes, the record of a run."""

from __future__ import annotations

import pytest

from emulators.secret_manager import SecretManagerServer
from emulators.serving import Fault
from tokenkeeper.clock import Deadline
from tokenkeeper.connection import Connection
from tokenkeeper.errors import LeaseLost, SecretExists, SecretMissing, StoreForbidden, StoreUnavailable
from tokenkeeper.store.vault import Vault
from unit import parts
from unit.parts import PROJECT, HandClock

TOKEN = "tiktok-ads-token-acme"
REFRESH = "tiktok-ads-refresh-acme"
KEEPER = "tiktok-ads-keeper"
OURS = {"managed-by": "tiktok-token-keeper", "holds": "token", "connection": "acme"}


@pytest.fixture
def deadline(hand_clock: HandClock) -> Deadline:
    """A minute."""
    return Deadline(60)


@pytest.fixture
def acme(store: SecretManagerServer) -> None:
    """The token secret of a connection, without a version."""
    store.create(TOKEN, project=PROJECT, labels=OURS)


class TestNames:
    def test_of_the_three_secrets(self, vault: Vault) -> None:
        """The prefix, what it holds, and the connection's name."""
        assert vault.token_id("acme-eu") == "tiktok-ads-token-acme-eu"
        assert vault.refresh_id("acme-eu") == "tiktok-ads-refresh-acme-eu"
        assert vault.keeper_id == "tiktok-ads-keeper"

    def test_another_prefix_is_another_set_of_secrets(self, store: SecretManagerServer, deadline: Deadline) -> None:
        """Two keepers in one project do not see each other's connections, even where one prefix begins the other."""
        ours = Vault(parts.read(SECRET_MANAGER_EMULATOR_HOST=store.address, SECRET_PREFIX="a"))
        theirs = Vault(parts.read(SECRET_MANAGER_EMULATOR_HOST=store.address, SECRET_PREFIX="a-token"))
        ours.create("acme", "", deadline)
        assert set(ours.inventory(deadline).connections) == {"acme"}
        assert not theirs.inventory(deadline).connections


class TestInventory:
    def test_one_list_tells_everything(self, vault: Vault, store: SecretManagerServer, deadline: Deadline) -> None:
        """Connections, which of them have a refresh secret, and what the last run recorded, in one call."""
        vault.create("acme", "", deadline)
        vault.create("beta", "", deadline)
        vault.create_missing(vault.refresh_id("beta"), deadline)
        vault.record_run({"resume-after": "acme"}, deadline)
        store.forget_calls()
        found = vault.inventory(deadline)
        assert set(found.connections) == {"acme", "beta"}
        assert found.refreshable == {"beta"}
        assert found.last_run["resume-after"] == "acme"
        assert [call.name for call in store.calls] == ["ListSecrets"]

    @pytest.mark.parametrize(
        ("labels", "annotations"),
        [
            (OURS, {}),
            ({"managed-by": "tiktok-token-keeper"}, {}),
            ({}, {"connected-at": "2026-11-22T12:00:00.000Z"}),
            ({"managed-by": "terraform"}, {"lease": "connect-1 2026"}),
        ],
        ids=["all labels", "one label is left", "no label is left", "somebody put another label in its place"],
    )
    def test_a_name_with_a_label_or_annotation_of_ours_is_a_connection(
        self,
        vault: Vault,
        store: SecretManagerServer,
        deadline: Deadline,
        labels: dict[str, str],
        annotations: dict[str, str],
    ) -> None:
        """Whoever removes labels hides no connection."""
        store.create(TOKEN, project=PROJECT, labels=labels, annotations=annotations)
        assert set(vault.inventory(deadline).connections) == {"acme"}

    @pytest.mark.parametrize(
        ("secret_id", "labels"),
        [
            (TOKEN, {}),
            (TOKEN, {"managed-by": "terraform", "connection": "acme"}),
            ("my-tiktok-ads-token-acme", OURS),
            ("tiktok-ads-token-Acme", OURS),
            ("tiktok-ads-token-", OURS),
            ("tiktok-ads-app-secret", OURS),
            (REFRESH, {}),
        ],
        ids=[
            "created beforehand and not connected yet",
            "somebody else's",
            "a name that only holds ours",
            "no connection's name",
            "an empty name",
            "another secret of ours",
            "somebody else's refresh secret",
        ],
    )
    def test_a_foreign_secret_is_left_alone(
        self, vault: Vault, store: SecretManagerServer, deadline: Deadline, secret_id: str, labels: dict[str, str]
    ) -> None:
        """Neither its name alone nor its labels alone make it ours."""
        store.create(secret_id, project=PROJECT, labels=labels)
        found = vault.inventory(deadline)
        assert (found.connections, found.refreshable) == ({}, set())

    @pytest.mark.parametrize(("kind", "counts"), [("expiring", True), ("long-lived", False)])
    def test_a_refresh_secret_without_labels(
        self, vault: Vault, store: SecretManagerServer, deadline: Deadline, kind: str, counts: bool
    ) -> None:
        """It was made beforehand, or lost them: it counts where the connection's grant ends, and gets ours."""
        store.create(TOKEN, project=PROJECT, labels=OURS | {"kind": kind})
        store.create(REFRESH, project=PROJECT, labels={"client": "x"})
        found = vault.inventory(deadline)
        assert (found.refreshable, found.unlabelled) == (({"acme"}, {"acme"}) if counts else (set(), set()))
        vault.label_refresh_secret("acme", deadline)
        assert store.labels(REFRESH) == OURS | {"holds": "refresh", "client": "x"}

    @pytest.mark.usefixtures("acme")
    def test_many_advertisers_only_where_they_are_asked_for(
        self, vault: Vault, store: SecretManagerServer, deadline: Deadline
    ) -> None:
        """Thousands of connections with thousands of ids each would not fit; what is not whole cannot be written."""
        many = ",".join(str(number) for number in range(1000, 1200))
        store.edit(TOKEN, annotations={"advertisers": many, "approved": "7002"})
        small = vault.inventory(deadline).connections["acme"]
        assert (small.advertisers, small.approved, small.etag) == ((), (), "")
        whole = vault.inventory(deadline, advertisers=True).connections["acme"]
        assert (len(whole.advertisers), whole.approved) == (200, ("7002",))
        assert whole.etag

    @pytest.mark.usefixtures("acme")
    def test_a_few_are_listed(self, vault: Vault, store: SecretManagerServer, deadline: Deadline) -> None:
        """Then the listed state is whole, and can be written upon."""
        store.edit(TOKEN, annotations={"advertisers": "7001"})
        listed = vault.inventory(deadline).connections["acme"]
        assert listed.advertisers == ("7001",)
        assert listed.etag == vault.connection("acme", deadline).etag


@pytest.mark.usefixtures("acme")
class TestChange:
    def test_nothing_new_is_not_written(self, vault: Vault, store: SecretManagerServer, deadline: Deadline) -> None:
        """A transition that changes nothing makes no write."""
        vault.change("acme", lambda connection: connection, deadline)
        assert store.count("UpdateSecret") == 0

    def test_what_is_known_saves_reading(self, vault: Vault, store: SecretManagerServer, deadline: Deadline) -> None:
        """A change of a state that was read before is one call."""
        known = vault.connection("acme", deadline)
        store.forget_calls()
        vault.change("acme", lambda connection: connection.leased("me"), deadline, known)
        assert [call.name for call in store.calls] == ["UpdateSecret"]

    def test_others_may_write_in_between(self, vault: Vault, store: SecretManagerServer, deadline: Deadline) -> None:
        """A transition is applied once more to what somebody else wrote."""
        known = vault.connection("acme", deadline)
        store.edit(TOKEN, annotations={"note": "theirs"})
        vault.change("acme", lambda connection: connection.leased("me"), deadline, known)
        assert store.annotations(TOKEN) == {"note": "theirs", "lease": "me"}

    def test_a_lost_answer_is_recognized(self, vault: Vault, store: SecretManagerServer, deadline: Deadline) -> None:
        """A change that took place is not made twice."""
        store.add_fault(Fault("UpdateSecret", do="drop", when="after"))
        vault.change("acme", lambda connection: connection.leased("me"), deadline)
        assert store.annotations(TOKEN) == {"lease": "me"}

    def test_a_late_reading_is_waited_out(
        self, vault: Vault, store: SecretManagerServer, deadline: Deadline, hand_clock: HandClock
    ) -> None:
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

        vault.change("acme", transition, deadline)
        assert store.annotations(TOKEN) == {"note": "1", "lease": "me"}
        assert hand_clock.slept

    def test_one_that_others_keep_changing_ends_with_the_deadline(
        self, vault: Vault, store: SecretManagerServer, deadline: Deadline, hand_clock: HandClock
    ) -> None:
        """It is unavailable then, as far as the caller is concerned."""

        def transition(connection: Connection) -> Connection:
            hand_clock.pass_by(seconds=20)
            store.edit(TOKEN, annotations={"note": str(hand_clock.monotonic())})
            return connection.leased("me")

        with pytest.raises(StoreUnavailable, match="Others kept changing secret tiktok-ads-token-acme"):
            vault.change("acme", transition, deadline)

    def test_what_a_transition_refuses_ends_it(
        self, vault: Vault, store: SecretManagerServer, deadline: Deadline
    ) -> None:
        """An error of the transition is the caller's."""

        def refuse(connection: Connection) -> Connection:
            raise LeaseLost(connection.name)

        with pytest.raises(LeaseLost):
            vault.change("acme", refuse, deadline)
        assert store.count("UpdateSecret") == 0

    def test_a_connection_that_is_not_there(self, vault: Vault, deadline: Deadline) -> None:
        """There is nothing to change."""
        with pytest.raises(SecretMissing):
            vault.change("beta", lambda connection: connection, deadline)


class TestCreating:
    def test_a_connection_to_be(self, vault: Vault, store: SecretManagerServer, deadline: Deadline) -> None:
        """It has our labels, the operator's own and a lease, and is created once."""
        vault.create("acme", "me", deadline, {"client": "x", "holds": "nothing"})
        assert store.labels(TOKEN) == {**OURS, "client": "x"}
        assert store.annotations(TOKEN) == {"lease": "me"}
        with pytest.raises(SecretExists):
            vault.create("acme", "me", deadline)

    @pytest.mark.parametrize(("secret_id", "holds"), [(TOKEN, "token"), (REFRESH, "refresh")])
    def test_a_secret_that_was_found_missing(
        self, vault: Vault, store: SecretManagerServer, deadline: Deadline, secret_id: str, holds: str
    ) -> None:
        """It gets the labels of what it holds; that somebody was faster does not matter."""
        vault.create_missing(secret_id, deadline)
        vault.create_missing(secret_id, deadline)
        assert store.labels(secret_id) == {**OURS, "holds": holds}

    @pytest.mark.usefixtures("acme")
    def test_whether_versions_may_be_added(self, vault: Vault, store: SecretManagerServer, deadline: Deadline) -> None:
        """It is asked for without writing anything."""
        assert vault.may_add(TOKEN, deadline)
        store.deny("secretmanager.versions.add")
        assert not vault.may_add(TOKEN, deadline)
        assert [call.name for call in store.calls] == ["TestIamPermissions"] * 2


class TestRecord:
    def test_one_write_a_run(self, vault: Vault, store: SecretManagerServer, deadline: Deadline) -> None:
        """The keeper secret has no version, so it costs nothing; an empty fact is removed."""
        vault.record_run({"last-run-finished": "2026-11-22T12:00:00Z", "resume-after": "acme"}, deadline)
        vault.record_run({"last-run-finished": "2026-11-22T18:00:00Z", "resume-after": ""}, deadline)
        assert store.annotations(KEEPER) == {"last-run-finished": "2026-11-22T18:00:00Z"}
        assert store.labels(KEEPER) == {"managed-by": "tiktok-token-keeper", "holds": "keeper"}
        assert store.states(KEEPER) == {}
        assert (store.count("CreateSecret"), store.count("UpdateSecret")) == (1, 1)

    def test_a_keeper_secret_without_labels_gets_them(
        self, vault: Vault, store: SecretManagerServer, deadline: Deadline
    ) -> None:
        """It was made beforehand, or lost them."""
        store.create(KEEPER, project=PROJECT, labels={"team": "x"})
        vault.record_run({"last-run-finished": "2026-11-22T12:00:00Z"}, deadline)
        assert store.labels(KEEPER) == {"managed-by": "tiktok-token-keeper", "holds": "keeper", "team": "x"}

    @pytest.mark.parametrize(
        ("theirs", "kept"),
        [("2026-11-22T12:00:00Z", "2026-11-22T13:00:00Z"), ("2026-11-22T14:00:00Z", "2026-11-22T14:00:00Z")],
        ids=["an earlier run's", "a later run's"],
    )
    def test_of_two_runs_the_later_record_stays(
        self, vault: Vault, store: SecretManagerServer, deadline: Deadline, theirs: str, kept: str
    ) -> None:
        """Another run may write in the same moment."""
        vault.record_run({"last-run-finished": theirs}, deadline)
        store.add_fault(Fault("UpdateSecret", status=409))
        vault.record_run({"last-run-finished": "2026-11-22T13:00:00Z"}, deadline)
        assert store.annotations(KEEPER)["last-run-finished"] == kept

    def test_a_record_that_is_refused_is_said(
        self, vault: Vault, store: SecretManagerServer, deadline: Deadline
    ) -> None:
        """The caller logs it."""
        store.deny("secretmanager.secrets.create")
        with pytest.raises(StoreForbidden):
            vault.record_run({"last-run-finished": "2026-11-22T13:00:00Z"}, deadline)
