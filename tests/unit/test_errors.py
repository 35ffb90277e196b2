"""The tree of errors: as it is drawn, and what an error says and carries."""

from __future__ import annotations

import re

from tokenkeeper import errors
from tokenkeeper.errors import GoogleReason, Kind, TikTokRefused, TikTokSilent


def drawn() -> dict[str, str]:
    """By error, the one above it, as the module's docstring draws it."""
    above: dict[str, str] = {}
    path: list[str] = []
    for line in re.findall(r"```\n(.*?)```", errors.__doc__ or "", re.DOTALL)[0].splitlines():
        indent, name = re.match(r"([ │├└─]*)(\w+)", line).groups()  # type: ignore[union-attr]
        path[len(indent) // 4 :] = [name]
        above[name] = path[-2] if len(path) > 1 else "Exception"
    return above


def test_the_drawn_tree_is_the_real_one() -> None:
    """Every error is drawn, below the one that it derives from."""
    found = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert drawn() == {error.__name__: error.__bases__[0].__name__ for error in found}


def test_googles_words_come_at_the_end_of_a_sentence() -> None:
    """Status, reason and sentence, as far as Google said them."""
    refused = GoogleReason("PERMISSION_DENIED", "SERVICE_DISABLED", "No.")
    said = {
        "": GoogleReason(),
        "Google: No. (PERMISSION_DENIED, SERVICE_DISABLED)": refused,
        "NOT_FOUND": GoogleReason("NOT_FOUND"),
        "No.": GoogleReason(sentence="No."),
    }
    assert [str(reason) for reason in said.values()] == list(said)


def test_tiktoks_request_id_is_in_the_text() -> None:
    """Its support asks for it."""
    assert str(TikTokRefused(Kind.RESTART, 40110, "2026ABC")) == "TikTok answered with code 40110 (request 2026ABC)"
    assert str(TikTokSilent("TikTok did not answer in time")) == "TikTok did not answer in time"
