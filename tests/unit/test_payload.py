"""The JSON that is stored, byte for byte, and what a payload that was edited by hand amounts to."""

from __future__ import annotations

import json

import pytest

from tokenkeeper import payload
from tokenkeeper.errors import PayloadError
from tokenkeeper.grant import Grant, RefreshableGrant
from unit.parts import expiring, granted, long_lived, of_account, refreshable, response

MANY = tuple(str(7_000_000_000_000_000_000 + number) for number in range(3000))


def stored(grant: Grant) -> bytes:
    """The payload with all that a grant has."""
    return payload.of_refresh(grant) if isinstance(grant, RefreshableGrant) else payload.of_token(grant)


class TestWhatIsStored:
    def test_a_long_lived_token_byte_for_byte(self) -> None:
        """One JSON object with its keys in this order, null for a token without an end, times to the second."""
        assert payload.of_token(long_lived()) == (
            b'{"schema": 1, "connection": "acme", "app_id": "7000000000000000000", "access_token": "access-1", '
            b'"expires_at": null, "advertiser_ids": ["7001", "7002"], "scope": [4, 10, 200], '
            b'"obtained_at": "2026-11-22T12:00:00Z"}'
        )

    def test_an_expiring_token_byte_for_byte(self) -> None:
        """What readers get of an expiring grant has its end, and no refresh token."""
        assert payload.of_token(expiring()) == (
            b'{"schema": 1, "connection": "acme", "app_id": "7000000000000000000", "access_token": "access-1", '
            b'"expires_at": "2026-11-23T12:00:00Z", "advertiser_ids": ["7001", "7002"], "scope": [4, 10, 200], '
            b'"obtained_at": "2026-11-22T12:00:00Z"}'
        )

    def test_the_whole_grant_byte_for_byte(self) -> None:
        """The refresh secret has the same keys, then the refresh token and its end."""
        assert payload.of_refresh(expiring()) == payload.of_token(expiring())[:-1] + (
            b', "refresh_token": "refresh-1", "refresh_expires_at": "2027-11-22T12:00:00Z"}'
        )

    def test_an_accounts_token_byte_for_byte(self) -> None:
        """Without advertisers, scopes by name, and two keys after the time; a name that is not known yet is null."""
        assert payload.of_token(of_account()) == (
            b'{"schema": 1, "connection": "organic", "app_id": "7000000000000000000", "access_token": "act.1", '
            b'"expires_at": "2026-11-23T12:00:00Z", "advertiser_ids": [], "scope": ["user.info.basic", "video.list"], '
            b'"obtained_at": "2026-11-22T12:00:00Z", "open_id": "open-1", "username": null}'
        )

    def test_an_accounts_whole_grant_byte_for_byte(self) -> None:
        """The refresh token comes after the account's keys, here too; the name is written as it is, not escaped."""
        named = of_account().with_username("käthe")
        assert payload.of_refresh(named).endswith(
            '"obtained_at": "2026-11-22T12:00:00Z", "open_id": "open-1", "username": "käthe", '
            '"refresh_token": "rft.1", "refresh_expires_at": "2027-11-22T12:00:00Z"}'.encode()
        )

    def test_an_unknown_end_of_a_refresh_token_is_null(self) -> None:
        """TikTok may give a refresh token without saying how long it lives."""
        made = refreshable(response(refresh_token="refresh-1"))
        assert json.loads(payload.of_refresh(made))["refresh_expires_at"] is None


class TestSize:
    def test_too_many_ids_leave_their_number(self) -> None:
        """Where the ids would not fit into 64 KiB, they are null, and their number comes right after."""
        content = payload.of_token(granted(response(advertiser_ids=MANY)))
        assert len(content) <= payload.LARGEST == 65_536
        assert b'"advertiser_ids": null, "advertiser_count": 3000, "scope"' in content

    def test_ids_stay_as_long_as_they_fit_to_the_byte(self) -> None:
        """The limit is Secret Manager's, not a byte less."""
        ids = MANY[:2830]
        room = payload.LARGEST - len(payload.of_token(granted(response("", advertiser_ids=ids))))
        fits = payload.of_token(granted(response("x" * room, advertiser_ids=ids)))
        assert len(fits) == payload.LARGEST
        assert json.loads(fits)["advertiser_ids"] == list(ids)
        over = payload.of_token(granted(response("x" * (room + 1), advertiser_ids=ids)))
        assert json.loads(over)["advertiser_count"] == 2830

    def test_the_larger_payload_may_be_the_only_one_without_room(self) -> None:
        """Each of the two payloads keeps the ids that it can hold."""
        made = refreshable(response("x" * 700, "y" * 4000, advertiser_ids=MANY[:2700]))
        assert json.loads(payload.of_token(made))["advertiser_ids"] == list(MANY[:2700])
        assert json.loads(payload.of_refresh(made))["advertiser_ids"] is None


class TestReading:
    @pytest.mark.parametrize(
        "made",
        [long_lived(), expiring(), of_account(), of_account().with_username("acme")],
        ids=["long-lived", "expiring", "an account's", "an account's with its name"],
    )
    def test_what_was_written_is_read_again(self, made: Grant) -> None:
        """A payload gives back the grant that it was written from, of the same type."""
        read = payload.parse(stored(made), made.connection)
        assert read == made
        assert type(read) is type(made)

    def test_a_count_instead_of_ids_is_read(self) -> None:
        """A payload without the ids says how many there are."""
        read = payload.parse(payload.of_token(long_lived().with_advertisers(MANY)), "acme")
        assert (read.advertiser_ids, read.advertiser_count) == (None, 3000)

    def test_unknown_keys_do_not_matter(self) -> None:
        """A later version may add keys."""
        document = json.loads(payload.of_token(long_lived())) | {"added": {"later": True}}
        assert payload.parse(json.dumps(document).encode(), "acme") == long_lived()

    @pytest.mark.parametrize(
        "content",
        [b"", b"\xff\xfe", b"not json", b"[]", b"null", b'"a text"', b"[" * 100_000],
        ids=["empty", "not UTF-8", "not JSON", "a list", "null", "a text", "a tower of brackets"],
    )
    def test_what_is_no_object_cannot_be_read(self, content: bytes) -> None:
        """A broken payload is an error of its own kind."""
        with pytest.raises(PayloadError):
            payload.parse(content, "acme")

    def test_a_payload_broken_by_hand_cannot_be_read(self) -> None:
        """Any essential part that is missing or wrong is an error whose text quotes nothing of the payload."""
        broken: list[tuple[str, object]] = [
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
            ("open_id", ""),
            ("refresh_token", 5),
            ("refresh_token", ""),
            ("refresh_expires_at", "later"),
        ]
        for key, value in broken:
            document = json.loads(payload.of_refresh(expiring())) | {key: value}
            with pytest.raises(PayloadError) as error:
                payload.parse(json.dumps(document).encode(), "acme")
            assert "access-1" not in str(error.value)
            assert "refresh-1" not in str(error.value)

    @pytest.mark.parametrize("value", [None, 5, "a\nb"], ids=["not known", "a number", "two lines"])
    def test_a_username_that_is_none_does_not_matter(self, value: object) -> None:
        """The token works without it."""
        document = json.loads(payload.of_token(of_account())) | {"username": value}
        assert payload.parse(json.dumps(document).encode(), "organic").username == ""
