"""Google Secret Manager through its official client: the eleven calls, and no more.

It knows secrets and versions, not what the token keeper stores in them (that is `vault`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from google.api_core import exceptions as google_errors
from google.cloud import secretmanager_v1 as api

from tokenkeeper.clock import Deadline
from tokenkeeper.errors import SecretChanged
from tokenkeeper.store.endpoint import PAGE_SIZE, last_part
from tokenkeeper.store.secretversions import SecretVersions, Version

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


class SecretManager(SecretVersions):
    """The secrets of one project, and (inherited) their versions.

    Every method takes a deadline, tries again until then what may pass by itself, and raises a `StoreError`.
    One instance serves many threads.
    """

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
                yield StoredSecret(last_part(secret.name), dict(secret.labels), dict(secret.annotations), secret.etag)
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

    def permissions(self, secret_id: str, wanted: Sequence[str], deadline: Deadline) -> frozenset[str]:
        """Which of these permissions the caller has on a secret."""

        def attempt(limit: float) -> frozenset[str]:
            request = {"resource": self._name(secret_id), "permissions": [*wanted]}
            answer = self._client.test_iam_permissions(request=request, timeout=limit, retry=None)
            return frozenset(answer.permissions)

        return self._calls.make(f"read the permissions of secret {secret_id}", secret_id, attempt, deadline)


def _secret(answer: api.Secret) -> StoredSecret:
    if not (answer.name and answer.etag):  # a proxy's JSON; and a change without an etag would be unconditional
        raise google_errors.DataLoss("no secret")  # type: ignore[no-untyped-call]
    return StoredSecret(last_part(answer.name), dict(answer.labels), dict(answer.annotations), answer.etag)
