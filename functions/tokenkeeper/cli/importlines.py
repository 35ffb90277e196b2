"""Tokens that exist already, as people bring them: TikTok's JSON answer, or the access token alone. No I/O.

No error quotes what was given.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, get_args

from tokenkeeper import checks, clock
from tokenkeeper.checks import Invalid
from tokenkeeper.errors import KeeperError, TikTokSilent
from tokenkeeper.grant import Family, TokenResponse
from tokenkeeper.tiktok.api import token_response
from tokenkeeper.tiktok.codes import SUCCESSES


class ImportRefused(KeeperError):
    """A token was not imported; the text says why."""


@dataclass(frozen=True)
class Defaults:
    """What holds for a token unless its line says otherwise; its fields are those of a connect link."""

    family: Family = "advertiser"
    any_account: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Token(Defaults):
    """A token to import."""

    connection: str  # name of the connection
    response: TokenResponse  # what TikTok answered, as far as it is known
    obtained_at: datetime | None  # when TikTok issued it; None: not known


def read_token(text: str, connection: str, defaults: Defaults) -> Token:
    """Read TikTok's JSON answer (its `data` alone is enough), or a bare access token; raises `ImportRefused`."""
    text = text.removeprefix("\ufeff").strip()  # some programs begin a file with it
    if not text:
        raise ImportRefused("Nothing was given: paste TikTok's JSON answer, or the access token.")
    if text[0] in "[\"'":
        raise ImportRefused("It is no JSON object, and no access token either: give the token without quotes.")
    return _token(_object(text) if text.startswith("{") else {"access_token": text}, connection, defaults)


def read_line(text: str, defaults: Defaults) -> Token:
    """Read one line of a file: a JSON object with `connection` beside the keys of TikTok's answer.

    It may have `family`, `labels` (an object) and `obtained_at` (RFC 3339) as well. Raises `ImportRefused`.
    """
    document = _object(text)
    name = document.get("connection")
    if not isinstance(name, str):
        raise ImportRefused('The line has no "connection".')
    try:
        checks.connection(name)
    except Invalid as invalid:
        raise ImportRefused(f'"connection" {invalid}.') from None
    family = document.get("family", defaults.family)
    if family not in get_args(Family):  # it may be anything, even what cannot be hashed
        raise ImportRefused('"family" is neither "advertiser" nor "account".')
    labels = {**defaults.labels, **_labels(document.get("labels", {}))}
    return _token(document, name, replace(defaults, family=family, labels=labels))


def _token(document: Mapping[str, Any], connection: str, defaults: Defaults) -> Token:
    code = document.get("code", 0)
    if str(code) not in map(str, SUCCESSES):
        shown = code if isinstance(code, int) else "that is no number"
        raise ImportRefused(f"TikTok's answer has the code {shown}, so there is no token in it.")
    data = document.get("data", document)
    if not isinstance(data, dict):
        raise ImportRefused('"data" is no JSON object.')
    try:
        response = token_response({"request_id": "", **data}, defaults.family)
    except TikTokSilent:
        raise ImportRefused(
            'There is no usable "access_token": give TikTok\'s whole JSON answer, or the token alone.'
        ) from None
    issued = document.get("obtained_at")
    try:
        obtained_at = None if issued is None else clock.parse(issued if isinstance(issued, str) else "")
    except (ValueError, OverflowError):
        raise ImportRefused('"obtained_at" is no time, like 2026-11-22T10:00:00Z.') from None
    return Token(**vars(defaults), connection=connection, response=response, obtained_at=obtained_at)


def _object(text: str) -> Mapping[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise ImportRefused("It is not JSON.") from None
    if not isinstance(document, dict):
        raise ImportRefused("It is no JSON object.")
    return document


def _labels(value: object) -> Mapping[str, str]:
    if not isinstance(value, dict) or any("," in f"{key}{text}" for key, text in value.items()):
        raise ImportRefused('"labels" is no JSON object of labels, like {"client": "acme"}.')
    try:
        return checks.labels(",".join(f"{key}={text}" for key, text in value.items()))
    except Invalid as invalid:
        raise ImportRefused(f'"labels" {invalid}.') from None
