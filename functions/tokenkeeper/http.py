"""HTTP connections to one host, through a company's proxy and with its CA.

Plain http, which is for this machine and for emulators, goes through no proxy.

urllib3 makes the requests, with half of the work that `requests` needs for one. The environment's variables have the
meaning that they have for `requests`, which google-auth uses.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError
from urllib3.util import make_headers, parse_url
from urllib3.util.ssl_ import create_urllib3_context

from tokenkeeper import log, settings
from tokenkeeper.checks import is_this_machine
from tokenkeeper.clock import Deadline

_KEPT = 64  # connections that are kept open


class Way(NamedTuple):
    """How a host is reached."""

    proxy: str  # the proxy's URL, which may hold a password; empty: there is none
    ca: str  # the file or folder of the CAs that certificates are checked with; empty: the usual ones


class _Incoming(io.RawIOBase):
    """What a socket receives, all of it within the socket's time-out, which by itself bounds each gap only."""

    def __init__(self, raw: io.RawIOBase, connection: socket.socket) -> None:
        self._raw, self._connection = raw, connection
        self._deadline = Deadline(connection.gettimeout() or 0)  # every request here has a time-out

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        remaining = self._deadline.remaining
        if not remaining:
            raise TimeoutError
        self._connection.settimeout(remaining)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """An answer whose status, headers and body together have the time that is left for reading."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_Incoming(self.fp.detach(), sock))


class _Plain(HTTPConnection):
    response_class = _Response


class _Secure(HTTPSConnection):
    response_class = _Response

    def connect(self) -> None:
        """Connect, through the proxy too; raises `NewConnectionError` for all that fails until TLS is established.

        After a request was sent, OpenSSL reports the same errors, so only this place can tell.
        """
        try:
            super().connect()
        except (OSError, http.client.HTTPException) as error:
            raise NewConnectionError(self, type(error).__name__) from error


def way_to(url: str) -> Way:
    """How the host of this URL is reached, by `HTTPS_PROXY`, `NO_PROXY`, `REQUESTS_CA_BUNDLE` and their like."""
    parts = urlsplit(url)
    if parts.scheme != "https" or is_this_machine(parts.hostname or ""):
        return Way("", "")
    proxies = {} if proxy_bypass(parts.netloc) else getproxies()
    proxy = proxies.get("https") or proxies.get("all") or ""
    if proxy and "://" not in proxy:
        proxy = f"http://{proxy}"
    return Way(proxy, settings.ca_bundle())


def connections(url: str, kept: int = _KEPT) -> urllib3.HTTPConnectionPool:
    """What sends requests to the host of this URL, which take a path, and keeps some connections open.

    Raises:
        OSError: there is no such file of CAs, or nothing in it.
        urllib3.exceptions.HTTPError: the proxy's URL is none that can be used.
    """
    way = way_to(url)
    tls: dict[str, Any] = {}
    if url.startswith("https:"):
        tls["ssl_context"] = _trusting(way.ca or certifi.where())
    log.silence_libraries()
    if way.proxy:
        tls["proxy_ssl_context"] = tls["ssl_context"]  # for a proxy that is reached over TLS
        through = urllib3.ProxyManager(way.proxy, maxsize=kept, proxy_headers=_password(way.proxy), **tls)
        made = through.connection_from_url(url)
    else:
        made = urllib3.connection_from_url(url, maxsize=kept, **tls)
    made.ConnectionCls = _Secure if made.scheme == "https" else _Plain
    return made


def once(
    method: str,
    url: str,
    timeout: float | urllib3.Timeout,
    headers: Mapping[str, str] | None = None,
    content: bytes | None = None,
) -> urllib3.BaseHTTPResponse:
    """The answer to one request, over a connection of its own; redirects are not followed, and nothing is tried again.

    Raises:
        urllib3.exceptions.HTTPError, OSError: there is none.
    """
    with connections(url, kept=1) as made:
        path = parse_url(url).request_uri
        return made.urlopen(method, path, body=content, headers=headers, timeout=timeout, redirect=False, retries=False)


def _password(proxy: str) -> dict[str, str]:
    """The header that a proxy wants whose URL has a user."""
    user, _, password = (parse_url(proxy).auth or "").partition(":")
    return dict(make_headers(proxy_basic_auth=f"{unquote(user)}:{unquote(password)}")) if user else {}


@cache
def _trusting(ca: str) -> ssl.SSLContext:
    """One for all connections: the CAs take long to read."""
    context = create_urllib3_context()
    context.load_verify_locations(**{"capath" if Path(ca).is_dir() else "cafile": ca})
    return context
