"""Google Secret Manager through its official client: the eleven calls, and no more.

It knows secrets and versions, not what the token keeper stores in them (that is `vault`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import google_crc32c
from google.api_core import exceptions as google_errors
from google.cloud import secretmanager_v1 as api

from tokenkeeper.clock import Deadline
from tokenkeeper.errors import SecretChanged, SecretMissing, VersionUnreadable
from tokenkeeper.store.client import PAGE_SIZE, Client, Send

__all__ = ["PAGE_SIZE", "SecretManager", "StoredSecret", "Version"]


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


class SecretManager(Client):
    """The secrets of one project and their versions.

    Every method that calls takes a deadline, tries again until then what may pass by itself, and raises a `StoreError`.
    One instance serves many threads.
    """

    def list(self, name_part: str, deadline: Deadline) -> Iterator[StoredSecret]:
        """All secrets whose name holds `name_part`."""
        for page in self._pages("list secrets", "", "list_secrets", deadline, filter=f"name:{name_part}"):
            for secret in api.ListSecretsResponse.pb(page).secrets:
                yield StoredSecret(_last_part(secret.name), dict(secret.labels), dict(secret.annotations), secret.etag)

    def get(self, secret_id: str, deadline: Deadline) -> StoredSecret:
        """One secret."""
        what = f"read the state of secret {secret_id}"
        return self._make(what, secret_id, deadline, lambda send, name: _secret(send("get_secret", name=name)))

    def create(
        self, secret_id: str, labels: Mapping[str, str], annotations: Mapping[str, str], deadline: Deadline
    ) -> StoredSecret:
        """Create a secret without a version.

        Raises:
            SecretExists: it exists already, perhaps made by an earlier try whose answer was lost.
        """
        secret = api.Secret(replication=self._replication, labels=dict(labels), annotations=dict(annotations))

        def attempt(send: Send, _: str) -> StoredSecret:
            parent = f"projects/{self.project}"
            return _secret(send("create_secret", parent=parent, secret_id=secret_id, secret=secret))

        return self._make(f"create secret {secret_id}", secret_id, deadline, attempt)

    def update(self, secret: StoredSecret, deadline: Deadline, *, retry: bool = True) -> StoredSecret:
        """Replace labels and annotations, if nobody else changed the secret since its etag was read.

        Args:
            secret: The labels and annotations from now on, and the etag that was read.
            deadline: When to stop trying.
            retry: Whether to try again what may pass by itself.

        Raises:
            SecretChanged: somebody did, or an earlier try of this very call was done and its answer was lost.
        """
        changed = {"labels": dict(secret.labels), "annotations": dict(secret.annotations), "etag": secret.etag}
        mask = {"paths": ["labels", "annotations"]}

        def attempt(send: Send, name: str) -> StoredSecret:
            return _secret(send("update_secret", secret={"name": name, **changed}, update_mask=mask))

        what = f"change the labels of secret {secret.id}"
        return self._make(what, secret.id, deadline, attempt, retry=retry, precondition=SecretChanged)

    def delete(self, secret_id: str, etag: str, deadline: Deadline) -> None:
        """Delete a secret with all its versions; with an etag only if nobody changed it since.

        Raises:
            SecretChanged: somebody did.
        """

        def attempt(send: Send, name: str) -> None:
            send("delete_secret", name=name, etag=etag)

        self._make(f"delete secret {secret_id}", secret_id, deadline, attempt, precondition=SecretChanged)

    def permissions(self, secret_id: str, wanted: Sequence[str], deadline: Deadline) -> frozenset[str]:
        """Which of these permissions the caller has on a secret."""

        def attempt(send: Send, name: str) -> frozenset[str]:
            return frozenset(send("test_iam_permissions", resource=name, permissions=[*wanted]).permissions)

        return self._make(f"read the permissions of secret {secret_id}", secret_id, deadline, attempt)

    def access(self, secret_id: str, version: int | str, deadline: Deadline) -> Version:
        """Read a version by number, or `latest`, which may be a version or two late.

        Raises:
            SecretMissing: no such secret or version.
            VersionUnreadable: it is disabled or destroyed.
        """

        def attempt(send: Send, name: str) -> Version:
            answer = send("access_secret_version", name=f"{name}/versions/{version}")
            payload = answer.payload
            if payload.data_crc32c and payload.data_crc32c != google_crc32c.value(payload.data):
                raise google_errors.DataLoss("checksum")  # type: ignore[no-untyped-call]
            return Version(_number(answer.name), payload.data)

        return self._make(f"read secret {secret_id}", secret_id, deadline, attempt, precondition=VersionUnreadable)

    def number(self, secret_id: str, version: int | str, deadline: Deadline) -> int:
        """The number of a version, whatever its state.

        Raises:
            SecretMissing: no such secret or version.
        """

        def attempt(send: Send, name: str) -> int:
            return _number(send("get_secret_version", name=f"{name}/versions/{version}").name)

        return self._make(f"read a version of secret {secret_id}", secret_id, deadline, attempt)

    def add(self, secret_id: str, payload: bytes, deadline: Deadline) -> int:
        """Add a version, once: Secret Manager cannot tell a second try from a second version.

        Returns:
            The new version's number.

        Raises:
            StoreUnavailable: nobody knows whether it was done (unless it is `StoreThrottled`).
        """
        content = {"data": payload, "data_crc32c": google_crc32c.value(payload)}

        def attempt(send: Send, name: str) -> int:
            return _number(send("add_secret_version", parent=name, payload=content).name)

        return self._make(f"add a version to secret {secret_id}", secret_id, deadline, attempt, retry=False)

    def versions(self, secret_id: str, deadline: Deadline) -> dict[int, bool]:
        """All versions by number, and whether each is not destroyed. The list may be late."""
        what, destroyed = f"list the versions of secret {secret_id}", api.SecretVersion.State.DESTROYED
        pages = self._pages(what, secret_id, "list_secret_versions", deadline)
        return {_number(one.name): one.state != destroyed for page in pages for one in page.versions}

    def destroy(self, secret_id: str, number: int, deadline: Deadline) -> None:
        """Destroy a version for good; one that is destroyed already, or gone, is fine."""

        def attempt(send: Send, name: str) -> None:
            send("destroy_secret_version", name=f"{name}/versions/{number}")

        with suppress(VersionUnreadable, SecretMissing):
            what = f"destroy version {number} of secret {secret_id}"
            self._make(what, secret_id, deadline, attempt, precondition=VersionUnreadable)


def _secret(answer: api.Secret) -> StoredSecret:
    if not (answer.name and answer.etag):  # a proxy's JSON; and a change without an etag would be unconditional
        raise google_errors.DataLoss("no secret")  # type: ignore[no-untyped-call]
    return StoredSecret(_last_part(answer.name), dict(answer.labels), dict(answer.annotations), answer.etag)


def _number(name: str) -> int:
    """The number in a version's full name; without one the answer is not Google's."""
    number = _last_part(name)
    if not (number.isascii() and number.isdigit()):
        raise google_errors.DataLoss("no number")  # type: ignore[no-untyped-call]
    return int(number)


def _last_part(name: str) -> str:
    return name.rpartition("/")[2]
