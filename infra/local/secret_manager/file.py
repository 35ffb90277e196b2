"""Where the embedded Secret Manager keeps things: nowhere, or in one encrypted file.

The file is SQLite with a rollback journal, mode 0600, payloads encrypted with a key of its own in a second file beside
it. Every change is committed before its answer is sent, so a killed process loses nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken

from local.secret_manager.records import Secret, Version
from local.serving import CannotStart

_CHECK = b"embedded secret manager"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS checks (sealed BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS secrets (
    project TEXT, id TEXT, record TEXT NOT NULL, PRIMARY KEY (project, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS versions (
    project TEXT, id TEXT, number INTEGER, record TEXT NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (project, id, number)
) WITHOUT ROWID;
"""


class Keeping:
    """Keeps nothing beyond the process; derived classes do."""

    def open(self) -> None:
        """Makes it ready; may raise CannotStart."""

    def close(self) -> None:
        """Gives it up."""

    def seal(self, payload: bytes) -> bytes:
        """A payload as it is kept."""
        return payload

    def unseal(self, sealed: bytes) -> bytes:
        """A kept payload as it was."""
        return sealed

    def load(self) -> Iterator[tuple[Secret, list[Version]]]:
        """Everything kept, versions by number."""
        return iter(())

    def put_secret(self, secret: Secret) -> None:
        """Keeps a secret's new state."""

    def put_version(self, secret: Secret, version: Version) -> None:
        """Keeps a version's new state."""

    def remove(self, secret: Secret) -> None:
        """Forgets a secret with its versions."""


class EncryptedFile(Keeping):
    """Keeps everything in one file of one process at a time.

    Args:
        path: The file; ``PATH.key`` beside it is its key. Both are made, mode 0600, where they are missing.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._key_path = path, path.with_name(path.name + ".key")
        self._key_file: int
        self._database: sqlite3.Connection
        self._fernet: Fernet
        self._taken = contextlib.ExitStack()

    def open(self) -> None:
        """Takes the file for this process.

        Raises:
            CannotStart: Another process has it, or it and its key do not belong together, or it cannot be written.
        """
        with contextlib.ExitStack() as stack:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._key_file = _open_private(self._key_path)
                stack.callback(os.close, self._key_file)
                os.close(_open_private(self._path))
                fcntl.flock(self._key_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CannotStart(
                    f"Another process is using the store {self._path}: stop that one or name another file."
                ) from None
            except OSError as error:
                raise CannotStart(
                    f"The store {self._path} cannot be written ({error.strerror}): name a file in a folder of your own."
                ) from None
            self._database = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
            stack.callback(self._database.close)
            self._unlock_data()
            self._taken = stack.pop_all()

    def _unlock_data(self) -> None:
        try:
            for pragma in ("journal_mode=DELETE", "synchronous=FULL", "secure_delete=ON", "busy_timeout=2000"):
                self._database.execute(f"PRAGMA {pragma}")
            self._database.executescript(_SCHEMA)
            check = self._database.execute("SELECT sealed FROM checks").fetchone()
        except sqlite3.DatabaseError:
            raise CannotStart(
                f"{self._path} is not a store of the embedded Secret Manager: move it away or name another file."
            ) from None
        key = os.pread(self._key_file, 1000, 0)
        if check is None:
            self._fernet = Fernet(self._new_key())
            self._database.execute("INSERT INTO checks VALUES (?)", (self._fernet.encrypt(_CHECK),))
            return
        if not key:
            raise CannotStart(
                f"The key of the store {self._path} is missing: put {self._key_path} back, or remove both files to "
                "start with an empty store."
            )
        try:
            self._fernet = Fernet(key.strip())
            self._fernet.decrypt(check[0])
        except (ValueError, InvalidToken):
            raise CannotStart(
                f"The key in {self._key_path} is not the one of the store {self._path}: put the right one back, or "
                "remove both files to start with an empty store."
            ) from None

    def _new_key(self) -> bytes:
        key = Fernet.generate_key()
        os.ftruncate(self._key_file, 0)
        os.pwrite(self._key_file, key, 0)
        os.fsync(self._key_file)
        return key

    def close(self) -> None:
        """Gives the file to whoever comes next."""
        self._taken.close()

    def seal(self, payload: bytes) -> bytes:
        return self._fernet.encrypt(payload)

    def unseal(self, sealed: bytes) -> bytes:
        return self._fernet.decrypt(sealed) if sealed else b""

    def load(self) -> Iterator[tuple[Secret, list[Version]]]:
        for project, id_, record in self._database.execute("SELECT project, id, record FROM secrets").fetchall():
            rows = self._database.execute(
                "SELECT record, sealed FROM versions WHERE project = ? AND id = ? ORDER BY number", (project, id_)
            )
            versions = [Version(**_known(Version, version), sealed=sealed) for version, sealed in rows]
            yield Secret(**_known(Secret, record)), versions

    def put_secret(self, secret: Secret) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO secrets VALUES (?, ?, ?)", (secret.project, secret.id, json.dumps(asdict(secret)))
        )

    def put_version(self, secret: Secret, version: Version) -> None:
        record = asdict(version)
        sealed = record.pop("sealed")
        self._database.execute(
            "INSERT OR REPLACE INTO versions VALUES (?, ?, ?, ?, ?)",
            (secret.project, secret.id, version.number, json.dumps(record), sealed),
        )

    def remove(self, secret: Secret) -> None:
        with self._database:  # in one transaction
            self._database.execute("BEGIN IMMEDIATE")
            for table in ("versions", "secrets"):
                key = secret.project, secret.id
                self._database.execute(f"DELETE FROM {table} WHERE project = ? AND id = ?", key)


def _known(kind: type[Any], record: str) -> dict[str, Any]:
    """A record's fields without those that only an older release knew."""
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in json.loads(record).items() if name in names}


def _open_private(path: Path) -> int:
    """Opens a file that only this user can read, made where it is missing."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    os.fchmod(descriptor, 0o600)
    return descriptor
