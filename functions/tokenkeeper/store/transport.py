"""One HTTP request to Secret Manager's REST API: where it goes, and with which credentials.

Google's client library would do this, too. It takes a third of a second and 30 MiB to import, for gRPC, asyncio and
message classes that eleven calls with JSON do not need. Importing even this costs a good part of a start, so `vault`
does it when it is needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import urlencode

import urllib3

from tokenkeeper import http
from tokenkeeper.store.credentials import Found, MetadataServer


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int  # the HTTP status
    body: bytes = field(repr=False)  # which may be anything: a proxy can stand in between


class Transport:
    """Sends requests with credentials; keeps connections open between them. One instance serves many threads."""

    def __init__(self, emulator_host: str = "", metadata_host: str = "") -> None:
        """Set up, with both as of `Settings`; nothing is sent, and no credentials are looked for yet."""
        self._emulator_host = emulator_host
        self._metadata_host = metadata_host

    @property
    def project(self) -> str:
        """The project that the credentials name; empty where they name none, or there are none by design.

        Raises `SettingsError` where no credentials were found, `StoreUnavailable` where there are none for a moment.
        """
        return "" if self._emulator_host else self._credentials.project

    def send(
        self, method: str, path: str, query: Mapping[str, str], body: Mapping[str, object] | None, seconds: float
    ) -> Answer:
        """Send one request; again only where Google does not accept the access token.

        The path is what comes after the API's version; connecting, and the whole answer, may take so long each.

        Raises urllib3's `HTTPError` or `OSError` where no answer came, google-auth's `GoogleAuthError` where there is
        no access token, and as `project` does.
        """
        path = f"/v1{path}" + (f"?{urlencode(query)}" if query else "")
        content = None if body is None else json.dumps(body).encode()
        for renew in (False, True):  # a token may end early; Google may give another
            headers = {"User-Agent": "token-keeper", "Content-Type": "application/json"}
            if not self._emulator_host:
                self._credentials.authorize(self._base + path, headers, seconds, renew=renew)
            response = self._connections.urlopen(
                method, path, body=content, headers=headers, timeout=seconds, redirect=False, retries=False
            )
            if response.status != 401 or self._emulator_host:
                break
        return Answer(response.status, response.data)

    @cached_property
    def _base(self) -> str:
        if self._emulator_host:
            return f"http://{self._emulator_host}"
        return f"https://secretmanager.{self._credentials.universe}"

    @cached_property
    def _connections(self) -> urllib3.HTTPConnectionPool:
        return http.connections(self._base)

    @cached_property
    def _credentials(self) -> MetadataServer | Found:
        return MetadataServer(self._metadata_host) if self._metadata_host else Found()
