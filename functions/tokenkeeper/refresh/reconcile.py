"""A connection with a refresh secret: read both secrets, reconcile them, refresh if that is due."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

from tokenkeeper import events, log, transitions
from tokenkeeper.clock import Deadline
from tokenkeeper.errors import SecretChanged, SecretMissing, StoreError, Superseded
from tokenkeeper.grant import RefreshableGrant, due
from tokenkeeper.refresh.diagnosis import NotRefreshable, Stored, TokenBehind, Unreadable, diagnose, read
from tokenkeeper.refresh.outcome import FAILING, REAUTHORIZE, Outcome, Verdict
from tokenkeeper.refresh.plan import Task
from tokenkeeper.refresh.renew import ask_again, flush, refresh
from tokenkeeper.refresh.shared import READING, RunContext
from tokenkeeper.store.lease import READ_SECONDS, TERM, Lease, left_by_callback
from tokenkeeper.store.persist import GrantWriter


def keep_refreshable(context: RunContext, task: Task, lease: Lease) -> Outcome | None:
    """Reconcile a connection's secrets and annotations, and refresh it if that is due; None: it is to be verified.

    Where somebody else stored a newer grant meanwhile, that one is read, and both secrets are reconciled with it.
    """
    try:
        return _reconcile(context, task, lease, may_refresh=True)
    except Superseded:
        return _reconcile(context, task, lease, may_refresh=False)


def read_both(context: RunContext, name: str) -> Stored:
    """Read the newest versions of both secrets."""
    vault, deadline = context.vault, Deadline(READ_SECONDS)
    # In the opposite order of writing: what is stored in between never makes the refresh secret look the older.
    token = vault.versions.newest(vault.token_id(name), deadline)
    refresh_secret = vault.versions.newest(vault.refresh_id(name), deadline)
    context.troubles.fine.add(READING)
    return read(token, refresh_secret, name)


def _reconcile(context: RunContext, task: Task, lease: Lease, *, may_refresh: bool) -> Outcome | None:
    stored = flush(context, lease, read_both(context, task.name))
    if task.unlabelled:
        with suppress(StoreError):  # the next run tries again
            context.vault.label_refresh_secret(task.name, Deadline(READ_SECONDS))
    diagnosis = diagnose(stored)
    if isinstance(diagnosis, Unreadable):
        outcome = REAUTHORIZE if lease.connection.health == "reauthorize" else FAILING
        lease.finish(partial(transitions.broken, detail=diagnosis.detail))
        return outcome
    grant = diagnosis.grant
    writer = GrantWriter(lease, grant.obtained_at, stored.numbers)
    match diagnosis:
        case NotRefreshable(_, superseded):
            if superseded or task.refreshable:  # or somebody died between creating the refresh secret and writing to it
                _delete_refresh_secret(context, lease, stored)
        case TokenBehind(_, unreadable):
            writer.add_token(grant)
            if unreadable:
                log.write(events.SECRET_REBUILT.entry(connection=task.name))
    before = lease.connection
    if not before.made or before.obtained_at != grant.obtained_at or before.kind != grant.kind:
        # Whoever stored the grant could not write what belongs to it. What callbacks store is an authorization.
        reconnected = left_by_callback(task.connection)
        lease.apply(partial(transitions.reconciled, grant=grant, reconnected=reconnected))
    if lease.connection.health == "reauthorize":
        if lease.connection.labels_missing:
            lease.finish(transitions.relabelled)
        return REAUTHORIZE
    if isinstance(diagnosis, NotRefreshable):
        return None
    return _act(context, writer, diagnosis.grant, may_refresh=may_refresh)


def _act(context: RunContext, writer: GrantWriter, grant: RefreshableGrant, *, may_refresh: bool) -> Outcome:
    lease = writer.lease
    connection = lease.connection
    if grant.app_id != context.settings.app_id:
        context.other_app.add(connection.name)
        lease.finish(transitions.of_other_app)
        return FAILING
    if may_refresh and (context.force or due(grant.obtained_at, grant.expires_at, context.due_by)):
        return refresh(context, writer, grant)
    if connection.failing_of("empty"):
        return ask_again(context, writer, grant)
    if connection.bad or connection.labels_missing:
        lease.finish(transitions.recovered)
    return Outcome(Verdict.SKIPPED)


def _delete_refresh_secret(context: RunContext, lease: Lease, stored: Stored) -> None:
    """Delete a refresh secret that a later grant without one has replaced, unless somebody writes to it now."""
    name, vault, deadline = lease.connection.name, context.vault, Deadline(READ_SECONDS)
    secret_id = vault.refresh_id(name)
    try:
        etag = vault.etag(secret_id, deadline)
        lease.ensure(TERM - READ_SECONDS, deadline)
        if vault.versions.newest(secret_id, deadline, stored.refresh) == stored.refresh:
            vault.delete(secret_id, etag, deadline)
    except (SecretMissing, SecretChanged):
        return  # somebody deleted it, or has begun something new with it
    except StoreError as error:
        log.write(events.CLEANUP_FAILED.entry(connection=name, detail=str(error)))
