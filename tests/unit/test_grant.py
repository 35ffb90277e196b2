"""What TikTok gave, how it is written down to the byte, and what follows from its times."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest

from tokenkeeper import grant
from tokenkeeper.errors import PayloadError
from tokenkeeper.grant import LARGEST_PAYLOAD, Grant
from unit.parts import APP_ID, NOON, expiring, handout, long_lived

DAY = 86_400.0
YEAR = 31_536_000.0


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
        answer = handout(refresh_token=refresh_token, expires_in=expires_in, refresh_expires_in=YEAR)
        made = Grant.first(answer, "acme", APP_ID, NOON)
        assert (made.kind, made.ends_at) == (kind, ends)

    def test_the_end_of_a_refresh_token_that_is_not_there_is_not_kept(self) -> None:
        """A lifetime for a refresh token that was not given means nothing."""
        assert Grant.first(handout(refresh_expires_in=YEAR), "acme", APP_ID, NOON).refresh_expires_at is None


class TestWhatIsStored:
    def test_a_long_lived_token_byte_for_byte(self) -> None:
        """One JSON object with its keys in this order, null for a token without an end, times to the second."""
        assert long_lived().token_payload() == (
            b'{"schema": 1, "connection": "acme", "app_id": "7000000000000000000", "access_token": "access-1", '
            b'"expires_at": null, "advertiser_ids": ["7001", "7002"], "scope": [4, 10, 200], '
            b'"obtained_at": "2026-11-22T12:00:00Z"}'
        )

    def test_an_expiring_token_byte_for_byte(self) -> None:
        """What readers get of an expiring grant has its end, and no refresh token."""
        assert expiring().token_payload() == (
            b'{"schema": 1, "connection": "acme", "app_id": "7000000000000000000", "access_token": "access-1", '
            b'"expires_at": "2026-11-23T12:00:00Z", "advertiser_ids": ["7001", "7002"], "scope": [4, 10, 200], '
            b'"obtained_at": "2026-11-22T12:00:00Z"}'
        )

    def test_the_whole_grant_byte_for_byte(self) -> None:
        """The refresh secret has the same keys, then the refresh token and its end."""
        assert expiring().refresh_payload() == expiring().token_payload()[:-1] + (
            b', "refresh_token": "refresh-1", "refresh_expires_at": "2027-11-22T12:00:00Z"}'
        )

    def test_a_grant_without_a_refresh_token_has_no_refresh_secret(self) -> None:
        """There is nothing to write that the refresher could use."""
        with pytest.raises(ValueError, match="no refresh token"):
            long_lived().refresh_payload()

    def test_an_unknown_end_of_a_refresh_token_is_null(self) -> None:
        """TikTok may give a refresh token without saying how long it lives."""
        made = Grant.first(handout(refresh_token="refresh-1"), "acme", APP_ID, NOON)
        assert json.loads(made.refresh_payload())["refresh_expires_at"] is None

    def test_fractions_of_a_second_never_make_a_token_live_longer(self) -> None:
        """Times are rounded down, lifetimes counted from when the call was sent."""
        made = Grant.first(handout(expires_in=1.9), "acme", APP_ID, NOON + timedelta(milliseconds=999))
        assert made.obtained_at == NOON
        assert made.expires_at == NOON + timedelta(seconds=2)

    def test_a_lifetime_beyond_the_calendar_is_no_end(self) -> None:
        """An absurd lifetime overflows nothing."""
        assert Grant.first(handout(expires_in=1e300), "acme", APP_ID, NOON).expires_at is None

    def test_too_many_ids_leave_their_number(self) -> None:
        """Where the ids would not fit into 64 KiB, they are null, and their number comes right after."""
        ids = tuple(str(7_000_000_000_000_000_000 + number) for number in range(3000))
        made = Grant.first(handout(advertiser_ids=ids), "acme", APP_ID, NOON)
        payload = made.token_payload()
        assert len(payload) <= LARGEST_PAYLOAD
        document = json.loads(payload)
        assert document["advertiser_ids"] is None
        assert document["advertiser_count"] == 3000
        assert list(document) == [
            "schema",
            "connection",
            "app_id",
            "access_token",
            "expires_at",
            "advertiser_ids",
            "advertiser_count",
            "scope",
            "obtained_at",
        ]

    def test_ids_stay_as_long_as_they_fit_to_the_byte(self) -> None:
        """The limit is Secret Manager's, not a byte less."""
        ids = tuple(str(7_000_000_000_000_000_000 + number) for number in range(2830))
        full = Grant.first(handout(advertiser_ids=ids), "acme", APP_ID, NOON)
        room = LARGEST_PAYLOAD - len(full.token_payload())
        token = "access-1" + "x" * room
        fits = Grant.first(handout(token, advertiser_ids=ids), "acme", APP_ID, NOON)
        assert len(fits.token_payload()) == LARGEST_PAYLOAD
        assert json.loads(fits.token_payload())["advertiser_ids"] == list(ids)
        over = Grant.first(handout(token + "x", advertiser_ids=ids), "acme", APP_ID, NOON)
        assert json.loads(over.token_payload())["advertiser_count"] == 2830

    def test_no_repr_shows_a_token(self) -> None:
        """A grant and TikTok's answer can be shown."""
        assert "access-1" not in repr(expiring())
        assert "refresh-1" not in repr(expiring())
        assert "access-1" not in repr(handout(refresh_token="refresh-1"))


