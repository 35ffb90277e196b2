"""The secrets and versions that there are, as they really are and as late reads see them."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from local.secret_manager.errors import nothing_to_read, secret_missing, version_missing
from local.secret_manager.file import Keeping
from local.secret_manager.records import Secret, Version

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
class Entry:
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

    @property
    def in_order(self) -> list[Version]:
        """The versions by number."""
        return [self.versions[number] for number in sorted(self.versions)]


def is_number(text: str) -> bool:
    """Whether a version is named by its number."""
    return text.isdecimal() and text.isascii() and len(text) <= 18


def project_number(project: str) -> str:
    """A project's number: itself, or one that always belongs to the same id."""
    if is_number(project):
        return project
    digest = hashlib.sha256(project.encode()).digest()
    return str(100_000_000_000 + int.from_bytes(digest[:6], "big") % 900_000_000_000)


def secret_name(project: str, secret_id: str) -> str:
    """A secret's resource name, with the project's number."""
    return f"projects/{project_number(project)}/secrets/{secret_id}"


class Store:
    """All secrets. Every change is kept before it is seen.

    Args:
        keeping: Where things are kept.
        clock: Wall clock in seconds since the epoch.

    Attributes:
        lock: Held while something is read or changed; whoever does both holds it for both.
    """

    def __init__(self, keeping: Keeping, clock: Callable[[], float]) -> None:
        self.lag = Lag()
        self.lock = threading.RLock()
        self._keeping, self._clock = keeping, clock
        self._entries: dict[tuple[str, str], Entry] = {}
        self._deleted: dict[tuple[str, str], Entry] = {}
        self._born = 0
        self._last_etag = 0

    def open(self) -> None:
        """Loads what is kept."""
        self._keeping.open()
        for secret, versions in self._keeping.load():
            entry = Entry(secret, {version.number: version for version in versions})
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

    # For tests and for people who look inside.

    def everything(self) -> list[tuple[Secret, list[Version]]]:
        """Every secret as it really is, oldest first, with its versions by number."""
        with self.lock:
            entries = sorted(self._entries.values(), key=lambda entry: entry.secret.born)
            return [(entry.secret, entry.in_order) for entry in entries]

    def find(self, secret_id: str) -> tuple[Secret, list[Version]]:
        """The secret of that id in whichever project, with its versions by number; KeyError without one."""
        with self.lock:
            for (_, found), entry in self._entries.items():
                if found == secret_id:
                    return entry.secret, entry.in_order
        raise KeyError(secret_id)

    def payload(self, version: Version) -> bytes:
        """A version's payload, b"" once destroyed."""
        return self._keeping.unseal(version.sealed) if version.sealed else b""

    def edit(self, secret: Secret, changes: Mapping[str, Mapping[str, str | None]]) -> None:
        """Changes entries of the secret's maps as somebody else's update would; None takes an entry away."""
        with self.lock:
            entry = self._entry(secret.project, secret.id)
            fields = dict(entry.secret.fields)
            for name, entries in changes.items():
                merged = {**fields.get(name, {}), **entries}
                fields[name] = {key: value for key, value in merged.items() if value is not None}
            self._change(entry, fields)

    # For the calls.

    def _now(self) -> int:
        return int(self._clock() * 1_000_000)

    def _etag(self) -> str:
        """A new etag, quotes included. From the real clock, so that none comes again after a restart."""
        self._last_etag = max(self._last_etag + 1, time.time_ns() // 1000)
        return f'"{self._last_etag:x}"'

    def _entry(self, project: str, secret_id: str) -> Entry:
        entry = self._entries.get((project_number(project), secret_id))
        if entry is None:
            raise secret_missing(secret_name(project, secret_id))
        return entry

    def _version(self, project: str, secret_id: str, version_id: str) -> tuple[Entry, Version]:
        entry = self._entries.get((project_number(project), secret_id))
        if entry is None:
            raise nothing_to_read(secret_name(project, secret_id))
        number = int(version_id) if is_number(version_id) else None
        if version_id == "latest":
            number = entry.newest(self.lag.latest, hide_first=self.lag.hide_first)
            if number is None:
                raise nothing_to_read(entry.secret.name)
        version = entry.versions.get(number) if number is not None else None
        if version is None:
            raise version_missing(f"{entry.secret.name}/versions/{version_id[:80]}")
        return entry, version

    def _add(self, project: str, secret_id: str, fields: dict[str, Any]) -> Secret:
        self._born += 1
        secret = Secret(project, secret_id, self._born, self._now(), self._etag(), fields)
        self._keeping.put_secret(secret)
        self._entries[project, secret_id] = Entry(secret)
        self._deleted.pop((project, secret_id), None)
        return secret

    def _change(self, entry: Entry, fields: dict[str, Any]) -> Secret:
        changed = replace(entry.secret, fields=fields, etag=self._etag())
        self._keeping.put_secret(changed)
        entry.earlier.append(entry.secret)
        entry.secret = changed
        return changed

    def _remove(self, entry: Entry) -> None:
        self._keeping.remove(entry.secret)
        key = (entry.secret.project, entry.secret.id)
        del self._entries[key]
        if self.lag.lists:
            entry.earlier.append(entry.secret)
            self._deleted[key] = entry

    def _put(self, entry: Entry, version: Version) -> Version:
        self._keeping.put_version(entry.secret, version)
        entry.versions[version.number] = version
        return version
