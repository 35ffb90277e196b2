"""Working through tasks: many at once, as fast as TikTok and Secret Manager allow. Knows nothing of grants."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from tokenkeeper import clock

T = TypeVar("T")
R = TypeVar("R")


def one_pass(
    tasks: Sequence[T],
    work: Callable[[T], R],
    finished: Callable[[T, Future[R]], None],
    *,
    at_once: int,
    between_starts: float,
    may_begin: Callable[[bool], bool],
    over: Callable[[], bool],
) -> Sequence[T]:
    """Work on each task once, in their order, in threads.

    A new task is begun as soon as `may_begin` allows, so that TikTok is never called slower than it may be; how long
    its answers take does not matter.

    Args:
        tasks: The tasks.
        work: What is done for each, in a thread.
        finished: Called in this thread with each task that is finished, and what came of it.
        at_once: The most tasks under way.
        between_starts: Seconds between two beginnings.
        may_begin: Gets whether tasks are under way; returns whether one more should be begun, after waiting a moment
            if not.
        over: Whether no task may be begun any more.

    Returns:
        The tasks that were not begun.
    """
    running: dict[Future[R], T] = {}

    def collect(timeout: float | None) -> None:
        done, _ = wait(running, timeout, FIRST_COMPLETED) if running else (set(), set())
        for future in done:
            finished(running.pop(future), future)

    def has_room() -> bool:
        if len(running) < at_once:
            return may_begin(bool(running))
        wait(running, 0.05, FIRST_COMPLETED)
        return False

    left: Sequence[T] = ()
    with ThreadPoolExecutor(at_once, thread_name_prefix="connection") as pool:
        for number, task in enumerate(tasks):
            collect(0)
            while not over() and not has_room():
                collect(0)
            if over():
                left = tasks[number:]
                break
            running[pool.submit(contextvars.copy_context().run, work, task)] = task
            clock.sleep(between_starts)
        while running:
            collect(None)
    return left
