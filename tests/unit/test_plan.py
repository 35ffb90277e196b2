"""What there is to do in a run, in order, from one list of the secrets."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tokenkeeper import clock
from tokenkeeper.connection import Connection
from tokenkeeper.refresh.plan import Plan, make_plan
from tokenkeeper.store.vault import Inventory
from unit.parts import DAY, NOON, connected, expiring, granted, long_lived, response

BUDGET = 1500.0
HEALTHY = connected(expiring())
FRESH = NOON + timedelta(hours=1)  # an hour after it was obtained: not due
DUE = NOON + timedelta(hours=12)


def plan(*connections: Connection, now: object = DUE, refreshable: set[str] | None = None, **more: object) -> Plan:
    """The plan for these; those of kind `expiring` have a refresh secret, unless it is said which do."""
    found = {one.name: one for one in connections}
    have = {name for name, one in found.items() if one.kind == "expiring"} if refreshable is None else refreshable
    return make_plan(Inventory(found, have), now, BUDGET, **more)  # type: ignore[arg-type]


def what(found: Plan) -> dict[str, str]:
    """By name, what is planned."""
    tasks = {
        **{task.name: ("refresh" if task.due else "inspect" if task.inspect else "look") for task in found.expiring},
        **{task.name: "inspect" if task.inspect else "verify" for task in found.long_lived},
    }
    return tasks | dict.fromkeys(found.skipped, "skip") | dict.fromkeys(found.reauthorize, "reauthorize")


def bare(connection: Connection, **changes: str) -> Connection:
    """The same with other labels."""
    return connection.with_(labels=changes)


CUT_OFF = Connection("acme", HEALTHY.labels, {"obtained-at": "2026-11-22T12:00:00Z"})
REAUTHORIZE = bare(connected(expiring(), last_error="reauthorize 40105"), health="reauthorize")
FAILING = bare(connected(expiring(), last_error="transient 50000"), health="failing")


class TestOneConnection:
    @pytest.mark.parametrize(
        ("connection", "now", "planned"),
        [
            (HEALTHY, FRESH, "skip"),
            (HEALTHY, DUE - timedelta(seconds=BUDGET + 1), "skip"),
            (HEALTHY, DUE - timedelta(seconds=BUDGET), "refresh"),
            (HEALTHY, DUE, "refresh"),
            (HEALTHY, NOON - timedelta(minutes=10), "skip"),
            (HEALTHY, NOON - timedelta(hours=2), "refresh"),
            (connected(granted(response("a", "r"))), DUE - timedelta(hours=1), "skip"),
            (connected(granted(response("a", "r"))), DUE, "refresh"),
            (connected(expiring(), obtained_at=""), FRESH, "refresh"),
            (HEALTHY.leased("refresh-1 2026"), FRESH, "inspect"),
            (FAILING, FRESH, "inspect"),
            (FAILING, DUE, "refresh"),
            (Connection("acme", {}, HEALTHY.annotations), FRESH, "inspect"),
            (REAUTHORIZE, DUE, "reauthorize"),
            (REAUTHORIZE.leased("connect-1 2026"), DUE, "refresh"),
            (Connection("acme", {}, REAUTHORIZE.annotations), DUE, "refresh"),
            (CUT_OFF, FRESH, "inspect"),
            (HEALTHY.with_(annotations={"refresh-expires-at": clock.text(NOON + timedelta(days=7))}), FRESH, "look"),
        ],
        ids=[
            "an hour old",
            "due a second after the end of this run",
            "due at the end of this run",
            "past half of its life",
            "obtained by a clock ten minutes ahead",
            "obtained by a clock hours ahead",
            "no lifetime, not 12 hours old",
            "no lifetime, 12 hours old",
            "nobody knows how old",
            "held by somebody",
            "failing, not due",
            "failing, and due",
            "its labels were removed",
            "its access has ended",
            "its access has ended, and somebody connects it again",
            "its access has ended, and its labels were removed",
            "cut off while connecting",
            "its refresh token's end has to be warned of",
        ],
    )
    def test_with_a_refresh_token(self, connection: Connection, now: object, planned: str) -> None:
        """Refreshed past half of its life, looked into where something is odd, else nothing."""
        assert what(plan(connection, now=now, refreshable={"acme"})) == {"acme": planned}

    @pytest.mark.parametrize(
        ("connection", "planned"),
        [
            (connected(long_lived()), "verify"),
            (bare(connected(long_lived(), last_error="silent"), health="failing"), "verify"),
            (bare(connected(long_lived(), last_error="reauthorize 40105"), health="reauthorize"), "reauthorize"),
            (connected(long_lived()).leased("connect-1 2026"), "inspect"),
            (connected(granted(response(expires_in=DAY))), "look"),
            (Connection("acme", HEALTHY.labels, {"lease": "connect-1 2026"}), "inspect"),
        ],
        ids=[
            "long-lived",
            "failing",
            "its access has ended",
            "held by somebody",
            "expiring, and nothing refreshes it",
            "being connected",
        ],
    )
    def test_without_a_refresh_token(self, connection: Connection, planned: str) -> None:
        """Verified by every run, unless it needs a person."""
        assert what(plan(connection, now=FRESH, refreshable=set())) == {"acme": planned}

    def test_a_refresh_secret_that_is_too_many_is_looked_into(self) -> None:
        """A grant without a refresh token has replaced one with it."""
        assert what(plan(connected(long_lived()), now=FRESH, refreshable={"acme"})) == {"acme": "inspect"}

    def test_what_the_store_has_not_taken_is_looked_into(self) -> None:
        """Even where nothing is due, or its access has ended by what is stored."""
        assert what(plan(HEALTHY, now=FRESH, pending={"acme"})) == {"acme": "inspect"}
        assert what(plan(REAUTHORIZE, now=FRESH, pending={"acme"})) == {"acme": "inspect"}

    def test_force_refreshes_what_is_not_due(self) -> None:
        """But nothing that needs a person, and nothing that cannot be refreshed."""
        never = bare(connected(long_lived("c")), health="reauthorize")
        found = plan(HEALTHY, connected(long_lived("b")), never, now=FRESH, force=True)
        assert what(found) == {"acme": "refresh", "b": "verify", "c": "reauthorize"}


class TestOrder:
    def test_the_nearest_end_comes_first(self) -> None:
        """What has no known end comes last, else by name."""
        ends = {"b": 3, "c": 1, "a": 3}
        some = [connected(expiring(name), expires_at=clock.text(NOON + timedelta(hours=h))) for name, h in ends.items()]
        found = plan(*some, connected(granted(response("a", "r"), "z")))
        assert [task.name for task in found.expiring] == ["c", "a", "b", "z"]

    @pytest.mark.parametrize(
        ("resume_after", "order"),
        [
            ("", ["a", "b", "c"]),
            ("a", ["b", "c", "a"]),
            ("bb", ["c", "a", "b"]),
            ("c", ["a", "b", "c"]),
        ],
        ids=["from the beginning", "after the first", "after one that is gone", "after the last"],
    )
    def test_long_lived_ones_go_on_where_the_last_run_stopped(self, resume_after: str, order: list[str]) -> None:
        """By name, round and round, so that each has its turn."""
        some = [connected(long_lived(name)) for name in ("c", "a", "b")]
        assert [task.name for task in plan(*some, resume_after=resume_after).long_lived] == order


class TestNextEnd:
    @pytest.mark.parametrize(
        ("connections", "seconds"),
        [
            ([connected(long_lived())], None),
            ([HEALTHY], int(timedelta(days=364, hours=12).total_seconds())),
            ([HEALTHY, connected(granted(response(expires_in=DAY), "b"))], 12 * 3600),
            ([connected(granted(response(expires_in=3600.0)))], 0),
            ([REAUTHORIZE], None),
        ],
        ids=[
            "none ends",
            "a refresh token's",
            "a token's that cannot be refreshed",
            "one that is over",
            "needs a person",
        ],
    )
    def test_is_when_only_a_person_helps(self, connections: list[Connection], seconds: int | None) -> None:
        """In seconds, for a metric; what needs a person anyway does not count."""
        some = {one.name for one in connections if one.refresh_expires_at}
        assert plan(*connections, refreshable=some).next_end == seconds
