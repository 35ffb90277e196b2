"""Storing what a refresh brought, never over a newer grant.

An authorization, which is stored whoever holds the connection, is in `flow` and `reliability/test_interleavings`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from emulators.secret_manager import SecretManagerServer as Store
from tokenkeeper import clock, payload
from tokenkeeper.errors import Superseded
from tokenkeeper.grant import Grant
from tokenkeeper.store.lease import TERM, Lease, hold
from tokenkeeper.store.persist import GrantWriter, Numbers, readable, store_authorization
from tokenkeeper.store.vault import Vault
from tokenkeeper.store.versions import Version
from unit.parts import NOON, HandClock, expiring, soon

TOKEN = "tiktok-ads-token-acme"
REFRESH = "tiktok-ads-refresh-acme"
NEW = expiring(at=NOON + timedelta(hours=13))
THEIRS = expiring(at=NOON + timedelta(hours=14))


@pytest.fixture
def mine(vault: Vault) -> Iterator[Lease]:
    """The lease of acme, whose secrets hold the grant of noon."""
    with hold(vault, "acme", "refresh", soon(), create={}) as lease:
        store_authorization(vault, lease, expiring(), soon())
        yield lease


@pytest.fixture
def writer(vault: Vault, mine: Lease, store: Store) -> GrantWriter:
    """Writes what a refresh of the grant of noon brought."""
    store.forget_calls()
    return GrantWriter(vault, mine, NOON, Numbers(1, 1))


def take_over(store: Store) -> None:
    """Somebody else holds the lease by now."""
    end = clock.text(clock.now() + timedelta(seconds=TERM), precise=True)
    store.edit(TOKEN, annotations={"lease": f"connect-other {end}"})


def stored(store: Store, secret_id: str) -> list[Grant | None]:
    """The grants in a secret's versions."""
    return [readable(Version(1, content), "acme") for content in store.payloads(secret_id)]


class TestSomebodyElse:
    def test_gives_way_where_a_newer_grant_is_stored(
        self, writer: GrantWriter, store: Store, hand_clock: HandClock
    ) -> None:
        """A re-connection during a refresh is never overwritten."""
        hand_clock.pass_by(seconds=TERM)
        take_over(store)
        store.add_version(TOKEN, payload.of_token(THEIRS))
        with pytest.raises(Superseded):
            writer.add_refresh(NEW)
        assert len(store.payloads(REFRESH)) == 1

    def test_writes_where_nobody_stored_anything_newer(
        self, writer: GrantWriter, store: Store, hand_clock: HandClock
    ) -> None:
        """A lease that was lost is no reason to lose a grant."""
        hand_clock.pass_by(seconds=TERM)
        take_over(store)
        writer.add_refresh(NEW)
        assert stored(store, REFRESH)[-1] == NEW

    def test_what_came_in_between_is_put_on_top_again(self, writer: GrantWriter, store: Store) -> None:
        """The new version's number shows that somebody stored a newer grant between the last look and the write."""
        store.add_version(TOKEN, payload.of_token(THEIRS))
        with pytest.raises(Superseded):
            writer.add_token(NEW)
        theirs = readable(Version(1, payload.of_token(THEIRS)), "acme")
        assert stored(store, TOKEN)[-1] == theirs

    @pytest.mark.parametrize("secret_id", [TOKEN, REFRESH], ids=["in the token secret", "in the refresh secret"])
    def test_is_noticed_by_a_newer_grant(self, writer: GrantWriter, store: Store, secret_id: str) -> None:
        """In either secret; the same grant again, or what cannot be parsed, is none, and does not stop a write."""
        writer.check_superseded()
        store.add_version(secret_id, payload.of_token(expiring()))
        store.add_version(secret_id, b"edited by hand")
        writer.check_superseded()
        store.add_version(secret_id, payload.of_token(THEIRS))
        with pytest.raises(Superseded):
            writer.check_superseded()
