"""What commands print, results on standard output, all else on standard error; and tables that fit the window."""

from __future__ import annotations

import json
import shutil
import sys
import unicodedata
from collections.abc import Iterator, Sequence

import click

from tokenkeeper.cli.context import Context
from tokenkeeper.cli.terminal import colour_wanted

WELL, NEEDS_PERSON, COULD_NOT, INTERRUPTED = 0, 1, 2, 130
COUNTS = ("refreshed", "verified", "skipped", "failing", "reauthorize", "remaining")
_GAP = 2  # columns
_NARROWEST_LAST = 28  # columns; with less left for the last one, a record for each row is easier to read
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
    return f"{count} {thing}{'' if count == 1 else 's'}"


def first_of(names: Sequence[str], most: int, separator: str = ", ") -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return separator.join(names[:most]) + more


def in_columns(
    head: Sequence[str], rows: Sequence[Sequence[str]], window: int | None, spare: Sequence[int] = ()
) -> Iterator[str]:
    """The lines of a table whose last column is wrapped, or, in a narrow window, of one record for each row.

    Args:
        head: What each column is.
        rows: The cells; all but the last of each may be painted.
        window: How wide it is; None: without bounds.
        spare: Places of columns that are left out where the table fits only without them.
    """
    window = window or sys.maxsize
    for left_out in ((), spare):
        kept = [place for place in range(len(head)) if place not in left_out]
        table = [[row[place] for place in kept] for row in (head, *rows)]
        *widths, last = (max(map(width, column)) for column in zip(*table, strict=True))
        left = sum(widths) + _GAP * len(widths)
        if left + min(last, _NARROWEST_LAST) <= window:
            return _lines(table, widths, min(last, window - left))
    return _records(head, rows, window)


def _lines(table: Sequence[Sequence[str]], widths: Sequence[int], room: int) -> Iterator[str]:
    left = sum(widths) + _GAP * len(widths)
    for number, row in enumerate(table):
        cells = [padded(cell, size + _GAP) for cell, size in zip(row[:-1], widths, strict=True)]
        first, *more = wrapped(row[-1], room)
        line = ("".join(cells) + first).rstrip()
        yield line if number else _bold(line)
        yield from (" " * left + part for part in more)


def _records(head: Sequence[str], rows: Sequence[Sequence[str]], window: int) -> Iterator[str]:
    indent = max(len(name) for name in head[1:]) + _GAP + 2
    for number, row in enumerate(rows):
        if number:
            yield ""
        yield _bold(row[0])
        for name, cell in zip(head[1:], row[1:], strict=True):
            plain = click.unstyle(cell)
            for place, part in enumerate(wrapped(plain, max(12, window - indent)) if plain else ()):
                label = " " * indent if place else f"  {name}".ljust(indent)
                yield label + (cell if part == plain else part)


def _bold(text: str) -> str:
    return click.style(text, bold=True) if colour_wanted() else text


def width(text: str) -> int:
    """Columns that a text takes: two for East Asian wide characters, none for marks and joiners and colours."""
    plain = click.unstyle(text)
    return len(plain) if plain.isascii() else sum(map(_width, plain))


def padded(text: str, columns: int) -> str:
    """The text with spaces behind it, up to so many columns."""
    return text + " " * (columns - width(text))


def cut(text: str, columns: int) -> str:
    """The text, or its beginning with an ellipsis where it takes more columns."""
    return text if width(text) <= columns else _beginning(text, columns - 1) + "…"


def wrapped(text: str, columns: int) -> Iterator[str]:
    """The text in lines of so many columns, broken at spaces; a longer word is broken where it has to be."""
    line = ""
    for word in text.split():
        longer = f"{line} {word}" if line else word
        if width(longer) <= columns:
            line = longer
            continue
        if line:
            yield line
        rest = word
        while width(rest) > columns:
            head = _beginning(rest, columns) or rest[0]
            yield head
            rest = rest[len(head) :]
        line = rest
    yield line


def _beginning(text: str, columns: int) -> str:
    taken = 0
    for place, letter in enumerate(text):
        taken += _width(letter)
        if taken > columns:
            return text[:place]
    return text


def _width(letter: str) -> int:
    if unicodedata.category(letter) in _NOTHING:
        return 0
    return 2 if unicodedata.east_asian_width(letter) in {"W", "F"} else 1
