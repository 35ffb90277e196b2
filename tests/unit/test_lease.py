"""Who may work on a connection: one at a time, with an end, by the contract's one rule.

A lease lasts 45 s and is free 30 s after its end; clocks agree within 30 s. Promise 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from emulators.secret_manager import SecretManagerServer
from emulators.serving import Fault
from tokenkeeper import clock, transitions
from tokenkeeper.clock import Deadline
from tokenkeeper.connection import Connection, Problem
from tokenkeeper.errors import LeaseHeld, LeaseLost, LinkUsed, SecretMissing, StoreError, StoreUnavailable
from tokenkeeper.store import lease
from tokenkeeper.store.lease import TERM, Lease, hold, is_free, left_by_callback
from tokenkeeper.store.vault import Vault
from tokenkeeper.transitions import Change
from unit.conftest import Logged
from unit.parts import NOON, PROJECT, HandClock, connected, long_lived

TOKEN = "tiktok-ads-token-acme"


@pytest.fixture(autouse=True)
def _acme(store: SecretManagerServer) -> None:
    made = connected(long_lived())
    store.create(TOKEN, project=PROJECT, labels=made.labels, annotations=made.annotations)


@contextmanager
def held(vault: Vault, role: str = "refresh", **more: float) -> Iterator[Lease]:
    """Hold the lease of acme."""
    with hold(vault, "acme", role, Deadline(30), **more) as mine:  # type: ignore[arg-type]
        yield mine


def annotation(store: SecretManagerServer) -> str:
    """The lease as it is written."""
    return store.annotations(TOKEN).get("lease", "")


def until(**span: float) -> Connection:
    """A connection that somebody else holds, with an end so far from now."""
    return Connection("acme", {}, {"lease": f"refresh-other {clock.text(NOON + timedelta(**span), precise=True)}"})


def noted(connection: Connection) -> Change:
    """A change that says nothing."""
    return Change(connection.with_(annotations={"note": "x"}))


class TestTaking:
    def test_it_says_who_and_until_when(self, vault: Vault, store: SecretManagerServer) -> None:
        """The annotation has the holder's role and id, and an end 45 s ahead; nothing is left of it afterwards."""
        with held(vault, "connect"):
            holder, _, end = annotation(store).partition(" ")
            assert holder.startswith("connect-")
            assert clock.parse(end) == NOON + timedelta(seconds=45)
        assert annotation(store) == ""

    def test_only_one_has_it(self, vault: Vault) -> None:
        """A second one gets nothing while the first holds it, of whatever role; afterwards it does."""
        with held(vault):
            for role in ("refresh", "connect", "cli"):
                with pytest.raises(LeaseHeld), held(vault, role):
                    pass
        with held(vault):
            pass

    def test_one_waits_for_another_as_long_as_it_may(
        self, vault: Vault, store: SecretManagerServer, hand_clock: HandClock
    ) -> None:
        """A callback waits up to 15 s for a run."""
        store.edit(TOKEN, annotations={"lease": until(seconds=45).lease})
        with pytest.raises(LeaseHeld), held(vault, wait=15):
            pass
        assert 14 <= sum(hand_clock.slept) <= 15
        hand_clock.on_sleep = lambda: store.edit(TOKEN, annotations={"lease": None})
        with held(vault, wait=15):
            assert annotation(store)

    def test_an_answer_that_was_lost_still_gave_it(self, vault: Vault, store: SecretManagerServer) -> None:
        """Whoever took it and got no answer has it all the same."""
        store.add_fault(Fault("UpdateSecret", do="drop", when="after"))
        with held(vault) as mine:
            mine.ensure(10, Deadline(10))
            with pytest.raises(LeaseHeld), held(vault):
                pass

    def test_of_two_that_saw_it_free_one_gets_it(self, vault: Vault, store: SecretManagerServer) -> None:
        """Compare-and-set decides, not who read first."""
        theirs = until(seconds=45).lease

        def check(_: Connection) -> None:
            if not annotation(store):
                store.edit(TOKEN, annotations={"lease": theirs})  # after it was read, before it is written

        with pytest.raises(LeaseHeld), hold(vault, "acme", "refresh", Deadline(30), check=check):
            pass
        assert annotation(store) == theirs

    def test_the_check_comes_before_anything_is_written(self, vault: Vault, store: SecretManagerServer) -> None:
        """A callback checks the link against the connection that it is about to hold."""

        def check(_: Connection) -> None:
            raise LinkUsed

        with pytest.raises(LinkUsed), hold(vault, "acme", "connect", Deadline(30), check=check):
            pass
        assert store.count("UpdateSecret") == 0

    def test_a_new_connection_is_held_from_its_first_moment(self, vault: Vault, store: SecretManagerServer) -> None:
        """Its secret is created with the lease in it."""
        with hold(vault, "beta", "connect", Deadline(30), create={"client": "x"}) as mine:
            assert mine.connection.name == "beta"
            assert store.annotations("tiktok-ads-token-beta")["lease"].startswith("connect-")
            assert store.labels("tiktok-ads-token-beta")["client"] == "x"
            assert store.count("UpdateSecret") == 0

    def test_of_two_that_create_a_connection_one_gets_it(self, vault: Vault, store: SecretManagerServer) -> None:
        """The other finds it held."""
        theirs = Fault("CreateSecret", status=409, body={"error": {"code": 409, "status": "ALREADY_EXISTS"}})
        store.add_fault(Fault("GetSecret", "beta", status=404, body={"error": {"code": 404, "status": "NOT_FOUND"}}))
        store.add_fault(theirs)
        store.create("tiktok-ads-token-beta", project=PROJECT, annotations={"lease": until(seconds=45).lease})
        with pytest.raises(LeaseHeld), hold(vault, "beta", "connect", Deadline(30), create={}):
            pass

    def test_there_has_to_be_a_connection(self, vault: Vault) -> None:
        """What is not there is created only where that is asked for."""
        with pytest.raises(SecretMissing), hold(vault, "beta", "refresh", Deadline(30)):
            pass

    @pytest.mark.parametrize(
        ("late", "calls"),
        [(False, ["UpdateSecret"]), (True, ["UpdateSecret", "GetSecret", "UpdateSecret"])],
        ids=["as it is", "somebody wrote since"],
    )
    def test_the_state_in_a_list_saves_reading_it(
        self, vault: Vault, store: SecretManagerServer, calls: list[str], *, late: bool
    ) -> None:
        """Its etag proves that it is current; where it is not, reading it costs one call after all."""
        listed = vault.inventory(Deadline(10)).connections["acme"]
        if late:
            store.edit(TOKEN, annotations={"note": "theirs"})
        store.forget_calls()
        with hold(vault, "acme", "refresh", Deadline(30), known=listed) as mine:
            assert [call.name for call in store.calls] == calls
            assert mine.connection.annotations.get("note") == ("theirs" if late else None)

    def test_a_lease_in_a_list_may_be_over_by_now(self, vault: Vault, store: SecretManagerServer) -> None:
        """So it is read again before anybody waits for it."""
        store.edit(TOKEN, annotations={"lease": until(seconds=45).lease})
        listed = vault.inventory(Deadline(10)).connections["acme"]
        store.edit(TOKEN, annotations={"lease": None})
        with hold(vault, "acme", "refresh", Deadline(30), known=listed):
            assert annotation(store).startswith("refresh-")

    def test_a_stale_lease_is_taken_over_at_once_or_not_at_all(self, vault: Vault, store: SecretManagerServer) -> None:
        """While Secret Manager takes no writes, a live holder cannot renew either; so there is one try."""
        store.edit(TOKEN, annotations={"lease": until(seconds=-31).lease})
        store.add_fault(Fault("UpdateSecret", status=503))
        with pytest.raises(StoreUnavailable), held(vault):
            pass
        assert store.count("UpdateSecret") == 1


