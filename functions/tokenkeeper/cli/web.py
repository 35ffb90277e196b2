"""Plain HTTP requests of the command line: whether something answers, and which time it has."""

from __future__ import annotations

import email.utils
from collections.abc import Iterable
from urllib.parse import urlsplit

import requests

from tokenkeeper import clock, log
from tokenkeeper.checks import is_this_machine

_CLOCK_IS_OFF = 60.0  # seconds


def session(url: str) -> requests.Session:
    """A session for that address: with a company's proxy and CA, and with neither to this machine."""
    log.silence_libraries()
    made = requests.Session()
    made.trust_env = not is_this_machine(urlsplit(url).hostname or "")
    made.auth = lambda request: request  # otherwise `.netrc` is read, which may add a header
    return made


def get(url: str, seconds: float, *, method: str = "GET") -> requests.Response | None:
    """The answer at an address, redirects not followed; None where there is none."""
    try:
        with session(url) as made:
            return made.request(method, url, timeout=seconds, allow_redirects=False)
    except OSError:  # all errors of requests are, and a CA file that is missing
        return None


def clock_off(urls: Iterable[str], seconds: float) -> str | None:
    """By how much this machine's clock is off, by that of the first of these addresses that answers with a time.

    Args:
        urls: The addresses; empty ones are left out.
        seconds: How long each may take.

    Returns:
        Like `90 seconds fast`; empty where it is right; None where none answered with a time.
    """
    for url in filter(None, urls):
        answer = get(url, seconds, method="HEAD")
        date = email.utils.parsedate_tz(answer.headers.get("Date", "")) if answer is not None else None
        if date:
            fast = clock.now().timestamp() - email.utils.mktime_tz(date)
            return f"{abs(fast):.0f} seconds {'fast' if fast > 0 else 'slow'}" if abs(fast) > _CLOCK_IS_OFF else ""
    return None
