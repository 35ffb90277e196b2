"""`disconnect`: a connection is revoked at TikTok first, then its secrets are deleted, all under its lease."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import click

from tokenkeeper.cli import options, show, stored, terminal
from tokenkeeper.cli.context import LIST_SECONDS, Context
from tokenkeeper.clock import Deadline
from tokenkeeper.connection import Connection
from tokenkeeper.errors import (
    KeeperError,
    Kind,
    LeaseHeld,
    SecretChanged,
    SecretMissing,
    SettingsError,
    StoreError,
    TikTokError,
    TikTokRefused,
)
from tokenkeeper.grant import Grant
from tokenkeeper.settings import Needs
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
class _Found:
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


@click.command("disconnect")
@options.connection
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Delete the secrets even if the grant cannot be revoked at TikTok.")
@click.pass_obj
def command(context: Context, connection: str, *, yes: bool, force: bool) -> int:
    """Revoke the grant of CONNECTION at TikTok, then delete its secrets."""
    show.where(context)
    chosen = context.settings(Needs.STORE | Needs.APP)
    vault = context.vault(chosen)
    try:
        found = _inspect(vault, connection)
    except SecretMissing:
        raise stored.no_connection(vault, connection) from None
    inventory = vault.inventory(Deadline(LIST_SECONDS), advertisers=True)
    show.say(_what_goes(vault, connection, found))
    for warning in _warnings(vault, inventory, found):
        show.say(terminal.paint(warning, "yellow"))
    if not yes and not _confirmed():
        show.say("Nothing was changed.")
        return show.COULD_NOT
    outcome = _disconnect(vault, TikTok(chosen), chosen.app_id, connection, force=force)
    show.say(f"{connection} is gone: its secrets are deleted. {outcome}")
    return show.WELL


def _confirmed() -> bool:
    try:
        return click.confirm("Go ahead?", err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        show.say("")
        raise SettingsError("No terminal to confirm on: pass --yes (YES=1).") from None


def _inspect(vault: Vault, name: str) -> _Found:
    """What there is; raises `SecretMissing` where there is nothing of that name."""
    deadline = Deadline(_STEP)
    has_refresh_secret, connection = True, None
    try:
        vault.etag(vault.refresh_id(name), deadline)
    except SecretMissing:
        has_refresh_secret = False
    try:
        connection = vault.connection(name, deadline)
    except SecretMissing:
        if not has_refresh_secret:
            raise
    secret_ids = [vault.token_id(name)] * (connection is not None) + [vault.refresh_id(name)] * has_refresh_secret
    newest = [vault.versions.newest(secret_id, deadline) for secret_id in secret_ids]
    grants = [found for version in newest if (found := readable(version, name))]
    grants.sort(key=lambda grant: grant.obtained_at, reverse=True)
    unreadable = len(grants) < sum(version.number > 0 for version in newest)
    return _Found(connection, has_refresh_secret, tuple(grants), unreadable)


def _what_goes(vault: Vault, name: str, found: _Found) -> str:
    secrets = [vault.token_id(name)] * (found.connection is not None)
    secrets += [vault.refresh_id(name)] * found.has_refresh_secret
    revoked = f"revokes the access of {name}{_of_whom(found)} at TikTok, then " if found.grants else ""
    return f"This {revoked}deletes {' and '.join(secrets)} with all versions; pipelines that read {name} stop working."


def _of_whom(found: _Found) -> str:
    grant = found.grants[0]
    if grant.family == "account":
        return f" to the TikTok account {grant.username or grant.open_id}"
    if not grant.advertiser_count:
        return ""
    named = list(found.connection.names.values())[:3] if found.connection else []
    left = grant.advertiser_count - len(named)
    names = f" ({'; '.join(named)}{f' and {left} more' if left > 0 else ''})" if named else ""
    return f" for {show.number_of(grant.advertiser_count, 'advertiser')}{names}"


def _warnings(vault: Vault, inventory: Inventory, found: _Found) -> Iterator[str]:
    """What else would end: a sentence for each other connection with the same token, or of the same accounts."""
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


def _disconnect(vault: Vault, tiktok: TikTok, app_id: str, name: str, *, force: bool) -> str:
    """Revoke a connection's grant and delete its secrets; doing it again goes on where it failed.

    Returns:
        A sentence on what became of the grant at TikTok.
    """
    try:
        with lease.hold(vault, name, "cli", Deadline(_LONGEST_LEASE + _STEP), wait=_LONGEST_LEASE) as held:
            held.ensure(CALL_SECONDS, Deadline(_STEP))
            outcome = _end(vault, tiktok, app_id, name, force=force)
            _delete_token_secret(vault, held)
            return outcome
    except LeaseHeld:
        raise NotDisconnected(
            f"Somebody else keeps working on {name}, a run perhaps: try again in some minutes."
        ) from None
    except SecretMissing as error:
        if error.secret_id != vault.token_id(name):
            raise
    return _end(vault, tiktok, app_id, name, force=force)  # only a refresh secret is left


def _end(vault: Vault, tiktok: TikTok, app_id: str, name: str, *, force: bool) -> str:
    found = _inspect(vault, name)
    outcome = _revoke(tiktok, app_id, found, force=force)
    if found.has_refresh_secret:
        with suppress(SecretMissing):  # an earlier try deleted it, and its answer was lost
            vault.delete(vault.refresh_id(name), "", Deadline(_STEP))
    return outcome


def _revoke(tiktok: TikTok, app_id: str, found: _Found, *, force: bool) -> str:
    grant = found.grants[0] if found.grants else None
    if grant is None and not found.unreadable:
        return "There was no grant to revoke at TikTok."
    if grant is None:
        problem = "its stored token cannot be read"
    elif grant.app_id != app_id:
        problem = f"it belongs to app {grant.app_id} and TIKTOK_APP_ID is {app_id}"
    else:
        try:
            tiktok.family(grant.family).revoke(grant)
            return "It was revoked at TikTok."
        except TikTokError as error:
            if isinstance(error, TikTokRefused) and error.kind in _ENDED:
                return f"Its token had ended at TikTok already (code {error.code})."
            problem = str(error)
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
