"""The embedded Secret Manager's file: mode, encryption, its key, restarts."""

import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from google.cloud import secretmanager_v1

from emulators.secret_manager import SecretManagerServer
from local.serving import CannotStart

Connect = Callable[[str], secretmanager_v1.SecretManagerServiceClient]
SECRET = "projects/acme-dev/secrets/s"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store" / "secrets.db"


def fill(server: SecretManagerServer) -> None:
    server.create("s", project="acme-dev", labels={"env": "dev"}, annotations={"note": "ünicode"})
    for data in (b"canary-one", b"canary-two", b"canary-three"):
        server.add_version("s", data)
    server.set_state("s", 1, "DESTROYED")
    server.set_state("s", 2, "DISABLED")


class TestKeeping:
    def test_everything_is_there_after_a_restart(self, path: Path, connect: Connect) -> None:
        """Secrets, labels, annotations, policies, states and etags outlive the process, and numbers go on.

        What an older release kept beside is left out.
        """
        with SecretManagerServer(path=path) as server:
            fill(server)
            server.create("later", project="acme-dev")
            client = connect(server.url)
            binding = {"role": "roles/viewer", "members": ["user:a@example.com"]}
            policy = client.set_iam_policy(request={"resource": SECRET, "policy": {"bindings": [binding]}})
            listed = list(client.list_secrets(parent="projects/acme-dev"))
            versions = list(client.list_secret_versions(parent=SECRET))
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("UPDATE versions SET record = json_set(record, '$.destroy_at', 1)")
        with SecretManagerServer(path=path) as server:
            client = connect(server.url)
            assert server.payloads("s") == [b"", b"canary-two", b"canary-three"]
            assert list(client.list_secrets(parent="projects/acme-dev")) == listed
            assert list(client.list_secret_versions(parent=SECRET)) == versions
            assert client.get_iam_policy(request={"resource": SECRET}) == policy
            assert server.add_version("s", b"four") == 4
            server.delete("s")
        with SecretManagerServer(path=path) as server:
            assert list(server.secrets()) == ["later"]
            server.create("s", project="acme-dev")
            assert server.add_version("s", b"x") == 1


class TestSecrecy:
    def test_only_the_owner_can_read_it(self, path: Path) -> None:
        """Store and key are mode 0600 in a folder of mode 0700, also after a copy, and no payload is readable."""
        with SecretManagerServer(path=path):
            path.chmod(0o644)
        with SecretManagerServer(path=path) as server:
            fill(server)
            assert b"canary" not in path.read_bytes()
            modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir()}
        assert modes == {"secrets.db": 0o600, "secrets.db.key": 0o600}
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    def test_destroyed_values_are_gone(self, path: Path) -> None:
        """A destroyed value leaves the file, even for those who have the key."""
        with SecretManagerServer(path=path) as server:
            server.create("s", project="acme-dev")
            server.add_version("s", b"x" * 60_000)
            token = path.read_bytes().count(b"gAAAA")
            server.set_state("s", 1, "DESTROYED")
            assert path.read_bytes().count(b"gAAAA") == token - 1


class TestTrouble:
    def test_places_that_are_refused(self, path: Path, tmp_path: Path) -> None:
        """A symbolic link in the store's place, a folder that is a file, and a file that is no store, which stays."""
        path.parent.mkdir()
        path.symlink_to(tmp_path / "elsewhere")
        notes = tmp_path / "notes"
        notes.write_bytes(b"somebody's notes, long enough to be looked at" * 100)
        before = notes.read_bytes()
        refused = {path: "cannot be written", notes / "secrets.db": "cannot be written", notes: "is not a store of"}
        for place, sentence in refused.items():
            with pytest.raises(CannotStart, match=sentence):
                SecretManagerServer(path=place).start()
        assert notes.read_bytes() == before

    @pytest.mark.parametrize("key", [None, b"nonsense", b"A" * 43 + b"="], ids=["missing", "none", "another store's"])
    def test_key(self, path: Path, key: bytes | None) -> None:
        """A store without its key is one sentence that says what to do, and stays as it was."""
        with SecretManagerServer(path=path) as server:
            fill(server)
        file = path.with_name("secrets.db.key")
        kept = file.read_bytes()
        file.unlink()
        sentence = r"^The key of the store .* is missing: put .*\.key back, or remove"
        if key is not None:
            file.write_bytes(key)
            sentence = r"is not the one of the store .*: put the right one back, or remove"
        with pytest.raises(CannotStart, match=sentence):
            SecretManagerServer(path=path).start()
        file.write_bytes(kept)
        with SecretManagerServer(path=path) as server:
            assert server.payloads("s")[2] == b"canary-three"
