"""`functions/main.py` as it is, with a clock that a test can move; functions-framework is pointed here instead.

The file that `TEST_CLOCK_FILE` names holds an offset in seconds, read each time that the time of day is asked for.
"""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tokenkeeper import clock

_FILE = Path(os.environ["TEST_CLOCK_FILE"])


def _now() -> datetime:
    return datetime.now(UTC) + timedelta(seconds=float(_FILE.read_text()))


clock.now = _now

from main import connect, refresh  # noqa: E402, F401 - the clock has to be in place first
