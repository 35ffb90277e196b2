"""One run: list, plan, passes over the connections, what concerns all of them, record."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from tokenkeeper import clock, events, log
from tokenkeeper.clock import Deadline
from tokenkeeper.errors import SettingsError, StoreError, StoreForbidden
from tokenkeeper.events import Severity
from tokenkeeper.refresh.inventory import Listed, list_connections
from tokenkeeper.refresh.keep import give_up, keep
from tokenkeeper.refresh.outcome import REAUTHORIZE, Outcome, RunStopped, Summary, TryAgain, Verdict, Why
from tokenkeeper.refresh.passes import one_pass
from tokenkeeper.refresh.plan import Plan, Task, make_plan
from tokenkeeper.refresh.rate import RateLimiter
from tokenkeeper.refresh.request import RunRequest
from tokenkeeper.refresh.retries import Retries
from tokenkeeper.refresh.shared import RunContext
from tokenkeeper.tiktok.api import CALL_SECONDS

_MOST_AT_ONCE = 512
_MARKED_AT_ONCE = 16
_A_MOMENT = 0.05  # seconds
_RECORD_SECONDS = 15.0
_RECORD_SECONDS_WHEN_AWAY = 3.0

Progress = Callable[[int, int], None]


class Run:
    """One run, from the list of the secrets to the summary."""

    def __init__(self, context: RunContext, rate: RateLimiter, request: RunRequest, progress: Progress) -> None:
        self._context = context
        self._rate = rate
        self._request = request
        self._progress = progress
        self._started = clock.now()
        self._budget = Deadline(context.settings.run_budget)
        self._summary = Summary()
        self._retries = Retries(rate)
        self._stopped: RunStopped | None = None
        self._total = 0
        self._resume_after: str | None = None  # not known yet
        self._plan = Plan()

    def go(self) -> Summary:
        """Make the run; raises `BadRequestError` where the request names what is no connection."""
        began, summary = clock.monotonic(), self._summary
        try:
            listed = list_connections(self._context.vault, self._request)
            self._make_plan(listed)
            self._work()
            summary.attention |= listed.deleted | listed.unknown
            if others := sorted(self._context.other_app):
                log.write(events.CONNECTION_OTHER_APP.entry(count=len(others), connections=others))
            for name in sorted(listed.deleted):
                log.write(events.SECRET_DELETED.entry(connection=name))
            if not self._stopped:  # that alert is about all of them
                self._retries.log_behind(except_for=self._context.not_stored)
        except StoreForbidden as error:
            self._stop(RunStopped("may_not_list", str(error)))
        except SettingsError as error:
            self._stop(RunStopped("settings", str(error)))
        except StoreError as error:
            summary.status, summary.error = 503, str(error)
        if self._stopped:
            summary.status, summary.error = 500, str(self._stopped)
        elif summary.counts[Verdict.REMAINING] or summary.overdue:
            summary.status = 503
        summary.seconds = clock.monotonic() - began
        self._record()
        return summary

    # --- list and plan ---

    def _make_plan(self, listed: Listed) -> None:
        follow = "" if self._request.limited else listed.inventory.last_run.get("resume-after", "")
        self._resume_after = follow
        plan = self._plan = make_plan(
            listed.inventory,
            self._started,
            self._context.due_by,
            pending=self._context.pending,
            force=self._context.force,
            resume_after=follow,
        )
        self._total = len(listed.inventory.connections)
        self._context.troubles.connections = listed.total
        for name in plan.skipped:
            self._count(name, Outcome(Verdict.SKIPPED))
        for name in plan.reauthorize:
            self._count(name, REAUTHORIZE)

    # --- passes ---

    def _work(self) -> None:
        tasks = [*self._plan.expiring, *self._plan.long_lived]
        left = self._pass(tasks)
        begun = len(tasks) - len(left) - len(self._plan.expiring)
        if not left:
            self._resume_after = ""
        elif begun > 0:
            self._resume_after = self._plan.long_lived[begun - 1].name
        while tasks := self._retries.next_tasks(over=self._over):
            self._pass(tasks)
        self._give_up()

    def _pass(self, tasks: Sequence[Task]) -> Sequence[Task]:
        qps = self._context.settings.max_qps
        left = one_pass(
            tasks,
            lambda task: keep(self._context, task),
            self._finished,
            at_once=min(_MOST_AT_ONCE, max(16, math.ceil(qps * (CALL_SECONDS + 10)))),
            between_starts=0.25 / qps,
            may_begin=self._may_begin,
            over=lambda: self._over,
        )
        for task in left:
            self._leave(task)
        return left

    def _give_up(self) -> None:
        """Mark what failed to the end, and count what this run did not get to."""
        for task, why in self._retries.left:
            self._leave(task, why)
        failed = self._retries.failed
        left = one_pass(
            [task for task, _ in failed.values()],
            lambda task: give_up(self._context, task, failed[task.name][1]),
            self._finished,
            at_once=_MARKED_AT_ONCE,
            over=lambda: self._stopped is not None,
        )
        for task in left:
            self._leave(task)

    def _may_begin(self, under_way: bool) -> bool:  # noqa: FBT001 - called by position
        if self._context.vault.throttled and under_way:
            clock.sleep(_A_MOMENT)
            return False
        return self._rate.wait_for_short_queue(_A_MOMENT)

    @property
    def _over(self) -> bool:
        """Whether no connection may be begun any more."""
        return self._budget.over or self._stopped is not None or self._rate.exhausted or self._retries.store_is_away

    # --- what came of it ---

    def _finished(self, task: Task, future: Future[Outcome]) -> None:
        try:
            outcome = future.result()
        except TryAgain as again:
            self._retries.add(task, again)
            return
        except RunStopped as error:
            self._stop(error)
            self._leave(task)
            return
        except Exception as error:  # noqa: BLE001 - one connection's trouble is its own, a defect included
            log.defect(error, connection=task.name)
            outcome = Outcome(Verdict.FAILING, overdue=task.due, attention=True)
        self._retries.answered()
        self._count(task.name, outcome)

    def _leave(self, task: Task, why: Why | None = None) -> None:
        """Count a connection that this run does not get to."""
        if why is Why.HELD and not self._over:
            self._count(task.name, Outcome(Verdict.SKIPPED, overdue=task.due))  # whoever holds it is at work
            return
        self._retries.leave(task, why)
        self._count(task.name, Outcome(Verdict.REMAINING if task.connection.made else Verdict.NO_CONNECTION))

    def _count(self, name: str, outcome: Outcome) -> None:
        self._summary.count(name, outcome)
        self._progress(self._summary.counts.total(), self._total)

    def _stop(self, error: RunStopped) -> None:
        if self._stopped is None:
            self._stopped = error
            log.write(events.RUN_STOPPED.entry(detail=str(error), reason=error.reason))

    # --- record ---

    def _record(self) -> None:
        """Log the run's end, and write its times and counts to the keeper secret; a limited run writes nothing."""
        summary, request, resume_after = self._summary, self._request, self._resume_after
        # What an operator has to know was logged as it happened.
        severity: Severity = "INFO" if summary.status == 200 else "WARNING"
        log.write(
            events.RUN_FINISHED.entry(
                severity,
                status=summary.status,
                limited=request.limited or None,
                seconds=round(summary.seconds, 3),
                next_expiry_seconds=self._plan.next_end,
                needing=len(summary.attention),
                attention=sorted(summary.attention),
                **summary.counted,
            )
        )
        if request.limited:
            return
        facts = {
            "last-run-started": clock.text(self._started),
            "last-run-finished": clock.text(clock.now()),
            "last-run-counts": json.dumps(summary.counted),
        }
        if resume_after is not None:
            facts["resume-after"] = resume_after
        seconds = _RECORD_SECONDS if resume_after is not None else _RECORD_SECONDS_WHEN_AWAY
        try:
            self._context.vault.record_run(facts, Deadline(seconds))
        except (StoreError, SettingsError) as error:
            log.write(events.RUN_NOT_RECORDED.entry(detail=str(error)))
