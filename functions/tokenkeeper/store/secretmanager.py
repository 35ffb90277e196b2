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

_PAGE_SIZE = 1000
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
        """Set up, with all as of `Settings`; nothing is called yet. Without a `transport`, it is HTTP."""
        super().__init__(project, transport or Transport(emulator_host, metadata_host))
        self._replication = documents.replication(locations, kms_key)

    def list(self, name_part: str, deadline: Deadline) -> Iterator[StoredSecret]:
        """All secrets whose name holds `name_part`."""
        call = Call("list", "", "GET", "", {"filter": f"name:{name_part}"})
        return self._items(call, "secrets", documents.listed, deadline)

    def get(self, secret_id: str, deadline: Deadline) -> StoredSecret:
        """One secret."""
        call = Call("read the state of", secret_id, "GET", f"/{secret_id}")
        return self._make(call, documents.secret, deadline)

    def create(
        self, secret_id: str, labels: Mapping[str, str], annotations: Mapping[str, str], deadline: Deadline
    ) -> StoredSecret:
        """Create a secret without a version; raises `SecretExists` where that, or an earlier try, was done before."""
        body = {"replication": self._replication, "labels": dict(labels), "annotations": dict(annotations)}
        call = Call("create", secret_id, "POST", "", {"secretId": secret_id}, body)
        return self._make(call, documents.secret, deadline)

    def update(self, secret: StoredSecret, deadline: Deadline, *, retry: bool = True) -> StoredSecret:
        """Replace labels and annotations, if nobody else changed the secret since its etag was read.

        Raises `SecretChanged` where somebody did, or an earlier try of this very call whose answer was lost.
        """
        query = {"updateMask": "labels,annotations"}
        body = {"labels": dict(secret.labels), "annotations": dict(secret.annotations), "etag": secret.etag}
        call = Call("change the labels of", secret.id, "PATCH", f"/{secret.id}", query, body, retry, SecretChanged)
        return self._make(call, documents.secret, deadline)

    def delete(self, secret_id: str, etag: str, deadline: Deadline) -> None:
        """Delete a secret with all its versions; with an etag only if nobody changed it since: else `SecretChanged`."""
        query = {"etag": etag} if etag else {}
        call = Call("delete", secret_id, "DELETE", f"/{secret_id}", query, precondition=SecretChanged)
        self._make(call, documents.nothing, deadline)

    def permissions(self, secret_id: str, wanted: Sequence[str], deadline: Deadline) -> frozenset[str]:
        """Which of these permissions the caller has on a secret."""
        body = {"permissions": [*wanted]}
        call = Call("read the permissions of", secret_id, "POST", f"/{secret_id}:testIamPermissions", body=body)
        return self._make(call, documents.permissions, deadline)

    def access(self, secret_id: str, version: int | str, deadline: Deadline) -> Version:
        """Read a version by number, or `latest`, which may be a version or two late.

        Raises `SecretMissing` where there is none, and `VersionUnreadable` where it is disabled or destroyed.
        """
        path = f"/{secret_id}/versions/{version}:access"
        call = Call("read", secret_id, "GET", path, precondition=VersionUnreadable)
        return self._make(call, documents.version, deadline)

    def number(self, secret_id: str, version: int | str, deadline: Deadline) -> int:
        """The number of a version, whatever its state; raises `SecretMissing` where there is none."""
        call = Call("read a version of", secret_id, "GET", f"/{secret_id}/versions/{version}")
        return self._make(call, documents.number, deadline)

    def add(self, secret_id: str, payload: bytes, deadline: Deadline) -> int:
        """Add a version, once, and return its number: a second try would be a second version.

        After `StoreUnavailable` nobody knows whether it was done, unless it is `StoreThrottled`.
        """
        body = {"payload": documents.payload(payload)}
        call = Call("add a version to", secret_id, "POST", f"/{secret_id}:addVersion", body=body, retry=False)
        return self._make(call, documents.number, deadline)

    def versions(self, secret_id: str, deadline: Deadline) -> dict[int, bool]:
        """All versions by number, and whether each is not destroyed. The list may be late."""
        call = Call("list the versions of", secret_id, "GET", f"/{secret_id}/versions")
        return dict(self._items(call, "versions", documents.listed_version, deadline))

    def destroy(self, secret_id: str, number: int, deadline: Deadline) -> None:
        """Destroy a version for good; one that is destroyed already, or gone, is fine."""
        does, path = f"destroy version {number} of", f"/{secret_id}/versions/{number}:destroy"
        call = Call(does, secret_id, "POST", path, body={}, precondition=VersionUnreadable)
        with suppress(VersionUnreadable, SecretMissing):
            self._make(call, documents.nothing, deadline)

    def _items(self, call: Call, key: str, read_one: Callable[[Document], T], deadline: Deadline) -> Iterator[T]:
        """The items that a list has under a key; each page is a call of its own."""
        read, token = partial(documents.page, key=key, read_one=read_one), ""
        while True:
            query = {**(call.query or {}), "pageSize": str(_PAGE_SIZE), "pageToken": token}
            found, token = self._make(call._replace(query=query), read, deadline)
            yield from found
            if not token:
                return
