"""One HTTP request to TikTok, bounded in time and size, without redirects, TLS checked.

Importing what speaks HTTP costs a good part of a start, so `api` does it when it is needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ProxyError

from tokenkeeper import http
from tokenkeeper.errors import TikTokSilent, TikTokUnreachable

_CONNECT_SECONDS = 5.0
_CHUNK = 65_536
_HEADERS = {"User-Agent": "token-keeper", "Accept": "application/json", "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int  # the HTTP status
    document: Mapping[str, Any] | None = field(repr=False)  # the JSON object of the body; None: it is no such thing


class Transport:
    """Sends requests to one API; keeps connections open between them. One instance serves many threads."""

    def __init__(self, base_url: str) -> None:
        """Set up for an API's base, which has no slash at the end; nothing is sent yet."""
        self._base_url, self._base_path = base_url, urlsplit(base_url).path

    def send(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        content: bytes | None,
        seconds: float,
        largest: int,
        *,
        fresh: bool = False,
    ) -> Answer:
        """Send one request to what comes after the base, with the query.

        All of it takes at most `seconds`, besides what a proxy takes to connect (5 s), and the answer's body has at
        most `largest` bytes. A `fresh` connection is a new one: one that was kept open may be closed by the other side
        in the same moment, and then nobody knows whether the request arrived.

        Raises:
            TikTokUnreachable: certain not to have arrived.
            TikTokSilent: sent, and no complete answer came back in time.
        """
        try:
            connections = http.connections(self._base_url, kept=1) if fresh else self._connections
        except (HTTPError, OSError) as error:
            raise TikTokUnreachable(f"The proxy or the CAs cannot be used ({type(error).__name__})") from None
        try:
            with connections.urlopen(  # closes a connection whose answer was not read to its end
                method,
                self._base_path + target,
                body=content,
                headers={**_HEADERS, **headers},
                timeout=urllib3.Timeout(connect=min(_CONNECT_SECONDS, seconds), total=seconds),
                redirect=False,
                retries=False,
                preload_content=False,
            ) as response:
                return Answer(response.status, _document(_read(response, largest)))
        except (HTTPError, OSError, ValueError) as error:
            # Behind a proxy, urllib3 raises `ProxyError` where connecting fails, and where an answer is lost as well.
            cause = error.original_error if isinstance(error, ProxyError) else error
            if isinstance(cause, NewConnectionError | ConnectTimeoutError):
                reason = type(cause.__cause__ or cause).__name__
                raise TikTokUnreachable(f"TikTok could not be reached ({reason})") from None
            late = isinstance(error, urllib3.exceptions.TimeoutError | TimeoutError)
            raise TikTokSilent("TikTok did not answer in time" if late else "The connection to TikTok broke") from None
        finally:
            if fresh:
                connections.close()

    @cached_property
    def _connections(self) -> urllib3.HTTPConnectionPool:
        return http.connections(self._base_url)


def _read(response: urllib3.BaseHTTPResponse, largest: int) -> bytes:
    """The body, as it arrives."""
    body = bytearray()
    while chunk := response.read1(_CHUNK, decode_content=True):
        body += chunk
        if len(body) > largest:
            raise TikTokSilent(f"TikTok's answer is larger than {largest // 1_000_000} MB")
    return bytes(body)


def _document(body: bytes) -> Mapping[str, Any] | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
