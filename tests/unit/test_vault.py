"""What the token keeper stores: names, the inventory, one connection's changes, the record of a run."""

import pytest

from emulators.secret_manager import SecretManagerServer as Store
from tokenkeeper.store.vault import Vault
from unit import parts
from unit.parts import PROJECT, HandClock, soon

TOKEN = "tiktok-ads-token-acme"
REFRESH = "tiktok-ads-refresh-acme"
KEEPER = "tiktok-ads-keeper"
OURS = {"managed-by": "tiktok-token-keeper", "holds": "token", "connection": "acme"}
THEIRS = {"managed-by": "terraform", "connection": "acme"}
MADE = {"connected-at": "2026-11-22T12:00:00.000Z"}
SECRETS: dict[str, tuple[str, dict[str, str], dict[str, str], set[str]]] = {
    "one label is left": (TOKEN, {"managed-by": "tiktok-token-keeper"}, {}, {"acme"}),
    "somebody put another label in its place": (TOKEN, THEIRS, MADE, {"acme"}),
    "created beforehand and not connected yet": (TOKEN, {}, {}, set()),
    "somebody else's": (TOKEN, THEIRS, {"note": "x"}, set()),
    "a name that only holds ours": ("my-tiktok-ads-token-acme", OURS, MADE, set()),
    "no connection's name": ("tiktok-ads-token-Acme", OURS, MADE, set()),
    "another secret of ours": ("tiktok-ads-app-secret", OURS, {}, set()),
    "somebody else's refresh secret": (REFRESH, {}, {}, set()),
}


@pytest.fixture
def acme(store: Store) -> None:
    """The token secret of a connection, without a version."""
    store.create(TOKEN, project=PROJECT, labels=OURS)


class TestInventory:
    @pytest.mark.parametrize(("secret_id", "labels", "annotations", "names"), SECRETS.values(), ids=SECRETS)
    def test_a_name_with_a_label_or_annotation_of_ours_is_a_connection(
        self,
        vault: Vault,
        store: Store,
        secret_id: str,
        labels: dict[str, str],
        annotations: dict[str, str],
        names: set[str],
    ) -> None:
        """Whoever removes labels hides no connection; neither a name alone nor labels alone make one."""
        store.create(secret_id, project=PROJECT, labels=labels, annotations=annotations)
        found = vault.inventory(soon())
        assert (set(found.connections), found.refreshable) == (names, set())

    def test_another_prefix_is_another_set_of_secrets(self, store: Store) -> None:
        """Two keepers in one project do not see each other's connections, even where one prefix begins the other."""
        ours = Vault(parts.read(SECRET_MANAGER_EMULATOR_HOST=store.address, SECRET_PREFIX="a"))
        theirs = Vault(parts.read(SECRET_MANAGER_EMULATOR_HOST=store.address, SECRET_PREFIX="a-token"))
        ours.create("acme", "", soon())
        assert set(ours.inventory(soon()).connections) == {"acme"}
        assert not theirs.inventory(soon()).connections

    def test_a_refresh_secret_without_labels(self, vault: Vault, store: Store) -> None:
        """It was made beforehand, or lost them: it counts where the connection's grant ends."""
        for kind, names in (("long-lived", set()), ("expiring", {"acme"})):
            store.create(TOKEN, project=PROJECT, labels=OURS | {"kind": kind})
            store.create(REFRESH, project=PROJECT)
            found = vault.inventory(soon())
            assert (found.refreshable, found.unlabelled) == (names, names)
            for secret_id in (TOKEN, REFRESH):
                store.delete(secret_id)

    @pytest.mark.usefixtures("acme")
    def test_many_advertisers_only_where_they_are_asked_for(self, vault: Vault, store: Store) -> None:
        """Thousands of connections with thousands of ids each would not fit; what is not whole cannot be written."""
        many = ",".join(str(number) for number in range(1000, 1200))
        store.edit(TOKEN, annotations={"advertisers": many, "approved": "7002"})
        small = vault.inventory(soon()).connections["acme"]
        assert (small.advertisers, small.approved, small.etag) == ((), (), "")
        whole = vault.inventory(soon(), advertisers=True).connections["acme"]
        assert (len(whole.advertisers), whole.approved) == (200, ("7002",))
        assert whole.etag == vault.connection("acme", soon()).etag


@pytest.mark.parametrize(("secret_id", "holds"), [(TOKEN, "token"), (REFRESH, "refresh")])
def test_a_secret_that_was_found_missing(vault: Vault, store: Store, secret_id: str, holds: str) -> None:
    """It gets the labels of what it holds; that somebody was faster does not matter."""
    for _ in range(2):
        vault.create_missing(secret_id, soon())
    assert store.labels(secret_id) == {**OURS, "holds": holds}


def test_a_run_is_recorded_in_one_write(vault: Vault, store: Store) -> None:
    """The keeper secret has no version, so it costs nothing; an empty fact is removed, lost labels put back."""
    vault.record_run({"last-run-finished": "2026-11-22T12:00:00Z", "resume-after": "acme"}, soon())
    store.edit(KEEPER, labels={"managed-by": None, "team": "x"})
    vault.record_run({"last-run-finished": "2026-11-22T18:00:00Z", "resume-after": ""}, soon())
    assert store.annotations(KEEPER) == {"last-run-finished": "2026-11-22T18:00:00Z"}
    assert store.labels(KEEPER) == {"managed-by": "tiktok-token-keeper", "holds": "keeper", "team": "x"}
    assert store.states(KEEPER) == {}
    assert (store.count("CreateSecret"), store.count("UpdateSecret")) == (1, 1)


@pytest.mark.usefixtures("acme")
def test_a_late_reading_is_waited_out(vault: Vault, store: Store, hand_clock: HandClock) -> None:
    """Where a reading is behind, a change waits until it is not, and is made on top of what somebody else wrote."""
    store.edit(TOKEN, annotations={"note": "1"})
    store.set_lag(gets=1)
    hand_clock.on_sleep = store.set_lag
    vault.change("acme", lambda connection: connection.leased("me"), soon())
    assert store.annotations(TOKEN) == {"note": "1", "lease": "me"}
    assert hand_clock.slept == [0.5]
