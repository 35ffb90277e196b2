"""The commands for the operator: `python -m tokenkeeper link|status|token|config|refresh|disconnect|doctor`.

Results go to standard output and nothing else does; what is said about them, questions and the log go to standard
error. Exit status: 0 all is well, 1 a person is needed, 2 it could not be done.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from tokenkeeper import clock, links, log, terminal
from tokenkeeper.clock import Deadline
from tokenkeeper.errors import (
    KeeperError,
    PayloadError,
    SecretMissing,
    SettingsError,
    VaultError,
    VaultForbidden,
)
from tokenkeeper.settings import CONNECTION, PLACES, REFRESH, Needs
from tokenkeeper.target import Target

if TYPE_CHECKING:
    from tokenkeeper.connection import Connection
    from tokenkeeper.disconnect import Found
    from tokenkeeper.grant import Grant
    from tokenkeeper.refresh import Order
    from tokenkeeper.status import Line, Overview
    from tokenkeeper.vault import Vault

WELL, NEEDS_PERSON, COULD_NOT, INTERRUPTED = 0, 1, 2, 130
_PROGRAM = "python -m tokenkeeper"
_LIST_SECONDS = 60.0
_READ_SECONDS = 20.0
_LONGEST_NAME = 30  # characters of an advertiser's name in a table
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_COLOURS = {"ok": "green", "failing": "yellow", "reauthorize": "red", "orphaned": "red", "unfinished": "yellow"}
_COUNTS = ("refreshed", "verified", "skipped", "failing", "reauthorize", "remaining")
_VERDICTS = {"ok": "green", "problem": "red", "unknown": "yellow"}


class _ConnectionName(click.ParamType[str]):
    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not CONNECTION.fullmatch(value):
            self.fail(
                f"{value[:80]!r} is no connection's name: that is 1 to 63 of a-z, 0-9 and -, with no - at either end, "
                "like acme-eu.",
                param,
                ctx,
            )
        return str(value)


class _Life(click.ParamType[timedelta]):
    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"([0-9]{1,6})([mhd])", value.strip(), re.ASCII)
        life = timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else timedelta()
        if not links.SHORTEST_LIFE <= life <= links.LONGEST_LIFE:
            self.fail(f"{value[:40]!r} is no time from 5 minutes to 30 days, like 30m, 72h or 7d.", param, ctx)
        return life


_NAME = _ConnectionName()
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit status: 0 all is well, 1 a person is needed, 2 it could not be done.",
)
@click.option(
    "--target",
    type=click.Choice(PLACES),
    help="Act on what `make run` started (local) or `make deploy` made (cloud); without it, on the later one of them.",
)
@click.pass_context
def commands(context: click.Context, target: str | None) -> None:
    """Connect TikTok advertisers, and look after their access tokens.

    Settings come from the environment and, beneath it, from what `make run` or `make deploy` saved.
    """
    context.obj = Target(target or "")


@commands.command()
@click.argument("connection", type=_NAME)
@click.option(
    "--expires",
    "life",
    type=_Life(),
    default=links.USUAL_LIFE,
    help="How long the link is good: 5 minutes to 30 days, like 30m, 72h or 7d. Without it: 72h.",
)
@click.option(
    "--any-account", is_flag=True, help="Let a re-connection replace the advertisers by altogether different ones."
)
@_as_json
@click.pass_obj
def link(target: Target, connection: str, life: timedelta, *, any_account: bool, as_json: bool) -> int:
    """Print a connect link for CONNECTION.

    Send it to whoever may approve for the advertiser. It makes the connection, or connects it again, and works once.
    """
    _say_where(target)
    chosen = target.settings(Needs.STORE | Needs.LINKS)
    made, text = links.Signer(chosen.link_keys).new_link(connection, life, any_account=any_account)
    address = f"{chosen.public_url}/start?link={text.reveal()}"
    if as_json:
        _print_json(
            {
                "connection": connection,
                "link": address,
                "expires_at": clock.text(made.expires_at),
                "any_account": any_account,
            }
        )
        return WELL
    click.echo(address)
    who = "It may replace the advertisers by altogether different ones. " if any_account else ""
    click.echo(
        f"This link connects {connection}. It works once, until {made.expires_at:%Y-%m-%d %H:%M} UTC. {who}"
        "Send it to whoever may approve for the advertiser.",
        err=True,
    )
    return WELL


@commands.command()
@_as_json
@click.pass_obj
def status(target: Target, *, as_json: bool) -> int:
    """Show how all connections are, and what to do.

    Exit status: 0 all is well, 1 some need a person, 2 it could not be told.
    """
    from tokenkeeper.status import overview

    _say_where(target)
    inventory = target.vault().inventory(Deadline(_LIST_SECONDS), advertisers=True)
    found = overview(inventory, clock.now(), scheduled=target.place.name == "cloud")
    if as_json:
        _print_json(found.document())
    else:
        _print_overview(found)
    return WELL if found.well else NEEDS_PERSON


@commands.command()
@click.argument("connection", type=_NAME)
@click.pass_obj
def token(target: Target, connection: str) -> int:
    """Print the access token of CONNECTION, and nothing else.

    Exit status 1: the connection needs a new authorization; the token is printed all the same.
    """
    _say_where(target)
    vault = target.vault()
    click.echo(_newest_grant(target, vault, connection).access_token.reveal())
    return _verdict(_state(vault, connection), connection)


@commands.command()
@click.argument("connection", type=_NAME)
@click.option("--for", "tool", metavar="TOOL", default="", help="What it is for; without it, the tools are listed.")
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="First day to load, like 2026-01-01, for tools that have to be told. Without it: this year's first.",
)
@click.pass_obj
def config(target: Target, connection: str, tool: str, since: datetime | None) -> int:
    """Print a ready configuration of a tool that reads CONNECTION.

    It goes to standard output and may hold the access token; what to do with it, to standard error.

    Exit status 1: the connection needs a new authorization; the configuration is printed all the same.
    """
    from tokenkeeper.configurations import TOOLS, Material, notes

    if tool not in TOOLS:
        click.echo(f"{tool[:80]!r} is none of the tools." if tool else "Say with --for which tool it is for:", err=True)
        rows = [(name, one.is_for) for name, one in TOOLS.items()]
        for line in terminal.table(("--for", "what it prints"), rows, terminal.width(sys.stderr)):
            click.echo(line, err=True)
        return COULD_NOT
    chosen = TOOLS[tool]
    _say_where(target)
    needs = Needs.STORE | Needs.APP if chosen.needs_app_secret else Needs.STORE
    vault, found = target.vault(needs), target.settings(needs)
    newest = _newest_grant(target, vault, connection)
    if chosen.needs_app_secret and found.app_id != newest.app_id:
        raise SettingsError(
            f"TIKTOK_APP_ID is {found.app_id}, and {connection} belongs to the app {newest.app_id}: set it, and "
            "TIKTOK_APP_SECRET, to that one."
        )
    state = _state(vault, connection)
    material = Material(
        grant=newest,
        since=since.date() if since else clock.now().date().replace(month=1, day=1),
        names=state.names if state else {},
        app_secret=found.app_secret,
        project=vault.secrets.project,
        secret_id=vault.token_id(connection),
    )
    click.echo(chosen.write(material), nl=False)
    for line in notes(chosen, material):
        click.echo(line, err=True)
    return _verdict(state, connection)


@commands.command()
@click.option("--connection", "names", type=_NAME, multiple=True, help="Only this connection; may be given repeatedly.")
@click.option("--force", is_flag=True, help="Refresh what is not due, too.")
@_as_json
@click.pass_obj
def refresh(target: Target, names: tuple[str, ...], *, force: bool, as_json: bool) -> int:
    """Make one run now: refresh what is due, verify the rest.

    In the cloud it is the refresh function that makes the run; else it is made here.

    Exit status: 0 all is well, 1 some connections need a person, 2 the run is not complete.
    """
    from tokenkeeper.refresh import BadRequestError, Order

    _say_where(target)
    order = Order(tuple(dict.fromkeys(names)) or None, force)
    try:
        code, document = _run_in_cloud(target, order) if target.refresh_url else _run_here(target, order)
    except BadRequestError as error:
        raise SettingsError(str(error)) from None
    if as_json:
        _print_json(document)
    else:
        _print_summary(code, document)
    if code != 200:
        return COULD_NOT
    return NEEDS_PERSON if document.get("attention") else WELL


@commands.command()
@click.argument("connection", type=_NAME)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Delete the secrets even if the grant cannot be revoked at TikTok.")
@click.pass_obj
def disconnect(target: Target, connection: str, *, yes: bool, force: bool) -> int:
    """Revoke the grant of CONNECTION at TikTok, then delete its secrets."""
    from tokenkeeper.disconnect import disconnect as end
    from tokenkeeper.disconnect import look
    from tokenkeeper.tiktok import TikTok

    _say_where(target)
    needs = Needs.STORE | Needs.APP
    vault, chosen = target.vault(needs), target.settings(needs)
    try:
        found = look(vault, connection)
    except SecretMissing:
        raise _no_connection(target, connection) from None
    click.echo(_what_goes(connection, found, vault.token_id(connection), vault.refresh_id(connection)), err=True)
    if not yes:
        try:
            agreed = click.confirm("Go ahead?", err=True)
        except click.Abort:
            if sys.stdin.isatty():
                raise
            click.echo(err=True)
            raise SettingsError("Nobody can be asked here: add YES=1 (--yes) to go ahead without a question.") from None
        if not agreed:
            click.echo("Nothing was changed.", err=True)
            return COULD_NOT
    outcome = end(
        vault,
        TikTok(chosen.api_url, chosen.app_id, chosen.app_secret),
        chosen.app_id,
        connection,
        force=force,
    )
    click.echo(f"{connection} is gone: its secrets are deleted. {outcome}", err=True)
    return WELL


@commands.command()
@_as_json
@click.pass_obj
def doctor(target: Target, *, as_json: bool) -> int:
    """Look whether everything is there that the token keeper needs.

    Exit status: 0 all is there, 1 there is a problem, 2 something could not be told.
    """
    from tokenkeeper.doctor import Doctor

    _say_where(target)
    found = list(Doctor(target).findings())
    if as_json:
        _print_json({"findings": [{"thing": one.thing, "verdict": one.verdict, "text": one.text} for one in found]})
    else:
        rows = [(one.thing, terminal.paint(one.verdict, _VERDICTS[one.verdict]), one.text) for one in found]
        _print_table(("what", "state", "detail, or what to do"), rows)
    verdicts = {one.verdict for one in found}
    return NEEDS_PERSON if "problem" in verdicts else COULD_NOT if "unknown" in verdicts else WELL


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: The words after the program's name; None: those of this process.

    Returns:
        The exit status. Whatever goes wrong ends in one sentence on standard error, never in a traceback.
    """
    log.write_to(sys.stderr)
    try:
        outcome = commands.main(
            None if arguments is None else list(arguments), prog_name=_PROGRAM, standalone_mode=False
        )
        return outcome if isinstance(outcome, int) else WELL
    except click.exceptions.NoArgsIsHelpError as error:
        return _fail(error.format_message())
    except click.ClickException as error:
        path = getattr(getattr(error, "ctx", None), "command_path", _PROGRAM)
        message = error.format_message()
        return _fail(f"{message}{'' if message.endswith(('.', '?')) else '.'} See: {path} --help")
    except (KeyboardInterrupt, click.Abort):
        click.echo("Stopped.", err=True)
        return INTERRUPTED
    except VaultForbidden as error:
        return _fail(f"{error} Ask for that permission; make doctor looks which ones you have.")
    except KeeperError as error:
        return _fail(str(error))
    except Exception as error:  # noqa: BLE001 - the boundary: a person gets a sentence, the log says where
        log.defect(error)
        return COULD_NOT


