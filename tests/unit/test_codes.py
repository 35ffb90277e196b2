"""What each of TikTok's return codes asks for: every code of TikTok's documented lists, and one that none documents."""

from __future__ import annotations

import pytest

from tokenkeeper.errors import Kind
from tokenkeeper.tiktok.codes import SUCCESSES, kind_of

OTHER_APP = "The app_id is inconsistent with the token's app information."


@pytest.mark.parametrize(
    ("kind", "answers"),
    [
        (
            Kind.THROTTLED,
            [
                (40100, "Too many requests. Please retry in some time."),
                (40016, ""),
                (40132, ""),
                (40133, ""),
                (61000, ""),
            ],
        ),
        (
            Kind.TRANSIENT,
            [
                (50000, "System error"),
                (50002, ""),
                (51000, ""),
                (51010, ""),
                (60001, ""),
                (40202, ""),
                (40000, "Parameter error"),
                (40002, "auth_code: Missing data for required field."),
                (40006, ""),
                (40104, ""),
                (12345, ""),
                (50000, OTHER_APP),
            ],
        ),
        (
            Kind.OPERATOR,
            [
                (40101, ""),
                (40113, "Invalid app id: 7"),
                (40108, ""),
                (40124, ""),
                (-1, "banned Country list"),
                (41000, ""),
            ],
        ),
        (Kind.SUSPECT, [(40118, ""), (40119, ""), (40125, "")]),
        (
            Kind.REAUTHORIZE,
            [
                (40105, ""),
                (40106, ""),
                (40103, ""),
                (40107, ""),
                (40131, ""),
                (40000, OTHER_APP),
                (40113, OTHER_APP),
                (40105, OTHER_APP),
            ],
        ),
        (Kind.EXPIRED, [(40102, "")]),
        (Kind.PERMISSION, [(40001, ""), (40130, "")]),
        (Kind.RESTART, [(40110, ""), (40115, "")]),
    ],
    ids=[
        "too many calls",
        "passes by itself",
        "the app's trouble",
        "the app's trouble or one advertiser's",
        "needs a person",
        "the access token is over",
        "a permission is missing",
        "begin again",
    ],
)
def test_every_code_has_its_kind(kind: Kind, answers: list[tuple[int, str]]) -> None:
    """An unknown code passes by itself, as far as anybody knows; two codes depend on TikTok's message."""
    assert {answer: kind_of(*answer) for answer in answers} == dict.fromkeys(answers, kind)


def test_two_codes_are_no_errors() -> None:
    """0, and 20001 for what was done in part."""
    assert {0, 20001} == SUCCESSES
