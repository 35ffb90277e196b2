"""What TikTok granted for an authorization, when it is due for a refresh, and when it ends. No I/O.

The token response decides what kind of grant it is, never an assumption: refresh token and lifetimes are optional.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Literal, NamedTuple, Self

from tokenkeeper.secret import Secret

Family = Literal["advertiser", "account"]
KindOfGrant = Literal["long-lived", "expiring"]
Scope = tuple[int, ...] | tuple[str, ...]

AGE_WITHOUT_LIFETIME = timedelta(hours=12)
_FROM_THE_FUTURE = timedelta(hours=1)


class TokenResponse(NamedTuple):
    """What one answer of TikTok's token endpoints held, already checked for its types."""

    access_token: Secret  # always there
    refresh_token: Secret | None = None  # None where TikTok gave none
    expires_in: float | None = None  # life of the access token in seconds, or None
    refresh_expires_in: float | None = None  # life of the refresh token in seconds, or None
    advertiser_ids: tuple[str, ...] | None = None  # None where the answer did not say
    # ids of permissions (advertiser) or names of scopes (account); None where the answer did not say
    scope: Scope | None = None
    open_id: str = ""  # the TikTok account, for the family `account`; else empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A grant as it is stored."""

    connection: str  # name of the connection
    app_id: str  # the app that it was given to
    family: Family  # what was authorized
    access_token: Secret  # what readers send to TikTok
    expires_at: datetime | None  # end of the access token; None: it lives until it is revoked, or TikTok did not say
    advertiser_ids: tuple[str, ...] | None  # the ad accounts; None where the payload could not hold them all
    advertiser_count: int  # how many ad accounts
    scope: Scope  # ids of permissions (advertiser), or names of scopes (account)
    obtained_at: datetime  # when TikTok issued it, to the second. Of two grants of a connection the later one counts.
    open_id: str = ""  # the TikTok account, for the family `account`; else empty
    username: str = ""  # that account's name; empty where TikTok did not tell it (yet)

    def dated(self, moment: datetime, after: datetime | None) -> Self:
        """The same grant, obtained at `moment`, or later where it has to be later than `after`. Its ends stay."""
        moment = moment.replace(microsecond=0)
        return replace(self, obtained_at=moment if after is None else max(moment, after + timedelta(seconds=1)))

    def with_advertisers(self, ids: Sequence[str]) -> Self:
        """The same grant, for other ad accounts."""
        return replace(self, advertiser_ids=tuple(ids), advertiser_count=len(ids))

    def with_found(self, ids: Sequence[str]) -> Self:
        """The same grant for the ad accounts that TikTok lists, which is itself if they are those that it knows."""
        known = self.advertiser_ids
        if self.advertiser_count == len(ids) if known is None else set(known) == set(ids):
            return self
        kept = [id_ for id_ in known or () if id_ in set(ids)]
        return self.with_advertisers(list(dict.fromkeys([*kept, *ids])))

    def with_username(self, username: str) -> Self:
        """The same grant, with the account's name."""
        return replace(self, username=username or self.username)

    def lost_most(self, ids: Collection[str]) -> bool:
        """Whether more than half of its ad accounts are not among these."""
        known = self.advertiser_ids
        gone = self.advertiser_count - len(ids) if known is None else len(set(known) - set(ids))
        return 2 * gone > self.advertiser_count

    def same_token(self, other: Grant) -> bool:
        """Whether both hold the same access token, issued at the same time."""
        return self.access_token == other.access_token and self.obtained_at == other.obtained_at

    @property
    def kind(self) -> KindOfGrant:
        """`expiring` if the grant can be refreshed or its token ends, else `long-lived`."""
        return "expiring" if self.expires_at else "long-lived"

    @property
    def ends_at(self) -> datetime | None:
        """When only a new authorization will help, as far as it is known."""
        return self.expires_at


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshableGrant(Grant):
    """A grant with a refresh token."""

    refresh_token: Secret  # what `refresh` sends to TikTok, once
    refresh_expires_at: datetime | None = None  # end of the refresh token, where it is known

    def refreshed(self, response: TokenResponse, asked_at: datetime) -> RefreshableGrant:
        """The grant after a refresh that TikTok answered with `response`; what the answer leaves out stays.

        The ad accounts stay as they were: what a token reaches now is for a verification to say.
        """
        rotated = response.refresh_token is not None and response.refresh_token != self.refresh_token
        refresh_end = _end(asked_at, response.refresh_expires_in)
        return replace(
            self,
            access_token=response.access_token,
            expires_at=_end(asked_at, response.expires_in),
            scope=self.scope if response.scope is None else response.scope,
            refresh_token=response.refresh_token or self.refresh_token,
            refresh_expires_at=refresh_end if rotated or refresh_end else self.refresh_expires_at,
        ).dated(asked_at, self.obtained_at)

    @property
    def kind(self) -> KindOfGrant:
        """See `Grant.kind`."""
        return "expiring"

    @property
    def ends_at(self) -> datetime | None:
        """See `Grant.ends_at`: the end of the refresh token."""
        return self.refresh_expires_at


