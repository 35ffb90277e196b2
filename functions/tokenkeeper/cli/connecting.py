"""The commands that make connections: link and import."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, TextIO

import click

from tokenkeeper.cli import options, show, terminal
from tokenkeeper.cli.context import Context
from tokenkeeper.errors import SettingsError
from tokenkeeper.settings import Needs

if TYPE_CHECKING:
    from tokenkeeper.cli.linking import Made
    from tokenkeeper.grant import Family, Grant

_CLOCK_SECONDS = 3.0
_LARGEST_INPUT = 16_000_000  # characters


@click.command()
@click.argument("connections", type=options.NAME, nargs=-1, metavar="CONNECTION...")
@options.file
@options.family
@click.option(
    "--expires",
    "life",
    type=options.Life(),
    default="72h",
    show_default=True,
    help="How long the link is good: 5 minutes to 30 days, like 30m, 72h or 7d.",
)
@options.any_account
@options.set_labels
@click.option("--label", "only", type=options.LABELS, default="", help="For all connections with these labels.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@options.as_json
@click.pass_obj
def link(
    context: Context,
    connections: tuple[str, ...],
    file: TextIO | None,
    family: Family,
    life: timedelta,
    labels: Mapping[str, str],
    only: Mapping[str, str],
    *,
    any_account: bool,
    as_csv: bool,
    as_json: bool,
) -> int:
    """Print a connect link for CONNECTION, or one a line for several.

    Send it to whoever may approve. It makes the connection, or connects it again, and works once.
    """
    from tokenkeeper.cli import linking, stored, web

    show.where(context)
    names = list(dict.fromkeys([*connections, *(linking.names_in(file) if file else [])]))
    if only:
        names += [name for name in stored.labelled(context.vault(), only) if name not in names]
    if not names:
        raise click.UsageError("Missing argument 'CONNECTION'.")
    needs = Needs.STORE | Needs.LINKS | (Needs.CALLBACK if family == "account" else Needs(0))
    chosen = context.settings(needs)
    made = linking.make(chosen, names, life, family=family, any_account=any_account, labels=labels)
    off = web.clock_is_off_by(chosen, _CLOCK_SECONDS)
    if off is not None and abs(off) > web.CLOCK_IS_OFF:
        raise SettingsError(
            f"This machine's clock is {web.off(off)}, and connect links carry the time: set it over the network, then "
            "make the link again."
        )
    alone = len(made) == 1 and file is None and not only
    if as_json:
        show.as_json(made[0].document() if alone else [one.document() for one in made])
    elif as_csv:
        click.echo(linking.as_csv(made), nl=False)
    elif alone:
        _print_one(made[0])
    else:
        for one in made:
            click.echo("\t".join(one.cells))
    return show.WELL


def _print_one(made: Made) -> None:
    link, account = made.link, made.link.family == "account"
    click.echo(made.address)
    whom = "the holder of the TikTok account" if account else "whoever may approve for the advertiser"
    others = "the account by another one" if account else "the advertisers by entirely different ones"
    show.say(
        f"This link connects {link.connection}. It works once, until {link.expires_at:%Y-%m-%d %H:%M} UTC. "
        f"{f'It may replace {others}. ' if link.any_account else ''}Send it to {whom}."
    )


@click.command("import")
@click.argument("connection", type=options.NAME, required=False)
@options.file
@options.family
@options.any_account
@options.set_labels
@click.option("--label", "only", type=options.LABELS, default="", help="Of a file, only lines with these labels.")
@click.pass_obj
def import_tokens(
    context: Context,
    connection: str | None,
    file: TextIO | None,
    family: Family,
    labels: Mapping[str, str],
    only: Mapping[str, str],
    *,
    any_account: bool,
) -> int:
    """Store a token that exists already as CONNECTION, or many from a file.

    Reads TikTok's JSON answer, or the access token alone, from standard input or a hidden prompt; a file has one JSON
    object a line, with "connection" beside the keys of TikTok's answer, and leaves connections alone that are well, so
    that it can be imported again. TikTok is asked first: nothing is stored that does not work.

    Exit status 1: some lines of the file were refused.
    """
    from tokenkeeper.cli.importing import Importer
    from tokenkeeper.cli.importlines import Defaults, read_token
    from tokenkeeper.cli.importmany import import_lines
    from tokenkeeper.tiktok.families import TikTok

    if (connection is None) == (file is None):
        raise click.UsageError("Name a CONNECTION, or give a --file, not both.")
    show.where(context)
    chosen = context.settings(Needs.STORE | Needs.APP | Needs.CALLBACK)
    importer = Importer(context.vault(Needs.STORE | Needs.CALLBACK), TikTok(chosen), chosen.app_id)
    defaults = Defaults(family, any_account, labels)
    if connection is not None:
        stored = importer.store(read_token(_typed_token(), connection, defaults))
        show.say(_imported(stored) if stored else f"{connection} has this token already: nothing was changed.")
        return show.WELL
    with terminal.Progress() as progress:
        outcome = import_lines(importer, list(file or ()), defaults, only, progress.show)
    present = (
        f", {outcome.present} {'was' if outcome.present == 1 else 'were'} there already" if outcome.present else ""
    )
    end = f", {len(outcome.refused)} refused:" if outcome.refused else "."
    click.echo(f"{show.number_of(outcome.imported, 'token')} imported{present}{end}")
    for line in outcome.refused:
        click.echo(line)
    return show.NEEDS_PERSON if outcome.refused else show.WELL


def _typed_token() -> str:
    """What standard input holds, or what a person types or pastes, which is not shown; JSON may have several lines."""
    if not sys.stdin.isatty():
        return sys.stdin.read(_LARGEST_INPUT)
    return terminal.read_hidden("TikTok's JSON answer, or the access token (hidden; Ctrl-D ends it): ", _is_whole)


def _is_whole(text: str) -> bool:
    if not text.lstrip().startswith("{"):
        return True
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _imported(stored: Grant) -> str:
    from tokenkeeper.grant import RefreshableGrant
    from tokenkeeper.tiktok.coverage import gaps

    more = list(gaps(stored))
    if stored.family == "advertiser":
        whose = show.number_of(stored.advertiser_count, "ad account")
    else:
        whose = f"the TikTok account {stored.username or stored.open_id}"
        if not isinstance(stored, RefreshableGrant):
            more.append(
                "It came without its refresh token, and an account's token lives 24 hours: import TikTok's whole JSON "
                "answer to have it refreshed."
            )
    return "\n".join([f"{stored.connection} was imported: {whose}.", *more])
