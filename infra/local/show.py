"""Prints what the programs of `make run` write, from their start to their end."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from typing import TextIO

import click

from local.banner import banner
from local.processes import Ended, Line, Processes, Ready, Stop
from local.setup import Setup
from tokenkeeper import clock, log
from tokenkeeper.cli import terminal

_COLOURS = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red", "NOTICE": "green"}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Show:
    """The output.

    Args:
        setup: What was started.
        processes: The running programs.
        stream: Where it is printed.
    """

    def __init__(self, setup: Setup, processes: Processes, stream: TextIO = sys.stdout) -> None:
        self._setup = setup
        self._processes = processes
        self._stream = stream
        self._coloured = stream.isatty() and terminal.colour_wanted()
        self._awaited = {program.name for program in setup.programs()}
        self._width = max(map(len, self._awaited))
        self._last: dict[str, str] = {}

    def go(self) -> int:
        """Prints until the end; returns the exit status."""
        early: list[Line] = []
        while True:
            match self._processes.events.get():
                case Line() as line:
                    self._last[line.name] = line.text
                    if self._awaited:
                        early.append(line)
                    else:
                        self._print(line)
                case Ready(name):
                    self._awaited.discard(name)
                    if not self._awaited:
                        self._setup.save()
                        self._say(banner(self._setup))
                        for line in early:
                            self._print(line)
                case Ended(name, status):
                    if self._awaited:
                        for line in early[:-1]:
                            self._print(line)
                    self._explain(name, status)
                    return 1
                case Stop():
                    self._say("Stopping.")
                    return 0

    def _explain(self, name: str, status: int) -> None:
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        last = _clean(self._last.get(name, "none"))
        print(f"{name} {how}, so everything else is stopped, too. Its last line: {last}", file=sys.stderr)

    def _print(self, line: Line) -> None:
        tag = line.name.ljust(self._width) + " | "
        entry = _entry(line.text)
        text = _clean(line.text) if entry is None else log.readable(entry, clock.now())
        if self._coloured:
            tag = click.style(tag, dim=True)
            colour = None if entry is None else _COLOURS.get(str(entry.get("severity")))
            text = click.style(text, fg=colour, dim=entry is None)
        self._say(tag + text)

    def _say(self, text: str) -> None:
        with contextlib.suppress(BrokenPipeError):
            print(text, file=self._stream, flush=True)


def _entry(text: str) -> dict[str, object] | None:
    if not text.startswith("{"):
        return None
    try:
        entry = json.loads(text)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and "message" in entry else None


def _clean(text: str) -> str:
    return _CONTROL.sub(" ", text)
