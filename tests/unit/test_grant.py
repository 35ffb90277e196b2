"""What TikTok granted, and what follows from its times: when it is due, and when it ends."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from tokenkeeper import grant
from tokenkeeper.grant import RefreshableGrant
from unit.parts import APP_ID, DAY, NOON, YEAR, expiring, granted, of_account, response


class TestTheResponseDecides:
    @pytest.mark.parametrize(
        ("refresh_token", "expires_in", "kind", "ends"),
        [
            (None, None, "long-lived", None),
            ("refresh-1", DAY, "expiring", NOON + timedelta(days=365)),
            ("refresh-1", None, "expiring", NOON + timedelta(days=365)),
            (None, DAY, "expiring", NOON + timedelta(days=1)),
        ],
        ids=[
            "neither refresh token nor lifetime",
            "both",
            "a refresh token without a lifetime",
            "a lifetime without a refresh token",
        ],
    )
    def test_kind_and_end(
        self, refresh_token: str | None, expires_in: float | None, kind: str, ends: datetime | None
    ) -> None:
        """A grant is expiring if it can be refreshed or ends; it ends when what renews it does, else with its token."""
        answer = response(refresh_token=refresh_token, expires_in=expires_in, refresh_expires_in=YEAR)
        made = granted(answer)
        assert (made.kind, made.ends_at) == (kind, ends)

    def test_only_a_refresh_token_makes_a_grant_refreshable(self) -> None:
        """What has none is of another type, so that nobody asks it for one."""
        assert isinstance(granted(response(refresh_token="refresh-1")), RefreshableGrant)
        assert not isinstance(granted(response(expires_in=DAY)), RefreshableGrant)

    def test_the_end_of_a_refresh_token_that_is_not_there_is_not_kept(self) -> None:
        """A lifetime for a refresh token that was not given means nothing."""
        assert granted(response(expires_in=DAY, refresh_expires_in=YEAR)).ends_at == NOON + timedelta(days=1)

    def test_fractions_of_a_second_never_make_a_token_live_longer(self) -> None:
        """Times are rounded down, lifetimes counted from when the call was sent."""
        made = granted(response(expires_in=1.9), at=NOON + timedelta(milliseconds=999))
        assert (made.obtained_at, made.expires_at) == (NOON, NOON + timedelta(seconds=2))

    def test_a_lifetime_beyond_the_calendar_is_no_end(self) -> None:
        """An absurd lifetime overflows nothing."""
        assert granted(response(expires_in=1e300)).expires_at is None

    def test_an_accounts_grant_names_its_account(self) -> None:
        """It has an open id and names of scopes, and no advertisers."""
        made = of_account()
        assert (made.family, made.open_id, made.scope) == ("account", "open-1", ("user.info.basic", "video.list"))
        assert (made.advertiser_ids, made.advertiser_count) == ((), 0)

    def test_no_repr_shows_a_token(self) -> None:
        """A grant and TikTok's answer can be shown."""
        for shown in (repr(expiring()), repr(response(refresh_token="refresh-1"))):
            assert "access-1" not in shown
            assert "refresh-1" not in shown


class TestChanged:
    def test_other_advertisers_are_counted(self) -> None:
        """The number follows the ids."""
        changed = expiring().with_advertisers(["7003"])
        assert (changed.advertiser_ids, changed.advertiser_count) == (("7003",), 1)

    def test_a_username_that_is_not_told_does_not_replace_one(self) -> None:
        """A name that was fetched once stays."""
        assert of_account().with_username("acme").with_username("").username == "acme"

    def test_the_same_token_at_another_time_is_another_grant(self) -> None:
        """Token and time together say whether both secrets hold the same."""
        assert expiring().same_token(expiring().with_advertisers([]))
        assert not expiring().same_token(expiring(at=NOON + timedelta(seconds=1)))

    def test_a_date_is_never_earlier_than_what_it_replaces(self) -> None:
        """Whatever the clock says, a grant is dated after the one before."""
        assert expiring().dated(NOON - timedelta(hours=1), NOON).obtained_at == NOON + timedelta(seconds=1)
        assert expiring().dated(NOON + timedelta(hours=1), None).obtained_at == NOON + timedelta(hours=1)


