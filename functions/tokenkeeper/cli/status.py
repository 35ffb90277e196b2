"""`status`: which connections are chosen and shown, counts first, then a table."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

import click

from tokenkeeper import clock
from tokenkeeper.cli import options, show, stored, terminal
from tokenkeeper.cli.context import LIST_SECONDS, Context
from tokenkeeper.cli.overview import HEALTHS, Line, Overview, ago, overview
from tokenkeeper.cli.show import cut
from tokenkeeper.clock import Deadline
from tokenkeeper.errors import KeeperError
from tokenkeeper.tiktok.coverage import gaps

HEAD = ("connection", "health", "advertisers or account", "connected", "ends", "what to do")
SPARE = (2, 3)  # columns that matter least
_MOST_SHOWN = 50  # connections; with more, only those that need something are shown
_MOST_READ = 10  # connections named to status whose payloads are read
_LONGEST_NAME = 30  # columns of an advertiser's name
_COLOURS = {"ok": "green", "reauthorize": "red", "orphaned": "red"}


@click.command("status")
@options.connections()
@click.option("--health", type=click.Choice(HEALTHS), default=None)
@options.label()
@click.option("--all", "everything", is_flag=True, help="Show all, even if there are more than 50.")
@options.as_json
@click.pass_obj
def command(
    context: Context,
    connections: tuple[str, ...],
    health: str | None,
    only: Mapping[str, str],
    *,
    everything: bool,
    as_json: bool,
) -> int:
    """Show how all connections are, or those that are named, and what to do.

    Of more than 50, only those that need something are shown. For connections that are named, it says as well which
    tables their permissions do not cover.

    Exit status: 0 all is well, 1 some need a person, 2 it could not be determined.
    """
    show.where(context)
    vault, now = context.vault(), clock.now()
    whole = overview(vault.inventory(Deadline(LIST_SECONDS), advertisers=True), now, scheduled=context.place == "cloud")
    known = {line.name for line in whole.lines}
    for name in connections:
        if name not in known:
            raise stored.no_connection(vault, name)
    found = select(whole, connections, health or "", only)
    if as_json:
        sys.stdout.writelines(found.json())
        sys.stdout.flush()
    else:
        every = everything or bool(connections) or bool(health)
        print_overview(found, now, every=every, selected=bool(connections or health or only))
        for name in connections[:_MOST_READ]:
            with suppress(KeeperError):  # its token may not be read
                for gap in gaps(stored.newest_grant(vault, name)):
                    click.echo(f"{name}: {gap}")
    return show.WELL if found.well else show.NEEDS_PERSON


def select(found: Overview, names: Sequence[str], health: str, labels: Mapping[str, str]) -> Overview:
    """The overview of only those connections that have one of these names (none: any), this health, these labels."""
    wanted = set(names)
    chosen = (
        line
        for line in found.lines
        if (not wanted or line.name in wanted)
        and (not health or line.health == health)
        and labels.items() <= line.connection.labels.items()
    )
    return replace(found, lines=tuple(chosen))


def print_overview(found: Overview, now: datetime, *, every: bool, selected: bool) -> None:
    """Print counts first, then a table, then the last run.

    `every`: all connections, however many; else, of many, those that need something. `selected`: it is a selection.
    """
    if found.lines:
        counts = ", ".join(f"{number:,} {health}" for health, number in found.counts.items())
        click.echo(f"{show.number_of(len(found.lines), 'connection')}: {counts}.")
        every = every or len(found.lines) <= _MOST_SHOWN
        shown = [row(line) for line in found.lines if every or line.todo]
        if shown:
            click.echo()
            show.table(HEAD, shown, spare=SPARE)
        hidden = len(found.lines) - len(shown)
        if hidden:
            of = show.number_of(hidden, "connection")
            click.echo(f"{of} that need nothing are not shown: ALL=1 (--all) shows them.")
    elif selected:
        click.echo("No connection is selected: make status shows all.")
    else:
        click.echo(
            "There is no connection yet. Open a connect link: one that make run printed, or one that you make with "
            "make link CONNECTION=acme"
        )
    click.echo()
    click.echo(_last_run(found, now))


def _last_run(found: Overview, now: datetime) -> str:
    run = found.last_run
    said = "There was no run yet."
    if run:
        counts = show.counts(run.counts)
        when = f"{ago(run.finished, now)} ({run.finished:%Y-%m-%d %H:%M} UTC)"
        said = f"Last run: {when}: {counts or 'nothing to do'}."
    if found.run_is_late:
        return terminal.paint(f"{said} There should have been one since: make doctor", "red")
    return said


def row(line: Line) -> tuple[str, ...]:
    """A connection's cells, by `HEAD`."""
    found = line.connection
    ends = f"{line.ends_at:%Y-%m-%d}" if line.ends_at else "when revoked" if found.kind == "long-lived" else ""
    return (
        line.name,
        terminal.paint(line.health, _COLOURS.get(line.health, "yellow")),
        _whose(line),
        f"{found.connected_at:%Y-%m-%d}" if found.connected_at else "",
        "ended" if line.health == "reauthorize" else ends,
        line.todo,
    )


def _whose(line: Line) -> str:
    found = line.connection
    if found.family == "account":
        return f"@{cut(found.username, _LONGEST_NAME)}" if found.username else cut(found.open_id, _LONGEST_NAME)
    ids = found.advertisers
    id_ = ids[0] if ids else ""
    name = found.names.get(id_, "")
    first = f"{cut(name, _LONGEST_NAME)} ({id_})" if name else id_
    more = len(ids) - 1
    return first + (f" +{more}" if more > 0 else "") + (" or more" if line.more_advertisers else "")
