"""What the tests of single modules share: a clock moved by hand, settings of a complete environment, grants."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from emulators.serving import LocalServer
from tokenkeeper import grant, settings, transitions
from tokenkeeper.clock import Deadline
from tokenkeeper.connection import Connection, base_labels
from tokenkeeper.grant import Grant, RefreshableGrant, Scope, TokenResponse
from tokenkeeper.secret import Secret
from tokenkeeper.settings import Needs, Settings

PROJECT = "test-project"
APP_ID = "7000000000000000000"
APP_SECRET = "app-secret-0123456789abcdef0123456789abc"
KEY = "key-one-0123456789abcdef0123456789abcdef"
NOON = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
DAY = 86_400.0  # seconds
YEAR = 31_536_000.0
EVERYTHING = Needs.STORE | Needs.APP | Needs.LINKS | Needs.CALLBACK | Needs.RUN
COMPLETE = {
    "GOOGLE_CLOUD_PROJECT": PROJECT,
    "TIKTOK_APP_ID": APP_ID,
    "TIKTOK_APP_SECRET": APP_SECRET,
    "LINK_SIGNING_KEYS": KEY,
    "PUBLIC_URL": "https://connect.example.com",
}


class HandClock:
    """A clock that stands still until a test moves it, or somebody sleeps."""

    def __init__(self, start: datetime = NOON) -> None:
        self.slept: list[float] = []
        self.on_sleep: Callable[[], None] = lambda: None
        self._start = start
        self._shown = self._passed = 0.0  # seconds
        self._lock = threading.Lock()

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._shown)

    def monotonic(self) -> float:
        return self._passed

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._move(seconds)
        self.on_sleep()

    def pass_by(self, **span: float) -> None:
        """Let so much time pass (`hours=13`); less than none sets the clock back."""
        self._move(timedelta(**span).total_seconds())

    def reset(self) -> None:
        self.slept.clear()
        self._shown = self._passed = 0.0

    def _move(self, seconds: float) -> None:
        with self._lock:
            self._shown += seconds
            self._passed += max(seconds, 0.0)


def port_of(server: LocalServer) -> int:
    """The port that a server listens on."""
    return int(server.address.rpartition(":")[2])


def soon() -> Deadline:
    """A minute from now."""
    return Deadline(60)


def read(needs: Needs = EVERYTHING, /, **changes: str | None) -> Settings:
    """The settings of a complete environment with these changes; None takes a variable away."""
    environment = {name: value for name, value in {**COMPLETE, **changes}.items() if value is not None}
    return settings.read(needs, environment)


def response(
    access_token: str = "access-1",
    refresh_token: str | None = None,
    *,
    expires_in: float | None = None,
    refresh_expires_in: float | None = None,
    advertiser_ids: tuple[str, ...] | None = ("7001", "7002"),
    scope: Scope | None = (4, 10, 200),
    open_id: str = "",
) -> TokenResponse:
    """What TikTok answered."""
    return TokenResponse(
        Secret(access_token),
        Secret(refresh_token) if refresh_token else None,
        expires_in,
        refresh_expires_in,
        advertiser_ids,
        scope,
        open_id,
    )


def granted(answer: TokenResponse, connection: str = "acme", at: datetime = NOON) -> Grant:
    """An advertiser's grant from that answer."""
    return grant.first(answer, connection=connection, app_id=APP_ID, family="advertiser", asked_at=at)


def refreshable(answer: TokenResponse, connection: str = "acme", at: datetime = NOON) -> RefreshableGrant:
    """The same, of an answer with a refresh token."""
    made = granted(answer, connection, at)
    assert isinstance(made, RefreshableGrant)
    return made


def long_lived(connection: str = "acme", at: datetime = NOON) -> Grant:
    """A grant that lives until it is revoked."""
    return granted(response(), connection, at)


def expiring(connection: str = "acme", at: datetime = NOON) -> RefreshableGrant:
    """A grant of a day, with a refresh token of a year."""
    return refreshable(response("access-1", "refresh-1", expires_in=DAY, refresh_expires_in=YEAR), connection, at)


def of_account(connection: str = "organic", at: datetime = NOON) -> RefreshableGrant:
    """A TikTok account's grant, of a day, with a refresh token of a year."""
    answer = response(
        "act.1",
        "rft.1",
        expires_in=DAY,
        refresh_expires_in=YEAR,
        advertiser_ids=(),
        scope=("user.info.basic", "video.list"),
        open_id="open-1",
    )
    made = grant.first(answer, connection=connection, app_id=APP_ID, family="account", asked_at=at)
    assert isinstance(made, RefreshableGrant)
    return made


def connected(grant: Grant, link: str = "link-1", at: datetime = NOON, **annotations: str) -> Connection:
    """A connection that this grant was stored for, with these annotations beside (`last_error` is `last-error`)."""
    empty = Connection(grant.connection, {}, {})
    made = transitions.connected(empty, grant, at, link, base_labels("token", grant.connection)).connection
    return made.with_(annotations={name.replace("_", "-"): text for name, text in annotations.items()})