def _fail(message: str) -> int:
    click.echo(message, err=True)
    return COULD_NOT


def _say_where(target: Target) -> None:
    notice = target.notice()
    if notice:
        click.echo(notice, err=True)


def _print_json(document: object) -> None:
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def _print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    for line in terminal.table(head, rows, terminal.width(sys.stdout)):
        click.echo(line)


def _no_connection(target: Target, name: str) -> KeeperError:
    """There is none of that name: say which there are, as far as that can be told."""
    try:
        known = sorted(
            found.name
            for found in target.vault().inventory(Deadline(_READ_SECONDS)).connections.values()
            if found.made and found.name != name
        )
    except VaultError:
        known = []
    shown = ", ".join(known[:10]) + (f" and {len(known) - 10} more" if len(known) > 10 else "")
    there_are = f"There are: {shown}." if known else f"Make it with a connect link: make link CONNECTION={name}."
    return SettingsError(f"There is no connection {name}. {there_are}")


def _newest_grant(target: Target, vault: Vault, name: str) -> Grant:
    """What the newest version of a connection's token secret holds, or a sentence that says why that cannot be told."""
    from tokenkeeper import grant

    newest = vault.newest(vault.token_id(name), Deadline(_READ_SECONDS))
    if newest.number == 0:
        raise _no_connection(target, name)
    if newest.payload is None:
        raise SettingsError(
            f"The newest version of {vault.token_id(name)} is disabled or destroyed: enable it again, or connect "
            f"anew with make link CONNECTION={name}."
        )
    try:
        return grant.parse(newest.payload, name)
    except PayloadError as error:
        raise PayloadError(
            f"{vault.token_id(name)}: {error}; restore an earlier version, or connect anew with "
            f"make link CONNECTION={name}."
        ) from None


