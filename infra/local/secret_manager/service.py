"""What each call of Secret Manager's v1 API does, free of HTTP. Each is atomic, and kept before it returns."""

from __future__ import annotations

import base64
from dataclasses import replace
from functools import partial
from typing import Any

import google_crc32c

from local.secret_manager.errors import ApiError, invalid, secret_missing, wrong_state
from local.secret_manager.pages import Page, cut_page
from local.secret_manager.records import Version
from local.secret_manager.rules import PAYLOAD_LIMIT, SECRET_ID, check_secret
from local.secret_manager.store import Store, is_number, project_number, secret_name

_SETTABLE = ("labels", "annotations", "replication")
_MASKABLE = frozenset(("labels", "annotations"))


class SecretService(Store):
    """The calls, over the secrets that there are."""

    # Secrets.

    def create_secret(self, project: str, secret_id: str, message: dict[str, Any]) -> dict[str, Any]:
        if not SECRET_ID.fullmatch(secret_id):
            raise invalid(
                f"The provided Secret ID [{secret_id[:300]}] does not match the expected format [[a-zA-Z_0-9-]+]"
            )
        fields = {key: message[key] for key in _SETTABLE if message.get(key)}
        check_secret(fields)
        with self.lock:
            number = project_number(project)
            if (number, secret_id) in self.entries:
                raise ApiError("ALREADY_EXISTS", f"Secret [{secret_name(project, secret_id)}] already exists.")
            return self._add(number, secret_id, fields).to_json()

    def get_secret(self, project: str, secret_id: str) -> dict[str, Any]:
        with self.lock:
            seen = self.shown(self._entry(project, secret_id))
            if seen is None:
                raise secret_missing(secret_name(project, secret_id))
            return seen.to_json()

    def update_secret(self, project: str, secret_id: str, message: dict[str, Any], mask: str) -> dict[str, Any]:
        paths = [path.strip() for path in mask.split(",") if path.strip()]
        if not paths:
            raise invalid("Field [update_mask] is required.")
        for path in paths:
            if path not in _MASKABLE:
                raise invalid(f"Field [{path[:80]}] of the update mask cannot be updated.")
        with self.lock:
            entry = self._entry(project, secret_id)
            _compare(message.get("etag", ""), entry.secret.etag)
            given = {path: message.get(path) for path in paths}
            fields = {key: value for key, value in (entry.secret.fields | given).items() if value}
            check_secret(fields)
            return self.change(entry, fields).to_json()

    def delete_secret(self, project: str, secret_id: str, etag: str) -> dict[str, Any]:
        with self.lock:
            entry = self._entry(project, secret_id)
            _compare(etag, entry.secret.etag)
            self.remove(entry)
            return {}

    def list_secrets(self, project: str, page: Page) -> dict[str, Any]:
        with self.lock:
            secrets = [secret for secret in self.listed() if secret.project == project_number(project)]
        secrets.sort(key=lambda secret: -secret.born)
        return cut_page("secrets", [(secret.born, secret.to_json) for secret in secrets], page)

    # Versions.

    def add_version(self, project: str, secret_id: str, data: bytes, checksum: int | None) -> dict[str, Any]:
        if not data:
            raise invalid("Secret Payload cannot be empty.")
        if len(data) > PAYLOAD_LIMIT:
            raise invalid(f"The Secret Payload has {len(data)} bytes and the limit is {PAYLOAD_LIMIT}.")
        actual = google_crc32c.value(data)
        if checksum is not None and checksum != actual:
            raise invalid("The Secret Payload's data does not match its data_crc32c checksum.")
        with self.lock:
            entry = self._entry(project, secret_id)
            sealed, given = self.keeping.seal(data), checksum is not None
            version = Version(entry.newest + 1, self._now(), "ENABLED", self._etag(), actual, given, sealed=sealed)
            return self._put(entry, version).to_json(entry.secret)

    def access_version(self, project: str, secret_id: str, version_id: str) -> dict[str, Any]:
        with self.lock:
            entry, version = self._version(project, secret_id, version_id)
            name = version.name_in(entry.secret)
            if version.state != "ENABLED":
                raise wrong_state(name, version.state)
            data = base64.b64encode(self.keeping.unseal(version.sealed)).decode()
        return {"name": name, "payload": {"data": data, "dataCrc32c": str(version.checksum)}}

    def get_version(self, project: str, secret_id: str, version_id: str) -> dict[str, Any]:
        with self.lock:
            entry, version = self._version(project, secret_id, version_id)
            return version.to_json(entry.secret)

    def list_versions(self, project: str, secret_id: str, page: Page) -> dict[str, Any]:
        with self.lock:
            entry = self._entry(project, secret_id)
            newest = self.newest(entry, in_list=True)
            versions = [version for version in reversed(entry.in_order) if version.number <= newest]
        rows = [(version.number, partial(version.to_json, entry.secret)) for version in versions]
        return cut_page("versions", rows, page)

    def change_state(self, project: str, secret_id: str, version_id: str, state: str, etag: str) -> dict[str, Any]:
        """Gives a version another state; a destroyed one stays so."""
        if not is_number(version_id):
            name = f"{secret_name(project, secret_id)}/versions/{version_id[:80]}"
            raise invalid(f"Resource ID [{name}] is not in a valid format.")
        with self.lock:
            entry, version = self._version(project, secret_id, version_id)
            if version.state == "DESTROYED":
                raise wrong_state(version.name_in(entry.secret), version.state)
            _compare(etag, version.etag)
            changed = replace(version, state=state, etag=self._etag())
            if state == "DESTROYED":
                changed = replace(changed, destroyed=self._now(), sealed=b"")
            return self._put(entry, changed).to_json(entry.secret)

    # IAM.

    def get_policy(self, project: str, secret_id: str) -> dict[str, Any]:
        with self.lock:
            return self._entry(project, secret_id).secret.policy or {"etag": "ACAB"}

    def set_policy(self, project: str, secret_id: str, policy: dict[str, Any]) -> dict[str, Any]:
        with self.lock:
            entry = self._entry(project, secret_id)
            etag = base64.b64encode(self._etag().encode()).decode()
            kept = {"version": 1, **{key: value for key, value in policy.items() if value}, "etag": etag}
            entry.secret = replace(entry.secret, policy=kept)
            self.keeping.put_secret(entry.secret)
            return kept

    def exists(self, project: str, secret_id: str) -> bool:
        """Whether there is such a secret."""
        with self.lock:
            return (project_number(project), secret_id) in self.entries


def _compare(given: str, current: str) -> None:
    if given and given != current:
        said = f"The etag provided [{given}] does not match the current etag [{current}]."
        raise ApiError("FAILED_PRECONDITION", said)
