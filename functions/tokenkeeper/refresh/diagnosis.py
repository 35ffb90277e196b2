"""What a connection's two secrets amount to: a pure function and its few answers. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tokenkeeper.grant import Grant, RefreshableGrant
from tokenkeeper.store.persist import Numbers, readable
from tokenkeeper.store.versions import Version


@dataclass(frozen=True, slots=True)
class Stored:
    """What was read from a connection's two secrets."""

    token: Version  # the token secret's newest version
    refresh: Version  # the refresh secret's
    from_token: Grant | None  # the grant in the former, or None where it cannot be read
    from_refresh: Grant | None  # the grant in the latter

    @property
    def empty(self) -> bool:
        """Whether neither secret has a version."""
        return self.token.number == 0 and self.refresh.number == 0

    @property
    def numbers(self) -> Numbers:
        """The numbers of the newest versions."""
        return Numbers(self.token.number, self.refresh.number)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A grant cannot be read and cannot be rebuilt; `detail` is a sentence that says so."""

    detail: str


@dataclass(frozen=True, slots=True)
class NotRefreshable:
    """The token secret's grant counts."""

    grant: Grant  # that grant, which has no refresh token
    superseded: bool  # whether there is a refresh secret, which an older grant, or none, is in


@dataclass(frozen=True, slots=True)
class TokenBehind:
    """The refresh secret has a grant that the token secret has not."""

    grant: RefreshableGrant
    unreadable: bool  # whether the token secret has a version that cannot be read


@dataclass(frozen=True, slots=True)
class Sound:
    """Both secrets hold the same grant."""

    grant: RefreshableGrant


Diagnosis = Unreadable | NotRefreshable | TokenBehind | Sound


def read(token: Version, refresh: Version, name: str) -> Stored:
    """Parse what was read."""
    return Stored(token, refresh, readable(token, name), readable(refresh, name))


def diagnose(stored: Stored) -> Diagnosis:
    """Say what two secrets amount to; of two grants the one obtained later counts, never what merely exists."""
    token, refresh = stored.from_token, stored.from_refresh
    if stored.empty:
        return Unreadable("The token secret has no version.")
    if refresh is None and stored.refresh.number:
        return Unreadable("The refresh secret cannot be read.")
    if refresh is None:
        if token is None:
            return Unreadable("The token secret cannot be read.")
        return NotRefreshable(token, superseded=False)
    if token is not None and token.obtained_at > refresh.obtained_at:
        return NotRefreshable(token, superseded=True)
    if not isinstance(refresh, RefreshableGrant):
        return Unreadable("The refresh secret holds no refresh token.")
    if token is None or not token.same_token(refresh):
        return TokenBehind(refresh, unreadable=token is None and stored.token.number > 0)
    # The larger payload may have had no room for the ad accounts; and the username came later.
    whole = token if refresh.advertiser_ids is None else refresh
    count = whole.advertiser_count
    sound = replace(refresh, advertiser_ids=whole.advertiser_ids, advertiser_count=count)
    return Sound(sound.with_username(token.username))
