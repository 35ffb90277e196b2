"""Who may work on a connection: one at a time, with an end, by the contract's one rule.

A lease lasts 45 s and is free 30 s after its end; clocks agree within 30 s. Promise 1. How a holder renews it and gives
it back is in `reliability/test_lease`.
"""

from datetime import timedelta
from functools import partial

import pytest

from emulators.secret_manager import SecretManagerServer as Store
from emulators.serving import Fault
from tokenkeeper import clock, transitions
from tokenkeeper.clock import Deadline
from tokenkeeper.connection import Connection
from tokenkeeper.errors import LeaseHeld, StoreError, StoreUnavailable
from tokenkeeper.store.lease import hold, is_free, left_by_callback
from tokenkeeper.store.vault import Vault
from unit.conftest import Logged
from unit.parts import NOON, PROJECT, HandClock, connected, long_lived, soon

TOKEN = "tiktok-ads-token-acme"


@pytest.fixture(autouse=True)
def _acme(store: Store) -> None:
    made = connected(long_lived())
    store.create(TOKEN, project=PROJECT, labels=made.labels, annotations=made.annotations)


def until(**span: float) -> Connection:
    """A connection that somebody else holds, with an end so far from now."""
    return Connection("acme", {}, {"lease": f"refresh-other {clock.text(NOON + timedelta(**span), precise=True)}"})


LEASES: dict[str, tuple[Connection, bool]] = {
    "nobody holds it": (Connection("acme", {}, {}), True),
    "it lasts": (until(seconds=45), False),
    "it ended 30 s ago": (until(seconds=-30), False),
    "it ended more than 30 s ago": (until(seconds=-30, milliseconds=-1), True),
    "it lasts by a clock that is 30 s ahead": (until(seconds=75), False),
    "it ends five minutes ahead": (until(minutes=5), False),
    "it ends further ahead than any holder writes": (until(minutes=5, milliseconds=1), True),
    "edited by hand: no end": (Connection("acme", {}, {"lease": "me"}), True),
    "edited by hand: no such time": (Connection("acme", {}, {"lease": "me 2026-99-99T00:00:00Z"}), True),
}


@pytest.mark.usefixtures("hand_clock")
def test_when_a_lease_counts_no_more() -> None:
    """30 s after its end, by this machine's clock; what nobody can have written blocks nobody."""
    assert {case: is_free(found) for case, (found, _) in LEASES.items()} == {
        case: free for case, (_, free) in LEASES.items()
    }


def test_what_died_is_known_by_its_role() -> None:
    """What a callback left behind is an authorization."""
    leases = {"connect-0123 2026": True, "refresh-0123 2026": False}
    assert {lease: left_by_callback(Connection("acme", {}, {"lease": lease})) for lease in leases} == leases


def test_one_waits_for_another_as_long_as_it_may(vault: Vault, store: Store, hand_clock: HandClock) -> None:
    """A callback waits up to 15 s for a run."""
    store.edit(TOKEN, annotations={"lease": until(seconds=45).lease})
    for wait in (0, 15):
        with pytest.raises(LeaseHeld), hold(vault, "acme", "connect", soon(), wait=wait):
            pass
        assert max(0, wait - 1) <= sum(hand_clock.slept) <= wait
    hand_clock.on_sleep = lambda: store.edit(TOKEN, annotations={"lease": None})
    with hold(vault, "acme", "connect", soon(), wait=15):
        assert "lease" in store.annotations(TOKEN)


def test_a_stale_lease_is_taken_over_at_once_or_not_at_all(vault: Vault, store: Store) -> None:
    """While Secret Manager takes no writes, a live holder cannot renew either; so there is one try."""
    store.edit(TOKEN, annotations={"lease": until(seconds=-31).lease})
    store.add_fault(Fault("UpdateSecret", status=503))
    with pytest.raises(StoreUnavailable), hold(vault, "acme", "refresh", soon()):
        pass
    assert store.count("UpdateSecret") == 1


def test_an_alert_is_logged_before_the_connection_is_marked(vault: Vault, store: Store, logged: Logged) -> None:
    """A crash between the two can repeat it, but never lose it."""
    store.add_fault(Fault("UpdateSecret", skip=1, times=None, status=403))
    with hold(vault, "acme", "refresh", soon()) as mine, pytest.raises(StoreError):
        mine.apply(partial(transitions.ended, code=40105, request_id="R1"), Deadline(5))
    assert logged.events == ["reauthorization.required"]
    assert store.labels(TOKEN)["health"] == "ok"