def _state(vault: Vault, name: str) -> Connection | None:
    try:
        return vault.connection(name, Deadline(_READ_SECONDS))
    except VaultError:
        return None  # who may read tokens need not be allowed to look at secrets


def _verdict(state: Connection | None, name: str) -> int:
    if state and state.health == "reauthorize":
        click.echo(f"{name} needs a new authorization: make link CONNECTION={name}", err=True)
        return NEEDS_PERSON
    return WELL


def _print_overview(found: Overview) -> None:
    if found.lines:
        head = ("connection", "health", "advertisers", "connected", "ends", "what to do")
        _print_table(head, [_row(line) for line in found.lines])
    else:
        click.echo("There is no connection yet. Make a connect link: make link CONNECTION=acme")
    run = found.last_run
    if run:
        from tokenkeeper.status import ago

        counts = ", ".join(f"{number} {kind}" for kind, number in run.counts.items() if number and kind in _COUNTS)
        when = f"{ago(run.finished, clock.now())} ({run.finished:%Y-%m-%d %H:%M} UTC)"
        told = f"Last run: {when}: {counts or 'nothing to do'}."
    else:
        told = "There was no run yet."
    if found.run_is_late:
        told = terminal.paint(f"{told} There should have been one since: make doctor", "red")
    click.echo(f"\n{told}")


