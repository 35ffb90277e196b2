"""How the command line writes: tables that fit the window, colours where they are wanted, a bar below the log."""

from __future__ import annotations

import io
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Self, TextIO, cast

import click

from tokenkeeper import clock, log, settings
from tokenkeeper.cli.textwidth import padded, width, wrapped

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

_GAP = 2
_NARROWEST_LAST = 28  # columns; with less left for the last one, a record for each row is easier to read
_BEFORE_BAR = 1.0  # seconds
_END = b"\x04"  # Ctrl-D


def never_fail_for_encoding() -> None:
    """Have what the terminal's encoding cannot show replaced by question marks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with suppress(OSError):  # a stream that cannot be flushed is written to as it is
                stream.reconfigure(errors="replace")


def colour_wanted(environment: Mapping[str, str] | None = None) -> bool:
    """Whether a terminal may be written to in colours: see no-color.org."""
    given = settings.environment() if environment is None else environment
    return not given.get("NO_COLOR") and given.get("TERM") != "dumb"


def paint(text: str, colour: str) -> str:
    """The text in a colour; `click.echo` leaves it out where the output is no terminal."""
    return click.style(text, fg=colour) if colour_wanted() else text


def window(stream: TextIO) -> int | None:
    """Columns of the window that `stream` writes to; None where it is none."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def table(head: Sequence[str], rows: Sequence[Sequence[str]], columns: int | None) -> Iterator[str]:
    """The lines of a table whose last column is wrapped, or of one record for each row where the window is narrow.

    Args:
        head: What each column is.
        rows: The cells; all but the last of each may be painted.
        columns: Columns of the window; None: without bounds.
    """
    widths, last = _widths(head, rows)
    left = sum(widths) + _GAP * len(widths)
    if columns is not None and not fits(head, rows, columns):
        yield from _records(head, rows, columns)
        return
    room = last if columns is None else max(1, min(last, columns - left))
    for number, row in enumerate([head, *rows]):
        cells = [padded(cell, size + _GAP) for cell, size in zip(row[:-1], widths, strict=True)]
        first, *more = wrapped(row[-1], room)
        line = ("".join(cells) + first).rstrip()
        yield click.style(line, bold=True) if number == 0 and colour_wanted() else line
        yield from (" " * left + part for part in more)


def fits(head: Sequence[str], rows: Sequence[Sequence[str]], columns: int) -> bool:
    """Whether a table of that many columns has room for its last column, wrapped."""
    widths, last = _widths(head, rows)
    left = sum(widths) + _GAP * len(widths)
    return left + min(last, _NARROWEST_LAST) <= columns


def _widths(head: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[list[int], int]:
    *widths, last = (max(width(row[place]) for row in [head, *rows]) for place in range(len(head)))
    return widths, last


def _records(head: Sequence[str], rows: Sequence[Sequence[str]], columns: int) -> Iterator[str]:
    indent = max(len(name) for name in head[1:]) + _GAP + 2
    for number, row in enumerate(rows):
        if number:
            yield ""
        yield click.style(row[0], bold=True) if colour_wanted() else row[0]
        for name, cell in zip(head[1:], row[1:], strict=True):
            plain = click.unstyle(cell)
            parts = list(wrapped(plain, max(12, columns - indent))) if plain else []
            for place, part in enumerate(parts):
                label = f"  {name}".ljust(indent) if place == 0 else " " * indent
                yield label + (cell if part == plain else part)


def read_hidden(prompt: str, is_whole: Callable[[str], bool]) -> str:
    """What a person types or pastes on a terminal, which does not show it.

    It is read as it comes: a terminal's own line editing would cut long lines, and the usual prompt for passwords
    throws away what is pasted after the first line.

    Args:
        prompt: What to ask for.
        is_whole: Whether what was given so far, up to an Enter, is all of it.
    """
    import termios  # where there is a terminal of this kind

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    quiet = [*before[:3], before[3] & ~(termios.ECHO | termios.ICANON), *before[4:]]
    given = b""
    try:
        termios.tcsetattr(terminal, termios.TCSADRAIN, quiet)
        sys.stderr.write(prompt)  # not before: what is typed from now on is hidden
        sys.stderr.flush()
        while piece := os.read(terminal, 65_536):
            given += piece
            if _END in piece or (given.endswith(b"\n") and is_whole(given.decode(errors="replace"))):
                break
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
    sys.stderr.write("\n")
    return given.partition(_END)[0].decode(errors="replace")


class Progress:
    """How far something is: a bar on a terminal, once it has taken more than a moment, with the log above it.

    Use it as a context manager, and its `show` as the progress callback.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._began = clock.monotonic()
        self._bar: ProgressBar[int] | None = None
        self._done = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        log.write_to(cast("TextIO", self))
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            if self._bar:
                self._bar.render_finish()
        log.write_to(self._stream)

    def show(self, done: int, total: int) -> None:
        """So many are done."""
        if not self._stream.isatty() or clock.monotonic() - self._began < _BEFORE_BAR:
            return
        with self._lock:
            if self._bar is None:
                self._bar = click.progressbar(length=total, file=self._stream, label="Connections", show_pos=True)
            self._bar.update(done - self._done)
            self._done = done

    # What the log asks of a stream.

    def isatty(self) -> bool:
        """Whether the stream below is a terminal."""
        return self._stream.isatty()

    def write(self, text: str) -> int:
        """Write above the bar, which comes back with the next step."""
        with self._lock:
            return self._stream.write(("\r\x1b[K" if self._bar else "") + text)

    def flush(self) -> None:
        """Flush the stream below."""
        self._stream.flush()
