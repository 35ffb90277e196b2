"""`disconnect`: a connection is revoked at TikTok first, then its secrets are deleted, all under its lease."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

import click

from tokenkeeper.cli import options, show, stored, terminal
from tokenkeeper.cli.context import LIST_SECONDS, READ_SECONDS, Context
from tokenkeeper.clock import Deadline
from tokenkeeper.connection import Connection
from tokenkeeper.errors import (
    KeeperError,
    Kind,
    SecretChanged,
    SecretMissing,
    SettingsError,
    TikTokError,
    TikTokRefused,
)
from tokenkeeper.grant import Grant
from tokenkeeper.settings import Needs, Settings
from tokenkeeper.store import lease
from tokenkeeper.store.lease import CLOCKS_DIFFER_BY, TERM, Lease
from tokenkeeper.store.persist import readable
from tokenkeeper.store.vault import Vault
from tokenkeeper.tiktok.api import CALL_SECONDS
from tokenkeeper.tiktok.families import TikTok

_LONGEST_LEASE = TERM + CLOCKS_DIFFER_BY.total_seconds() + 5
_MOST_NAMED = 3  # advertisers
_ENDED = {Kind.REAUTHORIZE, Kind.EXPIRED}


class _Found(NamedTuple):
    """What there is of a connection."""

    connection: Connection | None  # its token secret's state; None where only a refresh secret is left
    secret_ids: list[str]
    grant: Grant | None  # the newest that is stored and can be read
    unreadable: bool  # whether something is stored that cannot be read


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
    found = _inspect(vault, connection)
    if not found.secret_ids:
        raise stored.no_connection(vault, connection)
    show.say(
        f"This {_what_is_revoked(found)}deletes {' and '.join(found.secret_ids)} with all versions; pipelines that "
        f"read {connection} stop working."
    )
    for warning in _warnings(vault, found):
        show.say(terminal.paint(warning, "yellow"))
    if not yes and not _confirmed():
        show.say("Nothing was changed.")
        return show.COULD_NOT
    # Without a token secret of ours there is nothing to hold a lease on.
    end = _disconnect if found.connection else _end
    outcome = end(vault, chosen, connection, force=force)
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
    deadline, secret_ids, connection = Deadline(READ_SECONDS), [], None
    with suppress(SecretMissing):
        named = vault.connection(name, deadline)
        if named.ours:  # its name alone does not make it a connection's
            connection = named
            secret_ids.append(vault.token_id(name))
    with suppress(SecretMissing):
        if vault.has_label(vault.refresh_id(name), deadline) or connection:
            secret_ids.append(vault.refresh_id(name))
    newest = [vault.versions.newest(secret_id, deadline) for secret_id in secret_ids]
    grants = [found for version in newest if (found := readable(version, name))]
    latest = max(grants, key=lambda grant: grant.obtained_at, default=None)
    return _Found(connection, secret_ids, latest, len(grants) < sum(version.number > 0 for version in newest))


def _what_is_revoked(found: _Found) -> str:
    grant, whom = found.grant, ""
    if grant is None:
        return ""
    if grant.family == "account":
        whom = f" to the TikTok account {grant.username or grant.open_id}"
    elif grant.advertiser_count:
        names = list(found.connection.names.values()) if found.connection else []
        named = f" ({show.first_of(names, _MOST_NAMED, '; ')})" if names else ""
        whom = f" for {show.number_of(grant.advertiser_count, 'advertiser')}{named}"
    return f"revokes the access of {grant.connection}{whom} at TikTok, then "


def _warnings(vault: Vault, found: _Found) -> Iterator[str]:
    """What else may end: a sentence for each other connection with the same accounts, and so perhaps the same token."""
    mine = found.connection
    if found.grant is None or mine is None:
        return
    others = vault.inventory(Deadline(LIST_SECONDS), advertisers=True).connections
    others.pop(mine.name, None)
    for name, other in sorted(others.items()):
        if mine.open_id and other.open_id == mine.open_id:
            yield f"{name} is for the same TikTok account: it may stop working as well."
        elif not set(other.advertisers).isdisjoint(mine.advertisers):
            yield f"{name} reaches the same ad accounts: it stops working as well if it has the same token."


def _disconnect(vault: Vault, chosen: Settings, name: str, *, force: bool) -> str:
    """Revoke a connection's grant and delete its secrets; doing it again goes on where it failed.

    Returns a sentence on what became of the grant at TikTok.
    """
    try:
        with lease.hold(vault, name, "cli", Deadline(_LONGEST_LEASE + READ_SECONDS), wait=_LONGEST_LEASE) as held:
            held.ensure(CALL_SECONDS, Deadline(READ_SECONDS))
            outcome = _end(vault, chosen, name, force=force)
            _delete_token_secret(held)
            return outcome
    except SecretMissing:  # somebody deleted the token secret meanwhile
        return _end(vault, chosen, name, force=force)


def _end(vault: Vault, chosen: Settings, name: str, *, force: bool) -> str:
    found, refresh_id = _inspect(vault, name), vault.refresh_id(name)
    outcome = _revoke(chosen, found, force=force)
    if refresh_id in found.secret_ids:
        with suppress(SecretMissing):  # an earlier try deleted it, and its answer was lost
            vault.delete(refresh_id, "", Deadline(READ_SECONDS))
    return outcome


def _revoke(chosen: Settings, found: _Found, *, force: bool) -> str:
    grant = found.grant
    if grant is None and not found.unreadable:
        return "There was no grant to revoke at TikTok."
    if grant is None:
        problem = "its stored token cannot be read"
    elif grant.app_id != chosen.app_id:
        problem = f"it belongs to app {grant.app_id} and TIKTOK_APP_ID is {chosen.app_id}"
    else:
        try:
            TikTok(chosen).family(grant.family).revoke(grant)
            return "It was revoked at TikTok."
        except TikTokError as error:
            if isinstance(error, TikTokRefused) and error.kind in _ENDED:
                return f"Its token had ended at TikTok already (code {error.code})."
            problem = str(error)
    if not force:
        raise KeeperError(
            f"It could not be revoked at TikTok ({problem}), and nothing was deleted: try again later, or delete it "
            "here all the same with FORCE=1 (--force)."
        )
    return f"It was not revoked at TikTok ({problem}): whoever approved it can do that in TikTok's own settings."


def _delete_token_secret(held: Lease) -> None:
    vault, connection, deadline = held.vault, held.connection, Deadline(READ_SECONDS)
    while True:
        try:
            vault.delete(vault.token_id(connection.name), connection.etag, deadline)
            return
        except SecretMissing:
            return  # an earlier try deleted it, and its answer was lost
        except SecretChanged:
            connection = vault.connection(connection.name, deadline)
        if connection.lease != held.connection.lease or deadline.over:
            raise KeeperError(
                f"Somebody else changed {connection.name} meanwhile, so its token secret is still there: try again."
            )
