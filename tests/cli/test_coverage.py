"""Which tables a grant does not cover."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tokenkeeper import grant as grants
from tokenkeeper.grant import Family, Scope, TokenResponse
from tokenkeeper.secret import Secret
from tokenkeeper.tiktok.advertiser import PERMISSIONS
from tokenkeeper.tiktok.coverage import BY_PERMISSION, gaps

ALL = (4, 10, 200, 210, 220, 30)


def missing(scope: Scope, family: Family = "advertiser") -> list[str]:
    """The tables that a grant of this scope does not cover."""
    response = TokenResponse(Secret("t"), scope=scope)
    made = grants.first(response, connection="acme", app_id="7", family=family, asked_at=datetime.now(UTC))
    return [sentence.removeprefix("Not covered: ").partition(" (")[0] for sentence in gaps(replace(made, scope=scope))]


def test_every_permission_opens_something() -> None:
    """The table has each permission that is asked for, in the same order."""
    assert list(BY_PERMISSION) == list(PERMISSIONS)


@pytest.mark.parametrize(
    ("scope", "tables"),
    [
        (ALL, []),
        ((1, 2, 3, 41), []),  # collapsed to parents
        ((), []),  # not known
        ((10, 200, 210, 220, 30), ["all reports and insights"]),
        ((4, 100), ["campaigns", "ad groups", "ads", "audiences"]),
        ((5,), ["advertisers", "campaigns", "ad groups", "ads", "audiences", "all reports and insights"]),
    ],
)
def test_advertisers(scope: tuple[int, ...], tables: list[str]) -> None:
    """A permission counts by its own id or by one that contains it."""
    assert missing(scope) == tables


@pytest.mark.parametrize(
    ("scope", "tables"),
    [
        (("user.info.basic", "user.info.profile", "user.info.stats", "video.list"), []),
        (("user.info.profile", "video.list"), ["profile"]),
        (("user.info.basic",), ["profile", "videos"]),
    ],
)
def test_accounts(scope: tuple[str, ...], tables: list[str]) -> None:
    """A profile needs two scopes together."""
    assert missing(scope, "account") == tables
