"""One HTTP request to Secret Manager's REST API: where it goes, and with which credentials.

Google's client library would do this, too. It takes a third of a second and 30 MiB to import, for gRPC, asyncio and
message classes that eleven calls with JSON do not need; credentials are google-auth's either way. Importing even that
costs a good part of a start, so `vault` does it when it is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import google.auth
import requests
from google.auth import exceptions as auth_errors
from google.auth.transport.requests import AuthorizedSession
from requests.adapters import HTTPAdapter

from tokenkeeper import log
from tokenkeeper.errors import SettingsError, StoreUnavailable

_CONNECTIONS = 64  # kept open at once; the default of 10 would close and open them all the time
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        status: The HTTP status.
        body: The body, which may be anything: a proxy can stand in between.
    """

    status: int
    body: bytes = field(repr=False)


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
            requests.RequestException: no answer came.
            google.auth.exceptions.GoogleAuthError: there is no access token.
            SettingsError, StoreUnavailable: as `project`.
        """
        session, base = self._session
        response = session.request(
            method, f"{base}/v1{path}", params=query, json=body, timeout=seconds, allow_redirects=False
        )
        return Answer(response.status_code, response.content)

    @cached_property
    def _session(self) -> tuple[requests.Session, str]:
        if self._emulator_host:
            session, base = requests.Session(), f"http://{self._emulator_host}"
            session.trust_env = False  # no proxy between here and this machine
        else:
            credentials, _ = self._credentials
            session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
            base = f"https://secretmanager.{credentials.universe_domain}"
        session.headers["User-Agent"] = "token-keeper"
        for scheme in ("https://", "http://"):
            session.mount(scheme, HTTPAdapter(pool_maxsize=_CONNECTIONS))
        log.silence_libraries()
        return session, base

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
