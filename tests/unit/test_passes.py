"""Working through tasks with many threads: in order, at the pace that is allowed, until the run is over."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import pytest

from tokenkeeper.refresh.passes import one_pass as work_through

TASKS = ["a", "b", "c", "d"]


def one_pass(
    work: Callable[[str], str],
    *,
    at_once: int = 8,
    may_begin: Callable[[bool], bool] = lambda _: True,
    over: Callable[[], bool] = lambda: False,
    tasks: Sequence[str] = TASKS,
) -> tuple[dict[str, Future[str]], Sequence[str]]:
    """Work on the tasks; returns what came of them, and which were not begun."""
    finished: dict[str, Future[str]] = {}
    left = work_through(
        tasks, work, finished.__setitem__, at_once=at_once, between_starts=0, may_begin=may_begin, over=over
    )
    return finished, left


def test_each_task_is_worked_on_once_in_order() -> None:
    """What comes of each is handed back with it; an error does not end the pass."""

    def work(task: str) -> str:
        if task == "b":
            raise RuntimeError(task)
        return task.upper()

    finished, left = one_pass(work, at_once=1)
    assert list(finished) == TASKS
    with pytest.raises(RuntimeError):
        finished.pop("b").result()
    assert [future.result() for future in finished.values()] == ["A", "C", "D"]
    assert list(left) == []


def test_no_more_are_under_way_than_allowed() -> None:
    """However many there are."""
    now, most, lock = 0, 0, threading.Lock()

    def work(task: str) -> str:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        threading.Event().wait(0.01)
        with lock:
            now -= 1
        return task

    finished, _ = one_pass(work, at_once=2, tasks=[str(number) for number in range(10)])
    assert len(finished) == 10
    assert most == 2


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

    finished, _ = one_pass(work, may_begin=may_begin)
    assert set(finished) == set(TASKS)
    assert asked[:4] == [False, True, True, True]


def test_what_is_not_begun_when_the_run_is_over_is_left() -> None:
    """What is under way comes to its end."""
    done: list[str] = []

    def work(task: str) -> str:
        done.append(task)
        return task

    finished, left = one_pass(work, at_once=1, over=lambda: len(done) >= 2)
    assert [*finished, *left] == TASKS
    assert len(left) in {1, 2}  # the third may be begun before the second is known to be done


def test_the_log_context_of_the_run_reaches_its_threads() -> None:
    """So that every entry of a run carries its trace."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    variable.set("the run's")
    finished, _ = one_pass(lambda _: variable.get())
    assert {future.result() for future in finished.values()} == {"the run's"}
