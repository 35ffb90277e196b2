"""Google Secret Manager through its official client: bounded in time, tried again where that is safe, our errors.

It knows secrets and versions, not what the token keeper stores in them (that is `vault`). Importing it costs most of a
start, so `vault` does that when it is needed, or `warm_up` beforehand.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, TypeVar

import google.auth
import google_crc32c
import requests
from google.api_core import exceptions as google_errors
from google.auth import exceptions as auth_errors
from google.auth.credentials import AnonymousCredentials
from google.cloud import secretmanager_v1
from google.protobuf.json_format import ParseError
from requests.adapters import HTTPAdapter

from tokenkeeper import clock, log
from tokenkeeper.clock import Deadline
from tokenkeeper.errors import (
    SecretChanged,
    SecretExists,
    SecretMissing,
    SecretUnreadable,
    SettingsError,
    VaultError,
    VaultForbidden,
    VaultRejected,
    VaultThrottled,
    VaultUnavailable,
)

PAGE_SIZE = 1000
_ONE_CALL = 10.0  # seconds
_FIRST_WAIT = 0.25
_LONGEST_WAIT = 8.0
_CONNECTIONS = 64  # kept open at once; the default of 10 would close and open them all the time

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret without its values.

    Attributes:
        id: The last part of its name.
        labels: Its labels.
        annotations: Its annotations.
        etag: Proof of having seen this state, for the next change.
    """

    id: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    etag: str


@dataclass(frozen=True, slots=True)
class Version:
    """A version that was read, with its number."""

    number: int
    payload: bytes

    def __repr__(self) -> str:
        return f"Version({self.number}, …)"


