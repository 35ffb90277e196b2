"""`infra/readers/tiktok_token.py` before a Secret Manager on a socket: the newest token, or why there is none.

Promise 4: `latest` may be stale. A reader needs one role on one secret (security line 54).
"""

import importlib
import json
import shutil
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from emulators.secret_manager import SecretManagerServer
from emulators.serving import Answer, Fault, LocalServer, Request
from faults import google_error
from readers import tiktok_token
from readers.internet import READER, Internet
from readers.recipe import PAGES

PROJECT, SECRET, ACCESS = "test-project", "tiktok-ads-token-acme", "AccessSecretVersion"
CANARY = "canary-never-shown-0123456789"
AWAY = Fault(ACCESS, status=503, times=None)
FORK = """\
import os, sys, threading, tiktok_token
threading.Thread(target=tiktok_token.access_token, args=["acme"], daemon=True).start()
sys.stdin.readline()
child = os.fork()
if child == 0:
    print(tiktok_token.access_token("acme", timeout=20), "flask" in sys.modules, flush=True)
    os._exit(0)
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.fixture(scope="module")
def server() -> Iterator[SecretManagerServer]:
    with SecretManagerServer() as running:
        yield running


@pytest.fixture
def store(server: SecretManagerServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[SecretManagerServer]:
    """An empty Secret Manager, and the file as if it had just been imported."""
    monkeypatch.setenv("SECRET_MANAGER_EMULATOR_HOST", server.address)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", PROJECT)
    monkeypatch.delenv("SECRET_PREFIX", raising=False)
    server.create(SECRET, project=PROJECT)
    importlib.reload(tiktok_token)
    yield server
    server.reset()


def payload(access_token: str = "one", *, hours: float | None = None, **more: Any) -> bytes:
    """What the keeper stores; with `hours` a token that ends in so many."""
    end = None if hours is None else (datetime.now(UTC) + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")
    document = {"schema": 1, "connection": "acme", "app_id": "7000", "access_token": access_token, "expires_at": end}
    document |= {"advertiser_ids": ["7001", "7002"], "scope": [4, 10], "obtained_at": "2026-11-22T10:00:00Z"}
    return json.dumps(document | more).encode()


def refused(**options: Any) -> tiktok_token.TokenError:
    """The error of a call; it shows no token, not even in a traceback."""
    with pytest.raises(tiktok_token.TokenError) as caught:
        tiktok_token.token("acme", **options)
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    return caught.value


def remedy(words: str, **options: Any) -> str:
    """What helps against the error of a call, which says these words, too."""
    error = refused(**options)
    assert words in str(error)
    return error.remedy


class TestToken:
    def test_what_comes_with_it(self, store: SecretManagerServer) -> None:
        """Its end, advertisers, scopes, app and version; with an account's, what TikTok calls business_id.

        Its repr does not show it.
        """
        store.add_version(SECRET, payload(CANARY, hours=24, later="more"))
        found = tiktok_token.token("acme")
        assert found.access_token == tiktok_token.access_token("acme") == CANARY
        assert (found.version, found.scope, found.app_id, found.open_id) == (1, (4, 10), "7000", None)
        assert found.expires_at is not None
        assert CANARY not in repr(found)
        account: dict[str, Any] = {"advertiser_ids": [], "scope": ["video.list"], "open_id": "open-1", "username": None}
        store.add_version(SECRET, payload(**account))
        found = tiktok_token.token("acme", rejected=CANARY)
        assert (found.open_id, found.username, found.scope) == ("open-1", None, ("video.list",))
        assert remedy("none", only=["7001"]) == "configuration"

    def test_some_advertisers(self, store: SecretManagerServer) -> None:
        """A caller gets those that it names; an unknown one is an error that lists the known ones.

        Where there are more than can be stored, their ids are None, and named ones are taken as they are.
        """
        store.add_version(SECRET, payload())
        assert tiktok_token.token("acme", only=["7002"]).advertiser_ids == ("7002",)
        assert remedy("7003: not among the advertisers of acme, which are: 7001, 7002", only=["7002", "7003"])
        assert tiktok_token.token("acme").advertiser_ids == ("7001", "7002")
        tiktok_token.CACHE_SECONDS = 0.0
        store.add_version(SECRET, payload("two", advertiser_ids=None, advertiser_count=9000))
        assert tiktok_token.token("acme", rejected="one").advertiser_ids is None
        assert tiktok_token.token("acme", only=["7009"]).advertiser_ids == ("7009",)

    def test_project_and_prefix_of_the_environment(
        self, store: SecretManagerServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """They are read when the first token is, and no proxy stands before this machine."""
        monkeypatch.setenv("SECRET_PREFIX", "other")
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "other-project")
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        store.create("other-token-acme", project="other-project")
        store.add_version("other-token-acme", payload())
        assert tiktok_token.access_token("acme") == "one"

    def test_it_stands_alone_and_survives_a_fork(self, store: SecretManagerServer, tmp_path: Path) -> None:
        """Copied into an empty folder, it serves a process and, while that one is reading, its child."""
        store.add_version(SECRET, payload())
        store.add_fault(Fault(ACCESS, do="hold", hold="parent"))
        shutil.copy(PAGES / "tiktok_token.py", tmp_path)
        with subprocess.Popen(
            [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK],
            env={"SECRET_MANAGER_EMULATOR_HOST": store.address, "GOOGLE_CLOUD_PROJECT": PROJECT},
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            store.wait_held("parent")
            done = process.communicate("fork\n", timeout=60)
        assert (*done, process.returncode) == ("one False\n", "", 0)


class TestNewest:
    def test_latest_is_stale(self, store: SecretManagerServer) -> None:
        """The newest version is found by number, past destroyed ones; so is the first, where `latest` says: none.

        If it is disabled, no older one is taken in its place: a person is told.
        """
        store.set_lag(latest=1, hide_first=True)
        store.add_version(SECRET, payload())
        assert tiktok_token.token("acme").version == 1
        for name in ("two", "three", "four"):
            store.add_version(SECRET, payload(name))
        for destroyed in (1, 2, 3):
            store.set_state(SECRET, destroyed, "DESTROYED")
        store.set_lag(latest=2)
        assert tiktok_token.token("acme", rejected="one").version == 4
        store.set_state(SECRET, store.add_version(SECRET, payload("five")), "DISABLED")
        assert remedy(f"Version 5 of {SECRET} is disabled", rejected="four") == "reconnect"

    def test_there_is_none(self, store: SecretManagerServer) -> None:
        """Nor is it remembered past a disconnection."""
        store.add_version(SECRET, payload())
        tiktok_token.CACHE_SECONDS = 0.0
        tiktok_token.token("acme")
        store.delete(SECRET)
        assert remedy("make link CONNECTION=acme") == "reconnect"
        store.add_fault(AWAY)
        assert remedy("The service is currently unavailable.", timeout=1.5) == "wait"

    @pytest.mark.parametrize(
        "stored",
        [CANARY.encode(), b"[]", payload(connection="other"), payload(f"{CANARY}\n"), payload(expires_at="tomorrow")],
        ids=["no JSON", "no object", "another connection's", "a broken token", "no time"],
    )
    def test_it_cannot_be_read(self, store: SecretManagerServer, stored: bytes) -> None:
        """The error names the version and quotes nothing of it; of a newer keeper's, the copied file is too old."""
        store.add_version(SECRET, stored)
        assert remedy(f"Version 1 of {SECRET} cannot be read") == "reconnect"
        store.add_version(SECRET, payload(schema=2, later="more"))
        assert remedy("copy the newest tiktok_token.py") == "configuration"


