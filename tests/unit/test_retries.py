"""Which tasks of a run are tried again, and which have failed to the end.

What is said of tokens that a run did not reach is in `reliability/test_nothing_is_silent`.
"""

from datetime import timedelta

import pytest

from tokenkeeper import clock, transitions
from tokenkeeper.connection import Connection
from tokenkeeper.refresh.outcome import FAILING, Failure, TryAgain, Why
from tokenkeeper.refresh.plan import Task
from tokenkeeper.refresh.rate import RateLimiter
from tokenkeeper.refresh.retries import STORE_AWAY, Retries
from tokenkeeper.transitions import Change
from unit.conftest import Logged
from unit.parts import NOON, HandClock, connected, expiring, long_lived


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
    return TryAgain(why, Failure(Change, FAILING))


@pytest.mark.parametrize(("why", "tries"), [(Why.TRANSIENT, 2), (Why.STORE, 3)])
def test_each_kind_of_failure_has_a_number_of_tries(retries: Retries, why: Why, tries: int) -> None:
    """Then the task is marked, with its last failure; what could be tried again when the run is over is left."""
    last = marked(why)
    for _ in range(tries - 1):
        retries.add(task(), marked(why))
        assert retries.next_tasks(over=False) == [task()]
    retries.add(task(), last)
    retries.add(task("beta"), marked(why))
    assert retries.next_tasks(over=True) == []
    assert (retries.failed, retries.left) == ({"acme": (task(), last.failure)}, [(task("beta"), why)])


def test_nobody_waits_for_a_holder_where_nothing_is_due_or_there_is_other_work(
    retries: Retries, hand_clock: HandClock
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


NOT_REACHED = {
    "its token is nearly over": (connected(expiring()), True, ["run.behind"]),
    "it is not due": (connected(expiring()), False, []),
    "a person was alerted of it": (transitions.ended(connected(expiring()), 40105, "R1").connection, True, []),
    "its token lasts": (connected(expiring(), expires_at=clock.text(NOON + timedelta(days=2))), True, []),
    "TikTok did not say when": (connected(expiring(), expires_at=""), True, ["run.behind"]),
    "TikTok did not say when, just now": (connected(expiring(at=NOON + timedelta(hours=1)), expires_at=""), True, []),
    "nobody knows when": (connected(expiring(), expires_at="", obtained_at=""), True, []),
}


@pytest.mark.parametrize(("connection", "due", "events"), NOT_REACHED.values(), ids=NOT_REACHED)
def test_what_ends_before_the_next_run_is_behind(
    retries: Retries, hand_clock: HandClock, logged: Logged, connection: Connection, due: bool, events: list[str]
) -> None:
    """Where TikTok does not say when a token ends, that is a day after it was issued."""
    hand_clock.pass_by(hours=18)
    retries.leave(Task(connection, refreshable=True, inspect=False, due=due), None)
    retries.log_behind(except_for=())
    assert logged.events == events
