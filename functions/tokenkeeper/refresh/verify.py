"""Verifying a token that is not refreshed: ask TikTok what it reaches, and write only what is new."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial

from tokenkeeper import events, log, transitions
from tokenkeeper.clock import Deadline
from tokenkeeper.connection import Problem
from tokenkeeper.errors import Kind, LeaseHeld, StoreError, TikTokError, TikTokRefused, TikTokSilent
from tokenkeeper.grant import Grant
from tokenkeeper.refresh.outcome import FAILING, REAUTHORIZE, Failure, Outcome, TryAgain, Verdict, Why
from tokenkeeper.refresh.plan import Task
from tokenkeeper.refresh.shared import READING, RunContext
from tokenkeeper.store.lease import READ_SECONDS
from tokenkeeper.store.persist import GrantWriter, Numbers, readable
from tokenkeeper.store.versions import Version
from tokenkeeper.tiktok.reach import Reach
from tokenkeeper.transitions import Transition

DEAD = {Kind.REAUTHORIZE, Kind.EXPIRED}


def verify(context: RunContext, task: Task) -> Outcome:
    """Ask TikTok whether the stored token works, and write what is new about it.

    Raises `TryAgain` where it failed in a way that may pass, or the answer is surprising and is asked for again; and
    `RunStopped` where all connections would fail alike.
    """
    secret_id = context.vault.token_id(task.name)
    newest = context.vault.versions.latest(secret_id, Deadline(READ_SECONDS))
    context.troubles.fine.add(READING)
    while True:
        grant = readable(newest, task.name)
        refused: TikTokRefused | None = None
        if grant is not None:
            if grant.app_id != context.settings.app_id:
                return _of_other_app(context, task)
            try:
                reach = context.tiktok.family(grant.family).check(grant)
                break
            except TikTokRefused as error:
                context.raise_if_shared(task.name, error)
                if error.kind not in DEAD:
                    raise failed(error, "verified", Outcome(Verdict.FAILING)) from None
                refused = error
            except TikTokError as error:
                raise failed(error, "verified", Outcome(Verdict.FAILING)) from None
        # That a token is dead, or unreadable, is only believed of the newest version there is.
        newer = context.newest(secret_id, newest)
        if newer.number == newest.number:
            return _mark_bad(context, task, newest, refused)
        newest = newer
    if reach.advertisers is not None:
        if not reach.advertisers:
            return _empty(context, task)
        if grant.lost_most(reach.advertisers) and not task.asked_again:
            raise TryAgain(Why.TRANSIENT, task=replace(task, asked_again=True))
    _write_what_is_new(context, task, newest, grant, reach)
    return Outcome(Verdict.VERIFIED)


def store_change(writer: GrantWriter, old: Grant, new: Grant) -> None:
    """Log what ad accounts a token reaches now, then add a version to its secret; the same grant changes nothing."""
    if new is not old:
        log.write(*transitions.changed_entries(old, new))  # first, since afterwards nothing shows the change
        writer.add_token(new)


def prune(context: RunContext, name: str, secret_id: str, newest: int, destroyed_to: int) -> int:
    """Destroy versions that are too many; see `Versions.prune`. Returns `destroyed_to` where they could not be."""
    try:
        return context.vault.versions.prune(secret_id, newest, destroyed_to, Deadline(READ_SECONDS))
    except StoreError as error:
        log.write(events.CLEANUP_FAILED.entry(connection=name, detail=str(error)))
        return destroyed_to


def failed(error: TikTokError, action: str, outcome: Outcome) -> TryAgain:
    """What to raise after a failure at TikTok that may pass: see `failing`, and `outcome` is how it counts then."""
    return TryAgain(Why.TRANSIENT, Failure(failing(error, action), outcome))


def failing(error: TikTokError, action: str) -> Transition:
    """What a failure at TikTok makes of a connection; `action` is what could not be done."""
    if isinstance(error, TikTokRefused):
        problem = Problem("suspect" if error.kind is Kind.SUSPECT else "transient", error.code, error.request_id)
    else:
        problem = Problem("silent" if isinstance(error, TikTokSilent) else "unreachable", None, error.request_id)
    return partial(transitions.failing, problem=problem, action=action)


def ended(error: TikTokRefused) -> Transition:
    """What it makes of a connection that its token is dead."""
    return partial(transitions.ended, code=error.code, request_id=error.request_id)


def _empty(context: RunContext, task: Task) -> Outcome:
    if task.connection.failing_of("empty"):
        return FAILING
    if not task.asked_again:
        raise TryAgain(Why.TRANSIENT, task=replace(task, asked_again=True))
    with context.hold(task.name) as lease:
        lease.finish(transitions.empty)
    return FAILING


def _of_other_app(context: RunContext, task: Task) -> Outcome:
    context.other_app.add(task.name)
    if task.connection.health != "reauthorize" and not task.connection.failing_of("other_app"):
        with context.hold(task.name) as lease:
            lease.finish(transitions.of_other_app)
    return FAILING


def _mark_bad(context: RunContext, task: Task, newest: Version, refused: TikTokRefused | None) -> Outcome:
    """Mark a connection whose token is dead, or cannot be read where TikTok refused nothing."""
    vault, name = context.vault, task.name
    if refused is None and task.connection.failing_of("broken"):
        return FAILING
    with context.hold(name) as lease:
        if context.newest(vault.token_id(name), newest).number != newest.number:
            return Outcome(Verdict.SKIPPED)  # re-connected in this moment
        if context.newest(vault.refresh_id(name)).number:
            # The list did not show its refresh secret yet.
            raise TryAgain(Why.TRANSIENT, task=replace(task, refreshable=True, inspect=True))
        if refused is None:
            lease.finish(partial(transitions.broken, detail="The token secret cannot be read."))
            return FAILING
        lease.finish(ended(refused))
    return REAUTHORIZE


def _write_what_is_new(context: RunContext, task: Task, newest: Version, grant: Grant, reach: Reach) -> None:
    known = task.connection
    now = grant if reach.advertisers is None else grant.with_found(tuple(reach.advertisers))
    names = reach.names(now.advertiser_ids)
    nothing_new = (
        now is grant
        and (names is None or not transitions.knows_other_names(known, names))
        and known.obtained_at == grant.obtained_at
        and not known.labels_missing
        and known.health == "ok"
        and newest.number - context.settings.keep_versions <= known.destroyed_to
    )
    if nothing_new:
        return
    secret_id = context.vault.token_id(task.name)
    with suppress(LeaseHeld), context.hold(task.name) as lease:  # else the next run sees the same again
        if context.newest(secret_id, newest).number != newest.number:
            return
        writer = GrantWriter(lease, grant.obtained_at, Numbers(token=newest.number))
        store_change(writer, grant, now)
        destroyed_to = prune(context, task.name, secret_id, writer.numbers.token, lease.connection.destroyed_to)
        lease.finish(lambda before: transitions.verified(before, now, names, destroyed_to))
