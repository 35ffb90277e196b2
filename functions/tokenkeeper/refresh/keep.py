"""One connection, top to bottom: verify it; or hold its lease, reconcile its secrets and refresh it if that is due."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial

from tokenkeeper import clock, log, transitions
from tokenkeeper.errors import (
    LeaseHeld,
    LeaseLost,
    SecretMissing,
    StoreError,
    StoreForbidden,
    StoreRejected,
    StoreUnavailable,
    Superseded,
)
from tokenkeeper.refresh.outcome import FAILING, Failure, Outcome, TryAgain, Verdict, Why
from tokenkeeper.refresh.plan import Task
from tokenkeeper.refresh.reconcile import keep_refreshable, read_both
from tokenkeeper.refresh.shared import ADDING, READING, RunContext
from tokenkeeper.refresh.verify import verify
from tokenkeeper.transitions import Change


def keep(context: RunContext, task: Task) -> Outcome:
    """Do what is to be done for a connection.

    Raises `TryAgain` where that is for later in the run, and `RunStopped` where all connections would fail alike.
    """
    try:
        outcome = _keep(context, task)
        _warn_of_end(context, task, outcome)
    except SecretMissing:
        return Outcome(Verdict.NO_CONNECTION)  # somebody deleted it meanwhile
    except LeaseHeld:
        raise TryAgain(Why.HELD) from None
    except (LeaseLost, Superseded):
        return Outcome(Verdict.SKIPPED, overdue=task.due)  # somebody else goes on with it
    except (StoreForbidden, StoreRejected) as error:
        context.forbidden(task.name, error)
        # Tried again, since by then it shows whether the other secrets can be read.
        mark = partial(transitions.broken, detail=str(error))
        raise TryAgain(Why.TRANSIENT, Failure(mark, FAILING, shared=READING)) from None
    except StoreUnavailable:
        raise TryAgain(Why.STORE) from None
    return outcome


def _keep(context: RunContext, task: Task) -> Outcome:
    if not (task.refreshable or task.inspect):
        return verify(context, task)
    if not (task.due or task.inspect):
        return Outcome(Verdict.SKIPPED)
    if not task.connection.made and read_both(context, task.name).empty:
        return Outcome(Verdict.NO_CONNECTION)  # cut off before anything was stored, or begun just now
    with context.hold(task.name, known=task.connection) as lease:
        outcome = keep_refreshable(context, task, lease)
    return outcome or verify(context, replace(task, connection=lease.connection, refreshable=False, inspect=False))


def give_up(context: RunContext, task: Task, failure: Failure) -> Outcome:
    """Mark a connection whose last try in this run failed; raises as `RunContext.stop_if_shared`."""
    _mark(context, task, failure)
    _warn_of_end(context, task, failure.outcome)
    return failure.outcome


def _mark(context: RunContext, task: Task, failure: Failure) -> None:
    mark, _, shared = failure
    change = mark(task.connection)
    if shared and not (shared == ADDING and task.connection.failing_of("broken")):
        detail = next((entry.fields.get("detail") for entry in change.entries), "") or "Permission denied."
        context.stop_if_shared(shared, f"{detail} None of the connections' secrets allows it.")
    if change == Change(task.connection):
        return
    try:
        with context.hold(task.name) as lease:
            lease.finish(mark)
    except (LeaseHeld, LeaseLost):
        return  # whoever holds it is at work, and says what comes of it
    except StoreError:
        if shared:  # it cannot be marked, so each run says it
            log.write(*change.entries)


def _warn_of_end(context: RunContext, task: Task, outcome: Outcome) -> None:
    """Warn of the end of what cannot be renewed, where that is due; else the next run does."""
    if outcome.verdict in {Verdict.REAUTHORIZE, Verdict.NO_CONNECTION}:
        return
    if task.connection.warning_due(clock.now(), refreshable=task.refreshable) is None:
        return
    with suppress(LeaseHeld, LeaseLost, StoreError), context.hold(task.name) as lease:
        # It may have been re-connected since it was listed, with a refresh token.
        refreshable = task.refreshable or context.newest(context.vault.refresh_id(task.name)).number > 0
        lease.finish(partial(transitions.warned_of_end, refreshable=refreshable))
