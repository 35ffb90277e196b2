"""Calls to TikTok's API: the rate limit before them, the envelope of their answers, errors as ours."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from tokenkeeper import grant
from tokenkeeper.checks import is_line
from tokenkeeper.errors import Kind, TikTokRefused, TikTokSilent
from tokenkeeper.grant import Family, TokenResponse
from tokenkeeper.secret import Secret
from tokenkeeper.tiktok.codes import SUCCESSES, kind_of

if TYPE_CHECKING:
    from tokenkeeper.tiktok.transport import Answer, Transport

CALL_SECONDS = 25.0  # the most that one call may take
LARGEST_ANSWER = 1_000_000  # bytes
LARGEST_LIST = 16_000_000  # bytes, of an answer that may list thousands of ad accounts
_LONGEST_TEXT = 100  # characters of a name


class RateLimit:
    """What paces the calls of a process; this one lets everything through, for a program that makes a few calls."""

    def wait(self) -> None:
        """Return when the next call may be sent."""

    def throttled(self) -> None:
        """TikTok answered that there were too many calls."""

    def succeeded(self) -> None:
        """TikTok answered otherwise."""


def nothing() -> None:
    """Do nothing before a call is sent."""


class Api:
    """One API base. One instance serves many threads."""

    def __init__(self, base_url: str, rate: RateLimit | None = None, transport: Transport | None = None) -> None:
        """Set up; nothing is called yet. A rate that is None paces nothing; a transport that is None is HTTP."""
        self._base_url = base_url
        self._rate = rate or RateLimit()
        self._given = transport

    @cached_property
    def _transport(self) -> Transport:
        from tokenkeeper.tiktok.transport import Transport  # slow to import, and a start need not wait for it

        return self._given or Transport(self._base_url)

    def post(
        self,
        path: str,
        body: Mapping[str, object],
        seconds: float = CALL_SECONDS,
        *,
        largest: int = LARGEST_ANSWER,
        fresh: bool = False,
        before_sending: Callable[[], None] = nothing,
    ) -> Mapping[str, Any]:
        """POST a JSON body; returns the answer's `data` with its `request_id`.

        For `seconds`, `largest` and `fresh` see `Transport.send`. `before_sending` is called when the rate limit has
        let the call through, right before it is sent.

        Raises:
            TikTokRefused: TikTok answered with a code other than 0.
            TikTokUnreachable: certain not to have arrived.
            TikTokSilent: sent, and no usable answer came back.
        """
        content, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
        transport = self._transport  # made before the slot comes, which importing it would miss
        self._rate.wait()
        before_sending()
        return self._data(transport.send("POST", path, headers, content, seconds, largest, fresh=fresh))

    def get(
        self,
        path: str,
        query: Mapping[str, str],
        access_token: Secret,
        seconds: float = CALL_SECONDS,
        *,
        largest: int = LARGEST_ANSWER,
    ) -> Mapping[str, Any]:
        """GET with an access token; returns and raises as `post` does."""
        target, headers = f"{path}?{urlencode(query)}", {"Access-Token": access_token.reveal()}
        transport = self._transport
        self._rate.wait()
        return self._data(transport.send("GET", target, headers, None, seconds, largest))

    def _data(self, answer: Answer) -> Mapping[str, Any]:
        """What is in the envelope; the rate limit is told what TikTok itself answered."""
        document = answer.document or {}
        request_id = grant.opaque(document.get("request_id"), 64)
        if not request_id.isalnum():
            request_id = ""
        code, data = _integer(document.get("code")), document.get("data")
        if answer.status == 429:
            self._rate.throttled()
            raise TikTokRefused(Kind.THROTTLED, 429, request_id)
        if answer.status >= 500 or 300 <= answer.status < 400:
            raise TikTokSilent(f"TikTok answered with HTTP {answer.status}", request_id)
        if code is None:
            raise TikTokSilent(f"TikTok's answer (HTTP {answer.status}) is not its JSON")
        if code not in SUCCESSES:
            kind = kind_of(code, str(document.get("message", "")))
            if kind is Kind.THROTTLED:
                self._rate.throttled()
            else:
                self._rate.succeeded()
            raise TikTokRefused(kind, code, request_id)
        if not isinstance(data, dict):
            raise TikTokSilent("TikTok's answer has code 0 and no data", request_id)
        self._rate.succeeded()
        return {**data, "request_id": request_id}


def token_response(data: Mapping[str, Any], family: Family) -> TokenResponse:
    """The `data` of a token endpoint, with its `request_id`; raises `TikTokSilent` where it holds no usable token."""
    account = family == "account"
    access_token = _token(data.get("access_token"))
    if access_token is None:
        raise TikTokSilent("TikTok's answer has code 0 and no usable token", data["request_id"])
    return TokenResponse(
        access_token=access_token,
        refresh_token=_token(data.get("refresh_token")),
        expires_in=grant.lifetime(data.get("expires_in")),
        refresh_expires_in=grant.lifetime(data.get("refresh_token_expires_in")),
        advertiser_ids=() if account else grant.advertiser_ids(data.get("advertiser_ids")),
        scope=grant.scope(family, data.get("scope")),
        open_id=identifier(data.get("open_id")) if account else "",
    )


def line(value: object) -> str:
    """A name of TikTok's as one printable line; empty where it is none."""
    words = " ".join(value.split()) if isinstance(value, str) else ""
    return "".join(filter(is_line, words))[:_LONGEST_TEXT]


def identifier(value: object) -> str:
    """An opaque id of TikTok's; empty where it is none."""
    text = grant.opaque(value, 256)
    return "" if set(text) & set(' ,"\\') else text


def _token(value: object) -> Secret | None:
    text = grant.opaque(value, 4096)
    return Secret(text) if text and " " not in text else None


def _integer(value: object) -> int | None:
    if isinstance(value, str) and len(value) < 20 and value.isascii() and value.removeprefix("-").isdigit():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
