"""`config`: a ready configuration of a tool that reads a connection's token."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import click

from tokenkeeper import checks, clock
from tokenkeeper.cli import options, show, stored
from tokenkeeper.cli.context import Context
from tokenkeeper.cli.tools import TOOLS, Material, Tool
from tokenkeeper.errors import SettingsError
from tokenkeeper.settings import Needs
from tokenkeeper.tiktok.coverage import gaps


@click.command("config")
@options.connection
@click.option("--for", "tool", metavar="TOOL", default="", help="What it is for; without it, the tools are listed.")
@click.option(
    "--only", type=options.checked(checks.advertiser_ids), metavar="IDS", help="Only these ad accounts, like 7001,7002."
)
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="First day to load, like 2026-01-01, for tools that have to be told. Without it: this year's first.",
)
@click.pass_obj
def command(context: Context, connection: str, tool: str, only: str | None, since: datetime | None) -> int:
    """Print a ready configuration of a tool that reads CONNECTION.

    It goes to standard output and may hold the access token; what to do with it, to standard error.

    Exit status 1: the connection needs a new authorization; the configuration is printed all the same.
    """
    if tool not in TOOLS:
        show.say(f"{tool[:80]!r} is none of the tools." if tool else "Say with FOR (--for) which tool it is for:")
        rows = [(name, one.is_for) for name, one in TOOLS.items()]
        show.table(("FOR", "what it prints"), rows, as_result=False)
        return show.COULD_NOT
    chosen = TOOLS[tool]
    show.where(context)
    settings = context.settings(Needs.STORE | Needs.APP if chosen.needs_app_secret else Needs.STORE)
    vault = context.vault(settings)
    newest = stored.newest_grant(vault, connection)
    if newest.family == "account" and not chosen.accounts:
        raise SettingsError(
            f"{tool} takes tokens of ad accounts, and {connection} is for a TikTok account. Without FOR (--for), make "
            "config lists the tools."
        )
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
        material = material.only([part.strip() for part in only.split(",")])
    if chosen.one_id and material.chosen and len(material.ids) > 1:
        raise SettingsError(f"{tool} takes one ad account or all of them: print one configuration for each.")
    click.echo(chosen.configuration(material), nl=False)
    for line in notes(chosen, material):
        show.say(line)
    return stored.exit_status(state, connection)


def notes(tool: Tool, material: Material) -> Iterator[str]:
    """What a person should know about a configuration, a line each; nothing of it is secret."""
    grant = material.grant
    yield tool.use.format(connection=grant.connection)
    if tool.holds_token:
        held = "the access token and the app's secret" if tool.needs_app_secret else "the access token"
        yield f"It holds {held}: keep it out of version control, and let nobody else read it."
    if tool.holds_token and grant.expires_at:
        yield (
            f"The token in it ends at {clock.text(grant.expires_at)}, and is replaced before: print this again before "
            "every job."
        )
    if not tool.one_id and grant.advertiser_ids is None:
        yield (
            f"{grant.connection} has {grant.advertiser_count} ad accounts, too many to be stored, so none is in it: "
            "choose some with ONLY=7001,7002 (--only). TikTok lists all of them: GET /oauth2/advertiser/get/ with "
            "app_id, secret and the token."
        )
    yield from gaps(grant)
    if not tool.comments:
        yield from (f"{id_} {name}" for id_, name in material.named.items())
