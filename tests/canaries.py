"""One mechanism that finds a secret wherever it must not be: everything that leaves the product is put before it."""

import base64
import html
import re
import traceback
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

_SHORTEST = 8  # characters; of anything shorter nobody could say that it is the secret
_PIECE = 16


@dataclass
class Canaries:
    """What must not show up, and everything that was said in public."""

    secrets: dict[str, str] = field(default_factory=dict)  # secret texts, each with the name of what it is
    recorded: list[tuple[str, str]] = field(default_factory=list)  # where, and everything that left the product
    allowed: dict[str, str] = field(default_factory=dict)  # for some, where they belong: a place matches that pattern

    def keep(self, name: str, text: str, *, belongs_in: str = "") -> str:
        """Let a text be a secret, everywhere or everywhere but in places that match `belongs_in`; returns it."""
        if len(text) >= _SHORTEST:
            self.secrets[text] = name
            if belongs_in:
                self.allowed[text] = belongs_in
        return text

    def record(self, where: str, text: str) -> None:
        """Something was said in public."""
        self.recorded.append((where, text))

    def record_error(self, where: str, error: BaseException) -> None:
        """An exception got so far that somebody could print it: its text, its arguments, its traceback, its causes."""
        self.record(where, "".join(traceback.format_exception(error)) + repr(error.args) + str(error))

    def leaks(self) -> list[str]:
        """Where a secret was said, as sentences that do not repeat it."""
        forms: dict[str, list[tuple[str, str]]] = {}
        for text in self.secrets:
            for form in _forms(text):
                forms.setdefault(form[:_SHORTEST], []).append((form, text))
        return sorted(
            {
                f"{self.secrets[text]} in {where}"
                for where, said in self.recorded
                for text in _found(forms, said)
                if not re.fullmatch(self.allowed.get(text, r"(?!)"), where)
            }
        )

    def clear(self) -> None:
        """Forget everything."""
        self.secrets.clear()
        self.recorded.clear()
        self.allowed.clear()


def _found(forms: dict[str, list[tuple[str, str]]], said: str) -> Iterator[str]:
    """The secrets in a text. The forms are looked up by how they begin, since there may be very many of them."""
    for at in range(len(said) - _SHORTEST + 1):
        for form, text in forms.get(said[at : at + _SHORTEST], ()):
            if said.startswith(form, at):
                yield text


@lru_cache(maxsize=100_000)
def _forms(text: str) -> frozenset[str]:
    """A text and a piece of it as they are, in addresses, in HTML, in hexadecimal digits, and inside of base64.

    The piece is the beginning, as cutting a text off leaves it; of a signed text its end, since what comes before the
    signature is neither secret nor all its own.
    """
    piece = text[-_PIECE:] if "." in text else text[:_PIECE]
    quoted = urllib.parse.quote(text, safe="")
    raw = text.encode()
    coded = {
        base64.b64encode(bytes(before) + raw).decode()[-(-before * 4 // 3) : (before + len(raw)) * 4 // 3]
        for before in range(3)
    }
    return frozenset(
        {piece, quoted, urllib.parse.quote(quoted, safe=""), html.escape(text), raw.hex(), raw.hex().upper()}
        | coded
        | {form.replace("+", "-").replace("/", "_") for form in coded}
    )
