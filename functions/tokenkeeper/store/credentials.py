"""Google's access tokens: on Cloud Run from its metadata server, anywhere else as google-auth finds them.

google-auth could ask the metadata server as well, but not without importing `requests` and `cryptography`. That is
16 MiB, and a good part of the time that a cold instance takes for its first callback.
"""

from __future__ import annotations

import json
import threading
from functools import cached_property, partial

import urllib3

from tokenkeeper import clock, http
from tokenkeeper.errors import SettingsError, StoreUnavailable

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_SECONDS = 10.0  # for what is asked of the metadata server outside of a call
_BEFORE_THE_END = 225.0  # seconds; the metadata server has a new token four minutes before the old one ends


class MetadataServer:
    """The credentials of the service account that a Cloud Run service runs as. One instance serves many threads.

    Source: "About VM metadata" and "Authenticate workloads" in Compute Engine's documentation; Cloud Run has the same.
    """

    def __init__(self, host: str) -> None:
        """Set up; nothing is asked yet. The host may have a port."""
        self._url = f"http://{host}/computeMetadata/v1/"
        self._lock = threading.Lock()
        self._token, self._until = "", 0.0

    @cached_property
    def project(self) -> str:
        """The project that they name; raises `StoreUnavailable`."""
        return self._get("project/project-id", _SECONDS).decode()

    @cached_property
    def universe(self) -> str:
        """The domain of Google's APIs: `googleapis.com`, but for clouds of Google's partners; raises as `project`."""
        return self._get("universe/universe-domain", _SECONDS, otherwise=b"").decode() or "googleapis.com"

    def authorize(self, url: str, headers: dict[str, str], seconds: float, *, renew: bool = False) -> None:  # noqa: ARG002
        """Add to a request's headers what says who is calling; raises `StoreUnavailable` where it cannot.

        Getting an access token may take so many seconds; with `renew` it is a new one, since Google does not accept
        the last.
        """
        if not self._lock.acquire(timeout=seconds):  # whoever comes meanwhile takes the same new token
            raise _away("no answer in time")
        try:
            if renew or clock.monotonic() >= self._until:
                self._renew(seconds)
            headers["Authorization"] = f"Bearer {self._token}"
        finally:
            self._lock.release()

    def _renew(self, seconds: float) -> None:
        asked = clock.monotonic()
        try:
            document = json.loads(self._get("instance/service-accounts/default/token", seconds))
            self._token, life = str(document["access_token"]), float(document["expires_in"])
        except (KeyError, TypeError, ValueError) as error:
            raise _away(type(error).__name__) from None
        self._until = asked + life - _BEFORE_THE_END

    def _get(self, path: str, seconds: float, otherwise: bytes | None = None) -> bytes:
        """What is at a path; `otherwise` where there is nothing."""
        try:
            answer = http.once("GET", self._url + path, seconds, {"Metadata-Flavor": "Google"})
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _away(type(error).__name__) from None
        if answer.status == 404 and otherwise is not None:
            return otherwise
        if answer.status != 200:
            raise _away(str(answer.status))
        return answer.data


class Found:
    """The credentials that google-auth finds: a person's login, a key, a workload's identity."""

    def __init__(self) -> None:
        """Look for them; raises `SettingsError` where there are none."""
        import google.auth  # with what it imports in turn: slow, and not needed on Cloud Run
        from google.auth.exceptions import DefaultCredentialsError
        from google.auth.transport.requests import Request

        try:
            self._credentials, project = google.auth.default(scopes=[_SCOPE])
        except DefaultCredentialsError:
            raise SettingsError(
                "No Google Cloud credentials were found: run `gcloud auth application-default login`, or run this "
                "where a service account is attached."
            ) from None
        self._request = Request()
        self.project = project or ""  # that they name; empty: none

    @property
    def universe(self) -> str:
        """See `MetadataServer.universe`."""
        return str(self._credentials.universe_domain)

    def authorize(self, url: str, headers: dict[str, str], seconds: float, *, renew: bool = False) -> None:
        """See `MetadataServer.authorize`; raises `google.auth.exceptions.GoogleAuthError` where there is none."""
        request = partial(self._request, timeout=seconds)
        if renew:
            self._credentials.refresh(request)  # type: ignore[no-untyped-call]
        self._credentials.before_request(request, "GET", url, headers)  # type: ignore[no-untyped-call]


def _away(what: str) -> StoreUnavailable:
    return StoreUnavailable(f"Google's metadata server is unavailable ({what}): there are no credentials.")
