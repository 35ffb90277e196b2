"""The commands that act on connections: refresh, disconnect and doctor."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from tokenkeeper.cli import options, show, stored, terminal
from tokenkeeper.cli.context import LIST_SECONDS, Context
from tokenkeeper.clock import Deadline
from tokenkeeper.errors import SecretMissing, SettingsError
from tokenkeeper.settings import REFRESH, Needs

if TYPE_CHECKING:
    from tokenkeeper.cli.disconnect import Found
    from tokenkeeper.refresh.request import RunRequest

_VERDICTS = {"ok": "green", "problem": "red", "unknown": "yellow", "note": "blue"}


@click.command()
@click.argument("connections", type=options.NAME, nargs=-1, metavar="[CONNECTION]...")
@options.with_label
@click.option("--force", is_flag=True, help="Refresh what is not due, too.")
@options.as_json
@click.pass_obj
def refresh(
    context: Context, connections: tuple[str, ...], labels: Mapping[str, str], *, force: bool, as_json: bool
) -> int:
    """Make one run now, of all connections or those that are named: refresh what is due, verify the rest.

    In the cloud it is the refresh function that makes the run; else it is made here.

    Exit status: 0 all is well, 1 some connections need a person, 2 the run is not complete.
    """
    from tokenkeeper.refresh.request import BadRequestError, RunRequest

    show.where(context)
    wanted = [*connections, *(stored.labelled(context.vault(), labels) if labels else [])]
    request = RunRequest(tuple(dict.fromkeys(wanted)) or None, force)
    try:
        code, document = _run_in_cloud(context, request) if context.refresh_url else _run_here(context, request)
    except BadRequestError as error:
        raise SettingsError(str(error)) from None
    if as_json:
        show.as_json(document)
    else:
        show.summary(code, document)
    if code != 200:
        return show.COULD_NOT
    return show.NEEDS_PERSON if document.get("attention") else show.WELL


@click.command()
@click.argument("connection", type=options.NAME)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Delete the secrets even if the grant cannot be revoked at TikTok.")
@click.pass_obj
def disconnect(context: Context, connection: str, *, yes: bool, force: bool) -> int:
    """Revoke the grant of CONNECTION at TikTok, then delete its secrets."""
    from tokenkeeper.cli import disconnect as ending
    from tokenkeeper.tiktok.families import TikTok

    show.where(context)
    vault, chosen = context.vault(), context.settings(Needs.STORE | Needs.APP)
    try:
        found = ending.inspect(vault, connection)
    except SecretMissing:
        raise stored.no_connection(vault, connection) from None
    inventory = vault.inventory(Deadline(LIST_SECONDS), advertisers=True)
    show.say(_what_goes(connection, found, vault.token_id(connection), vault.refresh_id(connection)))
    for warning in ending.warnings(vault, inventory, found):
        show.say(terminal.paint(warning, "yellow"))
    if not yes and not _confirmed():
        show.say("Nothing was changed.")
        return show.COULD_NOT
    outcome = ending.disconnect(vault, TikTok(chosen), chosen.app_id, connection, force=force)
    show.say(f"{connection} is gone: its secrets are deleted. {outcome}")
    return show.WELL


@click.command()
@options.as_json
@click.pass_obj
def doctor(context: Context, *, as_json: bool) -> int:
    """Check whether everything is there that the token keeper needs.

    Exit status: 0 all is there, 1 there is a problem, 2 something could not be determined.
    """
    from tokenkeeper.cli.doctor.examination import findings

    show.where(context)
    found = list(findings(context))
    if as_json:
        show.as_json({"findings": [{"thing": one.thing, "verdict": one.verdict, "text": one.text} for one in found]})
    else:
        rows = [(one.thing, terminal.paint(one.verdict, _VERDICTS[one.verdict]), one.text) for one in found]
        show.table(("what", "state", "detail, or what to do"), rows)
    return _exit_status(one.verdict for one in found)


def _exit_status(verdicts: Iterable[str]) -> int:
    found = set(verdicts)
    return show.NEEDS_PERSON if "problem" in found else show.COULD_NOT if "unknown" in found else show.WELL


def _run_here(context: Context, request: RunRequest) -> tuple[int, dict[str, Any]]:
    from tokenkeeper.refresh.app import Refresh

    chosen = context.settings(REFRESH)
    context.check_running(chosen)
    with terminal.Progress() as progress:
        summary = Refresh(chosen).run(request, progress.show)
    return summary.status, summary.document()


def _run_in_cloud(context: Context, request: RunRequest) -> tuple[int, dict[str, Any]]:
    from tokenkeeper.cli import cloudrun

    if sys.stderr.isatty():
        show.say("The refresh function makes a run; with many connections that takes minutes.")
    impersonate = context.variable("GOOGLE_IMPERSONATE_SERVICE_ACCOUNT")
    answer = cloudrun.run(context.refresh_url, context.refresh_audience, request, impersonate)
    return answer.status, dict(answer.document)


def _confirmed() -> bool:
    try:
        return click.confirm("Go ahead?", err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        show.say("")
        raise SettingsError("No terminal to confirm on: pass --yes (YES=1).") from None


def _what_goes(name: str, found: Found, token_id: str, refresh_id: str) -> str:
    secrets = [token_id] * (found.connection is not None) + [refresh_id] * found.has_refresh_secret
    grant = found.grants[0] if found.grants else None
    of_whom = ""
    if grant and grant.family == "account":
        of_whom = f" to the TikTok account {grant.username or grant.open_id}"
    elif grant and grant.advertiser_count:
        of_whom = f" for {show.number_of(grant.advertiser_count, 'advertiser')}"
        named = list(found.connection.names.values()) if found.connection else []
        if named:
            left = grant.advertiser_count - len(named[:3])
            more = f" and {left} more" if left > 0 else ""
            of_whom += f" ({'; '.join(named[:3])}{more})"
    revoked = f"revokes the access of {name}{of_whom} at TikTok, then " if grant else ""
    return f"This {revoked}deletes {' and '.join(secrets)} with all versions; pipelines that read {name} stop working."
