"""Which tasks are tried again in a run, which have failed to the end, and which it did not get to in time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from tokenkeeper import clock, events, log
from tokenkeeper.grant import AGE_WITHOUT_LIFETIME
from tokenkeeper.refresh.outcome import Failure, TryAgain, Why
from tokenkeeper.refresh.plan import Task
from tokenkeeper.refresh.rate import RateLimiter
from tokenkeeper.store.lease import CLOCKS_DIFFER_BY, TERM
from tokenkeeper.transitions import TOKEN_NEARLY_OVER

STORE_AWAY = 20  # connections in a row that found Secret Manager unavailable, after which a run gives up
_TRIES = {Why.TRANSIENT: 2, Why.STORE: 3}
_WAIT_FOR_HOLDER = TERM + CLOCKS_DIFFER_BY.total_seconds() + 10  # seconds, until its lease may be taken over
_BETWEEN_LOOKS = 0.2  # seconds a connection; looking has a quota


class Retries:
    """The tasks of a run that are tried again, or not any more."""

    def __init__(self, rate: RateLimiter) -> None:
        """Set up; `rate` tells whether TikTok throttles for good."""
        self._rate = rate
        self._waiting: list[tuple[Task, TryAgain]] = []
        self._tries: Counter[str] = Counter()
        self._held_since: dict[str, float] = {}
        self._store_away = 0
        self._behind: dict[str, str] = {}  # why, by name
        self.failed: dict[str, tuple[Task, Failure]] = {}  # by name, those that failed to the end and are to be marked
        self.left: list[tuple[Task, Why]] = []  # those that the run does not get to, and why

    def add(self, task: Task, again: TryAgain) -> None:
        """A task asks to be tried again."""
        self._store_away = self._store_away + 1 if again.why is Why.STORE else 0
        if again.why in _TRIES:  # nothing else is counted against a connection
            self._tries[task.name] += 1
        if again.why is Why.HELD:
            self._held_since.setdefault(task.name, clock.monotonic())
        self._waiting.append((again.task or task, again))

    def answered(self) -> None:
        """A task came to its end: Secret Manager is not away."""
        self._store_away = 0

    @property
    def store_is_away(self) -> bool:
        """Whether Secret Manager has been unavailable for so many that nobody else is tried."""
        return self._store_away >= STORE_AWAY

    def next_tasks(self, *, over: bool) -> list[Task]:
        """The tasks of the next pass, perhaps after a pause; the others are in `failed` or `left`.

        `over` tells whether no task may be begun any more.
        """
        waiting, self._waiting = self._waiting, []
        tasks = []
        for task, again in waiting:
            worth_it = self._is_worth_it(task, again)
            if worth_it and not over:
                tasks.append(task)
            elif worth_it or again.failure is None:
                self.left.append((task, again.why))
            else:
                self.failed[task.name] = (task, again.failure)
        if tasks and all(again.why is Why.HELD for _, again in waiting):
            clock.sleep(min(TERM, max(0.5, len(tasks) * _BETWEEN_LOOKS)))
        return tasks

    def _is_worth_it(self, task: Task, again: TryAgain) -> bool:
        match again.why:
            case Why.HELD:
                held_for = clock.monotonic() - self._held_since[task.name]
                return (task.due or task.inspect) and held_for < _WAIT_FOR_HOLDER
            case Why.THROTTLED:
                return not self._rate.exhausted
            case _:
                return self._tries[task.name] < _TRIES[again.why]

    def leave(self, task: Task, why: Why | None) -> None:
        """The run does not get to a task; that matters if its token is nearly over and nobody was alerted of it."""
        known = task.connection
        ends = known.expires_at or (known.obtained_at and known.obtained_at + 2 * AGE_WITHOUT_LIFETIME)
        if not task.due or ends is None or ends - clock.now() >= TOKEN_NEARLY_OVER or known.alerted:
            return
        if self._rate.exhausted:
            why = Why.THROTTLED
        elif self.store_is_away:
            why = Why.STORE
        self._behind[task.name] = why.value if why in {Why.THROTTLED, Why.STORE} else "the run's budget was over"

    def log_behind(self, *, except_for: Collection[str]) -> None:
        """Log one alert for the tokens that end before the next run, through no fault of their connections.

        Those that another alert of this run named are left out.
        """
        names = sorted(self._behind.keys() - set(except_for))
        if names:
            detail = "; ".join(sorted({self._behind[name] for name in names}))
            log.write(events.RUN_BEHIND.entry(count=len(names), detail=detail, connections=names))