def _row(line: Line) -> tuple[str, ...]:
    more = len(line.advertisers) - 1
    advertisers = _advertiser(line) + (f" +{more}" if more > 0 else "") + (" or more" if line.more_advertisers else "")
    ends = f"{line.ends_at:%Y-%m-%d}" if line.ends_at else "when revoked" if line.kind == "long-lived" else ""
    if line.health == "reauthorize":
        ends = "ended"
    return (
        line.name,
        terminal.paint(line.health, _COLOURS.get(line.health, "yellow")),
        advertisers,
        f"{line.connected_at:%Y-%m-%d}" if line.connected_at else "",
        ends,
        line.todo,
    )


def _advertiser(line: Line) -> str:
    id_ = next(iter(line.advertisers), "")
    name = line.names.get(id_, "")
    return f"{name[:_LONGEST_NAME]} ({id_})" if name else id_


def _run_here(target: Target, order: Order) -> tuple[int, dict[str, Any]]:
    from tokenkeeper.refresh import Refresh

    target.vault(REFRESH)  # says so at once where the local Secret Manager is not running
    with terminal.Progress() as progress:
        summary = Refresh(target.settings(REFRESH)).run(order, progress.show)
    return summary.status, summary.document()


def _run_in_cloud(target: Target, order: Order) -> tuple[int, dict[str, Any]]:
    from tokenkeeper import remote

    if sys.stderr.isatty():
        click.echo("The refresh function makes a run; with many connections that takes minutes.", err=True)
    answer = remote.run(target.refresh_url, target.refresh_audience, order)
    return answer.status, dict(answer.document)


def _print_summary(code: int, document: dict[str, Any]) -> None:
    counts = [f"{document[kind]} {kind}" for kind in _COUNTS if document.get(kind)]
    number = document.get("connections", 0)
    told = f"{number} connection{'' if number == 1 else 's'} in {document.get('seconds', 0):.1f} s"
    click.echo(f"{told}: {', '.join(counts)}." if counts else f"{told}.")
    attention = document.get("attention", [])
    if attention:
        names = ", ".join(attention[:20]) + (f" and {len(attention) - 20} more" if len(attention) > 20 else "")
        click.echo(f"{terminal.paint('A person is needed', 'red')} for {names}. What to do: make status")
    if document.get("error"):
        click.echo(document["error"], err=True)
    elif code != 200:
        click.echo("The run is not complete: make refresh goes on with it.", err=True)


def _what_goes(name: str, found: Found, token_id: str, refresh_id: str) -> str:
    secrets = [token_id] * (found.connection is not None) + [refresh_id] * (found.etag is not None)
    grant = found.grants[0] if found.grants else None
    number = grant.advertiser_count if grant else 0
    of_whom = f" for {number} advertiser{'' if number == 1 else 's'}" if number else ""
    named = list(found.connection.names.values()) if found.connection else []
    if named and number:
        more = f" and {number - len(named[:3])} more" if number > len(named[:3]) else ""
        of_whom += f" ({'; '.join(named[:3])}{more})"
    revoked = f"revokes the access of {name}{of_whom} at TikTok, then " if grant else ""
    return f"This {revoked}deletes {' and '.join(secrets)} with all versions; pipelines that read {name} stop working."
