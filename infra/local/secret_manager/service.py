"""What each call of Secret Manager's v1 API does, free of HTTP: secrets, versions, etags, lists, and lagging reads."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import google_crc32c

from local.secret_manager.errors import (
    ApiError,
    invalid,
    nothing_to_read,
    secret_missing,
    stale_etag,
    version_missing,
    wrong_state,
)
from local.secret_manager.fields import PAYLOAD_LIMIT, SECRET_ID, camel, check_secret, micros_of, seconds_of, time_of
from local.secret_manager.file import Keeping
from local.secret_manager.filter import SECRET_FIELDS, VERSION_FIELDS, parse_filter
from local.secret_manager.pages import Page, cut_page
from local.secret_manager.records import Secret, Version, replication_status

_MASKABLE = frozenset(
    (
        "labels",
        "annotations",
        "topics",
        "expireTime",
        "ttl",
        "rotation",
        "versionAliases",
        "versionDestroyTtl",
        "customerManagedEncryption",
        "replication",
    )
)
_HISTORY = 16


@dataclass(frozen=True)
class Lag:
    """How late reads are, counted in changes of the secret concerned, so that tests do not depend on time.

    Attributes:
        latest: ``latest`` answers so many versions late.
        lists: ListSecrets shows each secret as it was so many changes ago, and a deleted one until the lag is set anew;
            ListSecretVersions lacks so many of the newest versions.
        gets: GetSecret answers so many changes late.
        hide_first: What has not existed for so many changes is not there yet. Otherwise a secret's first state and its
            first version are seen at once.
    """

    latest: int = 0
    lists: int = 0
    gets: int = 0
    hide_first: bool = False

    def __post_init__(self) -> None:
        if not all(0 <= late <= _HISTORY for late in (self.latest, self.lists, self.gets)):
            raise ValueError(f"A lag is 0 to {_HISTORY} changes.")


@dataclass
class _Entry:
    """A secret with its versions by number and its earlier states, oldest first."""

    secret: Secret
    versions: dict[int, Version] = field(default_factory=dict)
    earlier: deque[Secret] = field(default_factory=lambda: deque(maxlen=_HISTORY))

    def seen(self, late: int, *, hide_first: bool) -> Secret | None:
        """The secret as it was so many changes ago."""
        if late == 0:
            return self.secret
        if late <= len(self.earlier):
            return self.earlier[-late]
        return None if hide_first else (self.earlier[0] if self.earlier else self.secret)

    def newest(self, late: int, *, hide_first: bool) -> int | None:
        """The number of the version that was the newest so many versions ago."""
        if not self.versions:
            return None
        number = max(self.versions) - late
        return number if number >= 1 else None if hide_first else 1


def project_number(project: str) -> str:
    """A project's number: itself, or one that always belongs to the same id."""
    if _is_number(project):
        return project
    digest = hashlib.sha256(project.encode()).digest()
    return str(100_000_000_000 + int.from_bytes(digest[:6], "big") % 900_000_000_000)


