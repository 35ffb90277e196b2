"""A connection with a refresh secret: read both secrets, reconcile them, refresh if that is due."""

from __future__ import annotations

from contextlib import suppress

from tokenkeeper import events, log, transitions
from tokenkeeper.clock import Deadline
from tokenkeeper.errors import SecretChanged, SecretMissing, StoreError, Superseded
from tokenkeeper.grant import due
from tokenkeeper.refresh.diagnosis import (
    Diagnosis,
    NotRefreshable,
    Sound,
    Stored,
    TokenBehind,
    Unreadable,
    diagnose,
    read,
)
from tokenkeeper.refresh.outcome import FAILING, REAUTHORIZE, Outcome, Verdict
from tokenkeeper.refresh.plan import Task
from tokenkeeper.refresh.renew import ask_again, flush, refresh
from tokenkeeper.refresh.shared import READING, RunContext
from tokenkeeper.store.lease import READ_SECONDS, TERM, Lease, left_by_callback
from tokenkeeper.store.persist import GrantWriter, Numbers


def keep_refreshable(context: RunContext, task: Task, lease: Lease) -> Outcome | None:
    """Reconcile a connection's secrets and annotations, and refresh it if that is due.

    Where somebody else stored a newer grant meanwhile, that one is read, and both secrets are reconciled with it.

    Returns:
        None: the grant cannot be refreshed and is to be verified.
    """
    reconnected = left_by_callback(task.connection)  # what callbacks store is an authorization
    try:
        diagnosis, numbers = _reconcile(context, task, lease, reconnected=reconnected)
        return _act(context, lease, diagnosis, numbers, may_refresh=True)
    except Superseded:
        diagnosis, numbers = _reconcile(context, task, lease, reconnected=reconnected)
        return _act(context, lease, diagnosis, numbers, may_refresh=False)


def read_both(context: RunContext, name: str) -> Stored:
    """Read the newest versions of both secrets."""
    vault, deadline = context.vault, Deadline(READ_SECONDS)
    # In the opposite order of writing: what is stored in between never makes the refresh secret look the older.
    token = vault.versions.newest(vault.token_id(name), deadline)
    refresh_secret = vault.versions.newest(vault.refresh_id(name), deadline)
    context.troubles.fine.add(READING)
    return read(token, refresh_secret, name)


def _reconcile(context: RunContext, task: Task, lease: Lease, *, reconnected: bool) -> tuple[Diagnosis, Numbers]:
    stored = flush(context, lease, read_both(context, task.name))
    numbers = stored.numbers
    if task.unlabelled:
        with suppress(StoreError):  # the next run tries again
            context.vault.label_refresh_secret(task.name, Deadline(READ_SECONDS))
    diagnosis = diagnose(stored)
    match diagnosis:
        case Unreadable():
            return diagnosis, numbers
        case NotRefreshable(grant, superseded):
            if superseded or task.refreshable:  # or somebody died between creating the refresh secret and writing to it
                _delete_refresh_secret(context, lease, stored)
        case TokenBehind(grant, unreadable):
            found = stored.from_token
            based_on = max(found.obtained_at, grant.obtained_at) if found else grant.obtained_at
            writer = GrantWriter(context.vault, lease, based_on, numbers)
            writer.add_token(grant)
            numbers = writer.numbers
            if unreadable:
                log.write(events.SECRET_REBUILT.entry(connection=task.name))
        case Sound(grant):
            pass
    before = lease.connection
    if not before.made or before.obtained_at != grant.obtained_at or before.kind != grant.kind:
        # Whoever stored the grant could not write what belongs to it.
        lease.apply(lambda connection: transitions.reconciled(connection, grant, reconnected=reconnected))
    return diagnosis, numbers


def _act(
    context: RunContext, lease: Lease, diagnosis: Diagnosis, numbers: Numbers, *, may_refresh: bool
) -> Outcome | None:
    connection = lease.connection
    if isinstance(diagnosis, Unreadable):
        detail = diagnosis.detail
        lease.finish(lambda before: transitions.broken(before, detail))
        return REAUTHORIZE if connection.health == "reauthorize" else FAILING
    if connection.health == "reauthorize":
        if connection.labels_missing:
            lease.finish(transitions.relabelled)
        return REAUTHORIZE
    if isinstance(diagnosis, NotRefreshable):
        return None
    grant = diagnosis.grant
    if grant.app_id != context.settings.app_id:
        context.other_app.add(connection.name)
        lease.finish(transitions.of_other_app)
        return FAILING
    if may_refresh and (context.force or due(grant.obtained_at, grant.expires_at, context.due_by)):
        return refresh(context, lease, grant, numbers)
    if connection.failing_of("empty"):
        return ask_again(context, lease, grant, numbers)
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
