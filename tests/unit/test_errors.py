"""The tree of errors: as it is drawn, and what an error says and carries."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

from tokenkeeper import errors
from tokenkeeper.errors import GoogleReason, KeeperError, Kind, TikTokRefused, TikTokSilent

PACKAGE = Path(str(errors.__file__)).parent


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
    """Every error of the product is drawn, whichever module it is in, below the one that it derives from."""
    for file in PACKAGE.rglob("*.py"):
        if file.stem != "__main__":
            import_module(".".join(("tokenkeeper", *file.relative_to(PACKAGE).with_suffix("").parts)))
    found, new = {KeeperError: "Exception"}, [KeeperError]
    while new:
        derived = [(error, above) for above in new for error in above.__subclasses__()]
        found |= {error: above.__name__ for error, above in derived}
        new = [error for error, _ in derived]
    ours = {error.__name__: above for error, above in found.items() if error.__module__.startswith("tokenkeeper.")}
    assert drawn() == ours


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