class TestRule:
    @pytest.mark.parametrize(
        ("found", "free"),
        [
            (Connection("acme", {}, {}), True),
            (until(seconds=45), False),
            (until(seconds=0), False),
            (until(seconds=-30), False),
            (until(seconds=-30, milliseconds=-1), True),
            (until(days=-1), True),
            (until(seconds=75), False),
            (until(minutes=5), False),
            (until(minutes=5, milliseconds=1), True),
            (Connection("acme", {}, {"lease": "me"}), True),
            (Connection("acme", {}, {"lease": "me soon"}), True),
            (Connection("acme", {}, {"lease": "me 2026-99-99T00:00:00Z"}), True),
        ],
        ids=[
            "nobody holds it",
            "it lasts",
            "it ends now",
            "it ended 30 s ago",
            "it ended more than 30 s ago",
            "it ended yesterday",
            "it lasts by a clock that is 30 s ahead",
            "it ends five minutes ahead",
            "it ends further ahead than any holder writes",
            "edited by hand: no end",
            "edited by hand: no time",
            "edited by hand: no such time",
        ],
    )
    @pytest.mark.usefixtures("hand_clock")
    def test_when_a_lease_counts_no_more(self, found: Connection, *, free: bool) -> None:
        """30 s after its end, by this machine's clock; what nobody can have written blocks nobody."""
        assert is_free(found) is free

    def test_a_holder_that_is_alive_keeps_it(self, vault: Vault, hand_clock: HandClock) -> None:
        """However long it works, as long as it renews."""
        with held(vault) as mine:
            for _ in range(4):
                hand_clock.pass_by(seconds=TERM - 5)
                mine.ensure(20, Deadline(10))
                assert not is_free(vault.connection("acme", Deadline(10)))

    def test_one_that_died_is_taken_over(self, vault: Vault, store: SecretManagerServer, hand_clock: HandClock) -> None:
        """75 s after it last wrote."""
        store.edit(TOKEN, annotations={"lease": until(seconds=45).lease})
        hand_clock.pass_by(seconds=75)
        with pytest.raises(LeaseHeld), held(vault):
            pass
        hand_clock.pass_by(seconds=1)
        with held(vault):
            assert "refresh-other" not in annotation(store)

    @pytest.mark.parametrize(("role", "callback"), [("connect", True), ("refresh", False), ("cli", False)])
    def test_what_died_is_known_by_its_role(self, role: str, *, callback: bool) -> None:
        """What a callback left behind is an authorization."""
        assert left_by_callback(Connection("acme", {}, {"lease": f"{role}-0123 2026"})) is callback
        assert lease.CALLBACK == "connect"


