"""`link`: connect links."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from urllib.parse import urlsplit

import click
from click.core import ParameterSource

from tokenkeeper import checks, clock
from tokenkeeper.checks import Invalid
from tokenkeeper.cli import options, show, stored
from tokenkeeper.cli.context import LIST_SECONDS, READ_SECONDS, Context
from tokenkeeper.clock import Deadline
from tokenkeeper.connect.links import LONGEST_LIFE, SHORTEST_LIFE, Link, Signer
from tokenkeeper.connection import Connection
from tokenkeeper.errors import KeeperError, SettingsError
from tokenkeeper.grant import Family
from tokenkeeper.settings import Needs, Settings

_CLOCK_SECONDS = 3.0
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def _life(value: str) -> timedelta:
    found = re.fullmatch(r"([0-9]{1,6})([mhd])", value.strip(), re.ASCII)
    life = timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else timedelta()
    if not SHORTEST_LIFE <= life <= LONGEST_LIFE:
        raise click.BadParameter(f"{value[:40]!r} is not between 5 minutes and 30 days, like 30m, 72h or 7d.")
    return life


@click.command("link")
@options.connections("CONNECTION...")
@options.new
@click.option(
    "--expires",
    "life",
    type=_life,
    default="72h",
    show_default=True,
    metavar="TIME",
    help="How long the link is good: 5 minutes to 30 days, like 30m, 72h or 7d.",
)
@options.label("For all connections with these labels.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@options.as_json
@click.pass_obj
def command(
    context: Context,
    connections: tuple[str, ...],
    file: Sequence[str] | None,
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
    show.where(context)
    named, found = [*connections, *_names_in(file or ())], stored.labelled(context, only)
    names = [*named, *found]
    if not names:
        raise click.UsageError("Missing argument 'CONNECTION'.")
    families: dict[str, Family] = {}
    if click.get_current_context().get_parameter_source("family") is ParameterSource.DEFAULT:
        known = _existing(context, named) | found
        families = {name: known[name].family for name in names if name in known}
    accounts = "account" in (family, *families.values())
    needs = Needs.STORE | Needs.LINKS
    chosen = context.settings(needs | Needs.CALLBACK if accounts else needs)
    if accounts:
        _check_address(chosen)
    _check_clock(chosen)
    signer = Signer(chosen.link_keys)
    made: dict[str, Link] = {}  # by address
    for name in dict.fromkeys(names):
        link, text = signer.new_link(
            name, life, any_account=any_account, family=families.get(name, family), labels=labels
        )
        made[f"{chosen.public_url}/start?link={text.reveal()}"] = link
    alone = len(made) == 1 and file is None and not only
    if as_json:
        documents = [_document(address, link) for address, link in made.items()]
        show.as_json(documents[0] if alone else documents)
    elif alone and not as_csv:
        for address, link in made.items():
            click.echo(address)
            show.say(_explained(link))
    else:
        if as_csv:
            click.echo("connection,link,expires_at")
        for address, link in made.items():  # none of the three can have a comma in it
            click.echo(("," if as_csv else "\t").join((link.connection, address, clock.text(link.expires_at))))
    return show.WELL


def _existing(context: Context, names: Sequence[str]) -> dict[str, Connection]:
    """The connections of these names, and perhaps others, that exist, as far as they may be read."""
    with suppress(KeeperError):
        if len(names) == 1:
            return {names[0]: context.vault().connection(names[0], Deadline(READ_SECONDS))}
        if names:
            return context.vault().inventory(Deadline(LIST_SECONDS)).connections
    return {}


def _names_in(lines: Iterable[str]) -> Iterator[str]:
    """The names in a file, one a line; empty lines and those that begin with # are left out."""
    for number, name in enumerate(map(str.strip, lines), 1):
        if name and not name.startswith("#"):
            try:
                checks.connection(name)
            except Invalid as invalid:
                raise SettingsError(f"Line {number} {invalid}.") from None
            yield name


def _check_address(chosen: Settings) -> None:
    problem = checks.unfit_for_accounts(chosen.public_url)
    if problem and not checks.is_this_machine(urlsplit(chosen.account_authorize_url).hostname or ""):
        raise SettingsError(
            f"PUBLIC_URL does not fit FAMILY=account: {problem}. Use an address like https://example.com."
        )


def _check_clock(chosen: Settings) -> None:
    """By the clock of `connect`, which reads links, or by Secret Manager's where that does not answer."""
    from tokenkeeper.cli import web  # slow to import

    store = f"http://{chosen.emulator_host}/" if chosen.emulator_host else "https://secretmanager.googleapis.com/"
    off = web.clock_off([chosen.public_url, store], _CLOCK_SECONDS)
    if off:
        raise SettingsError(
            f"This machine's clock is {off}, and connect links carry the time: set it over the network, then make the "
            "link again."
        )


def _document(address: str, link: Link) -> dict[str, object]:
    return {
        "connection": link.connection,
        "link": address,
        "expires_at": clock.text(link.expires_at),
        "any_account": link.any_account,
        "family": link.family,
        "labels": dict(link.labels),
    }


def _explained(link: Link) -> str:
    whom, others = "whoever may approve for the advertiser", "the advertisers by entirely different ones"
    if link.family == "account":
        whom, others = "the holder of the TikTok account", "the account by another one"
    return (
        f"This link connects {link.connection}. It works once, until {link.expires_at:%Y-%m-%d %H:%M} UTC. "
        f"{f'It may replace {others}. ' if link.any_account else ''}Send it to {whom}."
    )
