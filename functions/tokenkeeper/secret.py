"""A text that must not show up anywhere, and a way to tell two of them apart all the same."""

from __future__ import annotations

import hashlib
import hmac
from typing import NoReturn


class Secret:
    """A text that stays hidden in every repr, str, format and traceback; `reveal` returns it.

    Not a dataclass and without a `__dict__`, so that no generic serialiser finds the text.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself. Call it where the text is sent or stored, not before."""
        return self._text

    @property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits of the text's hash: enough to tell two apart, not enough to guess from."""
        return hashlib.sha256(b"tokenkeeper:" + self._text.encode()).hexdigest()[:8]

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __bool__(self) -> bool:
        return bool(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled")
