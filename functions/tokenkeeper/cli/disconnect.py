"""The end of a connection: revoked at TikTok first, then its secrets are deleted, all under its lease."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from tokenkeeper import payload
from tokenkeeper.clock import Deadline
from tokenkeeper.connection import Connection
from tokenkeeper.errors import (
    KeeperError,
    Kind,
    LeaseHeld,
    PayloadError,
    SecretChanged,
    SecretMissing,
    StoreError,
    TikTokError,
    TikTokRefused,
)
from tokenkeeper.grant import Grant
from tokenkeeper.store import lease
from tokenkeeper.store.lease import CLOCKS_DIFFER_BY, TERM, Lease
from tokenkeeper.store.persist import readable
from tokenkeeper.store.vault import Inventory, Vault
from tokenkeeper.tiktok.families import CALL_SECONDS, TikTok

_STEP = 20.0  # seconds
_LONGEST_LEASE = TERM + CLOCKS_DIFFER_BY.total_seconds() + 5
_ENDED = {Kind.REAUTHORIZE, Kind.EXPIRED}
_MOST_COMPARED = 20  # connections whose tokens are read to compare them


class NotDisconnected(KeeperError):
    """It could not be done; the text says why, and that nothing was deleted, or what was."""


@dataclass(frozen=True, slots=True)
class Found:
    """What there is of a connection.

    Attributes:
        connection: Its token secret's state; None where only a refresh secret is left.
        has_refresh_secret: Whether there is a refresh secret.
        grants: What is stored and can be read, newest first.
        unreadable: Whether something is stored that cannot be read.
    """

    connection: Connection | None
    has_refresh_secret: bool
    grants: tuple[Grant, ...]
    unreadable: bool


def inspect(vault: Vault, name: str) -> Found:
    """Find out what there is.

    Raises:
        SecretMissing: nothing of that name.
        StoreError: it could not be read.
    """
    deadline = Deadline(_STEP)
    has_refresh_secret = True
    try:
        vault.etag(vault.refresh_id(name), deadline)
    except SecretMissing:
        has_refresh_secret = False
    connection = None
    try:
        connection = vault.connection(name, deadline)
    except SecretMissing:
        if not has_refresh_secret:
            raise
    stored = [vault.token_id(name)] if connection else []
    grants: list[Grant] = []
    unreadable = False
    for secret_id in [*stored, vault.refresh_id(name)] if has_refresh_secret else stored:
        newest = vault.versions.newest(secret_id, deadline)
        try:
            if newest.payload is not None:
                grants.append(payload.parse(newest.payload, name))
            elif newest.number:
                unreadable = True
        except PayloadError:
            unreadable = True
    grants.sort(key=lambda one: one.obtained_at, reverse=True)
    return Found(connection, has_refresh_secret, tuple(grants), unreadable)


def warnings(vault: Vault, inventory: Inventory, found: Found) -> Iterator[str]:
    """What else would end: a sentence for each other connection with the same token, or of the same accounts.

    Args:
        vault: Where the tokens are, to compare them.
        inventory: All connections, advertisers included.
        found: What there is of the one that is to end.
    """
    if not found.grants or found.connection is None:
        return
    mine, compared = found.grants[0], 0
    for other in sorted(inventory.connections.values(), key=lambda one: one.name):
        if other.name == found.connection.name or not _same_accounts(other, mine):
            continue
        compared += 1
        if compared <= _MOST_COMPARED and _token_of(vault, other.name) == mine.access_token:
            yield f"{other.name} has the same token: it stops working as well."
        else:
            what = "is for the same TikTok account" if mine.family == "account" else "reaches the same ad accounts"
            yield f"{other.name} {what}: TikTok may end its access as well."


def disconnect(vault: Vault, tiktok: TikTok, app_id: str, name: str, *, force: bool) -> str:
    """Revoke a connection's grant and delete its secrets.

    Args:
        vault: Where they are.
        tiktok: Where the grant came from.
        app_id: The app that `tiktok` speaks for.
        name: The connection.
        force: Delete the secrets even if the grant cannot be revoked.

    Returns:
        A sentence on what became of the grant at TikTok.

    Raises:
        NotDisconnected: it cannot be revoked, or somebody else keeps working on it.
        SecretMissing: there is nothing of that name.
        StoreError: Secret Manager failed; doing the same again goes on from there.
    """
    try:
        with lease.hold(vault, name, "cli", Deadline(_LONGEST_LEASE + _STEP), wait=_LONGEST_LEASE) as held:
            held.ensure(CALL_SECONDS, Deadline(_STEP))
            outcome = _end(vault, tiktok, app_id, inspect(vault, name), name, force=force)
            _delete_token_secret(vault, held)
            return outcome
    except LeaseHeld:
        raise NotDisconnected(
            f"Somebody else keeps working on {name}, a run perhaps: try again in some minutes."
        ) from None
    except SecretMissing as error:
        if error.secret_id != vault.token_id(name):
            raise
    return _end(vault, tiktok, app_id, inspect(vault, name), name, force=force)  # only a refresh secret is left


def _end(vault: Vault, tiktok: TikTok, app_id: str, found: Found, name: str, *, force: bool) -> str:
    outcome = _revoke(tiktok, app_id, found, force=force)
    if found.has_refresh_secret:
        with suppress(SecretMissing):  # an earlier try deleted it, and its answer was lost
            vault.delete(vault.refresh_id(name), "", Deadline(_STEP))
    return outcome


def _revoke(tiktok: TikTok, app_id: str, found: Found, *, force: bool) -> str:
    if not found.grants and not found.unreadable:
        return "There was no grant to revoke at TikTok."
    problem = ""
    if not found.grants:
        problem = "its stored token cannot be read"
    elif found.grants[0].app_id != app_id:
        problem = f"it belongs to app {found.grants[0].app_id} and TIKTOK_APP_ID is {app_id}"
    else:
        grant = found.grants[0]
        try:
            tiktok.family(grant.family).revoke(grant)
        except TikTokRefused as error:
            if error.kind in _ENDED:
                return f"Its token had ended at TikTok already (code {error.code})."
            problem = str(error)
        except TikTokError as error:
            problem = str(error)
        else:
            return "It was revoked at TikTok."
    if not force:
        raise NotDisconnected(
            f"It could not be revoked at TikTok ({problem}), and nothing was deleted: try again later, or delete it "
            "here all the same with FORCE=1 (--force)."
        )
    return f"It was not revoked at TikTok ({problem}): whoever approved it can do that in TikTok's own settings."


def _delete_token_secret(vault: Vault, held: Lease) -> None:
    connection = held.connection
    deadline = Deadline(_STEP)
    while True:
        try:
            vault.delete(vault.token_id(connection.name), connection.etag, deadline)
            return
        except SecretMissing:
            return  # an earlier try deleted it, and its answer was lost
        except SecretChanged:
            connection = vault.connection(connection.name, deadline)
        if connection.lease != held.connection.lease or deadline.over:
            raise NotDisconnected(
                f"Somebody else changed {connection.name} meanwhile, so its token secret is still there: try again."
            )


def _same_accounts(other: Connection, mine: Grant) -> bool:
    if mine.family == "account":
        return bool(mine.open_id) and other.open_id == mine.open_id
    return not set(other.advertisers).isdisjoint(mine.advertiser_ids or ())


def _token_of(vault: Vault, name: str) -> object:
    try:
        found = readable(vault.versions.latest(vault.token_id(name), Deadline(_STEP)), name)
    except StoreError:
        return None
    return found.access_token if found else None