class TestRefreshed:
    @pytest.mark.parametrize(
        ("answered", "kept"),
        [(None, "refresh-1"), ("refresh-1", "refresh-1"), ("refresh-2", "refresh-2")],
        ids=["without a refresh token", "with the same", "with a new one"],
    )
    def test_a_refresh_token_is_kept_unless_there_is_a_new_one(self, answered: str | None, kept: str) -> None:
        """An answer without a refresh token keeps the old one."""
        new = expiring().refreshed(response("access-2", answered, expires_in=DAY), NOON + timedelta(hours=13))
        assert (new.access_token.reveal(), new.refresh_token.reveal()) == ("access-2", kept)

    def test_what_the_answer_leaves_out_stays(self) -> None:
        """Advertisers, permissions and the refresh token's end are kept where the answer says nothing of them."""
        answer = response("access-2", None, advertiser_ids=None, scope=None)
        new = expiring().refreshed(answer, NOON + timedelta(hours=13))
        old = expiring()
        assert (new.advertiser_ids, new.scope, new.refresh_expires_at) == (
            old.advertiser_ids,
            old.scope,
            old.refresh_expires_at,
        )

    def test_a_new_refresh_token_without_an_end_has_none(self) -> None:
        """The end of the old refresh token is not the new one's."""
        new = expiring().refreshed(response("access-2", "refresh-2", expires_in=DAY), NOON + timedelta(hours=13))
        assert new.refresh_expires_at is None

    def test_a_missing_lifetime_is_not_made_up(self) -> None:
        """An answer without a lifetime gives a token without a known end."""
        assert expiring().refreshed(response("access-2", "refresh-2"), NOON).expires_at is None

    @pytest.mark.parametrize("clock_off", [timedelta(minutes=-10), timedelta(), timedelta(milliseconds=300)])
    def test_the_newer_of_two_grants_is_always_the_later(self, clock_off: timedelta) -> None:
        """Whatever this machine's clock says, a new grant is later than the one that it replaces."""
        old = expiring()
        assert old.refreshed(response("access-2"), NOON + clock_off).obtained_at == NOON + timedelta(seconds=1)
        again = grant.first(
            response("access-3"),
            connection="acme",
            app_id=APP_ID,
            family="advertiser",
            asked_at=NOON + clock_off,
            after=old.obtained_at,
        )
        assert again.obtained_at == NOON + timedelta(seconds=1)


class TestDue:
    @pytest.mark.parametrize(
        ("age", "life", "due"),
        [
            (timedelta(hours=11, minutes=59), timedelta(days=1), False),
            (timedelta(hours=12), timedelta(days=1), True),
            (timedelta(days=3), timedelta(days=1), True),
            (timedelta(minutes=29), timedelta(hours=1), False),
            (timedelta(minutes=30), timedelta(hours=1), True),
            (timedelta(hours=11, minutes=59), None, False),
            (timedelta(hours=12), None, True),
            (timedelta(minutes=-10), timedelta(days=1), False),
            (timedelta(hours=-2), timedelta(days=1), True),
        ],
        ids=[
            "a day's token before half of its life",
            "a day's token at half of its life",
            "a token that is over",
            "an hour's token before half",
            "an hour's token at half",
            "no lifetime, not 12 hours old",
            "no lifetime, 12 hours old",
            "written by a clock ten minutes ahead",
            "written by a clock hours ahead",
        ],
    )
    def test_past_half_of_the_tokens_life(self, age: timedelta, life: timedelta | None, due: bool) -> None:
        """A grant is due at half of its access token's life, or at 12 hours where TikTok gave no lifetime."""
        expires_at = None if life is None else NOON + life
        assert grant.due(NOON, expires_at, NOON + age) is due


class TestFields:
    def test_lifetimes(self) -> None:
        """A lifetime is a number of seconds above zero, perhaps as text; anything else is none."""
        for value, seconds in [
            (86400, 86400.0),
            (0.5, 0.5),
            ("86400", 86400.0),
            (0, None),
            (-5, None),
            ("0", None),
            ("soon", None),
            (None, None),
            (True, None),
            ([86400], None),
            ({}, None),
            (float("nan"), None),
            (float("inf"), None),
            ("inf", None),
            (10**400, None),
        ]:
            assert grant.lifetime(value) == seconds

    def test_permissions(self) -> None:
        """Permission ids come as numbers, digits or a comma-separated text; what is neither is left out."""
        for value, ids in [
            ([4, 10, 7043626160646815746], (4, 10, 7043626160646815746)),
            (["4", " 10 "], (4, 10)),
            ("4,10", (4, 10)),
            ([4, None, "x", True, 1.5], (4,)),
            ([], ()),
            (None, None),
            ({"4": True}, None),
        ]:
            assert grant.permission_ids(value) == ids

    def test_scopes(self) -> None:
        """Names of scopes come as a list or a comma-separated text; what is no name is left out."""
        for value, names in [
            ("user.info.basic,video.list", ("user.info.basic", "video.list")),
            (["user.info.basic", " video.list "], ("user.info.basic", "video.list")),
            (["a", None, 7, "", "\n", "ä", "x" * 101], ("a",)),
            ("", ()),
            (None, None),
        ]:
            assert grant.scope_names(value) == names

    def test_advertisers(self) -> None:
        """Advertiser ids are digits, each once, in TikTok's order; a list with anything else in it is none."""
        for value, ids in [
            (["7001", "7002"], ("7001", "7002")),
            ([7001, "7001"], ("7001",)),
            ([], ()),
            ("7001", None),
            (None, None),
            (["acme"], None),
            ([True], None),
            ([-1], None),
            (["٣"], None),
            (["1" * 33], None),
        ]:
            assert grant.advertiser_ids(value) == ids
