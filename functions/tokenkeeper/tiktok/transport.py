"""One HTTP request to TikTok, bounded in time and size, without redirects, TLS checked.

Importing `requests` costs a good part of a start, so `api` does it when it is needed.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.exceptions import NewConnectionError

from tokenkeeper import log
from tokenkeeper.checks import is_this_machine
from tokenkeeper.clock import Deadline
from tokenkeeper.errors import TikTokSilent, TikTokUnreachable

_CONNECT_SECONDS = 5.0
_CONNECTIONS = 64
_CHUNK = 65_536
_HANDSHAKE_FAILURES = {  # OpenSSL's reasons that occur before anything is sent
    "CERTIFICATE_VERIFY_FAILED",
    "WRONG_VERSION_NUMBER",
    "UNSUPPORTED_PROTOCOL",
    "NO_PROTOCOLS_AVAILABLE",
    "TLSV1_ALERT_PROTOCOL_VERSION",
    "SSLV3_ALERT_HANDSHAKE_FAILURE",
    "TLSV1_ALERT_INTERNAL_ERROR",
    "TLSV1_UNRECOGNIZED_NAME",
    "RECORD_LAYER_FAILURE",
    "HTTP_REQUEST",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        status: The HTTP status.
        document: The JSON object of the body, or None where the body is no such thing.
    """

    status: int
    document: Mapping[str, Any] | None = field(repr=False)


class Transport:
    """Sends requests to one API; keeps connections open between them. One instance serves many threads."""

    def __init__(self, base_url: str) -> None:
        """Set up; nothing is sent yet.

        Args:
            base_url: Base of the API, without a slash at the end. A proxy is never used for this machine.
        """
        self._base_url = base_url
        self._session = self._new_session(_CONNECTIONS)
        log.silence_libraries()

    def get(
        self, path: str, query: Mapping[str, str], headers: Mapping[str, str], seconds: float, largest: int
    ) -> Answer:
        """GET; raises as `post` does."""
        return self._send(self._session, "GET", path, seconds, largest, params=query, headers=headers)

    def post(
        self, path: str, body: Mapping[str, object], seconds: float, largest: int, *, fresh: bool = False
    ) -> Answer:
        """POST a JSON body.

        Args:
            path: What comes after the base.
            body: What to send.
            seconds: The most that it may take, the body's arrival included.
            largest: The most bytes that the answer's body may have.
            fresh: Use a new connection: one that was kept open may be closed by the other side in the same moment, and
                then nobody knows whether the request arrived.

        Raises:
            TikTokUnreachable: certain not to have arrived.
            TikTokSilent: sent, and no complete answer came back in time.
        """
        if not fresh:
            return self._send(self._session, "POST", path, seconds, largest, json=body)
        with self._new_session(1) as session:
            return self._send(session, "POST", path, seconds, largest, json=body)

    def _send(
        self, session: requests.Session, method: str, path: str, seconds: float, largest: int, **what: Any
    ) -> Answer:
        deadline = Deadline(seconds)
        try:
            response = session.request(
                method,
                self._base_url + path,
                timeout=(min(_CONNECT_SECONDS, seconds), seconds),
                allow_redirects=False,
                stream=True,
                **what,
            )
            with response:
                body = _read(response, deadline, largest)
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            if _certainly_not_sent(error):
                raise TikTokUnreachable(f"TikTok could not be reached ({type(error).__name__})") from None
            if isinstance(error, requests.exceptions.Timeout | urllib3.exceptions.TimeoutError | TimeoutError):
                raise TikTokSilent("TikTok did not answer in time") from None
            raise TikTokSilent("The connection to TikTok broke") from None
        return Answer(response.status_code, _document(body))

    def _new_session(self, connections: int) -> requests.Session:
        session = requests.Session()
        session.trust_env = not is_this_machine(urlsplit(self._base_url).hostname or "")  # proxy and CA of a company
        session.headers.update(
            {"User-Agent": "token-keeper", "Accept": "application/json", "Accept-Encoding": "identity"}
        )
        for scheme in ("https://", "http://"):
            session.mount(scheme, HTTPAdapter(pool_maxsize=connections, max_retries=0))
        return session


def _read(response: requests.Response, deadline: Deadline, largest: int) -> bytes:
    """The body, as it arrives: a socket's own time-out bounds only the gap between two bytes."""
    body = bytearray()
    while chunk := response.raw.read1(_CHUNK, decode_content=True):
        body += chunk
        if len(body) > largest:
            raise TikTokSilent(f"TikTok's answer is larger than {largest // 1_000_000} MB")
        if deadline.over:
            raise TikTokSilent("TikTok did not answer in time")
    return bytes(body)


def _certainly_not_sent(error: BaseException) -> bool:
    """Whether no byte of the request has left: no connection came about, or no TLS on it."""
    if isinstance(error, requests.exceptions.ConnectTimeout | requests.exceptions.ProxyError):
        return True
    found: BaseException | None = error
    for _ in range(8):  # requests' error holds urllib3's, which holds the socket's
        if isinstance(found, NewConnectionError):
            return True
        if isinstance(found, ssl.SSLError):
            return isinstance(found, ssl.SSLCertVerificationError) or found.reason in _HANDSHAKE_FAILURES
        inner = getattr(found, "reason", None)
        first = found.args[0] if found is not None and found.args else None
        found = next((one for one in (inner, first) if isinstance(one, BaseException)), None)
        if found is None:
            return False
    return False


def _document(body: bytes) -> Mapping[str, Any] | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