class TestCache:
    def test_a_token_is_reused(self, store: SecretManagerServer) -> None:
        """Without an end for CACHE_SECONDS; with one until less is left than a call asks for.

        One that TikTok rejected is read past at once.
        """
        store.add_version(SECRET, payload())
        tiktok_token.token("acme")
        calls = len(store.calls)
        store.add_version(SECRET, payload("two"))
        assert (tiktok_token.access_token("acme"), len(store.calls)) == ("one", calls)
        tiktok_token.CACHE_SECONDS = 0.0
        assert tiktok_token.access_token("acme", rejected="one") == "two"
        store.add_version(SECRET, payload("ten", hours=10))
        assert tiktok_token.access_token("acme") == "ten"
        store.add_version(SECRET, payload("day", hours=24))
        assert tiktok_token.access_token("acme", minimum_seconds=9 * 3600) == "ten"
        assert tiktok_token.access_token("acme", minimum_seconds=11 * 3600) == "day"

    def test_many_threads_read_once(self, store: SecretManagerServer) -> None:
        """Whoever asks while a read is under way waits for it."""
        store.add_version(SECRET, payload())
        store.add_fault(Fault(ACCESS, do="hold", hold="first"))
        begin = threading.Barrier(9)

        def ask() -> str:
            begin.wait(20)
            return tiktok_token.access_token("acme")

        with ThreadPoolExecutor(8) as threads:
            found = [threads.submit(ask) for _ in range(8)]
            begin.wait(20)
            store.wait_held("first")
            store.release("first")
            assert {one.result(20) for one in found} == {"one"}
        assert store.count(ACCESS) < 16  # two calls a read


