"""The JSON that is stored: what pipelines read, and the whole grant that only `refresh` reads. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

from tokenkeeper import clock, grant
from tokenkeeper.checks import is_line
from tokenkeeper.errors import PayloadError
from tokenkeeper.grant import Family, Grant, RefreshableGrant
from tokenkeeper.secret import Secret

SCHEMA = 1
LARGEST = 64 * 1024  # bytes; Secret Manager's limit


def of_token(stored: Grant) -> bytes:
    """What pipelines read: UTF-8 JSON, one object, no refresh token."""
    return _fitting(stored)


def of_refresh(stored: RefreshableGrant) -> bytes:
    """The whole grant, refresh token included."""
    end = _stamp(stored.refresh_expires_at)
    return _fitting(stored, refresh_token=stored.refresh_token.reveal(), refresh_expires_at=end)


def parse(payload: bytes, connection: str) -> Grant:
    """Read a stored payload: a `RefreshableGrant` where it has a refresh token.

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
    family: Family = "account" if "open_id" in document else "advertiser"
    listed = document.get("advertiser_ids")
    ids = None if listed is None else grant.advertiser_ids(listed)
    if listed is not None and ids is None:
        raise _unusable("advertiser_ids")
    count = document.get("advertiser_count") if ids is None else len(ids)
    username = document.get("username")
    found = Grant(
        connection=connection,
        app_id=_text(document, "app_id"),
        family=family,
        access_token=Secret(_text(document, "access_token")),
        expires_at=_end(document, "expires_at"),
        advertiser_ids=ids,
        advertiser_count=max(0, count) if isinstance(count, int) else 0,
        scope=grant.scope(family, document.get("scope")) or (),
        obtained_at=_time(document, "obtained_at"),
        open_id=_text(document, "open_id") if family == "account" else "",
        username=username if isinstance(username, str) and is_line(username) else "",
    )
    if document.get("refresh_token") is None:
        return found
    refresh_token = Secret(_text(document, "refresh_token"))
    return grant.with_refresh_token(found, refresh_token, _end(document, "refresh_expires_at"))


def _fitting(stored: Grant, **more: object) -> bytes:
    full = _serialized(stored, stored.advertiser_ids, more)
    return full if len(full) <= LARGEST else _serialized(stored, None, more)


def _serialized(stored: Grant, ids: Sequence[str] | None, more: Mapping[str, object]) -> bytes:
    count = {"advertiser_count": stored.advertiser_count} if ids is None else {}
    account = {"open_id": stored.open_id, "username": stored.username or None} if stored.family == "account" else {}
    document = {
        "schema": SCHEMA,
        "connection": stored.connection,
        "app_id": stored.app_id,
        "access_token": stored.access_token.reveal(),
        "expires_at": _stamp(stored.expires_at),
        "advertiser_ids": ids,
        **count,
        "scope": stored.scope,
        "obtained_at": clock.text(stored.obtained_at),
        **account,
        **more,
    }
    return json.dumps(document, ensure_ascii=False).encode()


def _stamp(moment: datetime | None) -> str | None:
    return clock.text(moment) if moment else None


def _text(document: Mapping[str, object], key: str) -> str:
    text = grant.opaque(document.get(key), LARGEST)
    if not text:
        raise _unusable(key)
    return text


def _time(document: Mapping[str, object], key: str) -> datetime:
    value = document.get(key)
    try:
        return clock.parse(value if isinstance(value, str) else "")
    except (ValueError, OverflowError):
        raise _unusable(key) from None


def _end(document: Mapping[str, object], key: str) -> datetime | None:
    return None if document.get(key) is None else _time(document, key)


def _unusable(key: str) -> PayloadError:
    return PayloadError(f"the stored payload has no usable {key}")
