"""What TikTok gave for an authorization, how it is written down, and what follows from its times. No I/O.

The response decides what kind of grant it is, never an assumption: refresh token and lifetimes are optional.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from tokenkeeper import clock
from tokenkeeper.errors import PayloadError
from tokenkeeper.secrecy import Secret

SCHEMA = 1
LARGEST_PAYLOAD = 64 * 1024  # Secret Manager's limit, in bytes
AGE_WITHOUT_LIFETIME = timedelta(hours=12)
_CLOCKS_DIFFER_BY = timedelta(hours=1)
_RUNS_COME_EARLY_BY = timedelta(seconds=45)  # of one that is due in a moment, the next run would be hours late

KindOfGrant = Literal["long-lived", "expiring"]


@dataclass(frozen=True, slots=True)
class Handout:
    """What one answer of TikTok's token endpoints held, already checked for its types.

    Attributes:
        access_token: Always there.
        refresh_token: None where TikTok gave none.
        expires_in: Life of the access token in seconds, or None.
        refresh_expires_in: Life of the refresh token in seconds, or None.
        advertiser_ids: None where the answer did not say.
        scope: Ids of permissions; None where the answer did not say.
    """

    access_token: Secret
    refresh_token: Secret | None
    expires_in: float | None
    refresh_expires_in: float | None
    advertiser_ids: tuple[str, ...] | None
    scope: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Grant:
    """A grant as it is stored.

    Attributes:
        connection: Name of the connection.
        app_id: The app that it was given to.
        access_token: What readers send to TikTok.
        expires_at: End of the access token; None: it lives until it is revoked, or TikTok did not say.
        advertiser_ids: The ad accounts; None where the payload could not hold them all.
        advertiser_count: How many ad accounts.
        scope: Ids of permissions.
        obtained_at: When TikTok handed it out, to the second. Of two grants of a connection the later one counts.
        refresh_token: None for a grant that cannot be refreshed.
        refresh_expires_at: End of the refresh token, where it is known.
    """

    connection: str
    app_id: str
    access_token: Secret
    expires_at: datetime | None
    advertiser_ids: tuple[str, ...] | None
    advertiser_count: int
    scope: tuple[int, ...]
    obtained_at: datetime
    refresh_token: Secret | None = None
    refresh_expires_at: datetime | None = None

    @classmethod
    def first(
        cls, handout: Handout, connection: str, app_id: str, asked_at: datetime, after: datetime | None = None
    ) -> Grant:
        """The grant of a new authorization.

        Args:
            handout: TikTok's answer.
            connection: Name of the connection.
            app_id: The app.
            asked_at: When the call was sent: lifetimes are counted from here, so that they never come out too long.
            after: `obtained_at` of the grant that this one replaces. The new one is later, whatever the clock says.
        """
        ids = handout.advertiser_ids or ()
        return cls(
            connection=connection,
            app_id=app_id,
            access_token=handout.access_token,
            expires_at=_end(asked_at, handout.expires_in),
            advertiser_ids=ids,
            advertiser_count=len(ids),
            scope=handout.scope or (),
            obtained_at=_later_than(after, asked_at),
            refresh_token=handout.refresh_token,
            refresh_expires_at=_end(asked_at, handout.refresh_expires_in) if handout.refresh_token else None,
        )

    def refreshed(self, handout: Handout, asked_at: datetime) -> Grant:
        """The grant after a refresh that TikTok answered with `handout`; what the answer leaves out stays as it was."""
        rotated = handout.refresh_token is not None and handout.refresh_token != self.refresh_token
        refresh_end = _end(asked_at, handout.refresh_expires_in)
        ids = self.advertiser_ids if handout.advertiser_ids is None else handout.advertiser_ids
        return replace(
            self,
            access_token=handout.access_token,
            expires_at=_end(asked_at, handout.expires_in),
            advertiser_ids=ids,
            advertiser_count=self.advertiser_count if handout.advertiser_ids is None else len(handout.advertiser_ids),
            scope=self.scope if handout.scope is None else handout.scope,
            obtained_at=_later_than(self.obtained_at, asked_at),
            refresh_token=handout.refresh_token or self.refresh_token,
            refresh_expires_at=refresh_end if rotated or refresh_end else self.refresh_expires_at,
        )

    def dated(self, moment: datetime, after: datetime | None) -> Grant:
        """The same grant, obtained at `moment`, or later where it has to be later than `after`. Its ends stay."""
        return replace(self, obtained_at=_later_than(after, moment))

    def with_advertisers(self, ids: Sequence[str]) -> Grant:
        """The same grant, for other ad accounts."""
        return replace(self, advertiser_ids=tuple(ids), advertiser_count=len(ids))

    def with_advertisers_of(self, other: Grant) -> Grant:
        """The same grant, for the ad accounts of another."""
        return replace(self, advertiser_ids=other.advertiser_ids, advertiser_count=other.advertiser_count)

    def same_token(self, other: Grant) -> bool:
        """Whether both hold the same access token, handed out at the same time."""
        return self.access_token == other.access_token and self.obtained_at == other.obtained_at

    @property
    def kind(self) -> KindOfGrant:
        """`expiring` if the grant can be refreshed or its token ends, else `long-lived`."""
        return "expiring" if self.refresh_token or self.expires_at else "long-lived"

    @property
    def ends_at(self) -> datetime | None:
        """When only a new authorization will help: the refresh token's end, or the token's own where there is none."""
        return self.refresh_expires_at if self.refresh_token else self.expires_at

    def token_payload(self) -> bytes:
        """What pipelines read."""
        return self._payload({})

    def refresh_payload(self) -> bytes:
        """The whole grant, refresh token included.

        Raises:
            ValueError: the grant has no refresh token.
        """
        if self.refresh_token is None:
            raise ValueError("this grant has no refresh token")
        return self._payload(
            {
                "refresh_token": self.refresh_token.reveal(),
                "refresh_expires_at": clock.text(self.refresh_expires_at) if self.refresh_expires_at else None,
            }
        )

    def _payload(self, more: Mapping[str, object]) -> bytes:
        ids = None if self.advertiser_ids is None else list(self.advertiser_ids)
        full = self._document(ids, more)
        return full if len(full) <= LARGEST_PAYLOAD else self._document(None, more)

    def _document(self, ids: list[str] | None, more: Mapping[str, object]) -> bytes:
        count = {"advertiser_count": self.advertiser_count} if ids is None else {}
        document = {
            "schema": SCHEMA,
            "connection": self.connection,
            "app_id": self.app_id,
            "access_token": self.access_token.reveal(),
            "expires_at": clock.text(self.expires_at) if self.expires_at else None,
            "advertiser_ids": ids,
            **count,
            "scope": list(self.scope),
            "obtained_at": clock.text(self.obtained_at),
            **more,
        }
        return json.dumps(document, ensure_ascii=False).encode()


def parse(payload: bytes, connection: str) -> Grant:
    """Read what `Grant.token_payload` or `Grant.refresh_payload` wrote.

    Raises:
        PayloadError: it cannot be read; the text says why without quoting any of it.
    """
    try:
        document = json.loads(payload.decode())
    except (ValueError, RecursionError):  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise PayloadError("the stored payload is not UTF-8 JSON") from None
    if not isinstance(document, dict):
        raise PayloadError("the stored payload is not a JSON object")
    if document.get("schema") != SCHEMA:
        raise PayloadError(f"the stored payload is not of schema {SCHEMA}")
    if document.get("connection") != connection:
        raise PayloadError("the stored payload belongs to another connection")
    ids = _ids(document)
    refresh_token = document.get("refresh_token")
    return Grant(
        connection=connection,
        app_id=_text(document, "app_id"),
        access_token=Secret(_text(document, "access_token")),
        expires_at=_time(document, "expires_at"),
        advertiser_ids=ids,
        advertiser_count=_count(document) if ids is None else len(ids),
        scope=permission_ids(document.get("scope")) or (),
        obtained_at=_time(document, "obtained_at", required=True) or clock.now(),
        refresh_token=None if refresh_token is None else Secret(_text(document, "refresh_token")),
        refresh_expires_at=_time(document, "refresh_expires_at"),
    )


def due(obtained_at: datetime, expires_at: datetime | None, now: datetime) -> bool:
    """Whether a grant that can be refreshed should be: past half of its token's life, or 12 hours old without one."""
    if obtained_at > now + _CLOCKS_DIFFER_BY:  # written by a clock far ahead: its dates say nothing
        return True
    half = AGE_WITHOUT_LIFETIME if expires_at is None else (expires_at - obtained_at) / 2
    return now + _RUNS_COME_EARLY_BY >= obtained_at + half


