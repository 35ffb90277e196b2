"""Plain HTTP requests of the command line: whether something answers, and which time it has."""

from __future__ import annotations

import email.utils
from collections.abc import Iterable
from datetime import UTC, datetime
from urllib.parse import urlsplit

import requests

from tokenkeeper import clock, log
from tokenkeeper.checks import is_this_machine
from tokenkeeper.settings import Settings

CLOCK_IS_OFF = 60.0  # seconds
_GOOGLE = "https://secretmanager.googleapis.com/"


def session(url: str) -> requests.Session:
    """A session for that address: with a company's proxy and CA, and with neither to this machine."""
    log.silence_libraries()
    made = requests.Session()
    made.trust_env = not is_this_machine(urlsplit(url).hostname or "")
    made.auth = _no_authentication  # otherwise `.netrc` is read, which may add a header
    return made


def get(url: str, seconds: float, *, method: str = "GET") -> requests.Response | None:
    """The answer at an address, redirects not followed; None where there is none."""
    try:
        with session(url) as made:
            return made.request(method, url, timeout=seconds, allow_redirects=False)
    except OSError:  # all errors of requests are, and a CA file that is missing
        return None


def time_of(answer: requests.Response) -> datetime | None:
    """When it was sent, by its sender's clock."""
    date = email.utils.parsedate_tz(answer.headers.get("Date", ""))
    return datetime.fromtimestamp(email.utils.mktime_tz(date), UTC) if date else None


def clock_is_off_by(settings: Settings, seconds: float) -> float | None:
    """By how many seconds this machine's clock is fast (negative: slow), by the clock of `connect`, which reads links.

    Args:
        settings: Where `connect` and Secret Manager are; the latter is asked where the former does not answer.
        seconds: How long each may take.

    Returns:
        None where neither answered with a time.
    """
    local = settings.emulator_host
    return clock_difference([settings.public_url, f"http://{local}/" if local else _GOOGLE], seconds)


def clock_difference(urls: Iterable[str], seconds: float) -> float | None:
    """The same, by the clock of the first of these addresses that answers."""
    for url in urls:
        answer = get(url, seconds, method="HEAD") if url else None
        theirs = time_of(answer) if answer is not None else None
        if theirs:
            return (clock.now() - theirs).total_seconds()
    return None


def off(seconds: float) -> str:
    """That difference in words."""
    return f"{abs(seconds):.0f} seconds {'fast' if seconds > 0 else 'slow'}"


def _no_authentication(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
