"""Verifying a token that is not refreshed: ask TikTok what it reaches, and write only what is new."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from tokenkeeper import clock, events, log, transitions
from tokenkeeper.clock import Deadline
from tokenkeeper.connection import Connection, Problem
from tokenkeeper.errors import Kind, LeaseHeld, StoreError, TikTokError, TikTokRefused, TikTokSilent
from tokenkeeper.grant import Grant
from tokenkeeper.refresh.outcome import Outcome, TryAgain, Verdict, Why
from tokenkeeper.refresh.plan import Task
from tokenkeeper.refresh.shared import READING, RunContext
from tokenkeeper.store.lease import Lease, hold
from tokenkeeper.store.persist import READ_SECONDS, GrantWriter, Numbers, readable
from tokenkeeper.store.versions import Newest
from tokenkeeper.tiktok.families import Reach

_DEAD = {Kind.REAUTHORIZE, Kind.EXPIRED}
_FAILING = Outcome(Verdict.FAILING, attention=True)
G = TypeVar("G", bound=Grant)


def verify(context: RunContext, task: Task) -> Outcome:
    """Ask TikTok whether the stored token works, and write what is new about it.

    Raises:
        TryAgain: it failed in a way that may pass, or the answer is surprising and is asked for again.
        RunStopped: all connections would fail alike.
    """
    secret_id = context.vault.token_id(task.name)
    newest = context.vault.versions.latest(secret_id, Deadline(READ_SECONDS))
    context.troubles.fine(READING)
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
                context.sort_out(task.name, error)
                if error.kind not in _DEAD:
                    raise _failed(error) from None
                refused = error
            except TikTokError as error:
                raise _failed(error) from None
        # That a token is dead, or unreadable, is only believed of the newest version there is.
        newer = context.vault.versions.newest(secret_id, Deadline(READ_SECONDS), newest)
        if newer.number == newest.number:
            return _mark_bad(context, task, newest, refused)
        newest = newer
    if reach.advertisers is not None:
        ids = [advertiser.id for advertiser in reach.advertisers]
        if not ids:
            return _empty(context, task)
        if grant.lost_most(ids) and not task.asked_again:
            raise TryAgain(Why.TRANSIENT, task=replace(task, asked_again=True))
    _write_what_is_new(context, task, newest, grant, reach)
    return Outcome(Verdict.VERIFIED)


def with_found(grant: G, ids: Sequence[str]) -> G:
    """The grant for the ad accounts that were found, which is itself if they are those that it knows."""
    known = grant.advertiser_ids
    if grant.advertiser_count == len(ids) if known is None else set(known) == set(ids):
        return grant
    kept = [id_ for id_ in known or () if id_ in set(ids)]
    return grant.with_advertisers(list(dict.fromkeys([*kept, *ids])))


def prune(context: RunContext, name: str, secret_id: str, newest: int, destroyed_to: int) -> int:
    """Destroy versions that are too many; returns the number up to which all are destroyed."""
    if newest - context.settings.keep_versions <= destroyed_to:
        return destroyed_to
    try:
        return context.vault.versions.prune(secret_id, newest, destroyed_to, Deadline(READ_SECONDS))
    except StoreError as error:
        log.write(events.CLEANUP_FAILED.entry(connection=name, detail=str(error)))
        return destroyed_to


def describe(error: TikTokError) -> Problem:
    """What is written down about a failure."""
    if isinstance(error, TikTokRefused):
        kind = "suspect" if error.kind is Kind.SUSPECT else "transient"
        return Problem(kind, error.code, error.request_id)
    return Problem("silent" if isinstance(error, TikTokSilent) else "unreachable", None, error.request_id)


def _failed(error: TikTokError) -> TryAgain:
    problem = describe(error)
    return TryAgain(
        Why.TRANSIENT,
        lambda connection: transitions.failing(connection, problem, "verified", clock.now()),
        Outcome(Verdict.FAILING),
    )


def _empty(context: RunContext, task: Task) -> Outcome:
    if task.connection.failing_of("empty"):
        return _FAILING
    if not task.asked_again:
        raise TryAgain(Why.TRANSIENT, task=replace(task, asked_again=True))
    with hold(context.vault, task.name, "refresh", Deadline(READ_SECONDS)) as lease:
        lease.finish(lambda connection: transitions.empty(connection, clock.now()), Deadline(READ_SECONDS))
    return _FAILING


def _of_other_app(context: RunContext, task: Task) -> Outcome:
    context.other_app.add(task.name)
    if task.connection.health != "failing":
        with hold(context.vault, task.name, "refresh", Deadline(READ_SECONDS)) as lease:
            lease.finish(lambda connection: transitions.of_other_app(connection, clock.now()), Deadline(READ_SECONDS))
    return _FAILING


def _mark_bad(context: RunContext, task: Task, newest: Newest, refused: TikTokRefused | None) -> Outcome:
    """Mark a connection whose token is dead, or cannot be read where TikTok refused nothing."""
    vault, name = context.vault, task.name
    if refused is None and task.connection.failing_of("broken"):
        return _FAILING
    with hold(vault, name, "refresh", Deadline(READ_SECONDS)) as lease:
        if _is_newer(context, name, newest):
            return Outcome(Verdict.SKIPPED)  # re-connected in this moment
        if vault.versions.newest(vault.refresh_id(name), Deadline(READ_SECONDS)).number:
            # The list did not show its refresh secret yet.
            raise TryAgain(Why.TRANSIENT, task=replace(task, refreshable=True, inspect=True))
        if refused is None:
            detail = "The token secret cannot be read."
            lease.finish(lambda before: transitions.broken(before, detail, clock.now()), Deadline(READ_SECONDS))
            return _FAILING
        lease.finish(transitions.ended(refused.code, refused.request_id), Deadline(READ_SECONDS))
    return Outcome(Verdict.REAUTHORIZE, attention=True)


def _write_what_is_new(context: RunContext, task: Task, newest: Newest, grant: Grant, reach: Reach) -> None:
    known = task.connection
    now = grant if reach.advertisers is None else with_found(grant, [one.id for one in reach.advertisers])
    names = None if reach.advertisers is None else reach.names(now.advertiser_ids)
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
    try:
        with hold(context.vault, task.name, "refresh", Deadline(READ_SECONDS)) as lease:
            _write(context, lease, newest, grant, now, names)
    except LeaseHeld:
        return  # the next run sees the same again


def _write(
    context: RunContext, lease: Lease, newest: Newest, before: Grant, now: Grant, names: Mapping[str, str] | None
) -> None:
    name, secret_id = before.connection, context.vault.token_id(before.connection)
    if _is_newer(context, name, newest):
        return
    number = newest.number
    if now is not before:
        for entry in transitions.changed_entries(before, now):  # first, since afterwards nothing shows the change
            log.write(entry)
        writer = GrantWriter(context.vault, lease, before.obtained_at, Numbers(token=number))
        writer.add_token(now)
        number = writer.numbers.token
    destroyed_to = prune(context, name, secret_id, number, lease.connection.destroyed_to)

    def verified(connection: Connection) -> transitions.Change:
        return transitions.verified(connection, now, names, destroyed_to)

    lease.finish(verified, Deadline(READ_SECONDS))


def _is_newer(context: RunContext, name: str, newest: Newest) -> bool:
    found = context.vault.versions.newest(context.vault.token_id(name), Deadline(READ_SECONDS), newest)
    return found.number != newest.number
