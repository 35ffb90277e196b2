"""Storing a grant: refresh secret first, then token secret, retried until the deadline, never over a newer grant."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from emulators.secret_manager import SecretManagerServer
from emulators.serving import Fault
from tokenkeeper import clock, payload
from tokenkeeper.clock import Deadline
from tokenkeeper.errors import StoreForbidden, StoreUnavailable, Superseded
from tokenkeeper.grant import Grant
from tokenkeeper.store.lease import TERM, Lease, hold
from tokenkeeper.store.persist import GrantWriter, Numbers, readable, store_authorization
from tokenkeeper.store.vault import Vault
from tokenkeeper.store.versions import Newest
from unit.parts import NOON, HandClock, expiring, long_lived

TOKEN = "tiktok-ads-token-acme"
REFRESH = "tiktok-ads-refresh-acme"
NEW = expiring(at=NOON + timedelta(hours=13))
THEIRS = expiring(at=NOON + timedelta(hours=14))


@pytest.fixture
def mine(vault: Vault) -> Iterator[Lease]:
    """The lease of acme, whose secrets hold the grant of noon."""
    with hold(vault, "acme", "refresh", Deadline(60), create={}) as lease:
        store_authorization(vault, lease, expiring(), Deadline(60))
        yield lease


@pytest.fixture
def writer(vault: Vault, mine: Lease, store: SecretManagerServer) -> GrantWriter:
    """Writes what a refresh of the grant of noon brought."""
    store.forget_calls()
    return GrantWriter(vault, mine, NOON, Numbers(1, 1))


def take_over(store: SecretManagerServer) -> None:
    """Somebody else holds the lease by now."""
    end = clock.text(clock.now() + timedelta(seconds=TERM), precise=True)
    store.edit(TOKEN, annotations={"lease": f"connect-other {end}"})


def stored(store: SecretManagerServer, secret_id: str) -> list[Grant | None]:
    """The grants in a secret's versions."""
    return [readable(Newest(1, content), "acme") for content in store.payloads(secret_id)]


class TestAuthorization:
    def test_the_refresh_secret_is_written_first(self, vault: Vault, store: SecretManagerServer) -> None:
        """A run that is cut off between the two is repaired by the next without using anything up."""
        with hold(vault, "acme", "connect", Deadline(60), create={}) as lease:
            store_authorization(vault, lease, expiring(), Deadline(60))
        added = [call.resource for call in store.calls if call.name == "AddSecretVersion" and call.status == 200]
        assert [name.rpartition("/")[2] for name in added] == [REFRESH, TOKEN]
        assert store.payloads(REFRESH) == [payload.of_refresh(expiring())]
        assert store.payloads(TOKEN) == [payload.of_token(expiring())]

    def test_one_without_a_refresh_token_has_no_refresh_secret(self, vault: Vault, store: SecretManagerServer) -> None:
        """There is nothing that a refresh could use."""
        with hold(vault, "acme", "connect", Deadline(60), create={}) as lease:
            store_authorization(vault, lease, long_lived(), Deadline(60))
        assert REFRESH not in store.secrets()

    def test_it_is_stored_whoever_holds_the_connection_by_now(
        self, vault: Vault, store: SecretManagerServer, hand_clock: HandClock
    ) -> None:
        """It cannot be had a second time."""
        with hold(vault, "acme", "connect", Deadline(60), create={}) as lease:
            hand_clock.pass_by(seconds=TERM)
            take_over(store)
            store_authorization(vault, lease, long_lived(), Deadline(60))
        assert stored(store, TOKEN) == [long_lived()]

    def test_a_refusal_is_retried_until_the_deadline(self, vault: Vault, store: SecretManagerServer) -> None:
        """Then the last failure comes out."""
        with hold(vault, "acme", "connect", Deadline(60), create={}) as lease:
            store.deny("secretmanager.versions.add")
            with pytest.raises(StoreForbidden):
                store_authorization(vault, lease, long_lived(), Deadline(50))
        assert store.count("AddSecretVersion") > 5


