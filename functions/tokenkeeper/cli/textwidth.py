"""Text in columns: how wide it is on a terminal, cut and wrapped by that width. No I/O."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

import click

_NOTHING = {"Mn", "Me", "Cf"}  # combining marks, joiners and other invisible characters


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
