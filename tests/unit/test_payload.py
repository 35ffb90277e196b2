"""The JSON that is stored, byte for byte, and what a payload that was edited by hand amounts to."""

import json

import pytest

from tokenkeeper import payload
from tokenkeeper.errors import PayloadError
from tokenkeeper.grant import Grant, RefreshableGrant
from unit.parts import expiring, granted, long_lived, of_account, response

MANY = tuple(str(7_000_000_000_000_000_000 + number) for number in range(3000))


def test_a_refresh_payload_has_the_same_keys_and_two_more() -> None:
    """The refresh token and its end come last; a name is written as it is, not escaped."""
    named = of_account().with_username("käthe")
    assert payload.of_refresh(named) == payload.of_token(named)[:-1] + (
        b', "refresh_token": "rft.1", "refresh_expires_at": "2027-11-22T12:00:00Z"}'
    )
    assert '"username": "käthe"'.encode() in payload.of_token(named)


def test_ids_stay_as_long_as_they_fit_to_the_byte() -> None:
    """The limit is Secret Manager's 64 KiB, not a byte less; then ids are null, and their number comes after."""
    ids = MANY[:2830]
    room = payload.LARGEST - len(payload.of_token(granted(response("", advertiser_ids=ids))))
    fits = payload.of_token(granted(response("x" * room, advertiser_ids=ids)))
    assert len(fits) == payload.LARGEST == 65_536
    assert json.loads(fits)["advertiser_ids"] == list(ids)
    over = payload.of_token(granted(response("x" * (room + 1), advertiser_ids=ids)))
    assert b'"advertiser_ids": null, "advertiser_count": 2830, "scope"' in over
    assert payload.parse(over, "acme").advertiser_count == 2830
    assert payload.parse(over.replace(b"2830", b'"x"'), "acme").advertiser_count == 0


BROKEN: dict[str, list[object]] = {
    "schema": [0, 2, None],
    "connection": ["other", None],
    "app_id": [None, 7],
    "access_token": ["", None, ["a"], "line\nbreak", "tökén"],
    "expires_at": ["soon", 12345],
    "advertiser_ids": ["7001", [{}]],
    "obtained_at": [None, "2026-99-99T00:00:00Z"],
    "open_id": [""],
    "refresh_token": [5, ""],
    "refresh_expires_at": ["later"],
}


def refused(content: bytes) -> bool:
    """Whether a payload cannot be read, which is said without quoting it."""
    try:
        payload.parse(content, "acme")
    except PayloadError as error:
        return "access-1" not in str(error) and "refresh-1" not in str(error)
    return False


class TestReading:
    @pytest.mark.parametrize(
        "made",
        [long_lived(), expiring(), of_account().with_username("acme")],
        ids=["long-lived", "expiring", "an account's with its name"],
    )
    def test_what_was_written_is_read_again(self, made: Grant) -> None:
        """A payload gives back the grant that it was written from, of the same type; later keys do not matter."""
        stored = payload.of_refresh(made) if isinstance(made, RefreshableGrant) else payload.of_token(made)
        read = payload.parse(stored[:-1] + b', "added": {"later": true}}', made.connection)
        assert read == made
        assert type(read) is type(made)

    def test_what_is_no_object_cannot_be_read(self) -> None:
        """A broken payload is an error of its own kind."""
        assert [refused(content) for content in (b"", b"\xff\xfe", b"[]", b"[" * 100_000)] == [True] * 4

    def test_a_payload_broken_by_hand_cannot_be_read(self) -> None:
        """Any essential part that is missing or wrong is an error whose text quotes nothing of the payload."""
        whole = json.loads(payload.of_refresh(expiring()))
        taken = [
            (key, value)
            for key, values in BROKEN.items()
            for value in values
            if not refused(json.dumps(whole | {key: value}).encode())
        ]
        assert taken == []

    def test_a_username_or_a_scope_that_is_none_does_not_matter(self) -> None:
        """The token works without them."""
        document = json.loads(payload.of_token(of_account()))
        assert document["username"] is None
        edits: list[dict[str, object]] = [{"username": 5}, {"username": "a\nb"}, {"scope": None}]
        odd = [payload.parse(json.dumps(document | edit).encode(), "organic") for edit in edits]
        assert [(read.username, len(read.scope)) for read in odd] == [("", 2), ("", 2), ("", 0)]
