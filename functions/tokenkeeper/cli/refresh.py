"""`refresh`: one run, made by the refresh function in the cloud, else here."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click

from tokenkeeper.cli import options, show, stored, terminal
from tokenkeeper.cli.context import Context
from tokenkeeper.errors import SettingsError
from tokenkeeper.refresh.request import BadRequestError, RunRequest
from tokenkeeper.settings import REFRESH


@click.command("refresh")
@options.connections()
@options.label()
@click.option("--force", is_flag=True, help="Refresh what is not due, too.")
@options.as_json
@click.pass_obj
def command(
    context: Context, connections: tuple[str, ...], only: Mapping[str, str], *, force: bool, as_json: bool
) -> int:
    """Make one run now, of all connections or those that are named: refresh what is due, verify the rest.

    In the cloud it is the refresh function that makes the run; else it is made here.

    Exit status: 0 all is well, 1 some connections need a person, 2 the run is not complete.
    """
    show.where(context)
    wanted = [*connections, *stored.labelled(context, only)]
    request = RunRequest(tuple(dict.fromkeys(wanted)) or None, force)
    try:
        status, document = (_in_cloud if context.variable("REFRESH_URL") else _here)(context, request)
    except BadRequestError as error:
        raise SettingsError(f"{error} make status lists all.") from None
    if as_json:
        show.as_json(document)
    else:
        _summarize(status, document)
    if status != 200:
        return show.COULD_NOT
    return show.NEEDS_PERSON if document.get("attention") else show.WELL


def _here(context: Context, request: RunRequest) -> tuple[int, Mapping[str, Any]]:
    from tokenkeeper.refresh.app import Refresh  # slow to import

    chosen = context.settings(REFRESH)
    vault = context.vault(chosen)
    with terminal.Log() as log:
        summary = Refresh(chosen, vault).run(request, log.progress)
    return summary.status, summary.document()


def _in_cloud(context: Context, request: RunRequest) -> tuple[int, Mapping[str, Any]]:
    from tokenkeeper.cli import cloudrun  # slow to import

    if sys.stderr.isatty():
        show.say("The refresh function makes a run; with many connections that takes minutes.")
    return cloudrun.run(context, request)


def _summarize(status: int, document: Mapping[str, Any]) -> None:
    head = f"{show.number_of(document.get('connections', 0), 'connection')} in {document.get('seconds', 0):.1f} s"
    counts = show.counts(document)
    click.echo(f"{head}: {counts}." if counts else f"{head}.")
    attention = document.get("attention", [])
    if attention:
        needed = terminal.paint("A person is needed", "red")
        click.echo(f"{needed} for {show.first_of(attention, 20)}. What to do: make status")
    if document.get("error"):
        show.say(document["error"])
    elif status != 200:
        show.say("The run is not complete: make refresh goes on with it.")
