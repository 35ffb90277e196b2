"""`import`: a token that exists already, or many from a file: several at once, going on after a bad line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

import click

from tokenkeeper.cli import options, show, terminal
from tokenkeeper.cli.context import Context
from tokenkeeper.cli.importer import Importer
from tokenkeeper.cli.importlines import Defaults, ImportRefused, Token, read_line, read_token
from tokenkeeper.errors import LeaseHeld, StoreUnavailable
from tokenkeeper.grant import Family, Grant, RefreshableGrant
from tokenkeeper.settings import Needs
from tokenkeeper.tiktok.coverage import gaps
from tokenkeeper.tiktok.families import TikTok

_AT_ONCE = 4  # keeps Secret Manager's quota of writes busy; more would only be throttled
_LARGEST_INPUT = 16_000_000  # characters


@click.command("import")
@options.maybe_connection
@options.new
@options.label("Of a file, only lines with these labels.")
@click.pass_obj
def command(
    context: Context,
    connection: str | None,
    file: Sequence[str] | None,
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
    if (connection is None) == (file is None):
        raise click.UsageError("Name a CONNECTION, or give a --file, not both.")
    show.where(context)
    chosen = context.settings(Needs.STORE | Needs.APP | Needs.CALLBACK)
    importer = Importer(context.vault(chosen), TikTok(chosen), chosen.app_id)
    defaults = Defaults(family, any_account, labels)
    if connection is not None:
        stored = importer.store(read_token(_typed(), connection, defaults))
        show.say(_imported(stored) if stored else f"{connection} has this token already: nothing was changed.")
        return show.WELL
    tokens, refused = _read(file or (), defaults, only)
    with terminal.Log() as log:
        results = _store(importer, tokens, refused, log.progress)
    present = results.count(None)
    there = f", {present} {'was' if present == 1 else 'were'} there already" if present else ""
    end = f", {len(refused)} refused:" if refused else "."
    click.echo(f"{show.number_of(len(results) - present, 'token')} imported{there}{end}")
    for _, line in sorted(refused.items()):
        click.echo(line)
    return show.NEEDS_PERSON if refused else show.WELL


def _read(lines: Sequence[str], defaults: Defaults, only: Mapping[str, str]) -> tuple[dict[int, Token], dict[int, str]]:
    """The tokens in the lines of a file, and what is said about those that are refused, both by the line's number."""
    tokens: dict[int, Token] = {}
    refused: dict[int, str] = {}
    seen: dict[str, int] = {}
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            token = read_line(text, defaults)
        except ImportRefused as error:
            refused[number] = f"line {number}: {error}"
            continue
        if not only.items() <= token.labels.items():
            continue
        first = seen.setdefault(token.connection, number)
        if first == number:
            tokens[number] = token
        else:
            refused[number] = f"line {number} ({token.connection}): it is on line {first} already."
    return tokens, refused


def _store(
    importer: Importer, tokens: Mapping[int, Token], refused: dict[int, str], progress: Callable[[int, int], None]
) -> list[Grant | None]:
    """What `Importer.store` returned, for all that are not among `refused` afterwards.

    What would fail for every line alike, such as a missing permission, is raised.
    """
    results: list[Grant | None] = []
    pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="import")
    try:
        pending = {pool.submit(importer.store, token, spare_healthy=True): number for number, token in tokens.items()}
        for done, future in enumerate(as_completed(pending), 1):
            number = pending[future]
            try:
                results.append(future.result())
            except (ImportRefused, LeaseHeld, StoreUnavailable) as error:  # of one token, or passes by itself
                refused[number] = f"line {number} ({tokens[number].connection}): {error}"
            progress(done, len(pending))
    finally:
        pool.shutdown(cancel_futures=True)  # what is being stored is finished
    return results


def _typed() -> str:
    """What standard input holds, or what a person types or pastes, which is not shown; JSON may have several lines."""
    if not sys.stdin.isatty():
        return sys.stdin.read(_LARGEST_INPUT)
    return terminal.read_hidden("TikTok's JSON answer, or the access token (hidden; Ctrl-D ends it): ", _is_whole)


def _is_whole(text: str) -> bool:
    try:
        if text.lstrip().startswith("{"):
            json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _imported(stored: Grant) -> str:
    notes = list(gaps(stored))
    whose = show.number_of(stored.advertiser_count, "ad account")
    if stored.family == "account":
        whose = f"the TikTok account {stored.username or stored.open_id}"
        if not isinstance(stored, RefreshableGrant):
            notes.append(
                "It came without its refresh token, and an account's token lives 24 hours: import TikTok's whole JSON "
                "answer to have it refreshed."
            )
    return "\n".join([f"{stored.connection} was imported: {whose}.", *notes])
