"""Who may work on a connection: one at a time, with an end, whatever the clocks of several machines say."""

from __future__ import annotations

from datetime import timedelta

import pytest

from local.secret_manager import SecretManagerServer
from local.serving import Fault
from tokenkeeper import clock, lease
from tokenkeeper.clock import Deadline
from tokenkeeper.connection import Connection
from tokenkeeper.errors import LeaseLost, SecretExists, SecretMissing
from tokenkeeper.lease import CLOCKS_DIFFER_BY, TERM, Lease, Sightings, expired
from tokenkeeper.vault import Vault
from unit.parts import NOON, PROJECT, HandClock

TOKEN = "tiktok-ads-token-acme"


@pytest.fixture(autouse=True)
def _acme(hand_clock: HandClock, store: SecretManagerServer) -> None:
    store.clock = lambda: hand_clock.now().timestamp()
    labels = {"managed-by": "tiktok-token-keeper", "holds": "token", "connection": "acme"}
    store.create(TOKEN, project=PROJECT, labels=labels)


def held(until: timedelta = timedelta(seconds=30), holder: str = "refresh-other") -> Connection:
    """A connection that somebody else holds, with an end so far from now."""
    return Connection("acme", {}, {"lease": f"{holder} {clock.text(clock.now() + until, precise=True)}"})


def take(vault: Vault, holder: str = "refresh-me") -> Lease | None:
    """Take the lease if nobody holds it by the clock."""
    return lease.take(vault, "acme", holder, expired, Deadline(30))


class TestTaking:
    def test_it_says_who_and_until_when(self, vault: Vault, store: SecretManagerServer) -> None:
        """The annotation holds the holder's id and an end at most five minutes ahead."""
        assert take(vault)
        holder, _, end = store.annotations(TOKEN)["lease"].partition(" ")
        assert holder == "refresh-me"
        assert clock.parse(end) == NOON + timedelta(seconds=TERM)
        assert timedelta(seconds=TERM) <= timedelta(minutes=5)

    def test_only_one_has_it(self, vault: Vault) -> None:
        """A second one gets nothing while the first holds it."""
        assert take(vault, "a")
        assert take(vault, "b") is None

    def test_it_is_free_once_given_back(self, vault: Vault, store: SecretManagerServer) -> None:
        """Nothing is left of a lease that was given back."""
        mine = take(vault, "a")
        assert mine
        mine.give_back(Deadline(10))
        assert "lease" not in store.annotations(TOKEN)
        assert take(vault, "b")

    def test_an_answer_that_was_lost_still_gave_it(self, vault: Vault, store: SecretManagerServer) -> None:
        """Whoever took it and did not hear so has it all the same."""
        store.add_fault(Fault("UpdateSecret", do="drop", when="after"))
        assert take(vault, "a")
        assert take(vault, "b") is None

    def test_of_two_that_saw_it_free_one_gets_it(self, vault: Vault, store: SecretManagerServer) -> None:
        """Compare-and-set decides, not who looked first."""
        seen = vault.connection("acme", Deadline(10))
        assert take(vault, "a")
        with pytest.raises(LeaseLost):
            Lease(vault, seen, "b", clock.monotonic() + TERM).change(lambda it: it, Deadline(10))
        assert store.annotations(TOKEN)["lease"].startswith("a ")

    def test_a_new_connection_is_held_from_its_first_moment(self, vault: Vault, store: SecretManagerServer) -> None:
        """The secret is made with the lease in it, once."""
        mine = lease.create(vault, "beta", "connect-1", Deadline(10))
        assert store.annotations("tiktok-ads-token-beta")["lease"].startswith("connect-1 ")
        assert mine.connection.name == "beta"
        with pytest.raises(SecretExists):
            lease.create(vault, "beta", "connect-2", Deadline(10))

    def test_there_has_to_be_a_connection(self, vault: Vault) -> None:
        """A connection that is not there cannot be held."""
        with pytest.raises(SecretMissing):
            lease.take(vault, "nobody", "me", expired, Deadline(10))

    def test_holders_have_ids_of_their_own(self) -> None:
        """Two holders of the same role differ."""
        assert lease.new_holder("connect") != lease.new_holder("connect")
        assert lease.new_holder("refresh").startswith("refresh-")


