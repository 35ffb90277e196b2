"""The calls to Secret Manager that are about versions: five of the eleven."""

from __future__ import annotations

from dataclasses import dataclass

import google_crc32c
from google.api_core import exceptions as google_errors
from google.cloud import secretmanager_v1 as api

from tokenkeeper.clock import Deadline
from tokenkeeper.errors import SecretMissing, VersionUnreadable
from tokenkeeper.store.endpoint import PAGE_SIZE, Endpoint, version_number


@dataclass(frozen=True, slots=True)
class Version:
    """A version that was read, with its number."""

    number: int
    payload: bytes

    def __repr__(self) -> str:
        return f"Version({self.number}, …)"


class SecretVersions(Endpoint):
    """The versions of one project's secrets; see `SecretManager`."""

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
            return Version(version_number(answer.name), payload.data)

        what = f"read secret {secret_id}"
        return self._calls.make(what, secret_id, attempt, deadline, precondition=VersionUnreadable)

    def number(self, secret_id: str, version: int | str, deadline: Deadline) -> int:
        """The number of a version, whatever its state.

        Raises:
            SecretMissing: no such secret or version.
        """

        def attempt(limit: float) -> int:
            request = api.GetSecretVersionRequest(name=f"{self._name(secret_id)}/versions/{version}")
            return version_number(self._client.get_secret_version(request=request, timeout=limit, retry=None).name)

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
            return version_number(self._client.add_secret_version(request=request, timeout=limit, retry=None).name)

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
            found |= {version_number(version.name): version.state != destroyed for version in page.versions}
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
