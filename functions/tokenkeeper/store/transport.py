"""One HTTP request to Secret Manager's REST API: where it goes, and with which credentials.

Google's client library would do this, too. It takes a third of a second and 30 MiB to import, for gRPC, asyncio and
message classes that eleven calls with JSON do not need; credentials are google-auth's either way. Importing even that
costs a good part of a start, so `vault` does it when it is needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any
from urllib.parse import urlencode

import google.auth
import urllib3
from google.auth import exceptions as auth_errors
from google.auth.transport.requests import Request

from tokenkeeper import http
from tokenkeeper.errors import SettingsError, StoreUnavailable

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int  # the HTTP status
    body: bytes = field(repr=False)  # which may be anything: a proxy can stand in between


class Transport:
    """Sends requests with credentials; keeps connections open between them. One instance serves many threads."""

    def __init__(self, emulator_host: str = "", *, in_cloud: bool = False) -> None:
        """Set up; nothing is sent, and no credentials are looked for yet.

        Args:
            emulator_host: `host:port` of an endpoint spoken to over plain http without credentials; empty: Google.
            in_cloud: Whether credentials are certain to exist, so that none means that the metadata server is away.
        """
        self._emulator_host = emulator_host
        self._in_cloud = in_cloud

    @property
    def project(self) -> str:
        """The project that the credentials name; empty where they name none, or there are none by design.

        Raises:
            SettingsError: no credentials were found.
            StoreUnavailable: there are no credentials for the moment.
        """
        return "" if self._emulator_host else self._credentials[1]

    def send(
        self, method: str, path: str, query: Mapping[str, str], body: Mapping[str, object] | None, seconds: float
    ) -> Answer:
        """Send one request, once.

        Args:
            method: The HTTP method.
            path: What comes after the API's version, from `/projects` on.
            query: The query's parameters.
            body: The JSON body; None: there is none.
            seconds: How long to wait for a connection, and for each part of the answer.

        Raises:
            urllib3.exceptions.HTTPError, OSError: no answer came.
            google.auth.exceptions.GoogleAuthError: there is no access token.
            SettingsError, StoreUnavailable: as `project`.
        """
        url = f"{self._base}/v1{path}" + (f"?{urlencode(query)}" if query else "")
        content = None if body is None else json.dumps(body).encode()
        answer = self._send(method, url, content, seconds)
        if answer.status == 401 and not self._emulator_host:  # the token ended early; Google may give another
            self._credentials[0].refresh(partial(self._tokens, timeout=seconds))
            answer = self._send(method, url, content, seconds)
        return answer

    def _send(self, method: str, url: str, content: bytes | None, seconds: float) -> Answer:
        headers = {"User-Agent": "token-keeper", "Content-Type": "application/json"}
        if not self._emulator_host:
            self._credentials[0].before_request(partial(self._tokens, timeout=seconds), method, url, headers)
        response = self._connections.urlopen(
            method, url, body=content, headers=headers, timeout=seconds, redirect=False, retries=False
        )
        return Answer(response.status, response.data)

    @cached_property
    def _base(self) -> str:
        if self._emulator_host:
            return f"http://{self._emulator_host}"
        return f"https://secretmanager.{self._credentials[0].universe_domain}"

    @cached_property
    def _connections(self) -> urllib3.PoolManager:
        return http.connections(self._base)

    @cached_property
    def _tokens(self) -> Request:
        """What google-auth gets access tokens with."""
        return Request()

    @cached_property
    def _credentials(self) -> tuple[Any, str]:
        try:
            credentials, project = google.auth.default(scopes=[_SCOPE])
        except auth_errors.DefaultCredentialsError:
            if self._in_cloud:
                raise StoreUnavailable("Google's metadata server is unavailable: there are no credentials.") from None
            raise SettingsError(
                "No Google Cloud credentials were found: run `gcloud auth application-default login`, or run this "
                "where a service account is attached."
            ) from None
        return credentials, project or ""