class TestRejected:
    def test_a_read_that_is_under_way_is_not_believed(self, store: SecretManagerServer) -> None:
        """It may have begun before the newer token was stored."""
        store.add_version(SECRET, payload())
        store.add_fault(Fault(ACCESS, skip=1, when="after", do="hold", hold="earlier"))
        with ThreadPoolExecutor(1) as threads:
            earlier = threads.submit(tiktok_token.access_token, "acme")
            store.wait_held("earlier")
            store.add_version(SECRET, payload("two"))
            assert tiktok_token.access_token("acme", rejected="one") == "two"
            store.release("earlier")
            assert earlier.result(20) == "one"

    def test_it_is_the_newest(self, store: SecretManagerServer) -> None:
        """Only a person helps, which is said at once where nothing can replace it.

        The successor of a token with an end may be a moment away: the reader waits for it.
        """
        store.add_version(SECRET, payload(CANARY))
        assert remedy("make link CONNECTION=acme", rejected=CANARY) == "reconnect"
        assert store.count(ACCESS) == 2
        store.add_version(SECRET, payload(hours=10))
        store.add_fault(Fault(ACCESS, skip=2, do="hold", hold="second read"))
        with ThreadPoolExecutor(1) as threads:
            found = threads.submit(tiktok_token.access_token, "acme", rejected="one")
            store.wait_held("second read")
            store.add_version(SECRET, payload("two", hours=24))
            store.release("second read")
            assert found.result(20) == "two"


ENDING = {0.5: ("wait", "3600 are asked for"), -2: ("wait", "its refresh is late"), -25: ("reconnect", "make status")}


@pytest.mark.parametrize("hours", ENDING)
def test_it_ends_too_soon(store: SecretManagerServer, hours: float) -> None:
    """A late refresh is waited for, for a day; after that a person is needed."""
    what_helps, words = ENDING[hours]
    store.add_version(SECRET, payload(CANARY, hours=hours))
    assert remedy(words, timeout=3) == what_helps


class TestAway:
    @pytest.mark.parametrize(
        "fault",
        [
            Fault(ACCESS, status=503, times=2),
            Fault(ACCESS, do="drop"),
            Fault(ACCESS, status=200, body=b"<html>", content_type="text/html"),
        ],
        ids=["unavailable", "lost", "a proxy's page"],
    )
    def test_a_short_outage(self, store: SecretManagerServer, fault: Fault) -> None:
        """The call is made again."""
        store.add_version(SECRET, payload())
        store.add_fault(fault)
        assert tiktok_token.access_token("acme") == "one"

    def test_no_answer(self, store: SecretManagerServer) -> None:
        """The call returns while Secret Manager has not."""
        store.add_fault(Fault(ACCESS, do="hold", hold="for ever"))
        assert (refused(timeout=0.3).remedy, store.held) == ("wait", {"for ever": 1})

    def test_a_cached_token_goes_on(self, store: SecretManagerServer) -> None:
        """A token that works is kept, Secret Manager is left alone for a while, a rejected token is not returned."""
        store.add_version(SECRET, payload())
        tiktok_token.CACHE_SECONDS = 0.0
        tiktok_token.token("acme")
        store.add_fault(AWAY)
        assert tiktok_token.access_token("acme", timeout=0.3) == "one"
        calls = len(store.calls)
        assert (tiktok_token.access_token("acme"), len(store.calls)) == ("one", calls)
        assert refused(timeout=0.3, rejected="one").remedy == "wait"


def said_by_google(reason: str, status: str = "PERMISSION_DENIED") -> Fault:
    return google_error(status, "What Google says. uid: abc", reason=reason, call=ACCESS, times=None)


