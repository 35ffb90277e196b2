"""Simulated time in which many things go on at once, in one thread and the same way each time.

What waits, waits in a line ordered by time; whoever is next goes on, and the clock with it. The functions' own threads,
locks and pauses are put into that line, so that a run of twenty minutes with hundreds of connections under way is over
in seconds, and nothing is left to the machine's mood.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import FIRST_COMPLETED
from contextlib import contextmanager
from types import SimpleNamespace, TracebackType
from typing import Any, Self

import pytest
from greenlet import getcurrent, greenlet  # type: ignore[import-untyped]

from reliability.quick import BEGINNING, Time
from tokenkeeper import pacing, refresh, renewal

_PATIENCE = 20


class _Nap:
    """Somebody who waits, for a time or for somebody else."""

    __slots__ = ("over", "sleeper")

    def __init__(self, sleeper: greenlet) -> None:
        self.sleeper = sleeper
        self.over = False


class Simulation(Time):
    """Everybody's time, which is wherever the next thing happens."""

    def __init__(self) -> None:
        super().__init__()
        self._line: list[tuple[float, int, _Nap]] = []
        self._order = itertools.count()
        self.numbers = itertools.count()  # of what this time's pools work on
        self._conductor = greenlet(self._conduct)

    @property
    def timestamp(self) -> float:
        """What a clock that is right shows, in seconds since 1970."""
        return BEGINNING.timestamp() + self._passed

    def sleep(self, seconds: float) -> None:
        """Wait, while the others go on."""
        until = self._passed + max(0.0, seconds)
        if self._line and self._line[0][0] <= until:
            self.rest(self.nap(), until)
        else:
            self._passed = until

    def nap(self) -> _Nap:
        """A nap of whoever asks, not yet begun."""
        return _Nap(getcurrent())

    def rest(self, nap: _Nap, until: float | None = None) -> None:
        """Take a nap until that time, or until it is ended."""
        if until is not None:
            heapq.heappush(self._line, (until, next(self._order), nap))
        self._conductor.switch()

    def end(self, naps: list[_Nap]) -> None:
        """Wake all of them: they go on at this time, after those who are in line for it."""
        for nap in naps:
            heapq.heappush(self._line, (self._passed, next(self._order), nap))
        naps.clear()

    def begin(self, act: Callable[[], None]) -> None:
        """Let something more go on, from now on; it must not raise."""
        self.end([_Nap(greenlet(act, self._conductor))])

    def _conduct(self) -> None:
        while self._line:
            when, _, nap = heapq.heappop(self._line)
            if not nap.over:
                nap.over = True
                self._passed = max(self._passed, when)
                nap.sleeper.switch()
        raise RuntimeError("everybody waits for somebody else")

    @contextmanager
    def everywhere(self) -> Iterator[None]:
        """While this lasts, the functions' threads and locks live in this time."""
        threads = SimpleNamespace(Condition=lambda: Condition(self), Lock=lambda: Lock(self))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pacing, "threading", threads)
            patch.setattr(renewal, "threading", threads)
            patch.setattr(refresh, "ThreadPoolExecutor", lambda *_, **__: Pool(self))
            patch.setattr(refresh, "wait", wait)
            yield


class Lock:
    """`threading.Lock`, as far as it is used."""

    def __init__(self, time: Simulation) -> None:
        self._time = time
        self._held = False
        self._naps: list[_Nap] = []

    def __enter__(self) -> None:
        while self._held:
            nap = self._time.nap()
            self._naps.append(nap)
            self._time.rest(nap)
        self._held = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held = False
        self._time.end(self._naps)


class Condition:
    """`threading.Condition`, as far as it is used. Nobody comes in between where nobody waits: it needs no lock."""

    def __init__(self, time: Simulation) -> None:
        self._time = time
        self._naps: list[_Nap] = []

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def wait_for(self, predicate: Callable[[], bool], seconds: float | None = None) -> bool:
        # What is waited for comes by being told of it. Giving up after some milliseconds, only to ask again, would
        # change nothing and cost a third of all the time that a year takes.
        until = None if seconds is None else self._time.stopwatch() + seconds * _PATIENCE
        while not (result := predicate()) and (until is None or self._time.stopwatch() < until):
            nap = self._time.nap()
            self._naps.append(nap)
            self._time.rest(nap, until)
        return result

    def notify_all(self) -> None:
        if self._naps:
            self._time.end(self._naps)


class Future:
    """`concurrent.futures.Future`, as far as it is used. A set of them has the same order each time."""

    def __init__(self, time: Simulation) -> None:
        self.number = next(time.numbers)
        self.time = time
        self.finished = False
        self.naps: list[_Nap] = []
        self._value: Any = None
        self._error: BaseException | None = None

    def __hash__(self) -> int:
        return self.number

    def work(self, act: Callable[..., Any], words: tuple[Any, ...]) -> None:
        try:
            self._value = act(*words)
        except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
            self._error = error
        self.finished = True
        self.time.end(self.naps)

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._value


class Pool:
    """`concurrent.futures.ThreadPoolExecutor`, as far as it is used; there is room for everything in it."""

    def __init__(self, time: Simulation) -> None:
        self._time = time
        self._unfinished: dict[Future, None] = {}

    def submit(self, act: Callable[..., Any], *words: Any) -> Future:
        future = Future(self._time)
        self._unfinished[future] = None

        def work() -> None:
            future.work(act, words)
            del self._unfinished[future]

        self._time.begin(work)
        return future

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._unfinished:
            wait(list(self._unfinished))


def wait(
    futures: Collection[Future], timeout: float | None = None, return_when: str = FIRST_COMPLETED
) -> tuple[set[Future], set[Future]]:
    """`concurrent.futures.wait` for the first that is done: none of the functions waits for all at once."""
    assert return_when == FIRST_COMPLETED
    done = {future for future in futures if future.finished}
    if not done and futures and timeout != 0:
        time = next(iter(futures)).time
        nap = time.nap()
        for future in futures:
            future.naps.append(nap)
        time.rest(nap, None if timeout is None else time.stopwatch() + timeout)
        for future in futures:
            if nap in future.naps:
                future.naps.remove(nap)
        done = {future for future in futures if future.finished}
    return done, set(futures) - done
