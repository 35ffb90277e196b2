"""Working through tasks with many threads: when the next one is begun.

That each is worked on in order, an error stays its own and a run ends in time is in `reliability/test_runs`.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future

from tokenkeeper.refresh.passes import one_pass as work_through

TASKS = ["a", "b", "c", "d"]


def one_pass(
    work: Callable[[str], str], *, at_once: int = 8, may_begin: Callable[[bool], bool] = lambda _: True
) -> dict[str, Future[str]]:
    """Work on the tasks; returns what came of them."""
    finished: dict[str, Future[str]] = {}
    work_through(TASKS, work, finished.__setitem__, at_once=at_once, over=lambda: False, may_begin=may_begin)
    return finished


def test_the_next_one_is_begun_when_that_is_allowed() -> None:
    """It is asked again and again, and told whether others are under way."""
    asked: list[bool] = []
    go_on = threading.Event()

    def may_begin(under_way: bool) -> bool:
        asked.append(under_way)
        if len(asked) == 4:
            go_on.set()
        return len(asked) in {1, 4} or len(asked) > 4

    def work(task: str) -> str:
        go_on.wait(10)
        return task

    assert set(one_pass(work, may_begin=may_begin)) == set(TASKS)
    assert asked[:4] == [False, True, True, True]


def test_no_more_are_under_way_than_allowed_and_each_knows_the_run() -> None:
    """The run's context reaches its threads, so that every entry of its log carries its trace."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    variable.set("the run's")
    both, more = threading.Barrier(2), threading.Semaphore(2)

    def work(_: str) -> str:
        assert more.acquire(blocking=False), "a third one"
        both.wait(10)
        threading.Event().wait(0.05)  # so that the third has to wait for its place
        more.release()
        return variable.get()

    assert {future.result() for future in one_pass(work, at_once=2).values()} == {"the run's"}
