"""One HTTP call to TikTok, bounded in every way: in time, in size, without redirects, TLS checked.

Importing `requests` costs a good part of a start, so `tiktok` does it when it is needed, or `warm_up` beforehand.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from tokenkeeper import log
from tokenkeeper.errors import TikTokSilent, TikTokUnreachable

LARGEST_ANSWER = 1_000_000  # bytes
_CONNECT_SECONDS = 5.0
_CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the HTTP status and the JSON object of the body, or None where the body is no such thing."""

    status: int
    document: Mapping[str, Any] | None = field(repr=False)


class Transport:
    """Calls to one API; keeps connections open between them. One instance serves many threads."""

    def __init__(self) -> None:
        self._session = _session(_CONNECTIONS)
        log.silence_libraries()

    def get(self, url: str, query: Mapping[str, str], headers: Mapping[str, str], seconds: float) -> Answer:
        """GET within `seconds`; raises as `post` does."""
        return self._send(self._session, "GET", url, seconds, params=query, headers=headers)

    def post(self, url: str, body: Mapping[str, object], seconds: float, *, fresh: bool = False) -> Answer:
        """POST a JSON body.

        Args:
            url: Where to.
            body: What to send.
            seconds: The most that all of it may take, the body's arrival included.
            fresh: Use a new connection: one that was kept open may be closed by the other side in the same moment, and
                then nobody knows whether the call arrived.

        Raises:
            TikTokUnreachable: certain not to have arrived.
            TikTokSilent: sent, and no complete answer came back in time.
        """
        if not fresh:
            return self._send(self._session, "POST", url, seconds, json=body)
        with _session(1) as session:
            return self._send(session, "POST", url, seconds, json=body)

    @staticmethod
    def _send(session: requests.Session, method: str, url: str, seconds: float, **what: Any) -> Answer:
        with _Watch(seconds) as watch:
            try:
                response = session.request(
                    method,
                    url,
                    timeout=(min(_CONNECT_SECONDS, seconds), seconds + 1),  # the watch rings first
                    allow_redirects=False,
                    stream=True,
                    **what,
                )
                with response:
                    body = response.raw.read(LARGEST_ANSWER + 1, decode_content=True)
            except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
                if not watch.sent:
                    raise TikTokUnreachable(f"TikTok could not be reached ({type(error).__name__})") from None
                raise TikTokSilent(
                    "TikTok did not answer in time" if watch.rang else "The connection to TikTok broke"
                ) from None
        if watch.rang:
            raise TikTokSilent("TikTok did not answer in time")
        if len(body) > LARGEST_ANSWER:
            raise TikTokSilent("TikTok's answer is larger than 1 MB")
        return Answer(response.status_code, _document(body))


def _document(body: bytes) -> Mapping[str, Any] | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


class _Watch:
    """Shuts the connection after some seconds: a socket's own time-out bounds only the gap between two bytes."""

    current = threading.local()

    def __init__(self, seconds: float) -> None:
        self.sent = False
        self.rang = False
        self._connection: HTTPConnection | None = None
        self._timer = threading.Timer(seconds, self._ring)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        _Watch.current.watch = self
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        _Watch.current.watch = None

    def sending(self, connection: HTTPConnection) -> None:
        """The connection is there and the first bytes are about to go out."""
        if self.rang:
            raise TimeoutError  # it took too long to get here: nothing has been sent, and nothing is
        self._connection = connection
        self.sent = True

    def _ring(self) -> None:
        self.rang = True
        sock = self._connection.sock if self._connection else None
        if sock is not None:
            try:
                sock.shutdown(2)
            except OSError:
                return  # closed in the same moment


class _Watched(HTTPConnection):
    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        watch = getattr(_Watch.current, "watch", None)
        if watch is not None:
            watch.sending(self)
        super().send(data)


class _WatchedTLS(_Watched, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Watched


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedTLS


def _session(connections: int) -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # no .netrc that adds a header, no proxy that sees the app secret
    session.headers.update({"User-Agent": "token-keeper", "Accept": "application/json", "Accept-Encoding": "identity"})
    for scheme in ("https://", "http://"):
        adapter = HTTPAdapter(pool_maxsize=connections, max_retries=0)
        adapter.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}
        session.mount(scheme, adapter)
    return session
