"""What commands print, results on standard output, all else on standard error; and tables that fit the window."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterator, Mapping, Sequence

import click

from tokenkeeper.cli.context import Context
from tokenkeeper.cli.terminal import colour_wanted

WELL, NEEDS_PERSON, COULD_NOT, INTERRUPTED = 0, 1, 2, 130
_COUNTS = ("refreshed", "verified", "skipped", "failing", "reauthorize", "remaining")
_GAP = 2  # columns
_NARROWEST_LAST = 28  # columns; with less left for the last one, it has lines of its own
_NOTHING = {"Mn", "Me", "Cf"}  # combining marks, joiners and other invisible characters


def say(text: str) -> None:
    """A sentence for the person."""
    click.echo(text, err=True)


def where(context: Context) -> None:
    """What the command acts on, if that is not obvious."""
    notice = context.notice()
    if notice:
        say(notice)


def as_json(document: object) -> None:
    """A result for scripts, in ASCII whatever the encoding."""
    click.echo(json.dumps(document, indent=2))


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, spare: Sequence[int] = (), as_result: bool = True
) -> None:
    """Cells in columns, see `in_columns`; or, where they are no result, for the person."""
    stream = sys.stdout if as_result else sys.stderr
    window = shutil.get_terminal_size().columns if stream.isatty() else None
    for line in in_columns(head, rows, window, spare):
        click.echo(line, file=stream)


def number_of(count: int, thing: str) -> str:
    """The count with its noun: `1 connection`, `2 connections`."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def counts(run: Mapping[str, int]) -> str:
    """How many connections became what in a run, without what none became."""
    return ", ".join(f"{run[kind]} {kind}" for kind in _COUNTS if run.get(kind))


def first_of(names: Sequence[str], most: int, separator: str = ", ") -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return separator.join(names[:most]) + more


def in_columns(
    head: Sequence[str], rows: Sequence[Sequence[str]], window: int | None, spare: Sequence[int] = ()
) -> Iterator[str]:
    """The lines of a table whose last column is wrapped, and in a narrow window begins below the others.

    All cells but the last of a row may be painted. `window` is the width in columns, None: without bounds; the columns
    at the places `spare` are left out where the table fits only without them.
    """
    window = window or sys.maxsize
    for left_out in ((), spare):
        kept = [place for place in range(len(head)) if place not in left_out]
        table = [[row[place] for place in kept] for row in (head, *rows)]
        *widths, last = (max(map(width, column)) for column in zip(*table, strict=True))
        left = sum(widths) + _GAP * len(widths)
        fits = left + min(last, _NARROWEST_LAST) <= window
        if fits:
            break
    indent = " " * (left if fits else 2 * _GAP)
    for number, (*cells, text) in enumerate(table):
        line = "".join(padded(cell, size + _GAP) for cell, size in zip(cells, widths, strict=True))
        below = textwrap.wrap(text, max(12, min(last, window - len(indent))), break_on_hyphens=False)
        line = (line + below.pop(0) if fits and below else line).rstrip()
        yield line if number or not colour_wanted() else click.style(line, bold=True)
        yield from (indent + part for part in below)


def width(text: str) -> int:
    """Columns that a text takes: two for East Asian wide characters, none for marks and joiners and colours."""
    plain = click.unstyle(text)
    return len(plain) if plain.isascii() else sum(map(_width, plain))


def padded(text: str, columns: int) -> str:
    """The text with spaces behind it, up to so many columns."""
    return text + " " * (columns - width(text))


def cut(text: str, columns: int) -> str:
    """The text, or its beginning with an ellipsis where it takes more columns."""
    if width(text) <= columns:
        return text
    while width(text) >= columns:
        text = text[:-1]
    return text + "…"


def _width(letter: str) -> int:
    if unicodedata.category(letter) in _NOTHING:
        return 0
    return 2 if unicodedata.east_asian_width(letter) in {"W", "F"} else 1