class TestRefresh:
    def test_both_secrets_get_a_version(self, writer: GrantWriter, store: SecretManagerServer) -> None:
        """The numbers are known afterwards, and nothing is read where nothing goes wrong."""
        writer.add_refresh(NEW)
        writer.add_token(NEW)
        assert writer.numbers == Numbers(2, 2)
        assert stored(store, REFRESH)[-1] == NEW
        assert stored(store, TOKEN)[-1] == readable(Newest(1, payload.of_token(NEW)), "acme")
        assert {call.name for call in store.calls} == {"AddSecretVersion"}

    def test_a_lost_answer_adds_nothing_twice(self, writer: GrantWriter, store: SecretManagerServer) -> None:
        """What was stored is found."""
        store.add_fault(Fault("AddSecretVersion", do="drop", when="after"))
        writer.add_refresh(NEW)
        assert writer.numbers.refresh == 2
        assert len(store.payloads(REFRESH)) == 2

    def test_a_refresh_secret_that_was_deleted_is_created_again(
        self, writer: GrantWriter, store: SecretManagerServer
    ) -> None:
        """A grant that TikTok issued is not lost over that."""
        store.delete(REFRESH)
        writer.add_refresh(NEW)
        assert stored(store, REFRESH) == [NEW]

    def test_it_is_tried_for_two_minutes(self, writer: GrantWriter, store: SecretManagerServer) -> None:
        """Whatever Secret Manager says."""
        store.add_fault(Fault("AddSecretVersion", times=None, status=503))
        with pytest.raises(StoreUnavailable):
            writer.add_refresh(NEW)
        assert (clock.now() - NOON).total_seconds() == pytest.approx(120, abs=6)

    def test_a_lease_that_cannot_be_renewed_keeps_nobody_from_trying(
        self, writer: GrantWriter, store: SecretManagerServer, hand_clock: HandClock
    ) -> None:
        """Perhaps a version can be added all the same."""
        hand_clock.pass_by(seconds=TERM)
        store.add_fault(Fault("UpdateSecret", times=None, status=503))
        writer.add_refresh(NEW)
        assert stored(store, REFRESH)[-1] == NEW


class TestSomebodyElse:
    def test_gives_way_where_a_newer_grant_is_stored(
        self, writer: GrantWriter, store: SecretManagerServer, hand_clock: HandClock
    ) -> None:
        """A re-connection during a refresh is never overwritten."""
        hand_clock.pass_by(seconds=TERM)
        take_over(store)
        store.add_version(TOKEN, payload.of_token(THEIRS))
        with pytest.raises(Superseded):
            writer.add_refresh(NEW)
        assert len(store.payloads(REFRESH)) == 1

    def test_writes_where_nobody_stored_anything_newer(
        self, writer: GrantWriter, store: SecretManagerServer, hand_clock: HandClock
    ) -> None:
        """A lease that was lost is no reason to lose a grant."""
        hand_clock.pass_by(seconds=TERM)
        take_over(store)
        writer.add_refresh(NEW)
        assert stored(store, REFRESH)[-1] == NEW

    def test_what_came_in_between_is_put_on_top_again(self, writer: GrantWriter, store: SecretManagerServer) -> None:
        """The new version's number shows that somebody stored a newer grant between the last look and the write."""
        store.add_version(TOKEN, payload.of_token(THEIRS))
        with pytest.raises(Superseded):
            writer.add_token(NEW)
        theirs = readable(Newest(1, payload.of_token(THEIRS)), "acme")
        assert stored(store, TOKEN)[-1] == theirs

    def test_an_older_or_broken_version_in_between_does_not_matter(
        self, writer: GrantWriter, store: SecretManagerServer
    ) -> None:
        """Only a newer grant counts."""
        store.add_version(TOKEN, payload.of_token(expiring()))
        store.add_version(TOKEN, b"edited by hand")
        writer.add_token(NEW)
        assert stored(store, TOKEN)[-1] == readable(Newest(1, payload.of_token(NEW)), "acme")
        assert len(store.payloads(TOKEN)) == 4

    @pytest.mark.parametrize(
        ("content", "newer"),
        [
            (None, False),
            (b"edited by hand", False),
            (payload.of_token(expiring()), False),
            (payload.of_token(THEIRS), True),
        ],
        ids=["nothing new", "a version edited by hand", "the same grant again", "a newer grant"],
    )
    @pytest.mark.parametrize("secret_id", [TOKEN, REFRESH], ids=["in the token secret", "in the refresh secret"])
    def test_is_noticed_by_a_newer_grant(
        self, writer: GrantWriter, store: SecretManagerServer, content: bytes | None, newer: bool, secret_id: str
    ) -> None:
        """In either secret; what cannot be parsed is none."""
        if content is not None:
            store.add_version(secret_id, content)
        assert writer.superseded() is newer

    def test_is_not_known_where_the_store_is_away(self, writer: GrantWriter, store: SecretManagerServer) -> None:
        """Then the caller does not go on as if there were nobody."""
        store.add_fault(Fault("AccessSecretVersion", times=None, status=503))
        with pytest.raises(StoreUnavailable):
            writer.superseded()
