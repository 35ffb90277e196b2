"""Google Secret Manager over its REST API: the eleven calls, and no more.

It knows secrets and versions, not what the token keeper stores in them (that is `vault`).
Source: the REST reference of Secret Manager, `v1.projects.secrets` and `v1.projects.secrets.versions`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

from tokenkeeper.clock import Deadline
from tokenkeeper.errors import (
    SecretChanged,
    SecretMissing,
    SettingsError,
    StoreError,
    StoreRejected,
    VersionUnreadable,
)
from tokenkeeper.store import documents
from tokenkeeper.store.calls import Calls
from tokenkeeper.store.documents import Document, StoredSecret
from tokenkeeper.store.transport import Answer, Transport
from tokenkeeper.store.versions import Version

__all__ = ["PAGE_SIZE", "SecretManager", "StoredSecret", "Version"]

PAGE_SIZE = 1000
T = TypeVar("T")


class SecretManager:
    """The secrets of one project and their versions.

    Every method that calls takes a deadline, tries again until then what may pass by itself, and raises a `StoreError`.
    One instance serves many threads.
    """

    def __init__(
        self,
        project: str,
        emulator_host: str = "",
        locations: Sequence[str] = (),
        kms_key: str = "",
        *,
        metadata_host: str = "",
        transport: Transport | None = None,
    ) -> None:
        """Set up; nothing is called yet.

        Args:
            project: Project id; empty: the one that the credentials name.
            emulator_host: `host:port` of an endpoint spoken to over plain http without credentials; empty: Google.
            locations: Regions of new secrets; none: Google chooses.
            kms_key: Full name of the key that new secrets are encrypted with; empty: Google's own.
            metadata_host: As of `Settings`.
            transport: What sends requests; None: HTTP.
        """
        self._transport = transport or Transport(emulator_host, metadata_host)
        self._replication = documents.replication(locations, kms_key)
        self._calls = Calls(project)

    @property
    def project(self) -> str:
        """The project that holds the secrets.

        Raises:
            SettingsError: there are no credentials, or they name no project.
            StoreUnavailable: there are no credentials for the moment.
        """
        self._calls.project = self._calls.project or self._transport.project
        if not self._calls.project:
            raise SettingsError(
                "GOOGLE_CLOUD_PROJECT is missing, and the credentials name no project; set it, like my-project."
            )
        return self._calls.project

    @property
    def throttled(self) -> bool:
        """Whether Secret Manager refused calls as too many within the last seconds."""
        return self._calls.throttled

    def list(self, name_part: str, deadline: Deadline) -> Iterator[StoredSecret]:
        """All secrets whose name holds `name_part`."""
        query = {"filter": f"name:{name_part}"}
        return self._items("list secrets", "", deadline, documents.listed, "/secrets", query)

    def get(self, secret_id: str, deadline: Deadline) -> StoredSecret:
        """One secret."""
        what = f"read the state of secret {secret_id}"
        return self._make(what, secret_id, deadline, documents.secret, "GET", f"/secrets/{secret_id}")

    def create(
        self, secret_id: str, labels: Mapping[str, str], annotations: Mapping[str, str], deadline: Deadline
    ) -> StoredSecret:
        """Create a secret without a version.

        Raises:
            SecretExists: it exists already, perhaps made by an earlier try whose answer was lost.
        """
        body = {"replication": self._replication, "labels": dict(labels), "annotations": dict(annotations)}
        what, query = f"create secret {secret_id}", {"secretId": secret_id}
        return self._make(what, secret_id, deadline, documents.secret, "POST", "/secrets", query, body)

    def update(self, secret: StoredSecret, deadline: Deadline, *, retry: bool = True) -> StoredSecret:
        """Replace labels and annotations, if nobody else changed the secret since its etag was read.

        Args:
            secret: The labels and annotations from now on, and the etag that was read.
            deadline: When to stop trying.
            retry: Whether to try again what may pass by itself.

        Raises:
            SecretChanged: somebody did, or an earlier try of this very call was done and its answer was lost.
        """
        body = {"labels": dict(secret.labels), "annotations": dict(secret.annotations), "etag": secret.etag}
        what, path = f"change the labels of secret {secret.id}", f"/secrets/{secret.id}"
        query, stale = {"updateMask": "labels,annotations"}, SecretChanged
        return self._make(
            what, secret.id, deadline, documents.secret, "PATCH", path, query, body, retry=retry, precondition=stale
        )

    def delete(self, secret_id: str, etag: str, deadline: Deadline) -> None:
        """Delete a secret with all its versions; with an etag only if nobody changed it since.

        Raises:
            SecretChanged: somebody did.
        """
        what, path, query = f"delete secret {secret_id}", f"/secrets/{secret_id}", {"etag": etag} if etag else {}
        self._make(what, secret_id, deadline, documents.nothing, "DELETE", path, query, precondition=SecretChanged)

    def permissions(self, secret_id: str, wanted: Sequence[str], deadline: Deadline) -> frozenset[str]:
        """Which of these permissions the caller has on a secret."""
        what, path = f"read the permissions of secret {secret_id}", f"/secrets/{secret_id}:testIamPermissions"
        return self._make(
            what, secret_id, deadline, documents.permissions, "POST", path, {}, {"permissions": [*wanted]}
        )

    def access(self, secret_id: str, version: int | str, deadline: Deadline) -> Version:
        """Read a version by number, or `latest`, which may be a version or two late.

        Raises:
            SecretMissing: no such secret or version.
            VersionUnreadable: it is disabled or destroyed.
        """
        what, path = f"read secret {secret_id}", f"/secrets/{secret_id}/versions/{version}:access"
        return self._make(what, secret_id, deadline, documents.version, "GET", path, precondition=VersionUnreadable)

    def number(self, secret_id: str, version: int | str, deadline: Deadline) -> int:
        """The number of a version, whatever its state.

        Raises:
            SecretMissing: no such secret or version.
        """
        what, path = f"read a version of secret {secret_id}", f"/secrets/{secret_id}/versions/{version}"
        return self._make(what, secret_id, deadline, documents.number, "GET", path)

    def add(self, secret_id: str, payload: bytes, deadline: Deadline) -> int:
        """Add a version, once: Secret Manager cannot tell a second try from a second version.

        Returns:
            The new version's number.

        Raises:
            StoreUnavailable: nobody knows whether it was done (unless it is `StoreThrottled`).
        """
        content = documents.payload(payload)
        what, path = f"add a version to secret {secret_id}", f"/secrets/{secret_id}:addVersion"
        return self._make(
            what, secret_id, deadline, documents.number, "POST", path, {}, {"payload": content}, retry=False
        )

    def versions(self, secret_id: str, deadline: Deadline) -> dict[int, bool]:
        """All versions by number, and whether each is not destroyed. The list may be late."""
        what, path = f"list the versions of secret {secret_id}", f"/secrets/{secret_id}/versions"
        return dict(self._items(what, secret_id, deadline, documents.listed_version, path, {}))

    def destroy(self, secret_id: str, number: int, deadline: Deadline) -> None:
        """Destroy a version for good; one that is destroyed already, or gone, is fine."""
        what = f"destroy version {number} of secret {secret_id}"
        path = f"/secrets/{secret_id}/versions/{number}:destroy"
        with suppress(VersionUnreadable, SecretMissing):
            self._make(
                what, secret_id, deadline, documents.nothing, "POST", path, {}, {}, precondition=VersionUnreadable
            )

    def _items(
        self,
        what: str,
        secret_id: str,
        deadline: Deadline,
        read_one: Callable[[Document], T],
        path: str,
        query: Mapping[str, str],
    ) -> Iterator[T]:
        """The items of a list, whose key is the path's last part; each page is a call of its own."""
        key, token = path.rpartition("/")[2], ""
        read = partial(documents.page, key=key, read_one=read_one)
        while True:
            asked = {**query, "pageSize": str(PAGE_SIZE), "pageToken": token}
            found, token = self._make(what, secret_id, deadline, read, "GET", path, asked)
            yield from found
            if not token:
                return

    def _make(
        self,
        what: str,
        secret_id: str,
        deadline: Deadline,
        read: Callable[[Document], T],
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
        *,
        retry: bool = True,
        precondition: type[StoreError] = StoreRejected,
    ) -> T:
        """Make one call; `path` is what comes after the project's. See `Calls.make`.

        Credentials are looked for within an attempt, since they may be away for a moment, too.
        """

        def attempt(seconds: float) -> Answer:
            return self._transport.send(method, f"/projects/{self.project}{path}", query or {}, body, seconds)

        return self._calls.make(what, secret_id, attempt, read, deadline, retry=retry, precondition=precondition)