def lifetime(value: object) -> float | None:
    """A lifetime in seconds as TikTok sends it: a number or digits, more than 0; anything else is None."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None


def permission_ids(value: object) -> tuple[int, ...] | None:
    """Permission ids from a list of numbers or digits, or a comma-separated text; what is neither is left out."""
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list):
        return None
    found = []
    for item in value:
        if isinstance(item, int) and not isinstance(item, bool):
            found.append(item)
        elif isinstance(item, str) and item.strip().isascii() and item.strip().isdigit() and len(item) <= 32:
            found.append(int(item))
    return tuple(found)


def advertiser_ids(value: object) -> tuple[str, ...] | None:
    """Advertiser ids from a list of digits or numbers, each once, in TikTok's order.

    Returns:
        None where it is no list, or one that holds something that is no id.
    """
    if not isinstance(value, list):
        return None
    ids = [str(item) if isinstance(item, int) and not isinstance(item, bool) else item for item in value]
    if not all(isinstance(item, str) and item.isascii() and item.isdigit() and len(item) <= 32 for item in ids):
        return None
    return tuple(dict.fromkeys(ids))


def _end(start: datetime, seconds: float | None) -> datetime | None:
    end = None if seconds is None else clock.later(start, seconds)
    return end.replace(microsecond=0) if end else None


def _later_than(previous: datetime | None, moment: datetime) -> datetime:
    moment = moment.replace(microsecond=0)
    return moment if previous is None else max(moment, previous + timedelta(seconds=1))


def _text(document: Mapping[str, object], key: str) -> str:
    value = document.get(key)
    if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable():
        raise PayloadError(f"the stored payload has no usable {key}")
    return value


def _time(document: Mapping[str, object], key: str, *, required: bool = False) -> datetime | None:
    value = document.get(key)
    if value is None and not required:
        return None
    try:
        return clock.parse(value if isinstance(value, str) else "")
    except (ValueError, OverflowError):
        raise PayloadError(f"the stored payload has no usable {key}") from None


def _ids(document: Mapping[str, object]) -> tuple[str, ...] | None:
    value = document.get("advertiser_ids")
    if value is None:
        return None
    ids = advertiser_ids(value)
    if ids is None:
        raise PayloadError("the stored payload has no usable advertiser_ids")
    return ids


def _count(document: Mapping[str, object]) -> int:
    count = document.get("advertiser_count")
    return count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else 0
