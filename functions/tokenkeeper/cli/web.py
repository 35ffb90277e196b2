"""Whether an address answers, and which time it has there."""

from __future__ import annotations

import email.utils
from collections.abc import Iterable

import urllib3
from urllib3.exceptions import HTTPError

from tokenkeeper import clock, http

_CLOCK_IS_OFF = 60.0  # seconds


def get(url: str, seconds: float, *, method: str = "GET") -> urllib3.BaseHTTPResponse | None:
    """The answer at an address, redirects not followed; None where there is none."""
    try:
        return http.once(method, url, seconds)
    except (HTTPError, OSError):  # or a CA file that is missing
        return None


def clock_off(urls: Iterable[str], seconds: float) -> str | None:
    """By how much this machine's clock is off, by that of the first of these addresses that answers with a time.

    Like `90 seconds fast`; empty where it is right; None where none answers, for which each has so many seconds.
    """
    for url in filter(None, urls):
        answer = get(url, seconds, method="HEAD")
        date = email.utils.parsedate_tz(answer.headers.get("Date", "")) if answer is not None else None
        if date:
            fast = clock.now().timestamp() - email.utils.mktime_tz(date)
            return f"{abs(fast):.0f} seconds {'fast' if fast > 0 else 'slow'}" if abs(fast) > _CLOCK_IS_OFF else ""
    return None