class SecretManager:
    """The secrets of one project.

    Every method takes the time it may use, tries again within it what failed in passing, and raises a `VaultError`.
    One instance serves many threads.
    """

    def __init__(self, project: str, emulator_host: str = "", locations: Sequence[str] = (), kms_key: str = "") -> None:
        """Set up; nothing is called yet.

        Args:
            project: Project id; empty: the one that the credentials name.
            emulator_host: `host:port` of an endpoint spoken to over plain http without credentials; empty: Google.
            locations: Regions that new secrets are kept in; none: Google chooses.
            kms_key: Full name of the key that new secrets are encrypted with; empty: Google's own.

        Raises:
            SettingsError: there are no credentials, or they name no project.
        """
        self._emulator_host = emulator_host
        self._locations = locations
        self._kms_key = kms_key
        self._project = project
        self._throttled_until = 0.0

    @cached_property
    def _client(self) -> secretmanager_v1.SecretManagerServiceClient:
        if self._emulator_host:
            client = secretmanager_v1.SecretManagerServiceClient(
                transport="rest",
                credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
                client_options={"api_endpoint": f"http://{self._emulator_host}"},
            )
        else:
            try:
                credentials, found = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
            except auth_errors.DefaultCredentialsError:
                raise SettingsError(
                    "No Google Cloud credentials were found: run `gcloud auth application-default login`, or run this "
                    "where a service account is attached."
                ) from None
            self._project = self._project or found or ""
            client = secretmanager_v1.SecretManagerServiceClient(transport="rest", credentials=credentials)
        if not self._project:
            raise SettingsError(
                "GOOGLE_CLOUD_PROJECT is missing, and the credentials name no project; set it, like my-project."
            )
        transport: Any = client.transport
        session = transport._session  # noqa: SLF001 - the client offers no other way to raise the pool's size
        session.trust_env = not self._emulator_host  # no proxy between here and this machine
        for scheme in ("https://", "http://"):
            session.mount(scheme, HTTPAdapter(pool_maxsize=_CONNECTIONS))
        log.silence_libraries()
        return client

    @property
    def project(self) -> str:
        """The project that holds the secrets."""
        if not self._project:
            _ = self._client
        return self._project

    @property
    def throttled(self) -> bool:
        """Whether Secret Manager complained of too many calls within the last seconds."""
        return clock.monotonic() < self._throttled_until

    def name(self, secret_id: str) -> str:
        """The full name of a secret."""
        return f"projects/{self.project}/secrets/{secret_id}"

    def secrets(self, labels: Mapping[str, str], time: Deadline) -> Iterator[Secret]:
        """All secrets that carry these labels."""
        wanted = " AND ".join(f"labels.{key}={value}" for key, value in labels.items())
        token = ""
        while True:
            request = secretmanager_v1.ListSecretsRequest(
                parent=f"projects/{self.project}", page_size=PAGE_SIZE, page_token=token, filter=wanted
            )
            page = self._call("list the secrets", partial(self._page_of_secrets, request), time)
            for secret in secretmanager_v1.ListSecretsResponse.pb(page).secrets:
                yield Secret(_last(secret.name), dict(secret.labels), dict(secret.annotations), secret.etag)
            token = page.next_page_token
            if not token:
                return

    def get(self, secret_id: str, time: Deadline) -> Secret:
        """One secret."""
        request = secretmanager_v1.GetSecretRequest(name=self.name(secret_id))
        return _secret(
            self._call(
                f"look at {secret_id}",
                lambda limit: self._client.get_secret(request=request, timeout=limit, retry=None),
                time,
            )
        )

    def create(
        self,
        secret_id: str,
        labels: Mapping[str, str],
        annotations: Mapping[str, str],
        time: Deadline,
        *,
        topic: str = "",
    ) -> Secret:
        """Make a secret without a version; a topic is told of every version that it gets.

        Raises:
            SecretExists: it is there already, perhaps made by an earlier try whose answer was lost.
        """
        request = secretmanager_v1.CreateSecretRequest(
            parent=f"projects/{self.project}",
            secret_id=secret_id,
            secret=secretmanager_v1.Secret(
                replication=self._replication,
                labels=dict(labels),
                annotations=dict(annotations),
                topics=[secretmanager_v1.Topic(name=topic)] if topic else [],
            ),
        )
        return _secret(
            self._call(
                f"create {secret_id}",
                lambda limit: self._client.create_secret(request=request, timeout=limit, retry=None),
                time,
            )
        )

    def update(
        self,
        secret_id: str,
        labels: Mapping[str, str],
        annotations: Mapping[str, str],
        etag: str,
        time: Deadline,
        *,
        again: bool = True,
    ) -> Secret:
        """Replace labels and annotations, if nobody else changed the secret since `etag` was seen.

        Args:
            secret_id: The secret.
            labels: All its labels from now on.
            annotations: All its annotations from now on.
            etag: Its state as it was seen.
            time: The most that it may take.
            again: Whether to try again what failed in passing.

        Raises:
            SecretChanged: somebody did, or an earlier try of this very call took place and its answer was lost.
        """
        request = secretmanager_v1.UpdateSecretRequest(
            secret=secretmanager_v1.Secret(
                name=self.name(secret_id), labels=dict(labels), annotations=dict(annotations), etag=etag
            ),
            update_mask={"paths": ["labels", "annotations"]},
        )
        return _secret(
            self._call(
                f"change {secret_id}",
                lambda limit: self._client.update_secret(request=request, timeout=limit, retry=None),
                time,
                again=again,
                precondition=SecretChanged,
            )
        )

    def delete(self, secret_id: str, etag: str, time: Deadline) -> None:
        """Delete a secret with all its versions; with an etag only if nobody changed it since.

        Raises:
            SecretChanged: somebody did.
        """
        request = secretmanager_v1.DeleteSecretRequest(name=self.name(secret_id), etag=etag)
        self._call(
            f"delete {secret_id}",
            lambda limit: self._client.delete_secret(request=request, timeout=limit, retry=None),
            time,
            precondition=SecretChanged,
        )

    def access(self, secret_id: str, version: int | str, time: Deadline) -> Version:
        """Read a version by number, or `latest`, which may be a version or two late.

        Raises:
            SecretMissing: no such secret or version.
            SecretUnreadable: it is disabled or destroyed.
        """
        request = secretmanager_v1.AccessSecretVersionRequest(name=f"{self.name(secret_id)}/versions/{version}")

        def read(limit: float) -> Version:
            answer = self._client.access_secret_version(request=request, timeout=limit, retry=None)
            payload = answer.payload
            if payload.data_crc32c and payload.data_crc32c != google_crc32c.value(payload.data):
                raise google_errors.DataLoss("checksum")  # type: ignore[no-untyped-call]
            return Version(_number(answer.name), payload.data)

        return self._call(f"read {secret_id}", read, time, precondition=SecretUnreadable)

    def number(self, secret_id: str, version: int | str, time: Deadline) -> int:
        """The number of a version, whatever its state.

        Raises:
            SecretMissing: no such secret or version.
        """
        request = secretmanager_v1.GetSecretVersionRequest(name=f"{self.name(secret_id)}/versions/{version}")
        answer = self._call(
            f"look at a version of {secret_id}",
            lambda limit: self._client.get_secret_version(request=request, timeout=limit, retry=None),
            time,
        )
        return _number(answer.name)

    def add(self, secret_id: str, payload: bytes, time: Deadline) -> int:
        """Add a version, once: Secret Manager cannot tell a second try from a second version.

        Returns:
            The new version's number.

        Raises:
            VaultUnavailable: nobody knows whether it took place (unless it is `VaultThrottled`).
        """
        request = secretmanager_v1.AddSecretVersionRequest(
            parent=self.name(secret_id),
            payload=secretmanager_v1.SecretPayload(data=payload, data_crc32c=google_crc32c.value(payload)),
        )
        answer = self._call(
            f"add a version to {secret_id}",
            lambda limit: self._client.add_secret_version(request=request, timeout=limit, retry=None),
            time,
            again=False,
        )
        return _number(answer.name)

    def versions(self, secret_id: str, time: Deadline) -> dict[int, bool]:
        """All versions by number, and whether each still lives, that is, is not destroyed. The list may be late."""
        found: dict[int, bool] = {}
        token = ""
        while True:
            request = secretmanager_v1.ListSecretVersionsRequest(
                parent=self.name(secret_id), page_size=PAGE_SIZE, page_token=token
            )
            page = self._call(f"list the versions of {secret_id}", partial(self._page_of_versions, request), time)
            destroyed = secretmanager_v1.SecretVersion.State.DESTROYED
            found |= {_number(version.name): version.state != destroyed for version in page.versions}
            token = page.next_page_token
            if not token:
                return found

    def destroy(self, secret_id: str, number: int, time: Deadline) -> None:
        """Destroy a version for good; one that is destroyed already, or gone, is fine."""
        request = secretmanager_v1.DestroySecretVersionRequest(name=f"{self.name(secret_id)}/versions/{number}")
        try:
            self._call(
                f"destroy a version of {secret_id}",
                lambda limit: self._client.destroy_secret_version(request=request, timeout=limit, retry=None),
                time,
                precondition=SecretUnreadable,
            )
        except (SecretUnreadable, SecretMissing):
            return

    def permitted(self, secret_id: str, permissions: Sequence[str], time: Deadline) -> frozenset[str]:
        """Which of these permissions the caller has on a secret."""
        request = {"resource": self.name(secret_id), "permissions": list(permissions)}
        answer = self._call(
            f"ask for permissions on {secret_id}",
            lambda limit: self._client.test_iam_permissions(request=request, timeout=limit, retry=None),
            time,
        )
        return frozenset(answer.permissions)

    @property
    def _replication(self) -> secretmanager_v1.Replication:
        kinds = secretmanager_v1.Replication
        key = {"kms_key_name": self._kms_key} if self._kms_key else None
        if not self._locations:
            return kinds(automatic=kinds.Automatic(customer_managed_encryption=key))
        replicas = [
            kinds.UserManaged.Replica(location=location, customer_managed_encryption=key)
            for location in self._locations
        ]
        return kinds(user_managed=kinds.UserManaged(replicas=replicas))

    def _page_of_secrets(
        self, request: secretmanager_v1.ListSecretsRequest, limit: float
    ) -> secretmanager_v1.ListSecretsResponse:
        return next(iter(self._client.list_secrets(request=request, timeout=limit, retry=None).pages))

    def _page_of_versions(
        self, request: secretmanager_v1.ListSecretVersionsRequest, limit: float
    ) -> secretmanager_v1.ListSecretVersionsResponse:
        return next(iter(self._client.list_secret_versions(request=request, timeout=limit, retry=None).pages))

    def _call(
        self,
        what: str,
        attempt: Callable[[float], T],
        time: Deadline,
        *,
        again: bool = True,
        precondition: type[VaultError] = VaultRejected,
    ) -> T:
        wait = _FIRST_WAIT
        while True:
            try:
                return attempt(max(0.5, min(_ONE_CALL, time.remaining)))
            except _GOOGLE as error:
                ours = _translated(what, error, precondition)
            if isinstance(ours, VaultThrottled):
                # A single secret's quota is free again within a second; the project's is complained of again and again.
                self._throttled_until = max(self._throttled_until, clock.monotonic() + min(4 * wait, _LONGEST_WAIT))
            pause = random.uniform(wait / 2, wait)  # noqa: S311 - spreads retries, guards nothing
            if not again or not isinstance(ours, VaultUnavailable) or pause >= time.remaining:
                raise ours
            clock.sleep(pause)
            wait = min(wait * 2, _LONGEST_WAIT)


