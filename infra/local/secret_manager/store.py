"""The secrets and versions that there are."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from local.secret_manager.errors import ApiError, nothing_to_read, secret_missing
from local.secret_manager.file import Keeping
from local.secret_manager.records import Secret, Version


@dataclass
class Entry:
    """A secret with its versions by number."""

    secret: Secret
    versions: dict[int, Version] = field(default_factory=dict)

    @property
    def newest(self) -> int:
        """The number of the newest version; 0 without one."""
        return max(self.versions, default=0)

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

    What reads see may be changed by :meth:`shown`, :meth:`listed` and :meth:`newest`, and every change of a secret
    passes through :meth:`change`; Google's reads may be late, which derived classes can show.

    Args:
        keeping: Where things are kept.
        clock: Wall clock in seconds since the epoch.

    Attributes:
        lock: Held while something is read or changed; whoever does both holds it for both.
        entries: Every secret, by its project's number and its id.
        keeping: As given.
    """

    def __init__(self, keeping: Keeping, clock: Callable[[], float]) -> None:
        self.lock = threading.RLock()
        self.entries: dict[tuple[str, str], Entry] = {}
        self.keeping, self._clock = keeping, clock
        self._born = 0
        self._last_etag = 0

    def open(self) -> None:
        """Loads what is kept."""
        self.keeping.open()
        for secret, versions in self.keeping.load():
            entry = Entry(secret, {version.number: version for version in versions})
            self.entries[secret.project, secret.id] = entry
            self._born = max(self._born, secret.born)

    def close(self) -> None:
        """Gives up what is kept."""
        with self.lock:
            self.keeping.close()

    # What reads see.

    def shown(self, entry: Entry) -> Secret | None:
        """A secret as it is answered, None where it is not seen yet."""
        return entry.secret

    def listed(self) -> list[Secret]:
        """The secrets that lists show."""
        return [entry.secret for entry in self.entries.values()]

    def newest(self, entry: Entry, *, in_list: bool = False) -> int:  # noqa: ARG002
        """The number of the version that ``latest`` means, or that lists begin with; 0 for none."""
        return entry.newest

    # Inside.

    def change(self, entry: Entry, fields: dict[str, Any]) -> Secret:
        """Gives a secret other fields, and a new etag."""
        changed = replace(entry.secret, fields=fields, etag=self._etag())
        self.keeping.put_secret(changed)
        entry.secret = changed
        return changed

    def remove(self, entry: Entry) -> None:
        """Forgets a secret."""
        self.keeping.remove(entry.secret)
        del self.entries[entry.secret.project, entry.secret.id]

    def _now(self) -> int:
        return int(self._clock() * 1_000_000)

    def _etag(self) -> str:
        """A new etag, quotes included. From the real clock, so that none comes again after a restart."""
        self._last_etag = max(self._last_etag + 1, time.time_ns() // 1000)
        return f'"{self._last_etag:x}"'

    def _entry(self, project: str, secret_id: str) -> Entry:
        entry = self.entries.get((project_number(project), secret_id))
        if entry is None:
            raise secret_missing(secret_name(project, secret_id))
        return entry

    def _version(self, project: str, secret_id: str, version_id: str) -> tuple[Entry, Version]:
        entry = self.entries.get((project_number(project), secret_id))
        if entry is None:
            raise nothing_to_read(secret_name(project, secret_id))
        number = int(version_id) if is_number(version_id) else 0
        if version_id == "latest":
            number = self.newest(entry)
            if not number:
                raise nothing_to_read(entry.secret.name)
        version = entry.versions.get(number)
        if version is None:
            raise ApiError("NOT_FOUND", f"Secret Version [{entry.secret.name}/versions/{version_id[:80]}] not found.")
        return entry, version

    def _add(self, project: str, secret_id: str, fields: dict[str, Any]) -> Secret:
        self._born += 1
        secret = Secret(project, secret_id, self._born, self._now(), self._etag(), fields)
        self.keeping.put_secret(secret)
        self.entries[project, secret_id] = Entry(secret)
        return secret

    def _put(self, entry: Entry, version: Version) -> Version:
        self.keeping.put_version(entry.secret, version)
        entry.versions[version.number] = version
        return version
