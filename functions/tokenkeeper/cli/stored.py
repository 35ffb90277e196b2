"""`token`, and what any command reads of a connection: a grant, a state, or a sentence that says why not."""

from __future__ import annotations

from collections.abc import Mapping

import click

from tokenkeeper import payload
from tokenkeeper.cli import options, show
from tokenkeeper.cli.context import LIST_SECONDS, READ_SECONDS, Context
from tokenkeeper.clock import Deadline
from tokenkeeper.connection import Connection
from tokenkeeper.errors import KeeperError, PayloadError, SettingsError, StoreError
from tokenkeeper.grant import Grant
from tokenkeeper.store.vault import Vault


@click.command("token")
@options.connection
@click.pass_obj
def command(context: Context, connection: str) -> int:
    """Print the access token of CONNECTION, and nothing else.

    Exit status 1: the connection needs a new authorization; the token is printed all the same.
    """
    show.where(context)
    vault = context.vault()
    click.echo(newest_grant(vault, connection).access_token.reveal())
    return exit_status(state(vault, connection), connection)


def newest_grant(vault: Vault, name: str) -> Grant:
    """What the newest version of a connection's token secret holds; a `KeeperError` says why not, and what to do."""
    secret_id = vault.token_id(name)
    newest = vault.versions.newest(secret_id, Deadline(READ_SECONDS))
    if newest.number == 0:
        raise no_connection(vault, name)
    if newest.payload is None:
        raise SettingsError(
            f"The newest version of {secret_id} is disabled or destroyed: enable it again, or connect again: "
            f"make link CONNECTION={name}"
        )
    try:
        return payload.parse(newest.payload, name)
    except PayloadError as error:
        raise PayloadError(
            f"{secret_id}: {error}. Restore an earlier version, or connect again: make link CONNECTION={name}"
        ) from None


def state(vault: Vault, name: str) -> Connection | None:
    """A connection's state; None where it cannot be read: who may read tokens need not be allowed to read secrets."""
    try:
        return vault.connection(name, Deadline(READ_SECONDS))
    except StoreError:
        return None


def exit_status(state: Connection | None, name: str) -> int:
    """How a command ends that printed the connection's token; says so if it needs a new authorization."""
    if state and state.health == "reauthorize":
        show.say(f"{name} needs a new authorization: make link CONNECTION={name}")
        return show.NEEDS_PERSON
    return show.WELL


def no_connection(vault: Vault, name: str) -> KeeperError:
    """There is none of that name: the error says which there are, as far as they may be listed."""
    try:
        found = vault.inventory(Deadline(READ_SECONDS)).connections.values()
        known = sorted(one.name for one in found if one.made and one.name != name)
    except StoreError:
        known = []
    what = f"There are: {show.first_of(known, 10)}." if known else f"Make a connect link: make link CONNECTION={name}"
    return SettingsError(f"There is no connection {name}. {what}")


def labelled(context: Context, labels: Mapping[str, str]) -> dict[str, Connection]:
    """The connections that have these labels by name, if any are given; raises `SettingsError` where none has."""
    if not labels:
        return {}
    found = context.vault().inventory(Deadline(LIST_SECONDS)).connections
    chosen = {name: one for name, one in sorted(found.items()) if labels.items() <= one.labels.items()}
    if not chosen:
        shown = ",".join(f"{key}={value}" for key, value in labels.items())
        raise SettingsError(f"No connection has the label {shown}: make status lists all.")
    return chosen
