"""Storing what a refresh brought after somebody else took the lease over.

That a newer grant is found and put on top, whenever it was stored, is in `reliability/test_interleavings`.
"""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from emulators.secret_manager import SecretManagerServer as Store
from tokenkeeper import clock, payload
from tokenkeeper.errors import Superseded
from tokenkeeper.store.lease import TERM, hold
from tokenkeeper.store.persist import GrantWriter, Numbers, store_authorization
from tokenkeeper.store.vault import Vault
from unit.parts import NOON, HandClock, expiring, soon

TOKEN, REFRESH = "tiktok-ads-token-acme", "tiktok-ads-refresh-acme"
NEW, THEIRS = (expiring(at=NOON + timedelta(hours=hours)) for hours in (13, 14))


@pytest.fixture
def writer(vault: Vault, store: Store, hand_clock: HandClock) -> Iterator[GrantWriter]:
    """Writes what a refresh of the grant of noon brought; somebody else holds the lease by now."""
    with hold(vault, "acme", "refresh", soon(), create={}) as lease:
        store_authorization(vault, lease, expiring(), soon())
        hand_clock.pass_by(seconds=TERM)
        end = clock.text(clock.now() + timedelta(seconds=TERM), precise=True)
        store.edit(TOKEN, annotations={"lease": f"connect-other {end}"})
        yield GrantWriter(lease, NOON, Numbers(1, 1))


def test_gives_way_where_a_newer_grant_is_stored(writer: GrantWriter, store: Store) -> None:
    """A re-connection during a refresh is never overwritten."""
    store.add_version(TOKEN, payload.of_token(THEIRS))
    with pytest.raises(Superseded):
        writer.add_refresh(NEW)
    assert len(store.payloads(REFRESH)) == 1


def test_writes_where_nobody_stored_anything_newer(writer: GrantWriter, store: Store) -> None:
    """A lease that was lost is no reason to lose a grant; what cannot be parsed, or the same again, is none."""
    store.add_version(TOKEN, b"edited by hand")
    store.add_version(REFRESH, payload.of_refresh(expiring()))
    writer.add_refresh(NEW)
    assert store.payloads(REFRESH)[-1] == payload.of_refresh(NEW)
