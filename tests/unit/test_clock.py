"""The one place that knows the time: how times are written and read, and deadlines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from tokenkeeper import clock
from tokenkeeper.clock import Deadline
from unit.parts import HandClock

BERLIN = timezone(timedelta(hours=1))


def test_now_is_in_utc() -> None:
    """The time of day carries its zone, which is UTC."""
    assert clock.now().tzinfo is UTC


def test_times_are_written_as_rfc_3339_in_utc() -> None:
    """To the second, or to the millisecond where that is asked for; rounded down, never up."""
    for moment, precise, text in [
        (datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC), False, "2026-11-22T10:00:00Z"),
        (datetime(2026, 11, 22, 10, 0, 0, 999_999, tzinfo=UTC), False, "2026-11-22T10:00:00Z"),
        (datetime(2026, 11, 22, 11, 0, 0, tzinfo=BERLIN), False, "2026-11-22T10:00:00Z"),
        (datetime(2026, 11, 22, 10, 0, 0, 123_999, tzinfo=UTC), True, "2026-11-22T10:00:00.123Z"),
        (datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC), True, "2026-11-22T10:00:00.000Z"),
    ]:
        assert clock.text(moment, precise=precise) == text


def test_times_are_read_with_any_offset() -> None:
    """An offset is counted in; without one the time is taken as UTC."""
    for text, moment in [
        ("2026-11-22T10:00:00Z", datetime(2026, 11, 22, 10, tzinfo=UTC)),
        ("2026-11-22T10:00:00.123Z", datetime(2026, 11, 22, 10, 0, 0, 123_000, tzinfo=UTC)),
        ("2026-11-22T11:00:00+01:00", datetime(2026, 11, 22, 10, tzinfo=UTC)),
        ("2026-11-22T10:00:00", datetime(2026, 11, 22, 10, tzinfo=UTC)),
    ]:
        assert clock.parse(text) == moment


def test_what_is_no_time_is_refused() -> None:
    """Anything else is a ValueError."""
    for text in ["", "yesterday", "2026-13-01T00:00:00Z", "2026-11-22T25:00:00Z"]:
        with pytest.raises(ValueError, match=r"."):
            clock.parse(text)


def test_milliseconds_go_there_and_back() -> None:
    """A time survives as a number of milliseconds, rounded down."""
    moment = datetime(2026, 11, 22, 10, 0, 0, 123_999, tzinfo=UTC)
    assert clock.from_milliseconds(clock.milliseconds(moment)) == moment.replace(microsecond=123_000)
    with pytest.raises(OverflowError):
        clock.from_milliseconds(10**18)


def test_later_ends_where_the_calendar_ends() -> None:
    """A time that lies beyond the calendar is none."""
    moment = datetime(2026, 11, 22, 10, tzinfo=UTC)
    assert clock.later(moment, 90) == datetime(2026, 11, 22, 10, 1, 30, tzinfo=UTC)
    assert clock.later(moment, 1e15) is None


class TestDeadline:
    def test_it_counts_down_and_is_over(self, hand_clock: HandClock) -> None:
        """What remains shrinks with the time that passes and is never less than nothing."""
        deadline = Deadline(10)
        hand_clock.pass_by(seconds=4)
        assert (deadline.remaining, deadline.over) == (6, False)
        hand_clock.pass_by(seconds=60)
        assert (deadline.remaining, deadline.over) == (0, True)

    @pytest.mark.usefixtures("hand_clock")
    def test_a_part_of_it_is_never_longer(self) -> None:
        """A step's own deadline is the earlier of its own and of the whole."""
        whole = Deadline(10)
        assert whole.within(3).remaining == 3
        assert whole.within(60).remaining == 10