class TestReading:
    @pytest.mark.parametrize("made", [long_lived(), expiring()], ids=["long-lived", "expiring"])
    def test_what_was_written_is_read_again(self, made: Grant) -> None:
        """A payload gives back the grant that it was written from."""
        payload = made.refresh_payload() if made.refresh_token else made.token_payload()
        assert grant.parse(payload, "acme") == made

    def test_a_count_instead_of_ids_is_read(self) -> None:
        """A payload without the ids says how many there are."""
        ids = tuple(str(number) for number in range(20_000))
        read = grant.parse(long_lived().with_advertisers(ids).token_payload(), "acme")
        assert (read.advertiser_ids, read.advertiser_count) == (None, 20_000)

    def test_unknown_keys_do_not_matter(self) -> None:
        """A later version may add keys."""
        document = json.loads(long_lived().token_payload()) | {"added": {"later": True}}
        assert grant.parse(json.dumps(document).encode(), "acme") == long_lived()

    @pytest.mark.parametrize(
        "payload",
        [
            b"",
            b"\xff\xfe",
            b"not json",
            b"[]",
            b"null",
            b'"a text"',
            b"[" * 100_000,
        ],
        ids=["empty", "not UTF-8", "not JSON", "a list", "null", "a text", "a tower of brackets"],
    )
    def test_what_is_no_object_cannot_be_read(self, payload: bytes) -> None:
        """A broken payload is an error of its own kind."""
        with pytest.raises(PayloadError):
            grant.parse(payload, "acme")

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("schema", 0),
            ("schema", 2),
            ("schema", None),
            ("connection", "other"),
            ("app_id", None),
            ("app_id", 7),
            ("access_token", ""),
            ("access_token", None),
            ("access_token", ["a"]),
            ("access_token", "line\nbreak"),
            ("access_token", "tökén"),
            ("expires_at", "soon"),
            ("expires_at", 12345),
            ("advertiser_ids", "7001"),
            ("advertiser_ids", [{}]),
            ("obtained_at", None),
            ("obtained_at", "2026-99-99T00:00:00Z"),
            ("refresh_token", 5),
            ("refresh_token", ""),
        ],
    )
    def test_a_payload_broken_by_hand_cannot_be_read(self, key: str, value: object) -> None:
        """Any essential part that is missing or wrong is an error whose text quotes nothing of the payload."""
        document = json.loads(expiring().refresh_payload()) | {key: value}
        with pytest.raises(PayloadError) as error:
            grant.parse(json.dumps(document).encode(), "acme")
        assert "access-1" not in str(error.value)
        assert "refresh-1" not in str(error.value)


class TestRefreshed:
    @pytest.mark.parametrize(
        ("answered", "kept"),
        [(None, "refresh-1"), ("refresh-1", "refresh-1"), ("refresh-2", "refresh-2")],
        ids=["without a refresh token", "with the same", "with a new one"],
    )
    def test_a_refresh_token_is_kept_unless_there_is_a_new_one(self, answered: str | None, kept: str) -> None:
        """An answer without a refresh token keeps the old one."""
        new = expiring().refreshed(handout("access-2", answered, expires_in=DAY), NOON + timedelta(hours=13))
        assert new.refresh_token is not None
        assert (new.access_token.reveal(), new.refresh_token.reveal()) == ("access-2", kept)

    def test_what_the_answer_leaves_out_stays(self) -> None:
        """Advertisers, permissions and the refresh token's end are kept where the answer says nothing of them."""
        answer = handout("access-2", None, advertiser_ids=None, scope=None)
        new = expiring().refreshed(answer, NOON + timedelta(hours=13))
        old = expiring()
        assert (new.advertiser_ids, new.scope, new.refresh_expires_at) == (
            old.advertiser_ids,
            old.scope,
            old.refresh_expires_at,
        )

    def test_a_new_refresh_token_without_an_end_has_none(self) -> None:
        """The end of the old refresh token is not the new one's."""
        new = expiring().refreshed(handout("access-2", "refresh-2", expires_in=DAY), NOON + timedelta(hours=13))
        assert new.refresh_expires_at is None

    def test_a_missing_lifetime_is_not_made_up(self) -> None:
        """An answer without a lifetime gives a token without a known end."""
        assert expiring().refreshed(handout("access-2", "refresh-2"), NOON).expires_at is None

    @pytest.mark.parametrize("clock_off", [timedelta(minutes=-10), timedelta(), timedelta(milliseconds=300)])
    def test_the_newer_of_two_grants_is_always_the_later(self, clock_off: timedelta) -> None:
        """Whatever this machine's clock says, a new grant is later than the one that it replaces."""
        old = expiring()
        assert old.refreshed(handout("access-2"), NOON + clock_off).obtained_at == NOON + timedelta(seconds=1)
        again = Grant.first(handout("access-3"), "acme", APP_ID, NOON + clock_off, old.obtained_at)
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
    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
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
        ],
    )
    def test_lifetimes(self, value: object, seconds: float | None) -> None:
        """A lifetime is a number of seconds above zero, perhaps as text; anything else is none."""
        assert grant.lifetime(value) == seconds

    @pytest.mark.parametrize(
        ("value", "ids"),
        [
            ([4, 10, 7043626160646815746], (4, 10, 7043626160646815746)),
            (["4", " 10 "], (4, 10)),
            ("4,10", (4, 10)),
            ([4, None, "x", True, 1.5], (4,)),
            ([], ()),
            (None, None),
            ({"4": True}, None),
        ],
    )
    def test_permissions(self, value: object, ids: tuple[int, ...] | None) -> None:
        """Permission ids come as numbers, digits or a comma-separated text; what is neither is left out."""
        assert grant.permission_ids(value) == ids

    @pytest.mark.parametrize(
        ("value", "ids"),
        [
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
        ],
    )
    def test_advertisers(self, value: object, ids: tuple[str, ...] | None) -> None:
        """Advertiser ids are digits, each once, in TikTok's order; a list with anything else in it is none."""
        assert grant.advertiser_ids(value) == ids