REFUSALS = {
    "IAM_PERMISSION_DENIED": ("permissions", f"add-iam-policy-binding {SECRET} --project="),
    "SERVICE_DISABLED": ("configuration", "enable secretmanager.googleapis.com --project="),
    "SECURITY_POLICY_VIOLATED": ("permissions", "VPC Service Controls"),
    "BILLING_DISABLED": ("configuration", f"check the project {PROJECT}, its billing account"),
    "INVALID": ("configuration", f"check the project {PROJECT}"),
}


@pytest.mark.parametrize("reason", REFUSALS)
def test_google_refuses(store: SecretManagerServer, reason: str) -> None:
    """Google's sentence, and what helps; asked once."""
    what_helps, advice = REFUSALS[reason]
    store.add_fault(said_by_google(reason, "INVALID_ARGUMENT" if reason == "INVALID" else "PERMISSION_DENIED"))
    assert (remedy("What Google says. uid: abc"), remedy(advice)) == (what_helps, what_helps)
    assert store.count(ACCESS) == 2


def test_wrong_names(store: SecretManagerServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be a connection is not asked for; where the project is missing, its variable is named."""
    for name in ("Acme", "acme\n", "a" * 64):
        with pytest.raises(tiktok_token.TokenError, match="not the name of a connection") as caught:
            tiktok_token.token(name)
        assert caught.value.remedy == "configuration"
    assert store.calls == []
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT")
    assert remedy("GOOGLE_CLOUD_PROJECT") == "configuration"


class Unavailable(LocalServer):
    """A metadata server that is there and knows nothing."""

    def perform(self, request: Request) -> Answer:
        return Answer(200 if request.path == "/" else 500, headers={"Metadata-Flavor": "Google"})


class TestLogin:
    def error(self, internet: Internet, **environment: str) -> str:
        """The remedy and the text with Google's real client, under Google's real names."""
        code = (
            "import sys; sys.path.insert(0, sys.argv[1]); import tiktok_token as t\n"
            "try:\n    t.token('acme', timeout=float(sys.argv[2]))\n"
            "except t.TokenError as error:\n    print(error.remedy, error, sep=': ')"
        )
        command = [sys.executable, "-c", code, str(PAGES), "1" if "GCE_METADATA_HOST" in environment else "30"]
        done = subprocess.run(
            command, env=internet.environ(**environment), capture_output=True, text=True, timeout=120, check=False
        )
        internet.stage.canaries.record("what the reader says", done.stdout + done.stderr)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def test_the_login_is_over(self, internet: Internet, tmp_path: Path) -> None:
        """`invalid_grant` is Google's word for it."""
        login = {"type": "authorized_user", "client_id": "1", "client_secret": "2", "refresh_token": "3"}
        (tmp_path / "login.json").write_text(json.dumps(login))
        said = self.error(internet, GOOGLE_APPLICATION_CREDENTIALS=str(tmp_path / "login.json"))
        assert said.startswith("configuration: ")
        assert "invalid_grant" in said
        assert "gcloud auth application-default login" in said

    def test_google_refuses(self, internet: Internet) -> None:
        """The command names the account that has to get the role; a disabled API is enabled where it counts.

        Where that is a quota project, it is not to be enabled in the keeper's project.
        """
        readable, internet.sites.readable = internet.sites.readable, set()
        said = self.error(internet)
        assert (said[:13], f"--member=serviceAccount:{READER} " in said) == ("permissions: ", True)
        internet.sites.readable = readable
        internet.stage.secrets.add_fault(said_by_google("SERVICE_DISABLED"))
        said = self.error(internet, GOOGLE_CLOUD_QUOTA_PROJECT="someones-project")
        assert said.startswith("configuration: ")
        assert said.endswith("gcloud auth application-default set-quota-project my-project-123\n")

    def test_the_metadata_server_is_away(self, internet: Internet) -> None:
        """Nothing is wrong with roles or settings then."""
        with Unavailable() as server:
            address = server.url.removeprefix("http://")
            given = {"GCE_METADATA_HOST": address, "GCE_METADATA_IP": address, "GOOGLE_APPLICATION_CREDENTIALS": ""}
            said = self.error(internet, **given)
        assert (said[:6], "try again in some minutes" in said) == ("wait: ", True)
