"""Google's client for Secret Manager: where it speaks to, with which credentials, and how it is called."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, TypeVar

import google.auth
from google.auth import exceptions as auth_errors
from google.auth.credentials import AnonymousCredentials
from google.cloud import secretmanager_v1 as api
from requests.adapters import HTTPAdapter

from tokenkeeper import log
from tokenkeeper.clock import Deadline
from tokenkeeper.errors import SettingsError, StoreError, StoreRejected, StoreUnavailable
from tokenkeeper.store.calls import Calls

PAGE_SIZE = 1000
T = TypeVar("T")
Send = Callable[..., Any]
"""Calls the client's method of that name with these fields of its request."""

_CONNECTIONS = 64  # kept open at once; the default of 10 would close and open them all the time
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


class Client:
    """What the calls to one project's Secret Manager share: its address, credentials and pages."""

    def __init__(
        self,
        project: str,
        emulator_host: str = "",
        locations: Sequence[str] = (),
        kms_key: str = "",
        *,
        in_cloud: bool = False,
    ) -> None:
        """Set up; nothing is called yet.

        Args:
            project: Project id; empty: the one that the credentials name.
            emulator_host: `host:port` of an endpoint spoken to over plain http without credentials; empty: Google.
            locations: Regions of new secrets; none: Google chooses.
            kms_key: Full name of the key that new secrets are encrypted with; empty: Google's own.
            in_cloud: Whether credentials are certain to exist, so that none means that the metadata server is away.
        """
        self._emulator_host = emulator_host
        self._replication = replication(locations, kms_key)
        self._in_cloud = in_cloud
        self._calls = Calls(project)

    @property
    def project(self) -> str:
        """The project that holds the secrets.

        Raises:
            SettingsError: there are no credentials, or they name no project.
            StoreUnavailable: there are no credentials for the moment.
        """
        if not self._calls.project:
            _ = self._client
        return self._calls.project

    @property
    def throttled(self) -> bool:
        """Whether Secret Manager refused calls as too many within the last seconds."""
        return self._calls.throttled

    def _make(
        self,
        what: str,
        secret_id: str,
        deadline: Deadline,
        attempt: Callable[[Send, str], T],
        *,
        retry: bool = True,
        precondition: type[StoreError] = StoreRejected,
    ) -> T:
        """See `Calls.make`; `attempt` gets what sends a request, and the secret's full name.

        Credentials are looked for within an attempt, since they may be away for a moment, too.
        """

        def bounded(seconds: float) -> T:
            def send(method: str, **request: object) -> Any:
                return getattr(self._client, method)(request=request, timeout=seconds, retry=None)

            return attempt(send, f"projects/{self.project}/secrets/{secret_id}")

        return self._calls.make(what, secret_id, bounded, deadline, retry=retry, precondition=precondition)

    def _pages(self, what: str, secret_id: str, method: str, deadline: Deadline, **request: object) -> Iterator[Any]:
        token = ""
        while True:

            def attempt(send: Send, name: str, token: str = token) -> Any:
                parent = name if secret_id else f"projects/{self.project}"
                answer = send(method, parent=parent, page_size=PAGE_SIZE, page_token=token, **request)
                return next(iter(answer.pages))

            page = self._make(what, secret_id, deadline, attempt)
            yield page
            token = page.next_page_token
            if not token:
                return

    @cached_property
    def _client(self) -> api.SecretManagerServiceClient:
        project = self._calls.project
        if self._emulator_host:
            client = api.SecretManagerServiceClient(
                transport="rest",
                credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
                client_options={"api_endpoint": f"http://{self._emulator_host}"},
            )
        else:
            credentials, found = _credentials(in_cloud=self._in_cloud)
            project = project or found
            client = api.SecretManagerServiceClient(transport="rest", credentials=credentials)
        if not project:
            raise SettingsError(
                "GOOGLE_CLOUD_PROJECT is missing, and the credentials name no project; set it, like my-project."
            )
        transport: Any = client.transport
        session = transport._session  # noqa: SLF001 - the client offers no other way to raise the pool's size
        session.trust_env = not self._emulator_host  # no proxy between here and this machine
        for scheme in ("https://", "http://"):
            session.mount(scheme, HTTPAdapter(pool_maxsize=_CONNECTIONS))
        log.silence_libraries()
        self._calls.project = project
        return client


def replication(locations: Sequence[str], kms_key: str) -> api.Replication:
    """Where new secrets are kept, and with which key.

    Args:
        locations: Regions; none: Google chooses.
        kms_key: Full name of a key; empty: Google's own.
    """
    key = {"kms_key_name": kms_key} if kms_key else None
    kinds = api.Replication
    if not locations:
        return kinds(automatic=kinds.Automatic(customer_managed_encryption=key))
    replicas = [kinds.UserManaged.Replica(location=location, customer_managed_encryption=key) for location in locations]
    return kinds(user_managed=kinds.UserManaged(replicas=replicas))


def _credentials(*, in_cloud: bool) -> tuple[Any, str]:
    try:
        credentials, project = google.auth.default(scopes=[_SCOPE])
    except auth_errors.DefaultCredentialsError:
        if in_cloud:
            raise StoreUnavailable("Google's metadata server is unavailable: there are no credentials.") from None
        raise SettingsError(
            "No Google Cloud credentials were found: run `gcloud auth application-default login`, or run this where a "
            "service account is attached."
        ) from None
    return credentials, project or ""
