"""What a run says about all connections together, and its record."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime

from tokenkeeper import clock, events, log
from tokenkeeper.clock import Deadline
from tokenkeeper.errors import SettingsError, StoreError
from tokenkeeper.grant import AGE_WITHOUT_LIFETIME
from tokenkeeper.refresh.outcome import Summary, Why
from tokenkeeper.refresh.plan import Task
from tokenkeeper.refresh.request import RunRequest
from tokenkeeper.refresh.retries import Retries
from tokenkeeper.store.vault import Vault
from tokenkeeper.transitions import TOKEN_NEARLY_OVER

_RECORD_SECONDS = 15.0
_RECORD_SECONDS_WHEN_AWAY = 3.0


class Behind:
    """Tokens that end before the next run and were not reached, through no fault of their connections."""

    def __init__(self, retries: Retries) -> None:
        self._retries = retries
        self._reasons: dict[str, str] = {}

    def note(self, task: Task, why: Why | None) -> None:
        """A run does not get to a connection; it counts if its token is nearly over and nobody was alerted of it."""
        known = task.connection
        ends = known.expires_at or (known.obtained_at and known.obtained_at + 2 * AGE_WITHOUT_LIFETIME)
        if not task.due or ends is None or ends - clock.now() >= TOKEN_NEARLY_OVER or known.alerted:
            return
        if self._retries.throttled:
            why = Why.THROTTLED
        elif self._retries.store_is_away:
            why = Why.STORE
        self._reasons[task.name] = why.value if why in {Why.THROTTLED, Why.STORE} else "the run's budget was over"

    def log(self, *, except_for: Collection[str]) -> None:
        """Log one alert that names them, but for those that another alert of this run named."""
        names = sorted(self._reasons.keys() - set(except_for))
        if names:
            detail = "; ".join(sorted({self._reasons[name] for name in names}))
            log.write(events.RUN_BEHIND.entry(count=len(names), detail=detail, connections=names))


def record(
    vault: Vault,
    request: RunRequest,
    summary: Summary,
    started: datetime,
    next_end: int | None,
    resume_after: str | None,
) -> None:
    """Log the run's end, and write its times and counts to the keeper secret; a limited run writes nothing.

    Args:
        vault: Where to.
        request: What the run was asked for.
        summary: What came of it.
        started: When it began.
        next_end: Seconds until the next token or refresh token ends for good.
        resume_after: The long-lived connection where it stopped; None where it is not known.
    """
    log.write(
        events.RUN_FINISHED.entry(
            "INFO" if summary.status == 200 else "WARNING",  # what an operator has to know was logged as it happened
            status=summary.status,
            limited=request.limited or None,
            seconds=round(summary.seconds, 3),
            next_expiry_seconds=next_end,
            needing=len(summary.attention),
            attention=sorted(summary.attention),
            **summary.counted,
        )
    )
    if request.limited:
        return
    facts = {
        "last-run-started": clock.text(started),
        "last-run-finished": clock.text(clock.now()),
        "last-run-counts": json.dumps(summary.counted),
    }
    if resume_after is not None:
        facts["resume-after"] = resume_after
    try:
        vault.record_run(facts, Deadline(_RECORD_SECONDS if resume_after is not None else _RECORD_SECONDS_WHEN_AWAY))
    except (StoreError, SettingsError) as error:
        log.write(events.RUN_NOT_RECORDED.entry(detail=str(error)))
