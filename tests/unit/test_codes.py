"""What each of TikTok's return codes asks for: every code of TikTok's documented lists, and one that none documents."""

from __future__ import annotations

import pytest

from tokenkeeper.errors import Kind
from tokenkeeper.tiktok.codes import SUCCESSES, kind_of

OTHER_APP = "The app_id is inconsistent with the token's app information."


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        (40100, "Too many requests. Please retry in some time.", Kind.THROTTLED),
        (40016, "", Kind.THROTTLED),
        (40132, "", Kind.THROTTLED),
        (40133, "", Kind.THROTTLED),
        (61000, "", Kind.THROTTLED),
        (50000, "System error", Kind.TRANSIENT),
        (50002, "", Kind.TRANSIENT),
        (51000, "", Kind.TRANSIENT),
        (51010, "", Kind.TRANSIENT),
        (60001, "", Kind.TRANSIENT),
        (40202, "", Kind.TRANSIENT),
        (40000, "Parameter error", Kind.TRANSIENT),
        (40002, "auth_code: Missing data for required field.", Kind.TRANSIENT),
        (40006, "", Kind.TRANSIENT),
        (40104, "", Kind.TRANSIENT),
        (12345, "", Kind.TRANSIENT),
        (40101, "", Kind.OPERATOR),
        (40113, "Invalid app id: 7", Kind.OPERATOR),
        (40108, "", Kind.OPERATOR),
        (40124, "", Kind.OPERATOR),
        (-1, "banned Country list", Kind.OPERATOR),
        (41000, "", Kind.OPERATOR),
        (40118, "", Kind.SUSPECT),
        (40119, "", Kind.SUSPECT),
        (40125, "", Kind.SUSPECT),
        (40105, "", Kind.REAUTHORIZE),
        (40106, "", Kind.REAUTHORIZE),
        (40103, "", Kind.REAUTHORIZE),
        (40107, "", Kind.REAUTHORIZE),
        (40131, "", Kind.REAUTHORIZE),
        (40000, OTHER_APP, Kind.REAUTHORIZE),
        (40113, OTHER_APP, Kind.REAUTHORIZE),
        (40105, OTHER_APP, Kind.REAUTHORIZE),
        (50000, OTHER_APP, Kind.TRANSIENT),
        (40102, "", Kind.EXPIRED),
        (40001, "", Kind.PERMISSION),
        (40130, "", Kind.PERMISSION),
        (40110, "", Kind.RESTART),
        (40115, "", Kind.RESTART),
    ],
)
def test_every_code_has_its_kind(code: int, message: str, kind: Kind) -> None:
    """An unknown code passes by itself, as far as anybody knows; two codes depend on TikTok's message."""
    assert kind_of(code, message) is kind


def test_two_codes_are_no_errors() -> None:
    """0, and 20001 for what was done in part."""
    assert {0, 20001} == SUCCESSES
