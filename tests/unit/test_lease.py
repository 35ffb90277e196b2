"""Who may work on a connection: one at a time, with an end, by the contract's one rule.

A lease lasts 45 s and is free 30 s after its end; clocks agree within 30 s. Promise 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

import pytest

from emulators.secret_manager import SecretManagerServer as Store
from emulators.serving import Fault
from tokenkeeper import clock, transitions
from tokenkeeper.clock import Deadline
from tokenkeeper.connection import Connection
from tokenkeeper.errors import LeaseHeld, StoreError, StoreUnavailable
from tokenkeeper.store.lease import TERM, Lease, hold, is_free, left_by_callback
from tokenkeeper.store.vault import Vault
from tokenkeeper.transitions import Change
from unit.conftest import Logged
from unit.parts import NOON, PROJECT, HandClock, connected, long_lived, soon

TOKEN = "tiktok-ads-token-acme"


@pytest.fixture(autouse=True)
def _acme(store: Store) -> None:
    made = connected(long_lived())
    store.create(TOKEN, project=PROJECT, labels=made.labels, annotations=made.annotations)


@contextmanager
def held(vault: Vault, role: str = "refresh", **more: float) -> Iterator[Lease]:
    """Hold the lease of acme."""
    with hold(vault, "acme", role, soon(), **more) as mine:  # type: ignore[arg-type]
        yield mine


def annotation(store: Store) -> str:
    """The lease as it is written."""
    return store.annotations(TOKEN).get("lease", "")


def until(**span: float) -> Connection:
    """A connection that somebody else holds, with an end so far from now."""
    return Connection("acme", {}, {"lease": f"refresh-other {clock.text(NOON + timedelta(**span), precise=True)}"})


def noted(connection: Connection) -> Change:
    """A change that says nothing."""
    return Change(connection.with_(annotations={"note": "x"}))


class TestTaking:
    def test_one_waits_for_another_as_long_as_it_may(self, vault: Vault, store: Store, hand_clock: HandClock) -> None:
        """A callback waits up to 15 s for a run."""
        store.edit(TOKEN, annotations={"lease": until(seconds=45).lease})
        with pytest.raises(LeaseHeld), held(vault):
            pass
        assert hand_clock.slept == []
        with pytest.raises(LeaseHeld), held(vault, wait=15):
            pass
        assert 14 <= sum(hand_clock.slept) <= 15
        hand_clock.on_sleep = lambda: store.edit(TOKEN, annotations={"lease": None})
        with held(vault, wait=15):
            assert annotation(store)

    @pytest.mark.parametrize(
        ("late", "calls"),
        [(False, ["UpdateSecret"]), (True, ["UpdateSecret", "GetSecret", "UpdateSecret"])],
        ids=["as it is", "somebody wrote since"],
    )
    def test_the_state_in_a_list_saves_reading_it(
        self, vault: Vault, store: Store, calls: list[str], *, late: bool
    ) -> None:
        """Its etag proves that it is current; where it is not, reading it costs one call after all."""
        listed = vault.inventory(soon()).connections["acme"]
        if late:
            store.edit(TOKEN, annotations={"note": "theirs"})
        store.forget_calls()
        with hold(vault, "acme", "refresh", soon(), known=listed) as mine:
            assert [call.name for call in store.calls] == calls
            assert mine.connection.annotations.get("note") == ("theirs" if late else None)

    def test_a_stale_lease_is_taken_over_at_once_or_not_at_all(self, vault: Vault, store: Store) -> None:
        """While Secret Manager takes no writes, a live holder cannot renew either; so there is one try."""
        store.edit(TOKEN, annotations={"lease": until(seconds=-31).lease})
        store.add_fault(Fault("UpdateSecret", status=503))
        with pytest.raises(StoreUnavailable), held(vault):
            pass
        assert store.count("UpdateSecret") == 1


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


class TestRule:
    @pytest.mark.usefixtures("hand_clock")
    def test_when_a_lease_counts_no_more(self) -> None:
        """30 s after its end, by this machine's clock; what nobody can have written blocks nobody."""
        assert {case: is_free(found) for case, (found, _) in LEASES.items()} == {
            case: free for case, (_, free) in LEASES.items()
        }

    def test_what_died_is_known_by_its_role(self) -> None:
        """What a callback left behind is an authorization."""
        assert left_by_callback(Connection("acme", {}, {"lease": "connect-0123 2026"}))
        assert not left_by_callback(Connection("acme", {}, {"lease": "refresh-0123 2026"}))


class TestHolding:
    def test_it_is_renewed_only_when_it_would_end_too_soon(
        self, vault: Vault, store: Store, hand_clock: HandClock
    ) -> None:
        """A holder that is quick writes nothing."""
        with held(vault) as mine:
            store.forget_calls()
            mine.ensure(TERM - 1, soon())
            assert store.calls == []
            hand_clock.pass_by(seconds=30)
            mine.ensure(TERM - 1, soon())
            assert store.count("UpdateSecret") == 1
            assert annotation(store).endswith(clock.text(clock.now() + timedelta(seconds=TERM), precise=True))

    def test_an_alert_is_logged_before_the_connection_is_marked(
        self, vault: Vault, store: Store, logged: Logged
    ) -> None:
        """A crash between the two can repeat it, but never lose it."""
        store.add_fault(Fault("UpdateSecret", skip=1, times=None, status=403))
        with held(vault) as mine, pytest.raises(StoreError):
            mine.apply(partial(transitions.ended, code=40105, request_id="R1"), Deadline(5))
        assert logged.events == ["reauthorization.required"]
        assert store.labels(TOKEN)["health"] == "ok"

    def test_what_could_not_be_finished_is_written_with_giving_back(self, vault: Vault, store: Store) -> None:
        """The last transition is not forgotten, and its entry not repeated."""
        store.add_fault(Fault("UpdateSecret", skip=1, times=1, status=403))
        with held(vault) as mine, pytest.raises(StoreError):
            mine.finish(noted, Deadline(5))
        assert store.annotations(TOKEN)["note"] == "x"
        assert annotation(store) == ""

    def test_giving_back_ends_when_everything_has_to_be_over(
        self, vault: Vault, store: Store, hand_clock: HandClock
    ) -> None:
        """A callback has a budget, and nobody waits for it any longer."""
        with hold(vault, "acme", "connect", soon(), over=Deadline(1)):
            store.add_fault(Fault(times=None, status=503))
        assert sum(hand_clock.slept) <= 1