class TestHolding:
    def test_it_is_renewed_only_when_it_would_end_too_soon(
        self, vault: Vault, store: SecretManagerServer, hand_clock: HandClock
    ) -> None:
        """A holder that is quick writes nothing."""
        with held(vault) as mine:
            store.forget_calls()
            mine.ensure(TERM - 1, Deadline(10))
            assert store.calls == []
            hand_clock.pass_by(seconds=30)
            mine.ensure(TERM - 1, Deadline(10))
            assert store.count("UpdateSecret") == 1
            assert annotation(store).endswith(clock.text(clock.now() + timedelta(seconds=TERM), precise=True))

    def test_one_that_was_taken_over_is_lost(
        self, vault: Vault, store: SecretManagerServer, hand_clock: HandClock
    ) -> None:
        """Whoever slept too long neither renews nor writes, nor takes anything away from the new holder."""
        with held(vault) as mine:
            hand_clock.pass_by(seconds=TERM + 31)
            theirs = f"refresh-other {clock.text(clock.now() + timedelta(seconds=TERM), precise=True)}"
            store.edit(TOKEN, annotations={"lease": theirs})
            with pytest.raises(LeaseLost):
                mine.ensure(30, Deadline(10))
            with pytest.raises(LeaseLost):
                mine.apply(noted, Deadline(10))
            with pytest.raises(LeaseLost):
                mine.finish(noted, Deadline(10))
        assert annotation(store) == theirs

    def test_a_connection_that_was_deleted_is_lost(self, vault: Vault, store: SecretManagerServer) -> None:
        """Nothing is brought back to life."""
        with held(vault) as mine:
            store.delete(TOKEN)
            with pytest.raises(LeaseLost):
                mine.finish(transitions.relabelled, Deadline(10))
        assert TOKEN not in store.secrets()

    def test_a_change_and_giving_back_are_one_write(
        self, vault: Vault, store: SecretManagerServer, logged: Logged
    ) -> None:
        """Finishing costs one call, and the block's end none; the entry is logged before."""
        with held(vault) as mine:
            store.forget_calls()
            mine.finish(lambda it: transitions.failing(it, Problem("silent"), "verified", NOON), Deadline(10))
            assert [call.name for call in store.calls] == ["UpdateSecret"]
        assert [call.name for call in store.calls] == ["UpdateSecret"]
        assert logged.events == ["connection.faltering"]
        assert store.annotations(TOKEN)["last-error"] == "silent"

    def test_an_alert_is_logged_before_the_connection_is_marked(
        self, vault: Vault, store: SecretManagerServer, logged: Logged
    ) -> None:
        """A crash between the two can repeat it, but never lose it."""
        store.add_fault(Fault("UpdateSecret", skip=1, times=None, status=403))
        with held(vault) as mine, pytest.raises(StoreError):
            mine.apply(transitions.ended(40105, "R1"), Deadline(5))
        assert logged.events == ["reauthorization.required"]
        assert store.labels(TOKEN)["health"] == "ok"

    def test_what_could_not_be_finished_is_written_with_giving_back(
        self, vault: Vault, store: SecretManagerServer
    ) -> None:
        """The last transition is not forgotten, and its entry not repeated."""
        store.add_fault(Fault("UpdateSecret", skip=1, times=1, status=403))
        with held(vault) as mine, pytest.raises(StoreError):
            mine.finish(noted, Deadline(5))
        assert store.annotations(TOKEN)["note"] == "x"
        assert annotation(store) == ""

    def test_giving_back_ends_when_everything_has_to_be_over(
        self, vault: Vault, store: SecretManagerServer, hand_clock: HandClock
    ) -> None:
        """A callback has a budget, and nobody waits for it any longer."""
        with hold(vault, "acme", "connect", Deadline(30), over=Deadline(1)):
            store.add_fault(Fault(times=None, status=503))
        assert sum(hand_clock.slept) <= 1

    def test_giving_back_never_fails(self, vault: Vault, store: SecretManagerServer) -> None:
        """A lease ends by itself, so a failure to give it back does no harm."""
        with held(vault):
            store.add_fault(Fault(times=None, status=503))
        store.clear_faults()
        assert annotation(store)