class TestKeeping:
    def test_it_is_renewed_only_when_it_would_end_too_soon(
        self, vault: Vault, store: SecretManagerServer, hand_clock: HandClock
    ) -> None:
        """A holder that is slow but alive renews; one that is quick writes nothing."""
        mine = take(vault)
        assert mine
        store.forget_calls()
        mine.ensure(TERM - 1, Deadline(10))
        assert store.calls == []
        hand_clock.pass_by(seconds=30)
        mine.ensure(TERM - 1, Deadline(10))
        assert store.count("UpdateSecret") == 1
        assert store.annotations(TOKEN)["lease"].endswith(
            clock.text(clock.now() + timedelta(seconds=TERM), precise=True)
        )

    def test_one_that_was_taken_over_is_lost(
        self, vault: Vault, store: SecretManagerServer, hand_clock: HandClock
    ) -> None:
        """Whoever slept too long neither renews nor writes, nor takes anything away from the new holder."""
        mine = take(vault, "a")
        assert mine
        hand_clock.pass_by(seconds=TERM)
        assert take(vault, "b")
        with pytest.raises(LeaseLost):
            mine.ensure(30, Deadline(10))
        with pytest.raises(LeaseLost):
            mine.finish(lambda connection: connection.recovered(), Deadline(10))
        mine.give_back(Deadline(10))
        assert store.annotations(TOKEN)["lease"].startswith("b ")

    def test_a_change_and_giving_back_are_one_write(self, vault: Vault, store: SecretManagerServer) -> None:
        """Finishing costs one call."""
        mine = take(vault)
        assert mine
        store.forget_calls()
        mine.finish(lambda connection: connection.failed("silent", NOON), Deadline(10))
        assert [call.name for call in store.calls] == ["UpdateSecret"]
        assert store.annotations(TOKEN) == {"failing-since": "2026-11-22T12:00:00Z", "last-error": "silent"}

    def test_giving_back_never_fails(self, vault: Vault, store: SecretManagerServer) -> None:
        """A lease ends by itself, so trouble in giving it back is no trouble."""
        mine = take(vault)
        assert mine
        store.add_fault(Fault(times=None, status=503))
        mine.give_back(Deadline(5))


class TestExpired:
    @pytest.mark.parametrize(
        ("until", "free"),
        [
            (timedelta(seconds=30), False),
            (timedelta(seconds=0), True),
            (timedelta(seconds=-30), True),
            (timedelta(minutes=4), False),
            (timedelta(days=1), True),
        ],
        ids=["runs", "ends now", "ended", "a clock a few minutes ahead", "an end that no holder writes"],
    )
    def test_by_this_machines_clock(self, until: timedelta, free: bool) -> None:
        """Enough for one who spends no refresh token."""
        assert expired(held(until)) is free

    @pytest.mark.parametrize("text", ["", "me", "me soon", "me 2026-99-99T00:00:00Z"])
    def test_what_cannot_be_read_holds_nobody_back(self, text: str) -> None:
        """A lease broken by hand does not block a connection for ever."""
        assert expired(Connection("acme", {}, {"lease": text}))


class TestDead:
    def test_nobody_holds_it(self) -> None:
        """Without a lease there is no holder."""
        assert Sightings().dead(Connection("acme", {}, {}))

    @pytest.mark.parametrize("clock_off", [timedelta(minutes=-10), timedelta(), timedelta(minutes=10)])
    def test_one_that_stood_unchanged_for_a_term_is_dead(self, hand_clock: HandClock, clock_off: timedelta) -> None:
        """This process's own stopwatch decides, however far the holder's clock is off."""
        other = held(timedelta(seconds=TERM) + clock_off)
        sightings = Sightings()
        assert not sightings.dead(other)
        hand_clock.pass_by(seconds=TERM - 1)
        assert not sightings.dead(other)
        hand_clock.pass_by(seconds=1)
        assert sightings.dead(other)

    def test_one_that_is_renewed_lives(self, hand_clock: HandClock) -> None:
        """Each renewal starts the stopwatch anew."""
        sightings = Sightings()
        for _ in range(5):
            assert not sightings.dead(held(timedelta(minutes=-10)))
            hand_clock.pass_by(seconds=TERM - 1)

    def test_one_that_ended_longer_ago_than_clocks_differ_is_dead_at_once(self, hand_clock: HandClock) -> None:
        """Nobody waits for a lease of yesterday."""
        other = held()
        hand_clock.pass_by(seconds=31 + CLOCKS_DIFFER_BY.total_seconds())
        assert Sightings().dead(other)

    def test_what_the_listing_saw_counts(self, hand_clock: HandClock) -> None:
        """The stopwatch starts when a lease was first seen, be it in the listing."""
        other, sightings = held(), Sightings()
        sightings.seen(other)
        hand_clock.pass_by(seconds=TERM)
        assert sightings.dead(other)

    def test_time_without_a_store_proves_nothing(self, hand_clock: HandClock) -> None:
        """While Secret Manager was away nobody could renew, so the stopwatch starts anew."""
        other, sightings = held(), Sightings()
        sightings.seen(other)
        hand_clock.pass_by(seconds=TERM)
        sightings.disturbed()
        assert not sightings.dead(other)