def first(response: TokenResponse, *, connection: str, app_id: str, family: Family, asked_at: datetime) -> Grant:
    """The grant of a new authorization: a `RefreshableGrant` where the response has a refresh token.

    Lifetimes are counted from when the call was sent, `asked_at`, so that they never come out too long.
    """
    ids = response.advertiser_ids or ()
    grant = Grant(
        connection=connection,
        app_id=app_id,
        family=family,
        access_token=response.access_token,
        expires_at=_end(asked_at, response.expires_in),
        advertiser_ids=ids,
        advertiser_count=len(ids),
        scope=response.scope or (),
        obtained_at=asked_at.replace(microsecond=0),
        open_id=response.open_id,
    )
    if response.refresh_token is None:
        return grant
    return with_refresh_token(grant, response.refresh_token, _end(asked_at, response.refresh_expires_in))


def with_refresh_token(grant: Grant, refresh_token: Secret, refresh_expires_at: datetime | None) -> RefreshableGrant:
    """The same grant, with a refresh token."""
    held = {field.name: getattr(grant, field.name) for field in fields(Grant)}
    return RefreshableGrant(**held, refresh_token=refresh_token, refresh_expires_at=refresh_expires_at)


def due(obtained_at: datetime, expires_at: datetime | None, by: datetime) -> bool:
    """Whether a grant that can be refreshed is past half of its token's life at `by`; without a life, 12 hours old."""
    if obtained_at > by + _FROM_THE_FUTURE:  # written by a clock far ahead: its dates say nothing
        return True
    half = AGE_WITHOUT_LIFETIME if expires_at is None else (expires_at - obtained_at) / 2
    return by >= obtained_at + half


# --- reading what TikTok and stored payloads hold ---


def lifetime(value: object) -> float | None:
    """A lifetime in seconds as TikTok sends it: a number or digits, more than 0; anything else is None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None


def scope(family: Family, value: object) -> Scope | None:
    """What was granted, from a list or a comma-separated text; what is no id, or for an account no name, is left out.

    None where it is neither.
    """
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list):
        return None
    items = [item.strip() if isinstance(item, str) else item for item in items]
    if family == "account":
        return tuple(name for item in items if (name := opaque(item, 100)))
    return tuple(int(digits) for item in items if (digits := _digits(item)))


def advertiser_ids(value: object) -> tuple[str, ...] | None:
    """Advertiser ids from a list of digits or numbers, each once, in TikTok's order; None where anything else is."""
    if not isinstance(value, list):
        return None
    ids = tuple(dict.fromkeys(map(_digits, value)))
    return ids if all(ids) else None


def opaque(value: object, longest: int) -> str:
    """A text of printable ASCII, as ids and tokens are; empty where it is none, or longer."""
    text = value if isinstance(value, str) else ""
    return text if text.isascii() and text.isprintable() and len(text) <= longest else ""


def _digits(item: object) -> str:
    """An id that is a number or digits; empty where it is none."""
    text = str(item) if isinstance(item, int | str) else ""
    return text if text.isascii() and text.isdigit() and len(text) <= 32 else ""


def _end(start: datetime, seconds: float | None) -> datetime | None:
    try:
        return None if seconds is None else (start + timedelta(seconds=seconds)).replace(microsecond=0)
    except OverflowError:  # beyond the calendar
        return None