_GOOGLE = (
    google_errors.GoogleAPIError,
    auth_errors.GoogleAuthError,
    requests.exceptions.RequestException,
    ParseError,
    OSError,
    # What Google's client makes of an answer that is none of Google's: a proxy's page, a cut-off body.
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
)


def _translated(what: str, error: Exception, precondition: type[VaultError]) -> VaultError:
    code = error.code if isinstance(error, google_errors.GoogleAPICallError) else None
    match error:
        case google_errors.NotFound():
            return SecretMissing(f"There is nothing in Secret Manager to {what}.")
        case google_errors.Conflict() if precondition is SecretChanged:
            return SecretChanged(f"Somebody else changed what was to be written: could not {what}.")
        case google_errors.Conflict():
            return SecretExists(f"Secret Manager could not {what}: it is there already.")
        case google_errors.Forbidden() | google_errors.Unauthorized() | auth_errors.RefreshError():
            return VaultForbidden(f"Secret Manager does not permit to {what}.")
        case google_errors.TooManyRequests():
            return VaultThrottled(f"Secret Manager was asked too often to {what}.")
        case google_errors.BadRequest() if _status(error) == "FAILED_PRECONDITION":
            return precondition(f"The state in Secret Manager does not allow to {what}.")
        case google_errors.ClientError():
            return VaultRejected(f"Secret Manager does not accept the call to {what} ({code}).")
        case _:
            return VaultUnavailable(f"Secret Manager did not {what} ({code or type(error).__name__}).")


def _status(error: google_errors.GoogleAPICallError) -> str:
    if isinstance(error, google_errors.FailedPrecondition):
        return "FAILED_PRECONDITION"
    try:
        return str(error.response.json()["error"]["status"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""


def _secret(answer: secretmanager_v1.Secret) -> Secret:
    return Secret(_last(answer.name), dict(answer.labels), dict(answer.annotations), answer.etag)


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _number(name: str) -> int:
    number = _last(name)
    if not (number.isascii() and number.isdigit()):
        raise VaultUnavailable("Secret Manager answered without the number of a version.")
    return int(number)
