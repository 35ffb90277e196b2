"""A secret value stays hidden wherever it is shown, and can be told from another."""

from __future__ import annotations

import copy
import json
import pickle
import traceback
from collections.abc import Callable

import pytest

from tokenkeeper.secret import Secret

TEXT = "a-token-that-nobody-sees"


@pytest.mark.parametrize(
    "show",
    [repr, str, "{}".format, "{:>40}".format, "{!r}".format, lambda it: f"{it}", lambda it: "".join(map(str, [it]))],
    ids=["repr", "str", "format", "padded", "format repr", "f-string", "joined"],
)
def test_no_way_of_showing_it_gives_the_text_away(show: Callable[[Secret], str]) -> None:
    """However it is turned into text, the text is a mask."""
    shown = show(Secret(TEXT))
    assert TEXT not in shown
    assert "…" in shown


def test_it_stays_hidden_inside_of_other_things() -> None:
    """Lists, dictionaries and tracebacks show the mask."""
    secret = Secret(TEXT)
    error = RuntimeError([{"token": secret}])
    assert TEXT not in repr([secret, {"a": secret}])
    assert TEXT not in "".join(traceback.format_exception(error))


def test_reveal_hands_the_text_out() -> None:
    """The one who sends or stores it gets the text as it went in."""
    assert Secret(TEXT).reveal() == TEXT


def test_no_serialiser_finds_the_text() -> None:
    """It has no dictionary of attributes, is no JSON and is not pickled."""
    secret = Secret(TEXT)
    assert not hasattr(secret, "__dict__")
    with pytest.raises(TypeError):
        json.dumps(secret)
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        copy.copy(secret)


def test_equal_texts_are_equal_secrets() -> None:
    """Secrets compare by their text, never with a bare text."""
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


def test_an_empty_secret_counts_as_none() -> None:
    """Whether there is anything in it can be asked."""
    assert Secret("x")
    assert not Secret("")


def test_a_fingerprint_tells_two_apart_and_nothing_else() -> None:
    """Eight hexadecimal digits, the same for the same text, with none of it inside."""
    mark = Secret(TEXT).fingerprint
    assert len(mark) == 8
    assert set(mark) <= set("0123456789abcdef")
    assert mark == Secret(TEXT).fingerprint != Secret(TEXT + "!").fingerprint
