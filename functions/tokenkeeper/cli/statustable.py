"""The overview for a person: which connections are chosen and shown, counts first, then a table. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from tokenkeeper.cli import terminal
from tokenkeeper.cli.show import COUNTS, number_of
from tokenkeeper.cli.status import Line, Overview, ago
from tokenkeeper.cli.textwidth import cut
from tokenkeeper.connection import Connection

HEAD = ("connection", "health", "advertisers or account", "connected", "ends", "what to do")
MOST_SHOWN = 50  # connections; with more, only those that need something are shown
_LONGEST_NAME = 30  # columns of an advertiser's name
_COLOURS = {"ok": "green", "reauthorize": "red", "orphaned": "red"}


@dataclass(frozen=True, slots=True)
class Selection:
    """Which connections are wanted.

    Attributes:
        names: These alone; none: all.
        health: Only those of this health; empty: any.
        labels: Only those with all of these labels.
        all: Show all that are wanted, however many.
    """

    names: Sequence[str] = ()
    health: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    all: bool = False

    def of(self, found: Overview) -> Overview:
        """The overview of those that are wanted."""
        names = set(self.names)
        chosen = (
            line
            for line in found.lines
            if (not names or line.name in names)
            and (not self.health or line.health == self.health)
            and self.labels.items() <= line.connection.labels.items()
        )
        return replace(found, lines=tuple(chosen))

    def shown(self, lines: Sequence[Line]) -> Sequence[Line]:
        """Those of them that are shown."""
        if self.all or self.names or self.health or len(lines) <= MOST_SHOWN:
            return lines
        return [line for line in lines if line.todo]


def lines_of(found: Overview, selection: Selection, now: datetime, columns: int | None) -> Iterator[str]:
    """The lines to print.

    Args:
        found: The overview of those that are wanted.
        selection: Which of them are shown.
        now: The time.
        columns: Columns of the window; None: without bounds.
    """
    if found.lines:
        counts = ", ".join(f"{number:,} {health}" for health, number in found.counts.items())
        total = f"{len(found.lines):,} connection{'' if len(found.lines) == 1 else 's'}"
        yield f"{total}: {counts}."
        shown = selection.shown(found.lines)
        if shown:
            yield ""
            yield from _table(shown, columns)
        hidden = len(found.lines) - len(shown)
        if hidden:
            yield f"{number_of(hidden, 'connection')} that need nothing are not shown: ALL=1 (--all) shows them."
    elif selection == Selection(all=selection.all):
        yield "There is no connection yet. Make a connect link: make link CONNECTION=acme"
    else:
        yield "No connection is selected: make status shows all."
    yield ""
    yield _last_run(found, now)


def _table(shown: Sequence[Line], columns: int | None) -> Iterator[str]:
    """All columns, or, where the window is too narrow for them, those that matter most."""
    rows = [_row(line) for line in shown]
    if columns is not None and not terminal.fits(HEAD, rows, columns):
        head, fewer = _narrow(HEAD), [_narrow(row) for row in rows]
        if terminal.fits(head, fewer, columns):
            return terminal.table(head, fewer, columns)
    return terminal.table(HEAD, rows, columns)


def _narrow(row: tuple[str, ...]) -> tuple[str, ...]:
    name, health, _, _, ends, todo = row
    return name, health, ends, todo


def _last_run(found: Overview, now: datetime) -> str:
    run = found.last_run
    said = "There was no run yet."
    if run:
        counts = ", ".join(f"{number} {kind}" for kind, number in run.counts.items() if number and kind in COUNTS)
        when = f"{ago(run.finished, now)} ({run.finished:%Y-%m-%d %H:%M} UTC)"
        said = f"Last run: {when}: {counts or 'nothing to do'}."
    if found.run_is_late:
        return terminal.paint(f"{said} There should have been one since: make doctor", "red")
    return said


def _row(line: Line) -> tuple[str, ...]:
    found = line.connection
    ends = f"{line.ends_at:%Y-%m-%d}" if line.ends_at else "when revoked" if found.kind == "long-lived" else ""
    return (
        line.name,
        terminal.paint(line.health, _COLOURS.get(line.health, "yellow")),
        _account(found) if found.family == "account" else _advertisers(line),
        f"{found.connected_at:%Y-%m-%d}" if found.connected_at else "",
        "ended" if line.health == "reauthorize" else ends,
        line.todo,
    )


def _advertisers(line: Line) -> str:
    ids = line.connection.advertisers
    id_ = ids[0] if ids else ""
    name = line.connection.names.get(id_, "")
    first = f"{cut(name, _LONGEST_NAME)} ({id_})" if name else id_
    more = len(ids) - 1
    return first + (f" +{more}" if more > 0 else "") + (" or more" if line.more_advertisers else "")


def _account(found: Connection) -> str:
    return f"@{cut(found.username, _LONGEST_NAME)}" if found.username else cut(found.open_id, _LONGEST_NAME)
