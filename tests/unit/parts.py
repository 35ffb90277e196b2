"""What the tests of single modules share: a clock in the hand, settings of a complete environment, a first grant."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from tokenkeeper import settings
from tokenkeeper.grant import Grant, Handout
from tokenkeeper.secrecy import Secret
from tokenkeeper.settings import Needs, Settings

PROJECT = "test-project"
APP_ID = "7000000000000000000"
APP_SECRET = "app-secret-0123456789abcdef0123456789abc"
KEY = "key-one-0123456789abcdef0123456789abcdef"
NOON = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
EVERYTHING = Needs.STORE | Needs.APP | Needs.LINKS | Needs.CALLBACK | Needs.RUN
COMPLETE = {
    "GOOGLE_CLOUD_PROJECT": PROJECT,
    "TIKTOK_APP_ID": APP_ID,
    "TIKTOK_APP_SECRET": APP_SECRET,
    "LINK_SIGNING_KEYS": KEY,
    "PUBLIC_URL": "https://connect.example.com",
}


class HandClock:
    """A clock that stands still until it is told to go on, or somebody sleeps."""

    def __init__(self, start: datetime = NOON) -> None:
        self.at = start
        self.slept: list[float] = []
        self.on_sleep: Callable[[], None] = lambda: None
        self._passed = 0.0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self._passed

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += timedelta(seconds=seconds)
        self._passed += seconds  # not by way of a timedelta, which knows no less than a microsecond
        self.on_sleep()

    def pass_by(self, **span: float) -> None:
        """Let so much time pass (`hours=13`)."""
        seconds = timedelta(**span).total_seconds()
        self.at += timedelta(seconds=seconds)
        self._passed += max(seconds, 0.0)


def read(needs: Needs = EVERYTHING, /, **changes: str | None) -> Settings:
    """The settings of a complete environment with these changes; None takes a variable away."""
    environment = {name: value for name, value in {**COMPLETE, **changes}.items() if value is not None}
    return settings.read(needs, environment)


def handout(
    access_token: str = "access-1",
    refresh_token: str | None = None,
    *,
    expires_in: float | None = None,
    refresh_expires_in: float | None = None,
    advertiser_ids: tuple[str, ...] | None = ("7001", "7002"),
    scope: tuple[int, ...] | None = (4, 10, 200),
) -> Handout:
    """What TikTok answered."""
    return Handout(
        Secret(access_token),
        Secret(refresh_token) if refresh_token else None,
        expires_in,
        refresh_expires_in,
        advertiser_ids,
        scope,
    )


def long_lived(connection: str = "acme", at: datetime = NOON) -> Grant:
    """A grant that lives until it is revoked."""
    return Grant.first(handout(), connection, APP_ID, at)


def expiring(connection: str = "acme", at: datetime = NOON) -> Grant:
    """A grant of a day, with a refresh token of a year."""
    answer = handout("access-1", "refresh-1", expires_in=86_400, refresh_expires_in=31_536_000)
    return Grant.first(answer, connection, APP_ID, at)
