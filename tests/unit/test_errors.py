"""The tree of errors: as it is drawn, and what an error says and carries."""

from __future__ import annotations

import inspect
import re
import types

import pytest

from tokenkeeper import errors
from tokenkeeper.errors import (
    Cause,
    GoogleReason,
    KeeperError,
    Kind,
    StoreForbidden,
    StoreThrottled,
    StoreUnavailable,
    TikTokRefused,
    TikTokSilent,
)


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
    real = {
        name: value.__bases__[0].__name__
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception) and isinstance(value.__module__, str)
    }
    assert drawn() == real


def test_everything_raised_on_purpose_is_below_one_root() -> None:
    """Whoever catches the root catches them all."""
    found = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, Exception)]
    assert all(issubclass(value, KeeperError) for value in found)
    assert isinstance(errors, types.ModuleType)


def test_throttled_is_a_way_of_being_unavailable() -> None:
    """Who tries again what is unavailable tries again what was too many calls."""
    assert issubclass(StoreThrottled, StoreUnavailable)


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (GoogleReason(), ""),
        (GoogleReason("PERMISSION_DENIED", "", "No."), "Google: No. (PERMISSION_DENIED)"),
        (
            GoogleReason("PERMISSION_DENIED", "SERVICE_DISABLED", "No."),
            "Google: No. (PERMISSION_DENIED, SERVICE_DISABLED)",
        ),
        (GoogleReason("NOT_FOUND"), "NOT_FOUND"),
        (GoogleReason(sentence="No."), "No."),
    ],
    ids=["nothing", "a status and a sentence", "with a reason", "a status alone", "a sentence alone"],
)
def test_googles_words_come_at_the_end_of_a_sentence(reason: GoogleReason, text: str) -> None:
    """Status, reason and sentence, as far as Google said them."""
    assert str(reason) == text


def test_every_cause_has_a_remedy() -> None:
    """A sentence for the operator."""
    assert all(re.fullmatch(r"[A-Z].*\.", cause.value) for cause in Cause)


def test_an_error_of_the_store_says_which_secret() -> None:
    """Its handler needs the secret and Google's reason; without one it is empty."""
    error = StoreForbidden("No.", "tiktok-ads-token-acme")
    assert (str(error), error.secret_id, error.reason) == ("No.", "tiktok-ads-token-acme", GoogleReason())


def test_an_error_of_tiktoks_carries_code_and_request_id() -> None:
    """TikTok's support asks for the request id, so it is in the text."""
    refused = TikTokRefused(Kind.REAUTHORIZE, 40105, "2026ABC")
    assert str(refused) == "TikTok answered with code 40105 (request 2026ABC)"
    assert (refused.kind, refused.code, refused.request_id) == (Kind.REAUTHORIZE, 40105, "2026ABC")
    assert str(TikTokSilent("TikTok did not answer in time")) == "TikTok did not answer in time"
