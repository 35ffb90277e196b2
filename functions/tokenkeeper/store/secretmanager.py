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
from tokenkeeper.errors import SecretChanged, SecretMissing, VersionUnreadable
from tokenkeeper.store import documents
from tokenkeeper.store.calls import Call, Calls
from tokenkeeper.store.documents import Document, StoredSecret
from tokenkeeper.store.transport import Transport
from tokenkeeper.store.versions import Version

__all__ = ["PAGE_SIZE", "SecretManager", "StoredSecret", "Version"]

PAGE_SIZE = 1000
T = TypeVar("T")


class SecretManager(Calls):
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
            emulator_host: As of `Settings`, like the three that follow: where new secrets are kept and with which key.
            locations: Empty: Google chooses.
            kms_key: Empty: Google's own.
            metadata_host: Whose credentials count; empty: those that google-auth finds.
            transport: What sends requests; None: HTTP.
        """
        super().__init__(project, transport or Transport(emulator_host, metadata_host))
        self._replication = documents.replication(locations, kms_key)

    def list(self, name_part: str, deadline: Deadline) -> Iterator[StoredSecret]:
        """All secrets whose name holds `name_part`."""
        call = Call("list secrets", "", "GET", "/secrets", {"filter": f"name:{name_part}"})
        return self._items(call, "secrets", documents.listed, deadline)

    def get(self, secret_id: str, deadline: Deadline) -> StoredSecret:
        """One secret."""
        call = Call(f"read the state of secret {secret_id}", secret_id, "GET", f"/secrets/{secret_id}")
        return self._make(call, documents.secret, deadline)

    def create(
        self, secret_id: str, labels: Mapping[str, str], annotations: Mapping[str, str], deadline: Deadline
    ) -> StoredSecret:
        """Create a secret without a version.

        Raises:
            SecretExists: it exists already, perhaps made by an earlier try whose answer was lost.
        """
        body = {"replication": self._replication, "labels": dict(labels), "annotations": dict(annotations)}
        call = Call(f"create secret {secret_id}", secret_id, "POST", "/secrets", {"secretId": secret_id}, body)
        return self._make(call, documents.secret, deadline)

    def update(self, secret: StoredSecret, deadline: Deadline, *, retry: bool = True) -> StoredSecret:
        """Replace labels and annotations, if nobody else changed the secret since its etag was read.

        Raises:
            SecretChanged: somebody did, or an earlier try of this very call was done and its answer was lost.
        """
        what, path = f"change the labels of secret {secret.id}", f"/secrets/{secret.id}"
        query = {"updateMask": "labels,annotations"}
        body = {"labels": dict(secret.labels), "annotations": dict(secret.annotations), "etag": secret.etag}
        call = Call(what, secret.id, "PATCH", path, query, body, retry, SecretChanged)
        return self._make(call, documents.secret, deadline)

    def delete(self, secret_id: str, etag: str, deadline: Deadline) -> None:
        """Delete a secret with all its versions; with an etag only if nobody changed it since.

        Raises:
            SecretChanged: somebody did.
        """
        path, query = f"/secrets/{secret_id}", {"etag": etag} if etag else {}
        call = Call(f"delete secret {secret_id}", secret_id, "DELETE", path, query, precondition=SecretChanged)
        self._make(call, documents.nothing, deadline)

    def permissions(self, secret_id: str, wanted: Sequence[str], deadline: Deadline) -> frozenset[str]:
        """Which of these permissions the caller has on a secret."""
        what, path = f"read the permissions of secret {secret_id}", f"/secrets/{secret_id}:testIamPermissions"
        call = Call(what, secret_id, "POST", path, body={"permissions": [*wanted]})
        return self._make(call, documents.permissions, deadline)

    def access(self, secret_id: str, version: int | str, deadline: Deadline) -> Version:
        """Read a version by number, or `latest`, which may be a version or two late.

        Raises:
            SecretMissing: no such secret or version.
            VersionUnreadable: it is disabled or destroyed.
        """
        path = f"/secrets/{secret_id}/versions/{version}:access"
        call = Call(f"read secret {secret_id}", secret_id, "GET", path, precondition=VersionUnreadable)
        return self._make(call, documents.version, deadline)

    def number(self, secret_id: str, version: int | str, deadline: Deadline) -> int:
        """The number of a version, whatever its state; raises `SecretMissing` where there is none."""
        path = f"/secrets/{secret_id}/versions/{version}"
        call = Call(f"read a version of secret {secret_id}", secret_id, "GET", path)
        return self._make(call, documents.number, deadline)

    def add(self, secret_id: str, payload: bytes, deadline: Deadline) -> int:
        """Add a version, once: Secret Manager cannot tell a second try from a second version.

        Returns:
            The new version's number.

        Raises:
            StoreUnavailable: nobody knows whether it was done (unless it is `StoreThrottled`).
        """
        what, path = f"add a version to secret {secret_id}", f"/secrets/{secret_id}:addVersion"
        call = Call(what, secret_id, "POST", path, body={"payload": documents.payload(payload)}, retry=False)
        return self._make(call, documents.number, deadline)

    def versions(self, secret_id: str, deadline: Deadline) -> dict[int, bool]:
        """All versions by number, and whether each is not destroyed. The list may be late."""
        what, path = f"list the versions of secret {secret_id}", f"/secrets/{secret_id}/versions"
        return dict(self._items(Call(what, secret_id, "GET", path, {}), "versions", documents.listed_version, deadline))

    def destroy(self, secret_id: str, number: int, deadline: Deadline) -> None:
        """Destroy a version for good; one that is destroyed already, or gone, is fine."""
        what, path = f"destroy version {number} of secret", f"/secrets/{secret_id}/versions/{number}:destroy"
        call = Call(f"{what} {secret_id}", secret_id, "POST", path, body={}, precondition=VersionUnreadable)
        with suppress(VersionUnreadable, SecretMissing):
            self._make(call, documents.nothing, deadline)

    def _items(self, call: Call, key: str, read_one: Callable[[Document], T], deadline: Deadline) -> Iterator[T]:
        """The items that a list has under a key; each page is a call of its own."""
        read, token = partial(documents.page, key=key, read_one=read_one), ""
        while True:
            query = {**(call.query or {}), "pageSize": str(PAGE_SIZE), "pageToken": token}
            found, token = self._make(call._replace(query=query), read, deadline)
            yield from found
            if not token:
                return
