"""What commands print: results on standard output, all else on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from tokenkeeper.cli import terminal

if TYPE_CHECKING:
    from tokenkeeper.cli.context import Context

WELL, NEEDS_PERSON, COULD_NOT, INTERRUPTED = 0, 1, 2, 130
COUNTS = ("refreshed", "verified", "skipped", "failing", "reauthorize", "remaining")


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


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A result in columns."""
    for line in terminal.table(head, rows, terminal.window(sys.stdout)):
        click.echo(line)


def number_of(count: int, thing: str) -> str:
    """The count with its noun: `1 connection`, `2 connections`."""
    return f"{count} {thing}{'' if count == 1 else 's'}"


def first_of(names: Sequence[str], most: int) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def summary(status: int, document: dict[str, Any]) -> None:
    """What a run came to."""
    counts = [f"{document[kind]} {kind}" for kind in COUNTS if document.get(kind)]
    head = f"{number_of(document.get('connections', 0), 'connection')} in {document.get('seconds', 0):.1f} s"
    click.echo(f"{head}: {', '.join(counts)}." if counts else f"{head}.")
    attention = document.get("attention", [])
    if attention:
        needed = terminal.paint("A person is needed", "red")
        click.echo(f"{needed} for {first_of(attention, 20)}. What to do: make status")
    if document.get("error"):
        say(document["error"])
    elif status != 200:
        say("The run is not complete: make refresh goes on with it.")
