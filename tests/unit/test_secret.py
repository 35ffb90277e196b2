"""A secret value can be told from another without being shown.

That no way of showing, logging or serialising it gives it away is in `security/test_secrets`.
"""

from __future__ import annotations

import re

from tokenkeeper.secret import Secret


def test_equal_texts_are_equal_secrets() -> None:
    """Secrets compare by their text, never with a bare text."""
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


def test_a_fingerprint_tells_two_apart_and_nothing_else() -> None:
    """Eight hexadecimal digits, the same for the same text."""
    mark = Secret("a-token").fingerprint
    assert re.fullmatch("[0-9a-f]{8}", mark)
    assert mark == Secret("a-token").fingerprint != Secret("a-token!").fingerprint
