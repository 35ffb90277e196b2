"""The reader behind the real functions: what they store is what it hands out, and its file stands alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from stage import PROJECT, ROOT, TOKEN, Stage
from tokenkeeper import clock
from tokenkeeper.reader import NeedsReconnecting, NotConnected, Reader, TryLater

FILE = ROOT / "functions" / "tokenkeeper" / "reader.py"
_ALONE = """
import importlib.util, json, sys
import reader

assert importlib.util.find_spec("tokenkeeper") is None
token = reader.token("acme")
try:
    reader.access_token("acme", rejected=reader.access_token("acme"))
except reader.ReaderError as error:
    remedy = error.remedy
print(json.dumps({"shown": repr(token), "ids": token.advertiser_ids, "remedy": remedy, "modules": sorted(sys.modules)}))
"""


@pytest.fixture
def reader(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Reader:
    """A reader in front of the stage."""
    monkeypatch.setenv("SECRET_MANAGER_EMULATOR_HOST", stage.secrets.address)
    monkeypatch.delenv("SECRET_PREFIX", raising=False)
    return Reader(PROJECT)


class TestReader:
    def test_what_was_connected(self, reader: Reader, stage: Stage) -> None:
        """What the callback stored is handed out, with everything beside it."""
        payload = stage.connected("acme")
        found = reader.token("acme")
        assert found.access_token == payload["access_token"]
        assert found.advertiser_ids == tuple(payload["advertiser_ids"])
        assert found.scope == tuple(payload["scope"])
        assert clock.text(found.obtained_at) == payload["obtained_at"]
        assert stage.tiktok.grants[-1].access_token == found.access_token
        stage.canaries.record("a repr", repr(found) + repr(reader))

    def test_connected_again(self, reader: Reader, stage: Stage) -> None:
        """A refused token is followed by that of a re-connection; if that is refused as well, a person is needed."""
        old = stage.connected("acme")["access_token"]
        assert reader.access_token("acme") == old
        new = stage.connected("acme")["access_token"]
        assert reader.access_token("acme", rejected=old) == new != old
        with pytest.raises(NeedsReconnecting) as caught:
            reader.access_token("acme", rejected=new)
        stage.canaries.record_error("an error", caught.value)

    def test_refreshed(self, reader: Reader, stage: Stage) -> None:
        """The token that a run renewed is handed out when more life is asked for than the old one has left."""
        old = stage.plant("acme", "expiring", age_hours=13)["access_token"]
        assert reader.access_token("acme") == old
        assert stage.run()[0] == 200
        assert reader.access_token("acme") == old
        assert reader.access_token("acme", minimum_seconds=12 * 3600) == stage.token("acme")["access_token"] != old

    def test_refresh_that_is_late(self, reader: Reader, stage: Stage) -> None:
        """A token that nobody renewed in time is not handed out for longer than it lives."""
        payload = stage.plant("acme", "expiring", age_hours=23.5)
        with pytest.raises(TryLater) as caught:
            reader.token("acme")
        stage.canaries.record_error("an error", caught.value)
        assert reader.access_token("acme", minimum_seconds=60) == payload["access_token"]

    def test_no_connection(self, reader: Reader, stage: Stage) -> None:
        """A connection that is still being made is none yet."""
        stage.secrets.create(TOKEN + "acme", project=PROJECT)
        with pytest.raises(NotConnected):
            reader.token("acme")

    @pytest.mark.usefixtures("reader")
    def test_many_refreshes(self, stage: Stage) -> None:
        """Older versions that the keeper destroyed are in nobody's way, however late `latest` is."""
        stage.plant("acme", "expiring", age_hours=13)
        for _ in range(4):
            assert stage.run({"connections": ["acme"], "force": True})[0] == 200
        assert stage.secrets.destroyed(TOKEN + "acme") == [1, 2, 3]
        for lag in (0, 1, 3):
            stage.secrets.set_lag(latest=lag)
            token = Reader(PROJECT).token("acme")
            assert (token.version, token.access_token) == (5, stage.token("acme")["access_token"])
            assert token.expires_at is not None
            assert token.expires_at - clock.now() > timedelta(hours=23)


class TestAlone:
    def test_the_file_stands_alone(self, stage: Stage, tmp_path: Path) -> None:
        """Copied into an empty folder it works, with Google's client and nothing else of the token keeper."""
        payload = stage.connected("acme")
        shutil.copy(FILE, tmp_path / "reader.py")
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", _ALONE],
            env={"SECRET_MANAGER_EMULATOR_HOST": stage.secrets.address, "GOOGLE_CLOUD_PROJECT": PROJECT},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        stage.canaries.record("what it says", done.stdout + done.stderr)
        assert (done.returncode, done.stderr) == (0, "")
        said = json.loads(done.stdout)
        assert said["remedy"] == "reconnect"
        assert said["ids"] == payload["advertiser_ids"]
        assert not {"flask", "click", "jinja2", "functions_framework", "google_crc32c"} & set(said["modules"])
