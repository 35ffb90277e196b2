"""Which tasks of a run are tried again, and which have failed to the end."""

from __future__ import annotations

import pytest

from tokenkeeper import transitions
from tokenkeeper.connection import Connection
from tokenkeeper.refresh.outcome import FAILING, TryAgain, Why
from tokenkeeper.refresh.plan import Task
from tokenkeeper.refresh.rate import RateLimiter
from tokenkeeper.refresh.retries import STORE_AWAY, Behind, Retries
from tokenkeeper.transitions import Change
from unit.conftest import Logged
from unit.parts import YEAR, HandClock, connected, expiring, long_lived, refreshable, response


@pytest.fixture
def rate(hand_clock: HandClock) -> RateLimiter:
    """A rate limit that nobody has met."""
    return RateLimiter(1000)


@pytest.fixture
def retries(rate: RateLimiter) -> Retries:
    """Those of a run that has just begun."""
    return Retries(rate)


def task(name: str = "acme", *, due: bool = False) -> Task:
    """A task."""
    return Task(connected(expiring(name) if due else long_lived(name)), refreshable=due, inspect=False, due=due)


def marked(why: Why) -> TryAgain:
    """A failure that the connection is marked with in the end."""
    return TryAgain(why, Change, FAILING)


class TestTries:
    @pytest.mark.parametrize(("why", "tries"), [(Why.TRANSIENT, 2), (Why.STORE, 3)])
    def test_each_kind_of_failure_has_a_number_of_tries(self, retries: Retries, why: Why, tries: int) -> None:
        """Then it is marked, with its last failure."""
        for _ in range(tries - 1):
            retries.add(task(), marked(why))
            assert retries.next_tasks(over=False) == [task()]
        last = marked(why)
        retries.add(task(), last)
        assert retries.next_tasks(over=False) == []
        assert retries.failed == {"acme": (task(), last)}
        assert retries.left == []

    def test_nothing_is_tried_once_the_run_is_over(self, retries: Retries) -> None:
        """What could have been tried again is left, not marked; what could not is."""
        retries.add(task("a"), marked(Why.TRANSIENT))
        retries.next_tasks(over=False)
        retries.add(task("a"), marked(Why.TRANSIENT))
        retries.add(task("b"), marked(Why.TRANSIENT))
        assert retries.next_tasks(over=True) == []
        assert list(retries.failed) == ["a"]
        assert [one.name for one, _ in retries.left] == ["b"]


class TestHeld:
    def test_a_refresh_that_is_due_waits_until_the_lease_may_be_taken_over(
        self, retries: Retries, hand_clock: HandClock
    ) -> None:
        """75 seconds and a little more, with pauses between."""
        waited = 0
        retries.add(task(due=True), TryAgain(Why.HELD))
        while retries.next_tasks(over=False):
            waited += 1
            hand_clock.pass_by(seconds=5)
            retries.add(task(due=True), TryAgain(Why.HELD))
        assert 80 <= hand_clock.monotonic() <= 95
        assert waited > 3
        assert retries.left == [(task(due=True), Why.HELD)]

    def test_nobody_waits_for_what_is_not_due_or_where_there_is_other_work(
        self, retries: Retries, hand_clock: HandClock
    ) -> None:
        """Whoever holds it is at work; and time passes with the others."""
        retries.add(task("a", due=True), TryAgain(Why.HELD))
        retries.add(task("b"), marked(Why.TRANSIENT))
        retries.add(task("c"), TryAgain(Why.HELD))
        assert [one.name for one in retries.next_tasks(over=False)] == ["a", "b"]
        assert hand_clock.slept == []


@pytest.mark.parametrize("between", ["nothing", "a task that came to its end", "a failure of TikTok's"])
def test_the_store_is_away_after_so_many_in_a_row(retries: Retries, between: str) -> None:
    """Nobody else is tried then; one that got through says that the others have a trouble of their own."""
    for number in range(STORE_AWAY - 1):
        retries.add(task(f"c{number}"), TryAgain(Why.STORE))
    assert not retries.store_is_away
    if between == "a task that came to its end":
        retries.answered()
    elif between == "a failure of TikTok's":
        retries.add(task("x"), marked(Why.TRANSIENT))
    retries.add(task("y"), TryAgain(Why.STORE))
    assert retries.store_is_away is (between == "nothing")


WITHOUT_LIFETIME = refreshable(response("access-1", "refresh-1", refresh_expires_in=YEAR))
NOT_REACHED = {
    "its token ends before the next run": (connected(expiring()), 18, True, True),
    "its token lasts until the next run": (connected(expiring()), 17, True, False),
    "it is not due": (connected(expiring()), 18, False, False),
    "a person was alerted of it": (transitions.ended(connected(expiring()), 40105, "R1").connection, 18, True, False),
    "TikTok did not say when its token ends": (connected(WITHOUT_LIFETIME), 18, True, True),
    "TikTok did not say when, and that is long": (connected(WITHOUT_LIFETIME), 17, True, False),
}


@pytest.mark.parametrize(("connection", "hours", "due", "alerted"), NOT_REACHED.values(), ids=NOT_REACHED)
def test_a_token_that_ends_before_it_is_reached_is_said(
    rate: RateLimiter,
    retries: Retries,
    hand_clock: HandClock,
    logged: Logged,
    connection: Connection,
    hours: int,
    due: bool,
    alerted: bool,
) -> None:
    """A token is nearly over 6.5 hours before its end, which is a day after it was issued where TikTok names none."""
    behind = Behind(rate, retries)
    hand_clock.pass_by(hours=hours)
    behind.record(Task(connection, refreshable=True, inspect=False, due=due), None)
    behind.log(except_for=())
    assert logged.events == ["run.behind"] * alerted
