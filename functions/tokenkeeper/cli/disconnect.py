"""The end of a connection: revoked at TikTok first, then its secrets are deleted, all under its lease."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from tokenkeeper import clock, grant, lease
from tokenkeeper.clock import Deadline
from tokenkeeper.connection import Connection
from tokenkeeper.errors import (
    KeeperError,
    Kind,
    PayloadError,
    SecretChanged,
    SecretMissing,
    TikTokError,
    TikTokRefused,
)
from tokenkeeper.grant import Grant
from tokenkeeper.lease import TERM, Lease, Sightings
from tokenkeeper.tiktok import CALL_SECONDS, TikTok
from tokenkeeper.vault import Vault

_STEP = 20.0  # seconds
_DEAD = {Kind.PERSON, Kind.EXPIRED}


class NotDisconnected(KeeperError):
    """It could not be done; the text says why, and that nothing was deleted, or what was."""


@dataclass(frozen=True, slots=True)
class Found:
    """What there is of a connection.

    Attributes:
        connection: Its token secret's state; None where only a refresh secret is left.
        etag: The refresh secret's etag; None where there is no refresh secret.
        grants: What is stored and can be read, newest first.
        unreadable: Whether something is stored that cannot be read.
    """

    connection: Connection | None
    etag: str | None
    grants: tuple[Grant, ...]
    unreadable: bool


def look(vault: Vault, name: str) -> Found:
    """See what there is.

    Raises:
        SecretMissing: nothing of that name.
        VaultError: it could not be read.
    """
    time = Deadline(_STEP)
    connection, etag = None, None
    try:
        etag = vault.secrets.get(vault.refresh_id(name), time).etag
    except SecretMissing:
        connection = vault.connection(name, time)
    else:
        try:
            connection = vault.connection(name, time)
        except SecretMissing:
            connection = None
    grants: list[Grant] = []
    unreadable = False
    stored = [vault.token_id(name)] if connection else []
    for secret_id in [*stored, vault.refresh_id(name)] if etag is not None else stored:
        newest = vault.newest(secret_id, time)
        try:
            if newest.payload is not None:
                grants.append(grant.parse(newest.payload, name))
            elif newest.number:
                unreadable = True
        except PayloadError:
            unreadable = True
    grants.sort(key=lambda one: one.obtained_at, reverse=True)
    return Found(connection, etag, tuple(grants), unreadable)


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
        VaultError: Secret Manager failed; doing the same again goes on from there.
    """
    held = _hold(vault, name)
    try:
        found = look(vault, name)
        if held:
            held.ensure(CALL_SECONDS, Deadline(_STEP))
        outcome = _revoke(tiktok, app_id, found, force=force)
        if found.etag is not None:
            with suppress(SecretMissing):  # an earlier try deleted it, and its answer was lost
                vault.secrets.delete(vault.refresh_id(name), "", Deadline(_STEP))
        if held:
            _delete_token_secret(vault, held)
    except BaseException:
        if held:
            held.give_back(Deadline(_STEP))
        raise
    return outcome


def _hold(vault: Vault, name: str) -> Lease | None:
    """The connection's lease; None where there is no token secret to hold."""
    holder, sightings, waiting = lease.new_holder("cli"), Sightings(), Deadline(TERM + 15)
    while True:
        try:
            held = lease.take(vault, name, holder, sightings.dead, Deadline(_STEP))
        except SecretMissing:
            return None
        if held:
            return held
        if waiting.over:
            raise NotDisconnected(f"Somebody else keeps working on {name}, a run perhaps: try again in some minutes.")
        clock.sleep(1.0)


def _revoke(tiktok: TikTok, app_id: str, found: Found, *, force: bool) -> str:
    if not found.grants and not found.unreadable:
        return "There was no grant to revoke at TikTok."
    problem = ""
    if not found.grants:
        problem = "its stored token cannot be read"
    elif found.grants[0].app_id != app_id:
        problem = f"it belongs to app {found.grants[0].app_id} and TIKTOK_APP_ID is {app_id}"
    else:
        try:
            tiktok.revoke(found.grants[0].access_token)
        except TikTokRefused as error:
            if error.kind in _DEAD:
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
    return f"It was not revoked at TikTok ({problem}): the advertiser can do that in TikTok's own settings."


def _delete_token_secret(vault: Vault, held: Lease) -> None:
    name = held.connection.name
    connection = held.connection
    time = Deadline(_STEP)
    while True:
        try:
            vault.secrets.delete(vault.token_id(name), connection.etag, time)
            return
        except SecretMissing:
            return  # an earlier try deleted it, and its answer was lost
        except SecretChanged:
            connection = vault.connection(name, time)
        if connection.lease != held.connection.lease or time.over:
            raise NotDisconnected(f"{name} was changed by somebody else meanwhile, so its token secret is still there.")
