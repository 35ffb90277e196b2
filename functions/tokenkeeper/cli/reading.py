"""The commands that only read: status, token and config."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import click

from tokenkeeper import checks, clock
from tokenkeeper.checks import Invalid
from tokenkeeper.cli import options, show, stored, terminal
from tokenkeeper.cli.context import LIST_SECONDS, Context
from tokenkeeper.clock import Deadline
from tokenkeeper.errors import KeeperError, SettingsError
from tokenkeeper.settings import Needs

if TYPE_CHECKING:
    from tokenkeeper.connection import Connection
    from tokenkeeper.store.vault import Vault

_MOST_READ = 10  # connections named to status whose payloads are read


@click.command()
@click.argument("connections", type=options.NAME, nargs=-1, metavar="[CONNECTION]...")
@click.option("--health", type=click.Choice(("ok", "failing", "reauthorize", "unfinished", "orphaned")), default=None)
@options.with_label
@click.option("--all", "everything", is_flag=True, help="Show all, even if there are more than 50.")
@options.as_json
@click.pass_obj
def status(
    context: Context,
    connections: tuple[str, ...],
    health: str | None,
    labels: Mapping[str, str],
    *,
    everything: bool,
    as_json: bool,
) -> int:
    """Show how all connections are, or those that are named, and what to do.

    Of more than 50, only those that need something are shown. For connections that are named, it says as well which
    tables their permissions do not cover.

    Exit status: 0 all is well, 1 some need a person, 2 it could not be determined.
    """
    from tokenkeeper.cli import statustable
    from tokenkeeper.cli.status import overview

    show.where(context)
    vault = context.vault()
    inventory = vault.inventory(Deadline(LIST_SECONDS), advertisers=True)
    now = clock.now()
    whole = overview(inventory, now, scheduled=context.is_cloud)
    known = {line.name for line in whole.lines}
    for name in connections:
        if name not in known:
            raise stored.no_connection(vault, name)
    selection = statustable.Selection(connections, health or "", labels, everything)
    found = selection.of(whole)
    if as_json:
        for piece in found.json():
            click.echo(piece, nl=False)
    else:
        for line in statustable.lines_of(found, selection, now, terminal.window(sys.stdout)):
            click.echo(line)
        for name in connections[:_MOST_READ]:
            for gap in _gaps(vault, name):
                click.echo(f"{name}: {gap}")
    return show.WELL if found.well else show.NEEDS_PERSON


@click.command()
@click.argument("connection", type=options.NAME)
@click.pass_obj
def token(context: Context, connection: str) -> int:
    """Print the access token of CONNECTION, and nothing else.

    Exit status 1: the connection needs a new authorization; the token is printed all the same.
    """
    show.where(context)
    vault = context.vault()
    click.echo(stored.newest_grant(vault, connection).access_token.reveal())
    return _verdict(stored.state(vault, connection), connection)


@click.command()
@click.argument("connection", type=options.NAME)
@click.option("--for", "tool", metavar="TOOL", default="", help="What it is for; without it, the tools are listed.")
@click.option("--only", metavar="IDS", default="", help="Only these ad accounts, like 7001,7002.")
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="First day to load, like 2026-01-01, for tools that have to be told. Without it: this year's first.",
)
@click.pass_obj
def config(context: Context, connection: str, tool: str, only: str, since: datetime | None) -> int:
    """Print a ready configuration of a tool that reads CONNECTION.

    It goes to standard output and may hold the access token; what to do with it, to standard error.

    Exit status 1: the connection needs a new authorization; the configuration is printed all the same.
    """
    from tokenkeeper.cli.toolconfigs import Material, notes
    from tokenkeeper.cli.tools import TOOLS

    if tool not in TOOLS:
        show.say(f"{tool[:80]!r} is none of the tools." if tool else "Say with FOR (--for) which tool it is for:")
        rows = [(name, one.is_for) for name, one in TOOLS.items()]
        for line in terminal.table(("FOR", "what it prints"), rows, terminal.window(sys.stderr)):
            show.say(line)
        return show.COULD_NOT
    chosen = TOOLS[tool]
    show.where(context)
    needs = Needs.STORE | Needs.APP if chosen.needs_app_secret else Needs.STORE
    vault, settings = context.vault(needs), context.settings(needs)
    newest = stored.newest_grant(vault, connection)
    if chosen.needs_app_secret and settings.app_id != newest.app_id:
        raise SettingsError(
            f"TIKTOK_APP_ID is {settings.app_id}, and {connection} belongs to the app {newest.app_id}: set it, and "
            "TIKTOK_APP_SECRET, to that one."
        )
    state = stored.state(vault, connection)
    material = Material(
        grant=newest,
        since=since.date() if since else clock.now().date().replace(month=1, day=1),
        names=state.names if state else {},
        app_secret=settings.app_secret,
        project=vault.project,
        secret_id=vault.token_id(connection),
    )
    if only:
        material = material.only(_ids(only))
    chosen.check(tool, material)
    click.echo(chosen.write(material), nl=False)
    for line in notes(chosen, material):
        show.say(line)
    return _verdict(state, connection)


def _ids(text: str) -> list[str]:
    try:
        checks.advertiser_ids(text)
    except Invalid as invalid:
        raise SettingsError(f"ONLY (--only) {invalid}.") from None
    return [part.strip() for part in text.split(",")]


def _gaps(vault: Vault, name: str) -> list[str]:
    """What a connection's permissions do not cover; nothing where its token may not be read."""
    from tokenkeeper.tiktok.coverage import gaps

    try:
        return list(gaps(stored.newest_grant(vault, name)))
    except KeeperError:
        return []


def _verdict(state: Connection | None, name: str) -> int:
    if state and state.health == "reauthorize":
        show.say(f"{name} needs a new authorization: make link CONNECTION={name}")
        return show.NEEDS_PERSON
    return show.WELL
