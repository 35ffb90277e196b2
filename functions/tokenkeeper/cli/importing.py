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
    lines = _Lines(file or (), defaults, only)
    with terminal.Log() as log:
        lines.store(importer, log.progress)
    present = f", {lines.present} {'was' if lines.present == 1 else 'were'} there already" if lines.present else ""
    end = f", {len(lines.refused)} refused:" if lines.refused else "."
    click.echo(f"{show.number_of(lines.imported, 'token')} imported{present}{end}")
    for _, line in sorted(lines.refused.items()):
        click.echo(line)
    return show.NEEDS_PERSON if lines.refused else show.WELL


class _Lines:
    """The lines of a file, by number, and what becomes of them."""

    def __init__(self, lines: Sequence[str], defaults: Defaults, only: Mapping[str, str]) -> None:
        self.tokens: dict[int, Token] = {}
        self.refused: dict[int, str] = {}
        self.imported = self.present = 0
        seen: dict[str, int] = {}
        for number, text in enumerate(lines, 1):
            if not text.strip():
                continue
            try:
                token = read_line(text, defaults)
            except ImportRefused as error:
                self.refused[number] = f"line {number}: {error}"
                continue
            if not only.items() <= token.labels.items():
                continue
            first = seen.setdefault(token.connection, number)
            if first == number:
                self.tokens[number] = token
            else:
                self._refuse(number, token, f"it is on line {first} already.")

    def _refuse(self, number: int, token: Token, why: object) -> None:
        self.refused[number] = f"line {number} ({token.connection}): {why}"

    def store(self, importer: Importer, progress: Callable[[int, int], None]) -> None:
        """Store them; raises what would fail for every line alike, such as a missing permission."""
        pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="import")
        try:
            pending = {
                pool.submit(importer.store, token, spare_healthy=True): number for number, token in self.tokens.items()
            }
            for done, future in enumerate(as_completed(pending), 1):
                number = pending[future]
                try:
                    stored = future.result()
                except (ImportRefused, LeaseHeld, StoreUnavailable) as error:  # of one token, or passes by itself
                    self._refuse(number, self.tokens[number], error)
                else:
                    self.imported += stored is not None
                    self.present += stored is None
                progress(done, len(pending))
        finally:
            pool.shutdown(cancel_futures=True)  # what is being stored is finished


def _typed() -> str:
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
