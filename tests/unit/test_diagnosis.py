"""What a connection's two secrets amount to: the whole table of cases, without a server."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tokenkeeper import payload
from tokenkeeper.grant import Grant, RefreshableGrant
from tokenkeeper.refresh.diagnosis import (
    Diagnosis,
    NotRefreshable,
    Sound,
    TokenBehind,
    Unreadable,
    diagnose,
    read,
)
from tokenkeeper.store.persist import Numbers
from tokenkeeper.store.versions import Newest
from unit.parts import NOON, expiring, long_lived, of_account, refreshable, response

NOTHING = Newest(0, None)
BROKEN = Newest(3, b"edited by hand")
DISABLED = Newest(3, None)
OLD, NEW = expiring(), expiring(at=NOON + timedelta(hours=13))
MANY = tuple(str(7_000_000_000_000_000_000 + number) for number in range(2830))


def token(grant: Grant, number: int = 3) -> Newest:
    """The token secret's newest version."""
    return Newest(number, payload.of_token(grant))


def refresh(grant: RefreshableGrant, number: int = 2) -> Newest:
    """The refresh secret's newest version."""
    return Newest(number, payload.of_refresh(grant))


def diagnosed(of_token: Newest, of_refresh: Newest) -> Diagnosis:
    """What these amount to."""
    return diagnose(read(of_token, of_refresh, "acme"))


CASES: dict[str, tuple[Newest, Newest, Diagnosis]] = {
    "both hold the same grant": (token(NEW), refresh(NEW), Sound(NEW)),
    "a long-lived grant alone": (token(long_lived()), NOTHING, NotRefreshable(long_lived(), superseded=False)),
    "a later grant without a refresh token": (
        token(long_lived(at=NOON + timedelta(days=1))),
        refresh(NEW),
        NotRefreshable(long_lived(at=NOON + timedelta(days=1)), superseded=True),
    ),
    "the token secret is behind": (token(OLD), refresh(NEW), TokenBehind(NEW, unreadable=False)),
    "the token secret is empty": (NOTHING, refresh(NEW), TokenBehind(NEW, unreadable=False)),
    "the token secret was edited by hand": (BROKEN, refresh(NEW), TokenBehind(NEW, unreadable=True)),
    "the token secret is disabled": (DISABLED, refresh(NEW), TokenBehind(NEW, unreadable=True)),
    "an earlier grant without a refresh token": (
        token(long_lived()),
        refresh(NEW),
        TokenBehind(NEW, unreadable=False),
    ),
    "another token of the same second": (
        token(refreshable(response("access-x", "refresh-x"))),
        refresh(OLD),
        TokenBehind(OLD, unreadable=False),
    ),
    "neither has a version": (NOTHING, NOTHING, Unreadable("The token secret has no version.")),
    "the token secret cannot be read, and there is no other": (
        BROKEN,
        NOTHING,
        Unreadable("The token secret cannot be read."),
    ),
    "the refresh secret cannot be read": (token(NEW), BROKEN, Unreadable("The refresh secret cannot be read.")),
    "neither can be read": (DISABLED, BROKEN, Unreadable("The refresh secret cannot be read.")),
    "the refresh secret holds no refresh token": (
        token(NEW),
        token(NEW),
        Unreadable("The refresh secret holds no refresh token."),
    ),
    "a payload of another connection": (
        token(expiring("beta")),
        NOTHING,
        Unreadable("The token secret cannot be read."),
    ),
}


@pytest.mark.parametrize(("of_token", "of_refresh", "diagnosis"), CASES.values(), ids=CASES)
def test_every_case(of_token: Newest, of_refresh: Newest, diagnosis: Diagnosis) -> None:
    """Of two grants the one obtained later counts, never what merely exists."""
    found = diagnosed(of_token, of_refresh)
    if isinstance(found, NotRefreshable) and isinstance(diagnosis, NotRefreshable):
        assert found.superseded == diagnosis.superseded
        assert payload.of_token(found.grant) == payload.of_token(diagnosis.grant)
    else:
        assert found == diagnosis


def test_a_token_secret_may_know_the_ids_that_the_other_had_no_room_for() -> None:
    """The grant is made whole from both."""
    large = refreshable(response("a", "r" * 4000, advertiser_ids=MANY))
    stored = read(token(large), refresh(large), "acme")
    assert stored.from_refresh is not None
    assert stored.from_refresh.advertiser_ids is None
    found = diagnose(stored)
    assert isinstance(found, Sound)
    assert found.grant.advertiser_ids == MANY


def test_a_username_that_came_later_is_kept() -> None:
    """It is fetched beside storing, so the token secret may be the first to have it."""
    account = of_account("acme")
    found = diagnosed(token(account.with_username("acme.shoes")), refresh(account))
    assert isinstance(found, Sound)
    assert found.grant.username == "acme.shoes"


def test_the_numbers_are_those_of_the_versions_that_were_read() -> None:
    """Whoever writes next compares with them."""
    stored = read(token(NEW, 7), refresh(NEW, 5), "acme")
    assert stored.numbers == Numbers(7, 5)
    assert not stored.empty
    assert read(NOTHING, NOTHING, "acme").empty
