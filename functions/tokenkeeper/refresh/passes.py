"""Working through tasks: many at once, at the pace that TikTok and Secret Manager allow. Knows nothing of grants."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Generic, Self, TypeVar

from tokenkeeper import clock

T = TypeVar("T")
R = TypeVar("R")


class Workers(Generic[T, R]):
    """Threads that work on tasks, as a context manager.

    A new task is begun as soon as `may_begin` allows, so that TikTok is never called slower than it may be; how long
    its answers take does not matter.
    """

    def __init__(
        self, at_once: int, between_starts: float, *, may_begin: Callable[[bool], bool], over: Callable[[], bool]
    ) -> None:
        """Set up.

        Args:
            at_once: The most tasks under way.
            between_starts: Seconds between two beginnings.
            may_begin: Gets whether tasks are under way; returns whether one more should be begun, after waiting a
                moment if not.
            over: Whether no task may be begun any more.
        """
        self._at_once = at_once
        self._between_starts = between_starts
        self._may_begin = may_begin
        self._over = over
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="connection")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()

    def one_pass(
        self,
        tasks: Sequence[T],
        work: Callable[[T], R],
        finished: Callable[[T, Future[R]], None],
    ) -> Sequence[T]:
        """Work on each task once, in their order.

        Args:
            tasks: The tasks.
            work: What is done for each, in a thread.
            finished: Called in this thread with each task that is finished, and what came of it.

        Returns:
            The tasks that were not begun.
        """
        running: dict[Future[R], T] = {}
        for number, task in enumerate(tasks):
            self._collect(running, finished, 0)
            while not self._over() and not self._room(running):
                self._collect(running, finished, 0)
            if self._over():
                left = tasks[number:]
                break
            running[self._pool.submit(contextvars.copy_context().run, work, task)] = task
            clock.sleep(self._between_starts)
        else:
            left = ()
        while running:
            self._collect(running, finished, None)
        return left

    def _room(self, running: Iterable[Future[R]]) -> bool:
        under_way = list(running)
        if len(under_way) >= self._at_once:
            wait(under_way, 0.05, FIRST_COMPLETED)
            return False
        return self._may_begin(bool(under_way))

    @staticmethod
    def _collect(running: dict[Future[R], T], finished: Callable[[T, Future[R]], None], timeout: float | None) -> None:
        done, _ = wait(running, timeout, FIRST_COMPLETED) if running else (set(), set())
        for future in done:
            finished(running.pop(future), future)
