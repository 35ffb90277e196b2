"""Working through tasks: many at once, as fast as TikTok and Secret Manager allow. Knows nothing of grants."""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from tokenkeeper import clock

T = TypeVar("T")
R = TypeVar("R")


def one_pass(
    tasks: Iterable[T],
    work: Callable[[T], R],
    finished: Callable[[T, Future[R]], None],
    *,
    at_once: int,
    over: Callable[[], bool],
    between_starts: float = 0.0,
    may_begin: Callable[[bool], bool] = lambda _: True,
) -> list[T]:
    """Work on each task once, in their order, in threads, until it is `over`; returns those that were not begun.

    A new task is begun as soon as `may_begin` allows, so that TikTok is never called slower than it may be; how long
    its answers take does not matter. `may_begin` gets whether tasks are under way, and waits before it says no.
    `finished` is called in this thread, with each task and what came of it.
    """
    waiting, running = deque(tasks), dict[Future[R], T]()

    def collect(timeout: float | None) -> None:
        done, _ = wait(running, timeout, FIRST_COMPLETED)
        for future in done:
            finished(running.pop(future), future)

    with ThreadPoolExecutor(at_once, thread_name_prefix="connection") as pool:
        while waiting and not over():
            if len(running) >= at_once:
                collect(0.05)
            elif may_begin(bool(running)) and not over():
                task = waiting.popleft()
                running[pool.submit(contextvars.copy_context().run, work, task)] = task
                clock.sleep(between_starts)
            collect(0)
        while running:
            collect(None)
    return list(waiting)
