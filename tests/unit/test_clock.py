"""The one place that knows the time: how times are written and read."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from tokenkeeper import clock

TEN = datetime(2026, 11, 22, 10, tzinfo=UTC)


def test_times_are_rfc_3339_in_utc() -> None:
    """To the second, or to the millisecond; rounded down, never up. Without an offset a time is taken as UTC."""
    nearly_eleven_in_berlin = datetime(2026, 11, 22, 11, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=1)))
    assert clock.text(nearly_eleven_in_berlin) == "2026-11-22T10:00:00Z"
    assert clock.text(nearly_eleven_in_berlin, precise=True) == "2026-11-22T10:00:00.999Z"
    written = ["2026-11-22T10:00:00Z", "2026-11-22T11:00:00.000+01:00", "2026-11-22T10:00:00"]
    assert [clock.parse(text) for text in written] == [TEN, TEN, TEN]
    for text in ("", "yesterday", "2026-13-01T00:00:00Z"):
        with pytest.raises(ValueError, match=r"."):
            clock.parse(text)
    moment = TEN.replace(microsecond=123_999)
    assert clock.from_milliseconds(clock.milliseconds(moment)) == TEN.replace(microsecond=123_000)