class SecretService:
    """The calls. Each is atomic, and kept before it returns.

    Args:
        keeping: Where things are kept.
        clock: Wall clock in seconds since the epoch.
        page_size: Resources on a page where a request names no size.
    """

    def __init__(self, keeping: Keeping, clock: Callable[[], float], page_size: int) -> None:
        self.lag = Lag()
        self.lock = threading.RLock()
        self._keeping, self._clock, self._page_size = keeping, clock, page_size
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._deleted: dict[tuple[str, str], _Entry] = {}
        self._born = 0
        self._last_etag = 0

    def open(self) -> None:
        """Loads what is kept."""
        self._keeping.open()
        for secret, versions in self._keeping.load():
            entry = _Entry(secret, {version.number: version for version in versions})
            self._entries[secret.project, secret.id] = entry
            self._born = max(self._born, secret.born)

    def close(self) -> None:
        """Gives up what is kept."""
        with self.lock:
            self._keeping.close()

    def set_lag(self, lag: Lag) -> None:
        """From now on reads are so late."""
        with self.lock:
            self.lag = lag
            self._deleted.clear()

    # Secrets.

    def create_secret(self, project: str, secret_id: str, message: dict[str, Any]) -> dict[str, Any]:
        if not SECRET_ID.fullmatch(secret_id):
            raise invalid(
                f"The provided Secret ID [{secret_id[:300]}] does not match the expected format [[a-zA-Z_0-9-]+]",
                "secret_id",
            )
        with self.lock:
            number, now = project_number(project), self._now()
            fields = self._input(message, now)
            check_secret(fields, set(), now)
            if self._find(number, secret_id) is not None:
                name = f"projects/{number}/secrets/{secret_id}"
                raise ApiError("ALREADY_EXISTS", f"Secret [{name}] already exists.")
            self._born += 1
            secret = Secret(number, secret_id, self._born, now, self._etag(), fields)
            self._keeping.put_secret(secret)
            self._entries[number, secret_id] = _Entry(secret)
            self._deleted.pop((number, secret_id), None)
            return secret.to_json()

    def get_secret(self, project: str, secret_id: str) -> dict[str, Any]:
        with self.lock:
            seen = self._entry(project, secret_id).seen(self.lag.gets, hide_first=self.lag.hide_first)
            if seen is None:
                raise secret_missing(_name(project, secret_id))
            return seen.to_json()

    def update_secret(self, project: str, secret_id: str, message: dict[str, Any], mask: str) -> dict[str, Any]:
        paths = [camel(path.strip()) for path in mask.split(",") if path.strip()]
        if not paths:
            raise invalid("Field [update_mask] is required.", "update_mask")
        for path in paths:
            if path not in _MASKABLE:
                raise invalid(f"Field [{path[:80]}] of the update mask cannot be updated.", "update_mask")
        with self.lock:
            entry = self._entry(project, secret_id)
            _compare(message.get("etag", ""), entry.secret.etag)
            fields = dict(entry.secret.fields)
            now = self._now()
            given = self._input(message, now)
            for path in paths:
                stored = "expireTime" if path == "ttl" else path
                if path == "replication" and not _same_places(given.get(path, {}), fields[path]):
                    raise invalid("Secret.replication cannot be changed after the secret was created.", "update_mask")
                fields.pop(stored, None)
                if given.get(stored):
                    fields[stored] = given[stored]
            check_secret(fields, set(entry.versions), now)
            return self._change(entry, fields).to_json()

    def delete_secret(self, project: str, secret_id: str, etag: str) -> dict[str, Any]:
        with self.lock:
            entry = self._entry(project, secret_id)
            _compare(etag, entry.secret.etag)
            self._remove(entry)
            return {}

    def list_secrets(self, project: str, page: Page) -> dict[str, Any]:
        condition = parse_filter(page.filter, SECRET_FIELDS)
        with self.lock:
            number = project_number(project)
            lag = self.lag
            entries = [self._find(*key) for key in list(self._entries) if key[0] == number]
            entries += [entry for key, entry in self._deleted.items() if key[0] == number and lag.lists]
            seen = [entry.seen(lag.lists, hide_first=lag.hide_first) for entry in entries if entry is not None]
        secrets = sorted((secret for secret in seen if secret is not None), key=lambda secret: -secret.born)
        rows = [(secret.born, secret.to_json) for secret in secrets]
        return cut_page("secrets", rows, condition, page, self._page_size)

    # Versions.

    def add_version(self, project: str, secret_id: str, message: dict[str, Any]) -> dict[str, Any]:
        if "payload" not in message:
            raise invalid("Field [payload] is required.", "payload")
        data, checksum = message["payload"].get("data", b""), message["payload"].get("dataCrc32c")
        if not data:
            raise invalid("Secret Payload cannot be empty.", "payload.data")
        if len(data) > PAYLOAD_LIMIT:
            raise invalid(f"The Secret Payload has {len(data)} bytes and the limit is {PAYLOAD_LIMIT}.", "payload.data")
        actual = google_crc32c.value(data)
        if checksum is not None and checksum != actual:
            raise invalid("The Secret Payload's data does not match its data_crc32c checksum.", "payload.data_crc32c")
        with self.lock:
            entry = self._entry(project, secret_id)
            version = Version(
                number=max(entry.versions, default=0) + 1,
                created=self._now(),
                state="ENABLED",
                etag=self._etag(),
                checksum=actual,
                checksum_given=checksum is not None,
                replication=replication_status(entry.secret.fields["replication"]),
                sealed=self._keeping.seal(data),
            )
            self._put(entry, version)
            return version.to_json(entry.secret)

    def access_version(self, project: str, secret_id: str, version_id: str) -> dict[str, Any]:
        with self.lock:
            entry, version = self._version(project, secret_id, version_id)
            name = version.name_in(entry.secret)
            if version.state != "ENABLED":
                raise wrong_state(name, version.state)
            payload = self._keeping.unseal(version.sealed)
        data = base64.b64encode(payload).decode()
        return {"name": name, "payload": {"data": data, "dataCrc32c": str(version.checksum)}}

    def get_version(self, project: str, secret_id: str, version_id: str) -> dict[str, Any]:
        with self.lock:
            entry, version = self._version(project, secret_id, version_id)
            return version.to_json(entry.secret)

    def list_versions(self, project: str, secret_id: str, page: Page) -> dict[str, Any]:
        condition = parse_filter(page.filter, VERSION_FIELDS)
        with self.lock:
            entry = self._entry(project, secret_id)
            newest = entry.newest(self.lag.lists, hide_first=self.lag.hide_first) or 0
            versions = [entry.versions[number] for number in sorted(entry.versions, reverse=True) if number <= newest]
        rows = [(version.number, partial(version.to_json, entry.secret)) for version in versions]
        return cut_page("versions", rows, condition, page, self._page_size)

    def change_state(self, project: str, secret_id: str, version_id: str, state: str, etag: str) -> dict[str, Any]:
        """Enables, disables or destroys a version; a destroyed one stays so."""
        with self.lock:
            if not _is_number(version_id):
                name = f"{_name(project, secret_id)}/versions/{version_id[:80]}"
                raise invalid(f"Resource ID [{name}] is not in a valid format.", "name")
            entry, version = self._version(project, secret_id, version_id)
            if version.state == "DESTROYED":
                raise wrong_state(version.name_in(entry.secret), version.state)
            _compare(etag, version.etag)
            return self._set_state(entry, version, state).to_json(entry.secret)

    # IAM.

    def get_policy(self, project: str, secret_id: str) -> dict[str, Any]:
        with self.lock:
            return self._entry(project, secret_id).secret.policy or {"etag": "ACAB"}

    def set_policy(self, project: str, secret_id: str, policy: dict[str, Any]) -> dict[str, Any]:
        with self.lock:
            entry = self._entry(project, secret_id)
            given, current = policy.get("etag", ""), entry.secret.policy.get("etag", "ACAB")
            if given and given != current:
                raise ApiError(
                    "ABORTED",
                    "There were concurrent policy changes. "
                    "Please retry the whole read-modify-write with exponential backoff.",
                )
            etag = base64.b64encode(self._etag().encode()).decode()
            kept = {"version": 1, **{key: value for key, value in policy.items() if value}, "etag": etag}
            entry.secret = replace(entry.secret, policy=kept)
            self._keeping.put_secret(entry.secret)
            return kept

    def exists(self, project: str, secret_id: str) -> bool:
        """Whether there is such a secret."""
        with self.lock:
            return self._find(project_number(project), secret_id) is not None

    # For tests and for people who look inside.

    def everything(self, project: str | None = None) -> list[tuple[Secret, list[Version]]]:
        """Every secret as it really is, oldest first, with its versions by number."""
        with self.lock:
            found = [self._find(*key) for key in list(self._entries)]
            entries = sorted((entry for entry in found if entry is not None), key=lambda entry: entry.secret.born)
            return [
                (entry.secret, [entry.versions[number] for number in sorted(entry.versions)])
                for entry in entries
                if project is None or entry.secret.project == project_number(project)
            ]

    def find(self, secret_id: str) -> tuple[Secret, list[Version]]:
        """The secret of that id in whichever project, with its versions by number; KeyError without one."""
        with self.lock:
            for key in [key for key in self._entries if key[1] == secret_id]:
                entry = self._find(*key)
                if entry is not None:
                    return entry.secret, [entry.versions[number] for number in sorted(entry.versions)]
        raise KeyError(secret_id)

    def payload(self, version: Version) -> bytes:
        """A version's payload, b"" once destroyed."""
        return self._keeping.unseal(version.sealed) if version.sealed else b""

    def edit(self, secret: Secret, changes: dict[str, dict[str, str | None]]) -> Secret:
        """Changes entries of the secret's maps as somebody else's update would; None takes an entry away."""
        with self.lock:
            entry = self._entry(secret.project, secret.id)
            fields = dict(entry.secret.fields)
            for name, entries in changes.items():
                merged = {**fields.get(name, {}), **entries}
                fields[name] = {key: value for key, value in merged.items() if value is not None}
            return self._change(entry, fields)

    # Inside.

    def _now(self) -> int:
        return int(self._clock() * 1_000_000)

    def _etag(self) -> str:
        """A new etag, quotes included. From the real clock, so that none comes again after a restart."""
        self._last_etag = max(self._last_etag + 1, time.time_ns() // 1000)
        return f'"{self._last_etag:x}"'

    def _input(self, message: dict[str, Any], now: int) -> dict[str, Any]:
        """What a client may set, ``ttl`` as the time it stands for."""
        fields = {key: message[key] for key in _MASKABLE - {"ttl"} if message.get(key)}
        if "replication" in message:
            fields["replication"] = message["replication"]
        if "ttl" in message:
            if "expireTime" in message:
                raise invalid("Only one of Secret.expire_time and Secret.ttl can be set.", "secret.ttl")
            try:
                fields["expireTime"] = time_of(now + int(seconds_of(message["ttl"]) * 1_000_000))
            except (ValueError, OverflowError):
                raise invalid("Secret.ttl is out of range.", "secret.ttl") from None
        return fields

    def _find(self, number: str, secret_id: str) -> _Entry | None:
        """The entry, after what was due for it by now: its own end, and its versions' postponed destruction."""
        entry = self._entries.get((number, secret_id))
        if entry is None:
            return None
        now = self._now()
        expiry = entry.secret.fields.get("expireTime")
        if expiry is not None and micros_of(expiry) <= now:
            self._remove(entry)
            return None
        if "versionDestroyTtl" in entry.secret.fields:
            for version in list(entry.versions.values()):
                if version.destroy_at is not None and version.destroy_at <= now:
                    self._destroy(entry, version)
        return entry

    def _entry(self, project: str, secret_id: str) -> _Entry:
        entry = self._find(project_number(project), secret_id)
        if entry is None:
            raise secret_missing(_name(project, secret_id))
        return entry

    def _version(self, project: str, secret_id: str, version_id: str) -> tuple[_Entry, Version]:
        entry = self._find(project_number(project), secret_id)
        if entry is None:
            raise nothing_to_read(_name(project, secret_id))
        number: int | None
        if _is_number(version_id):
            number = int(version_id)
        elif version_id == "latest":
            number = entry.newest(self.lag.latest, hide_first=self.lag.hide_first)
            if number is None:
                raise nothing_to_read(entry.secret.name)
        else:
            number = entry.secret.fields.get("versionAliases", {}).get(version_id)
        version = entry.versions.get(number) if number is not None else None
        if version is None:
            raise version_missing(f"{entry.secret.name}/versions/{version_id[:80]}")
        return entry, version

    def _change(self, entry: _Entry, fields: dict[str, Any]) -> Secret:
        changed = replace(entry.secret, fields=fields, etag=self._etag())
        self._keeping.put_secret(changed)
        entry.earlier.append(entry.secret)
        entry.secret = changed
        return changed

    def _remove(self, entry: _Entry) -> None:
        self._keeping.remove(entry.secret)
        key = (entry.secret.project, entry.secret.id)
        del self._entries[key]
        if self.lag.lists:
            entry.earlier.append(entry.secret)
            self._deleted[key] = entry

    def _put(self, entry: _Entry, version: Version) -> Version:
        self._keeping.put_version(entry.secret, version)
        entry.versions[version.number] = version
        return version

    def _set_state(self, entry: _Entry, version: Version, state: str) -> Version:
        due = None
        if state == "DESTROYED":
            wait = entry.secret.fields.get("versionDestroyTtl")
            if wait is None:
                return self._destroy(entry, version)
            state, due = "DISABLED", self._now() + int(seconds_of(wait) * 1_000_000)
        return self._put(entry, replace(version, state=state, etag=self._etag(), destroy_at=due))

    def _destroy(self, entry: _Entry, version: Version) -> Version:
        gone = replace(
            version, state="DESTROYED", etag=self._etag(), destroyed=self._now(), destroy_at=None, sealed=b""
        )
        return self._put(entry, gone)


def _is_number(text: str) -> bool:
    return text.isdecimal() and text.isascii() and len(text) <= 18


def _name(project: str, secret_id: str) -> str:
    return f"projects/{project_number(project)}/secrets/{secret_id}"


def _compare(given: str, current: str) -> None:
    if given and given != current:
        raise stale_etag(given, current)


def _same_places(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two replication policies differ in nothing but their keys, which alone can be changed."""

    def places(policy: dict[str, Any]) -> list[str] | None:
        if "userManaged" not in policy:
            return None
        return [replica.get("location", "") for replica in policy["userManaged"].get("replicas", [])]

    return one.keys() == other.keys() and places(one) == places(other)
