"""What there is to do in a run, in order, from one list of the secrets."""

from datetime import datetime, timedelta
from typing import Any

from tokenkeeper import clock
from tokenkeeper.connection import Connection
from tokenkeeper.refresh.plan import Plan, make_plan
from tokenkeeper.store.vault import Inventory
from unit.parts import DAY, NOON, connected, expiring, granted, long_lived, response

BUDGET = timedelta(seconds=1500)
HEALTHY = connected(expiring())
FRESH = NOON + timedelta(hours=1)  # an hour after it was obtained: not due
DUE = NOON + timedelta(hours=12)
ENDING = HEALTHY.with_(annotations={"refresh-expires-at": clock.text(NOON + timedelta(days=7))})
CUT_OFF = Connection("acme", HEALTHY.labels, {"obtained-at": "2026-11-22T12:00:00Z"})
OVER = connected(expiring(), last_error="reauthorize 40105").with_(labels={"health": "reauthorize"})
FAILING = connected(expiring(), last_error="transient 50000").with_(labels={"health": "failing"})
STABLE = connected(long_lived())
STABLE_OVER = connected(long_lived(), last_error="reauthorize 40105").with_(labels={"health": "reauthorize"})


def plan(*connections: Connection, now: datetime = DUE, refreshable: set[str] | None = None, **more: Any) -> Plan:
    """The plan for these; those of kind `expiring` have a refresh secret, unless it is said which do."""
    found = {one.name: one for one in connections}
    have = {name for name, one in found.items() if one.kind == "expiring"} if refreshable is None else refreshable
    return make_plan(Inventory(found, have), now, now + BUDGET, **more)


def what(found: Plan) -> dict[str, str]:
    """By name, what is planned."""
    tasks = {
        **{task.name: ("refresh" if task.due else "inspect" if task.inspect else "look") for task in found.expiring},
        **{task.name: "inspect" if task.inspect else "verify" for task in found.long_lived},
    }
    return tasks | dict.fromkeys(found.skipped, "skip") | dict.fromkeys(found.reauthorize, "reauthorize")


REFRESHABLE: dict[str, tuple[Connection, datetime, str]] = {
    "due a second after the end of this run": (HEALTHY, DUE - BUDGET - timedelta(seconds=1), "skip"),
    "due at the end of this run": (HEALTHY, DUE - BUDGET, "refresh"),
    "nobody knows how old": (connected(expiring(), obtained_at=""), FRESH, "refresh"),
    "held by somebody": (HEALTHY.leased("refresh-1 2026"), FRESH, "inspect"),
    "failing, not due": (FAILING, FRESH, "inspect"),
    "failing, and due": (FAILING, DUE, "refresh"),
    "its labels were removed": (Connection("acme", {}, HEALTHY.annotations), FRESH, "inspect"),
    "its access has ended": (OVER, DUE, "reauthorize"),
    "over, and somebody connects it again": (OVER.leased("connect-1 2026"), DUE, "refresh"),
    "over, and its labels were removed": (Connection("acme", {}, OVER.annotations), DUE, "refresh"),
    "cut off while connecting": (CUT_OFF, FRESH, "inspect"),
    "its refresh token's end has to be warned of": (ENDING, FRESH, "look"),
    "replaced by a grant without a refresh token": (STABLE, FRESH, "inspect"),
}
NOT_REFRESHABLE = {
    "long-lived": (STABLE, "verify"),
    "its access has ended": (STABLE_OVER, "reauthorize"),
    "held by somebody": (STABLE.leased("connect-1 2026"), "inspect"),
    "expiring, and nothing refreshes it": (connected(granted(response(expires_in=DAY))), "look"),
    "being connected": (Connection("acme", HEALTHY.labels, {"lease": "connect-1 2026"}), "inspect"),
}


class TestOneConnection:
    def test_with_a_refresh_token(self) -> None:
        """Refreshed past half of its life, looked into where something is odd, else nothing."""
        assert {
            case: what(plan(connection, now=now, refreshable={"acme"}))["acme"]
            for case, (connection, now, _) in REFRESHABLE.items()
        } == {case: planned for case, (_, _, planned) in REFRESHABLE.items()}

    def test_without_a_refresh_token(self) -> None:
        """Verified by every run, unless it needs a person."""
        assert {
            case: what(plan(connection, now=FRESH, refreshable=set()))["acme"]
            for case, (connection, _) in NOT_REFRESHABLE.items()
        } == {case: planned for case, (_, planned) in NOT_REFRESHABLE.items()}

    def test_what_the_store_has_not_taken_is_looked_into(self) -> None:
        """Even where nothing is due, or its access has ended by what is stored."""
        assert what(plan(HEALTHY, now=FRESH, pending={"acme"})) == {"acme": "inspect"}
        assert what(plan(OVER, now=FRESH, pending={"acme"})) == {"acme": "inspect"}

    def test_force_refreshes_what_is_not_due(self) -> None:
        """But nothing that needs a person, and nothing that cannot be refreshed."""
        found = plan(HEALTHY, connected(long_lived("b")), now=FRESH, force=True)
        assert what(found) == {"acme": "refresh", "b": "verify"}
        assert what(plan(OVER, now=FRESH, force=True)) == {"acme": "reauthorize"}


class TestOrder:
    def test_the_nearest_end_comes_first(self) -> None:
        """What has no known end comes last, else by name."""
        ends = {"b": 3, "c": 1, "a": 3}
        some = [connected(expiring(name), expires_at=clock.text(NOON + timedelta(hours=h))) for name, h in ends.items()]
        found = plan(*some, connected(granted(response("a", "r"), "z")))
        assert [task.name for task in found.expiring] == ["c", "a", "b", "z"]

    def test_long_lived_ones_go_on_where_the_last_run_stopped(self) -> None:
        """By name, round and round, so that each has its turn, also after one that is gone."""
        some = [connected(long_lived(name)) for name in ("c", "a", "b")]
        orders = {"": "abc", "bb": "cab", "c": "abc"}
        assert {
            after: "".join(task.name for task in plan(*some, resume_after=after).long_lived) for after in orders
        } == orders


def test_the_next_end_is_when_only_a_person_helps() -> None:
    """In seconds, for a metric; what needs a person anyway does not count."""
    of_a_day, over = connected(granted(response(expires_in=DAY), "b")), connected(granted(response(expires_in=3600.0)))
    assert plan(STABLE, OVER.with_(annotations={})).next_end is None
    assert plan(HEALTHY, of_a_day, refreshable={"acme"}).next_end == 12 * 3600
    assert plan(over, refreshable=set()).next_end == 0
