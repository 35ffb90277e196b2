"""What TikTok granted, and what follows from its times: when it is due, and when it ends."""

from datetime import timedelta

import pytest

from tokenkeeper import grant
from tokenkeeper.grant import RefreshableGrant
from unit.parts import DAY, NOON, YEAR, expiring, granted, of_account, response

KINDS = {
    "neither refresh token nor lifetime": (None, None, "long-lived", None),
    "both": ("refresh-1", DAY, "expiring", NOON + timedelta(days=365)),
    "a refresh token alone": ("refresh-1", None, "expiring", NOON + timedelta(days=365)),
    "a lifetime alone": (None, DAY, "expiring", NOON + timedelta(days=1)),
}


class TestTheResponseDecides:
    def test_kind_and_end(self) -> None:
        """A grant is expiring if it can be refreshed or ends; it ends when what renews it does, else with its token."""
        for case, (refresh_token, expires_in, kind, ends) in KINDS.items():
            made = granted(response(refresh_token=refresh_token, expires_in=expires_in, refresh_expires_in=YEAR))
            assert (made.kind, made.ends_at) == (kind, ends), case
            assert isinstance(made, RefreshableGrant) is (refresh_token is not None), case
        assert granted(response(scope=None)).scope == ()

    def test_fractions_of_a_second_never_make_a_token_live_longer(self) -> None:
        """Times are rounded down, lifetimes counted from when the call was sent."""
        made = granted(response(expires_in=1.9), at=NOON + timedelta(milliseconds=999))
        assert (made.obtained_at, made.expires_at) == (NOON, NOON + timedelta(seconds=2))

    def test_a_lifetime_beyond_the_calendar_is_no_end(self) -> None:
        """An absurd lifetime overflows nothing."""
        assert granted(response(expires_in=1e300)).expires_at is None


class TestChanged:
    def test_a_username_that_is_not_told_does_not_replace_one(self) -> None:
        """A name that was fetched once stays."""
        assert of_account().with_username("acme").with_username("").username == "acme"

    def test_a_date_is_never_earlier_than_what_it_replaces(self) -> None:
        """Whatever the clock says, a grant is dated after the one before."""
        assert expiring().dated(NOON - timedelta(hours=1), NOON).obtained_at == NOON + timedelta(seconds=1)
        assert expiring().dated(NOON + timedelta(hours=1), None).obtained_at == NOON + timedelta(hours=1)


@pytest.mark.parametrize(
    ("answered", "kept"),
    [(None, "refresh-1"), ("refresh-1", "refresh-1"), ("refresh-2", "refresh-2")],
    ids=["without a refresh token", "with the same", "with a new one"],
)
def test_what_a_refresh_leaves_out_stays(answered: str | None, kept: str) -> None:
    """An answer without a refresh token keeps the old one; the end of one token is not that of another."""
    old = expiring()
    new = old.refreshed(response("access-2", answered, advertiser_ids=None, scope=None), NOON)
    assert (new.access_token.reveal(), new.refresh_token.reveal()) == ("access-2", kept)
    assert (new.advertiser_ids, new.scope, new.expires_at) == (old.advertiser_ids, old.scope, None)
    assert new.refresh_expires_at == (old.refresh_expires_at if kept == "refresh-1" else None)
    told = old.refreshed(response("access-2", answered, refresh_expires_in=DAY, scope=(4,)), NOON)
    assert (told.refresh_expires_at, told.scope) == (NOON + timedelta(days=1), (4,))


def test_due_past_half_of_the_tokens_life() -> None:
    """A grant is due at half of its access token's life, or at 12 hours where TikTok gave no lifetime."""
    due = {
        (11.99, 24): False,
        (12, 24): True,
        (11.99, None): False,
        (12, None): True,
        (-0.1, 24): False,  # written by a clock six minutes ahead
        (-2, 24): True,  # by a clock hours ahead
    }
    assert {
        (age, life): grant.due(
            NOON, None if life is None else NOON + timedelta(hours=life), NOON + timedelta(hours=age)
        )
        for age, life in due
    } == due


class TestFields:
    """Numbers come as text, lists as text with commas; of permissions and scopes, what is none is left out."""

    def test_lifetimes(self) -> None:
        """A number of seconds above zero, perhaps as text."""
        odd = [0, -5, "soon", None, True, [86400], float("nan"), "inf", 10**400]
        assert [grant.lifetime(value) for value in (0.5, "86400", *odd)] == [0.5, 86400.0, *[None] * len(odd)]

    def test_permissions(self) -> None:
        """Numbers, some of them longer than others."""
        told = [[4, 7043626160646815746], ["4", " 10 "], "4,10", [4, None, "x", True, 1.5], None, {"4": True}]
        assert [grant.scope("advertiser", value) for value in told] == [
            (4, 7043626160646815746), (4, 10), (4, 10), (4,), None, None,
        ]  # fmt: skip

    def test_scopes(self) -> None:
        """Names of bounded length."""
        told = [[" video.list "], "user.info.basic,video.list", ["a", None, 7, "", "\n", "ä", "x" * 101], None]
        assert [grant.scope("account", value) for value in told] == [
            ("video.list",), ("user.info.basic", "video.list"), ("a",), None,
        ]  # fmt: skip

    def test_advertisers(self) -> None:
        """Digits, each id once; a list with anything else in it is not believed."""
        odd = ["7001", None, ["acme"], [True], [-1], ["٣"], ["1" * 33]]
        assert [grant.advertiser_ids(value) for value in ([7001, "7001", "7002"], [], *odd)] == [
            ("7001", "7002"), (), *[None] * len(odd),
        ]  # fmt: skip
