"""The one place that knows the time.

Everything else asks here, so that a test can put another time in place by replacing these functions.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now() -> datetime:
    """The time of day, in UTC."""
    return datetime.fromtimestamp(time.time(), UTC)


def monotonic() -> float:
    """Seconds on a clock that never jumps; good for measuring, not for dates."""
    return time.monotonic()


def sleep(seconds: float) -> None:
    """Wait for `seconds`."""
    time.sleep(seconds)


def milliseconds(moment: datetime) -> int:
    """`moment` as milliseconds since 1970, rounded down."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def from_milliseconds(value: int) -> datetime:
    """The opposite of `milliseconds`; raises `OverflowError` beyond the years that dates can hold."""
    return _EPOCH + timedelta(milliseconds=value)


def text(moment: datetime, *, precise: bool = False) -> str:
    """RFC 3339 in UTC with `Z`, to the second (rounded down), or to the millisecond if `precise`."""
    stamp = moment.astimezone(UTC).isoformat(timespec="milliseconds" if precise else "seconds")
    return stamp.replace("+00:00", "Z")


def parse(stamp: str) -> datetime:
    """Read an RFC 3339 time, in UTC where it has no offset; raises `ValueError` or `OverflowError` where it is none."""
    moment = datetime.fromisoformat(stamp)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class Deadline:
    """A point in time by which something has to be over."""

    def __init__(self, seconds: float) -> None:
        """Start it: it is reached in `seconds`."""
        self._end = monotonic() + seconds

    @property
    def remaining(self) -> float:
        """Seconds left, never less than 0."""
        return max(0.0, self._end - monotonic())

    @property
    def over(self) -> bool:
        """Whether it has been reached."""
        return self.remaining <= 0.0

    def within(self, seconds: float) -> Deadline:
        """The earlier of this deadline and one in `seconds`."""
        return Deadline(min(seconds, self.remaining))
