"""Which tables a grant does not cover."""

from dataclasses import replace

from tokenkeeper.grant import Family, Scope
from tokenkeeper.tiktok.coverage import gaps
from unit.parts import long_lived


def missing(scope: Scope, family: Family = "advertiser") -> list[str]:
    """The tables that a grant of this scope does not cover."""
    made = replace(long_lived(), family=family, scope=scope)
    return [sentence.removeprefix("Not covered: ").partition(" (")[0] for sentence in gaps(made)]


def test_advertisers() -> None:
    """A permission counts by its own id or by one that contains it; where none is known, nothing is said."""
    tables = {
        (4, 10, 200, 210, 220, 30): [],
        (1, 2, 3, 41): [],
        (): [],
        (10, 200, 210, 220, 30): ["all reports and insights"],
        (4, 100): ["campaigns", "ad groups", "ads", "audiences"],
        (5,): ["advertisers", "campaigns", "ad groups", "ads", "audiences", "all reports and insights"],
    }
    assert {scope: missing(scope) for scope in tables} == tables


def test_accounts() -> None:
    """A profile needs two scopes together."""
    tables = {
        ("user.info.basic", "user.info.profile", "user.info.stats", "video.list"): [],
        ("user.info.profile", "video.list"): ["profile"],
        ("user.info.basic",): ["profile", "videos"],
    }
    assert {scope: missing(scope, "account") for scope in tables} == tables
