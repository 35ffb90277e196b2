"""The JSON that is stored: what pipelines read, and the whole grant that only `refresh` reads. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

from tokenkeeper import clock, grant
from tokenkeeper.checks import is_line
from tokenkeeper.errors import PayloadError
from tokenkeeper.grant import Grant, RefreshableGrant
from tokenkeeper.secret import Secret

SCHEMA = 1
LARGEST = 64 * 1024  # bytes; Secret Manager's limit


def of_token(stored: Grant) -> bytes:
    """What pipelines read: UTF-8 JSON, one object, no refresh token."""
    return _fitting(stored, {})


def of_refresh(stored: RefreshableGrant) -> bytes:
    """The whole grant, refresh token included."""
    end = stored.refresh_expires_at
    return _fitting(
        stored,
        {"refresh_token": stored.refresh_token.reveal(), "refresh_expires_at": clock.text(end) if end else None},
    )


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
    ids = _ids(document)
    is_account = "open_id" in document
    found = Grant(
        connection=connection,
        app_id=_text(document, "app_id"),
        family="account" if is_account else "advertiser",
        access_token=Secret(_text(document, "access_token")),
        expires_at=_time(document, "expires_at"),
        advertiser_ids=ids,
        advertiser_count=_count(document) if ids is None else len(ids),
        scope=(grant.scope_names if is_account else grant.permission_ids)(document.get("scope")) or (),
        obtained_at=_time(document, "obtained_at", required=True) or clock.now(),
        open_id=_text(document, "open_id") if is_account else "",
        username=_username(document),
    )
    if document.get("refresh_token") is None:
        return found
    return grant.with_refresh_token(
        found, Secret(_text(document, "refresh_token")), _time(document, "refresh_expires_at")
    )


def _fitting(stored: Grant, more: Mapping[str, object]) -> bytes:
    ids = None if stored.advertiser_ids is None else list(stored.advertiser_ids)
    full = _document(stored, ids, more)
    return full if len(full) <= LARGEST else _document(stored, None, more)


def _document(stored: Grant, ids: list[str] | None, more: Mapping[str, object]) -> bytes:
    count = {"advertiser_count": stored.advertiser_count} if ids is None else {}
    account = {"open_id": stored.open_id, "username": stored.username or None} if stored.family == "account" else {}
    document = {
        "schema": SCHEMA,
        "connection": stored.connection,
        "app_id": stored.app_id,
        "access_token": stored.access_token.reveal(),
        "expires_at": clock.text(stored.expires_at) if stored.expires_at else None,
        "advertiser_ids": ids,
        **count,
        "scope": list(stored.scope),
        "obtained_at": clock.text(stored.obtained_at),
        **account,
        **more,
    }
    return json.dumps(document, ensure_ascii=False).encode()


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
    ids = grant.advertiser_ids(value)
    if ids is None:
        raise PayloadError("the stored payload has no usable advertiser_ids")
    return ids


def _count(document: Mapping[str, object]) -> int:
    count = document.get("advertiser_count")
    return count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else 0


def _username(document: Mapping[str, object]) -> str:
    value = document.get("username")
    return value if isinstance(value, str) and is_line(value) else ""
