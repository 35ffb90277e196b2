"""Google Secret Manager through its official client: the eleven calls, and no more.

It knows secrets and versions, not what the token keeper stores in them (that is `vault`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import google_crc32c
from google.api_core import exceptions as google_errors
from google.cloud import secretmanager_v1 as api

from tokenkeeper.clock import Deadline
from tokenkeeper.errors import SecretChanged, SecretMissing, StoreUnavailable, VersionUnreadable
from tokenkeeper.store.calls import Calls
from tokenkeeper.store.client import open_client, replication

PAGE_SIZE = 1000


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """A secret without its versions.

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

    Every method takes a deadline, tries again until then what may pass by itself, and raises a `StoreError`.
    One instance serves many threads.
    """

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
        self._project = project
        self._in_cloud = in_cloud
        self._calls = Calls(project)

    @property
    def project(self) -> str:
        """The project that holds the secrets.

        Raises:
            SettingsError: there are no credentials, or they name no project.
        """
        if not self._project:
            _ = self._client
        return self._project

    @property
    def throttled(self) -> bool:
        """Whether Secret Manager refused calls as too many within the last seconds."""
        return self._calls.throttled

    def list(self, name_part: str, deadline: Deadline) -> Iterator[StoredSecret]:
        """All secrets whose name holds `name_part`."""
        token = ""
        while True:

            def attempt(limit: float, token: str = token) -> api.ListSecretsResponse:
                request = api.ListSecretsRequest(
                    parent=f"projects/{self.project}", page_size=PAGE_SIZE, page_token=token, filter=f"name:{name_part}"
                )
                return next(iter(self._client.list_secrets(request=request, timeout=limit, retry=None).pages))

            page = self._calls.make("list secrets", "", attempt, deadline)
            for secret in api.ListSecretsResponse.pb(page).secrets:
                yield StoredSecret(_last(secret.name), dict(secret.labels), dict(secret.annotations), secret.etag)
            token = page.next_page_token
            if not token:
                return

    def get(self, secret_id: str, deadline: Deadline) -> StoredSecret:
        """One secret."""

        def attempt(limit: float) -> StoredSecret:
            request = api.GetSecretRequest(name=self._name(secret_id))
            return _secret(self._client.get_secret(request=request, timeout=limit, retry=None))

        return self._calls.make(f"read the state of secret {secret_id}", secret_id, attempt, deadline)

    def create(
        self, secret_id: str, labels: Mapping[str, str], annotations: Mapping[str, str], deadline: Deadline
    ) -> StoredSecret:
        """Create a secret without a version.

        Raises:
            SecretExists: it exists already, perhaps made by an earlier try whose answer was lost.
        """

        def attempt(limit: float) -> StoredSecret:
            secret = api.Secret(replication=self._replication, labels=dict(labels), annotations=dict(annotations))
            request = api.CreateSecretRequest(parent=f"projects/{self.project}", secret_id=secret_id, secret=secret)
            return _secret(self._client.create_secret(request=request, timeout=limit, retry=None))

        return self._calls.make(f"create secret {secret_id}", secret_id, attempt, deadline)

    def update(self, secret: StoredSecret, deadline: Deadline, *, retry: bool = True) -> StoredSecret:
        """Replace labels and annotations, if nobody else changed the secret since its etag was read.

        Args:
            secret: The labels and annotations from now on, and the etag that was read.
            deadline: When to stop trying.
            retry: Whether to try again what may pass by itself.

        Raises:
            SecretChanged: somebody did, or an earlier try of this very call was done and its answer was lost.
        """

        def attempt(limit: float) -> StoredSecret:
            changed = api.Secret(
                name=self._name(secret.id),
                labels=dict(secret.labels),
                annotations=dict(secret.annotations),
                etag=secret.etag,
            )
            request = api.UpdateSecretRequest(secret=changed, update_mask={"paths": ["labels", "annotations"]})
            return _secret(self._client.update_secret(request=request, timeout=limit, retry=None))

        what = f"change the labels of secret {secret.id}"
        return self._calls.make(what, secret.id, attempt, deadline, retry=retry, precondition=SecretChanged)

    def delete(self, secret_id: str, etag: str, deadline: Deadline) -> None:
        """Delete a secret with all its versions; with an etag only if nobody changed it since.

        Raises:
            SecretChanged: somebody did.
        """

        def attempt(limit: float) -> None:
            request = api.DeleteSecretRequest(name=self._name(secret_id), etag=etag)
            self._client.delete_secret(request=request, timeout=limit, retry=None)

        what = f"delete secret {secret_id}"
        self._calls.make(what, secret_id, attempt, deadline, precondition=SecretChanged)

    def access(self, secret_id: str, version: int | str, deadline: Deadline) -> Version:
        """Read a version by number, or `latest`, which may be a version or two late.

        Raises:
            SecretMissing: no such secret or version.
            VersionUnreadable: it is disabled or destroyed.
        """

        def attempt(limit: float) -> Version:
            request = api.AccessSecretVersionRequest(name=f"{self._name(secret_id)}/versions/{version}")
            answer = self._client.access_secret_version(request=request, timeout=limit, retry=None)
            payload = answer.payload
            if payload.data_crc32c and payload.data_crc32c != google_crc32c.value(payload.data):
                raise google_errors.DataLoss("checksum")  # type: ignore[no-untyped-call]
            return Version(_number(answer.name), payload.data)

        what = f"read secret {secret_id}"
        return self._calls.make(what, secret_id, attempt, deadline, precondition=VersionUnreadable)

    def number(self, secret_id: str, version: int | str, deadline: Deadline) -> int:
        """The number of a version, whatever its state.

        Raises:
            SecretMissing: no such secret or version.
        """

        def attempt(limit: float) -> int:
            request = api.GetSecretVersionRequest(name=f"{self._name(secret_id)}/versions/{version}")
            return _number(self._client.get_secret_version(request=request, timeout=limit, retry=None).name)

        return self._calls.make(f"read a version of secret {secret_id}", secret_id, attempt, deadline)

    def add(self, secret_id: str, payload: bytes, deadline: Deadline) -> int:
        """Add a version, once: Secret Manager cannot tell a second try from a second version.

        Returns:
            The new version's number.

        Raises:
            StoreUnavailable: nobody knows whether it was done (unless it is `StoreThrottled`).
        """

        def attempt(limit: float) -> int:
            content = api.SecretPayload(data=payload, data_crc32c=google_crc32c.value(payload))
            request = api.AddSecretVersionRequest(parent=self._name(secret_id), payload=content)
            return _number(self._client.add_secret_version(request=request, timeout=limit, retry=None).name)

        return self._calls.make(f"add a version to secret {secret_id}", secret_id, attempt, deadline, retry=False)

    def versions(self, secret_id: str, deadline: Deadline) -> dict[int, bool]:
        """All versions by number, and whether each is not destroyed. The list may be late."""
        found: dict[int, bool] = {}
        token = ""
        while True:

            def attempt(limit: float, token: str = token) -> api.ListSecretVersionsResponse:
                request = api.ListSecretVersionsRequest(
                    parent=self._name(secret_id), page_size=PAGE_SIZE, page_token=token
                )
                return next(iter(self._client.list_secret_versions(request=request, timeout=limit, retry=None).pages))

            page = self._calls.make(f"list the versions of secret {secret_id}", secret_id, attempt, deadline)
            destroyed = api.SecretVersion.State.DESTROYED
            found |= {_number(version.name): version.state != destroyed for version in page.versions}
            token = page.next_page_token
            if not token:
                return found

    def destroy(self, secret_id: str, number: int, deadline: Deadline) -> None:
        """Destroy a version for good; one that is destroyed already, or gone, is fine."""

        def attempt(limit: float) -> None:
            request = api.DestroySecretVersionRequest(name=f"{self._name(secret_id)}/versions/{number}")
            self._client.destroy_secret_version(request=request, timeout=limit, retry=None)

        try:
            what = f"destroy version {number} of secret {secret_id}"
            self._calls.make(what, secret_id, attempt, deadline, precondition=VersionUnreadable)
        except (VersionUnreadable, SecretMissing):
            return

    def permissions(self, secret_id: str, wanted: Sequence[str], deadline: Deadline) -> frozenset[str]:
        """Which of these permissions the caller has on a secret."""

        def attempt(limit: float) -> frozenset[str]:
            request = {"resource": self._name(secret_id), "permissions": [*wanted]}
            answer = self._client.test_iam_permissions(request=request, timeout=limit, retry=None)
            return frozenset(answer.permissions)

        return self._calls.make(f"read the permissions of secret {secret_id}", secret_id, attempt, deadline)

    def _name(self, secret_id: str) -> str:
        return f"projects/{self.project}/secrets/{secret_id}"

    @cached_property
    def _client(self) -> api.SecretManagerServiceClient:
        client, self._project = open_client(self._project, self._emulator_host, in_cloud=self._in_cloud)
        self._calls.project = self._project
        return client


def _secret(answer: api.Secret) -> StoredSecret:
    return StoredSecret(_last(answer.name), dict(answer.labels), dict(answer.annotations), answer.etag)


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _number(name: str) -> int:
    number = _last(name)
    if not (number.isascii() and number.isdigit()):
        raise StoreUnavailable("Secret Manager answered without the number of a version.")
    return int(number)
