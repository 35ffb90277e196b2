"""The terminal: its encoding, colours where they are wanted, hidden input, a bar below the log."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import click

from tokenkeeper import clock, log, settings

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

_BEFORE_BAR = 1.0  # seconds
_END = b"\x04"  # Ctrl-D


def never_fail_for_encoding() -> None:
    """Have what the terminal's encoding cannot show replaced by question marks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with suppress(OSError):  # a stream that cannot be flushed is written to as it is
                stream.reconfigure(errors="replace")


def colour_wanted() -> bool:
    """Whether a terminal may be written to in colours: see no-color.org."""
    given = settings.environment()
    return not given.get("NO_COLOR") and given.get("TERM") != "dumb"


def paint(text: str, colour: str) -> str:
    """The text in a colour; `click.echo` leaves it out where the output is no terminal."""
    return click.style(text, fg=colour) if colour_wanted() else text


def read_hidden(prompt: str, is_whole: Callable[[str], bool]) -> str:
    """What a person types or pastes on a terminal, which does not show it, until `is_whole` says after an Enter.

    It is read as it comes: a terminal's own line editing would cut long lines, and the usual prompt for passwords
    throws away what is pasted after the first line.
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


class Log:
    """Where the log goes: to standard error, on a terminal above a bar that shows how far something is.

    Elsewhere its lines are for people as well, without what the command itself says in the end (severity INFO). The bar
    is there while the log is used as a context manager whose `progress` is called, once that has taken a moment.
    """

    def __init__(self) -> None:
        self._began = clock.monotonic()
        self._bar: ProgressBar[int] | None = None
        self._lock = threading.Lock()
        log.write_to(sys.stderr, self._form)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.render_finish()
            self._bar = None

    def progress(self, done: int, total: int) -> None:
        """So many are done."""
        if not sys.stderr.isatty() or clock.monotonic() - self._began < _BEFORE_BAR:
            return
        with self._lock:
            if self._bar is None:
                self._bar = click.progressbar(length=total, file=sys.stderr, label="Connections", show_pos=True)
            self._bar.update(done - self._bar.pos)

    def _form(self, entry: log.Line) -> str:
        """An entry's line above the bar, which comes back with the next step."""
        if not sys.stderr.isatty() and entry["severity"] == "INFO":
            return ""
        return ("\r\x1b[K" if self._bar else "") + log.readable(entry, clock.now()) + "\n"
