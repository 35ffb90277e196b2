"""Redeeming a refresh token: permission first, unknown outcomes, and storing what TikTok issued."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial

from tokenkeeper import clock, events, log, transitions
from tokenkeeper.clock import Deadline
from tokenkeeper.errors import (
    Kind,
    LeaseLost,
    StoreError,
    StoreUnavailable,
    Superseded,
    TikTokError,
    TikTokRefused,
    TikTokSilent,
    TikTokUnreachable,
)
from tokenkeeper.grant import RefreshableGrant, TokenResponse
from tokenkeeper.refresh.diagnosis import Stored
from tokenkeeper.refresh.outcome import (
    FAILING,
    OVERDUE,
    REAUTHORIZE,
    Failure,
    Outcome,
    RunStopped,
    TryAgain,
    Verdict,
    Why,
)
from tokenkeeper.refresh.shared import ADDING, MANY, Pending, RunContext
from tokenkeeper.refresh.verify import DEAD, ended, failed, failing, prune, store_change
from tokenkeeper.store.lease import READ_SECONDS, Lease
from tokenkeeper.store.persist import GrantWriter, Numbers
from tokenkeeper.store.versions import Version
from tokenkeeper.tiktok.api import CALL_SECONDS


def refresh(context: RunContext, writer: GrantWriter, old: RefreshableGrant) -> Outcome:
    """Redeem the stored grant's refresh token and store what TikTok issues.

    Raises `Superseded` where somebody else stored a newer grant meanwhile, and as `verify` does.
    """
    lease = writer.lease
    _check_permission(context, lease)
    while True:
        try:
            response, asked_at = _redeem(context, lease, old)
            break
        except TikTokUnreachable as error:
            raise failed(error, "refreshed", OVERDUE) from None
        except TikTokRefused as error:
            context.raise_if_shared(old.connection, error)
            final = _is_final(context, error, old)
            writer.check_superseded()
            if final:
                lease.finish(ended(error))
                return REAUTHORIZE
            if old.connection not in context.unanswered:
                raise failed(error, "refreshed", OVERDUE) from None
            lease.finish(failing(error, "refreshed"))
            return OVERDUE
        except TikTokSilent as error:
            # Nobody knows whether the token was redeemed: at most one more try, and only TikTok's own answer counts.
            writer.check_superseded()
            if old.connection in context.unanswered:
                lease.finish(failing(error, "refreshed"))
                return OVERDUE
            context.unanswered.add(old.connection)
    return _store(context, writer, old, response, asked_at)


def flush(context: RunContext, lease: Lease, stored: Stored) -> Stored:
    """Store what an earlier run of this process could not, unless something newer is stored by now."""
    name = lease.connection.name
    pending = context.pending.get(name)
    if pending is None:
        return stored
    found = (stored.from_token, stored.from_refresh)
    if not any(grant and grant.obtained_at > pending.based_on for grant in found):
        writer = GrantWriter(lease, pending.based_on, stored.numbers)
        _add_refresh(context, writer, pending.grant)
        stored = replace(stored, refresh=Version(writer.numbers.refresh, None), from_refresh=pending.grant)
    context.pending.pop(name, None)
    log.write(events.TOKEN_SAVED.entry(connection=name))
    return stored


def _redeem(context: RunContext, lease: Lease, old: RefreshableGrant) -> tuple[TokenResponse, datetime]:
    asked_at = clock.now()

    def before_sending() -> None:
        nonlocal asked_at
        lease.ensure(CALL_SECONDS + READ_SECONDS)
        asked_at = clock.now()

    response = context.tiktok.family(old.family).refresh(old, before_sending)
    return response, asked_at


def _is_final(context: RunContext, error: TikTokRefused, old: RefreshableGrant) -> bool:
    """Whether only a new authorization helps."""
    if error.kind is not Kind.PERMISSION:
        return error.kind is Kind.REAUTHORIZE
    try:
        context.tiktok.family(old.family).check(old)
    except TikTokError as second:
        return isinstance(second, TikTokRefused) and second.kind in DEAD
    return False


def _check_permission(context: RunContext, lease: Lease) -> None:
    """Make sure, before the first refresh token is used, that what TikTok issues may be stored."""
    name, vault, troubles = lease.connection.name, context.vault, context.troubles
    secret_id = vault.refresh_id(name)
    refused_before = lease.connection.failing_of("broken")
    with context.permission:
        if ADDING in troubles.fine and not (refused_before or troubles.has_met(ADDING, name)):
            return
        if vault.may_add(secret_id, Deadline(READ_SECONDS)):
            troubles.fine.add(ADDING)
            return
        vault.etag(secret_id, Deadline(READ_SECONDS))  # or was the secret deleted?
    detail = (
        f"Permission denied: cannot add versions to secret {secret_id}, so no refresh token is used. Grant this "
        "service account secretmanager.versions.add (roles/secretmanager.secretVersionManager)."
    )
    if troubles.met(ADDING, name) >= MANY:
        raise RunStopped("may_not_add", detail)
    outcome = Outcome(Verdict.FAILING, overdue=True, attention=True)
    raise TryAgain(Why.TRANSIENT, Failure(partial(transitions.broken, detail=detail), outcome, shared=ADDING))


# --- storing what TikTok issued ---


def _store(
    context: RunContext, writer: GrantWriter, old: RefreshableGrant, response: TokenResponse, asked_at: datetime
) -> Outcome:
    name, lease, before = old.connection, writer.lease, writer.numbers
    new = old.refreshed(response, asked_at).with_username(lease.connection.username)
    listed = response.advertiser_ids if old.family == "advertiser" else None
    surprising = listed is not None and (not listed or old.lost_most(listed))
    if listed and not surprising:
        new = new.with_found(listed)
    context.pending[name] = Pending(new, old.obtained_at)
    log.write(*transitions.changed_entries(old, new))  # first, as in `store_change`
    _add_refresh(context, writer, new)
    context.pending.pop(name, None)
    writer.add_token(new)
    second = _list_advertisers(context, new) if surprising else None
    new = _with_list(new, second, writer)
    destroyed_to = _prune_both(context, lease, before, writer.numbers)
    with suppress(LeaseLost):  # somebody else goes on with it, or deleted it: the grant is stored all the same
        lease.finish(lambda before: transitions.refreshed(before, new, destroyed_to, reaches_nobody=second == ()))
    return FAILING if second == () else Outcome(Verdict.REFRESHED)


def _prune_both(context: RunContext, lease: Lease, before: Numbers, after: Numbers) -> int:
    """Destroy the versions of both secrets that are too many; returns what is written down as destroyed.

    Only of the token secret is it written down, and only when both are done: so where it had none left to destroy
    before this refresh, the refresh secret had none either, and its versions need not be listed.
    """
    name, vault, known = lease.connection.name, context.vault, lease.connection.destroyed_to
    keep = context.settings.keep_versions
    both_done = 0 < known == before.token - keep
    refresh_done = max(0, before.refresh - keep) if both_done else 0
    refresh_done = prune(context, name, vault.refresh_id(name), after.refresh, refresh_done)
    token_done = prune(context, name, vault.token_id(name), after.token, known)
    return token_done if refresh_done >= after.refresh - keep else known


def ask_again(context: RunContext, writer: GrantWriter, grant: RefreshableGrant) -> Outcome:
    """A grant that reached no ad account at its last refresh: ask whether it reaches any by now."""
    found = _list_advertisers(context, grant)
    if not found:
        return FAILING
    writer.lease.finish(partial(transitions.reconciled, grant=_with_list(grant, found, writer)))
    return Outcome(Verdict.VERIFIED)


def _list_advertisers(context: RunContext, grant: RefreshableGrant) -> tuple[str, ...] | None:
    """The ad accounts that a token reaches; None where TikTok does not say."""
    try:
        found = context.tiktok.family(grant.family).check(grant).advertisers
    except TikTokError:
        return None
    return None if found is None else tuple(found)


def _with_list(grant: RefreshableGrant, found: tuple[str, ...] | None, writer: GrantWriter) -> RefreshableGrant:
    """The grant for the ad accounts that were listed, if any; what is new is stored in the token secret."""
    changed = grant.with_found(found) if found else grant
    store_change(writer, grant, changed)
    return changed


def _add_refresh(context: RunContext, writer: GrantWriter, new: RefreshableGrant) -> None:
    name = new.connection
    try:
        writer.add_refresh(new)
    except Superseded:
        context.pending.pop(name, None)  # this grant counts no more
        raise
    except StoreError as error:
        if name not in context.not_stored:
            context.not_stored.add(name)
            detail = (
                f"{error} The next run of this instance tries again; if the instance ends before, connect again: make "
                f"link CONNECTION={name}"
            )
            log.write(events.TOKEN_UNSAVED.entry(connection=name, detail=detail))
        raise StoreUnavailable(str(error), error.secret_id, error.reason) from None
